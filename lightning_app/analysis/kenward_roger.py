"""Standard errors of a mixed model that allow for its variances being estimates."""

import numpy as np

from lightning_app.analysis.grouped_design import Array, group_means
from lightning_app.analysis.mixed_model import Inference, MixedFit

_ZERO = 1e-10  # where every row is a group of its own, the two variances are one


def kenward_roger(fit: MixedFit, contrasts: Array | None = None) -> Inference:
    r"""Kenward and Roger's adjusted covariance and degrees of freedom, for a fit with random intercepts.

    With :math:`\Phi = (X^T V^{-1} X)^{-1}`, :math:`V = \tau^2 G_1 + \sigma^2 G_2` and

    .. math:: P_i = -X^T V^{-1} G_i V^{-1} X, \quad Q_{ij} = X^T V^{-1} G_i V^{-1} G_j V^{-1} X,

    .. math:: \Phi_A = \Phi + 2 \Phi \Big[ \sum_{ij} W_{ij} (Q_{ij} - P_i \Phi P_j) \Big] \Phi,

    where W, the covariance of the variances' estimates, is twice the inverse of the matrix of
    :math:`\mathrm{tr}(V^{-1} G_i V^{-1} G_j) - 2\, \mathrm{tr}(\Phi Q_{ij}) + \mathrm{tr}(\Phi P_i \Phi P_j)`. For a
    single contrast c the authors' degrees of freedom come to

    .. math:: \nu = 2 \Big/ \sum_{ij} W_{ij} \frac{(c^T \Phi P_i \Phi c)(c^T \Phi P_j \Phi c)}{(c^T \Phi c)^2} .

    It trusts the model: where effects of regressors differ between groups as well, its intervals are too short. A τ² of
    0 is treated as any other.

    Source: Kenward & Roger, *Small sample inference for fixed effects from restricted maximum likelihood*, Biometrics
    53 (1997), sections 2 and 3; the numbers are those of R's pbkrtest (Halekoh & Højsgaard 2014).

    Args:
        fit: A fit by restricted maximum likelihood.
        contrasts: Rows c of sums cᵀβ that are wanted in place of the coefficients, ``(q, p)``.

    Returns:
        Covariance ``(q, q)`` and degrees of freedom ``(q,)`` of the contrasts.

    Raises:
        ValueError: The fit is one by maximum likelihood.

    Example:
        Balanced groups and nothing but a mean: the variance of the groups' means over their number, with G − 1.

        >>> from lightning_app.analysis.mixed_model import fit_random_intercept
        >>> y, groups = np.array([0.0, 2, 2, 4, 5, 5]), np.array([0, 0, 1, 1, 2, 2])
        >>> found = kenward_roger(fit_random_intercept(np.ones((6, 1)), y, groups, ["mean"]))
        >>> found.covariance.round(6), found.df.round(6)
        (array([[1.333333]]), array([2.]))
    """
    if not fit.reml:
        raise ValueError("Kenward and Roger's method is for a fit by restricted maximum likelihood: fit with reml=True")
    wanted = np.eye(fit.x.shape[1]) if contrasts is None else contrasts
    phi = fit.covariance
    sizes = np.bincount(fit.groups).astype(np.float64)
    means = group_means(fit.x, fit.groups)
    deviations = fit.x - means[fit.groups]
    # V⁻¹ multiplies the mean of a group by a_g, and deviations from it by 1/σ².
    a, b = 1 / (fit.var_residual + sizes * fit.var_group), 1 / fit.var_residual

    def between(factors: Array) -> Array:
        product: Array = (means.T * (sizes * factors)) @ means
        return product

    within = deviations.T @ deviations
    p = [-between(sizes * a**2), -(between(a**2) + b**2 * within)]
    cross = between(sizes * a**3)
    q = [[between(sizes**2 * a**3), cross], [cross, between(a**3) + b**3 * within]]
    trace = (sizes * a**2).sum()
    traces = [[(sizes**2 * a**2).sum(), trace], [trace, (a**2 + (sizes - 1) * b**2).sum()]]
    information = [
        [traces[i][j] - 2 * np.trace(phi @ q[i][j]) + np.trace(phi @ p[i] @ phi @ p[j]) for j in (0, 1)] for i in (0, 1)
    ]
    w = 2 * np.linalg.pinv(np.array(information), rcond=_ZERO, hermitian=True)
    change = sum(w[i, j] * (q[i][j] - p[i] @ phi @ p[j]) for i in (0, 1) for j in (0, 1))
    adjusted = phi + 2 * phi @ change @ phi
    variances = np.einsum("qi,ij,qj->q", wanted, phi, wanted)
    slopes = np.stack([np.einsum("qi,ij,qj->q", wanted, phi @ part @ phi, wanted) / variances for part in p])
    df = 2 / np.einsum("iq,ij,jq->q", slopes, w, slopes)
    return Inference("Kenward–Roger", wanted @ adjusted @ wanted.T, df)
