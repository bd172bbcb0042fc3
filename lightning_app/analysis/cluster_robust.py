"""Standard errors that hold whatever the errors within groups are like, and degrees of freedom for few groups."""

import numpy as np

from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.mixed_model import Inference, MixedFit

_ZERO = 1e-10  # in coordinates where what is not 0 is of order 1
_UNBIASED = 1e-6


def cluster_robust(fit: MixedFit, contrasts: Array | None = None) -> Inference:
    r"""The CR2 covariance with Bell and McCaffrey's degrees of freedom, for a fit with random intercepts.

    With :math:`W_g = \Phi_g^{-1}` from the fitted variances, :math:`M = (\sum_g X_g^T W_g X_g)^{-1}` and residuals
    :math:`e_g = y_g - X_g \hat\beta`,

    .. math:: V^{CR2} = M \Big[ \sum_g X_g^T W_g A_g e_g e_g^T A_g W_g X_g \Big] M, \quad
              A_g = D_g^T \big[ D_g (\Phi_g - X_g M X_g^T) D_g^T \big]^{+1/2} D_g, \quad D_g^T D_g = \Phi_g,

    where :math:`B^{+1/2}` is the symmetric square root of the pseudo-inverse: were the fitted covariance the true one,
    the estimate would have no bias. It holds for any covariance within groups. Its degrees of freedom for a contrast c
    are Satterthwaite's under the fitted covariance: the estimate is :math:`\sum_g (p_g^T y)^2` with
    :math:`p_g^T = c^T M X_g^T W_g A_g (I - H)_g`, and

    .. math:: \nu = \Big(\sum_g p_g^T \Phi p_g\Big)^2 \Big/ \sum_g \sum_h \big(p_g^T \Phi p_h\big)^2 .

    Below about 4 degrees of freedom the t distribution is a rough approximation (Tipton 2015). Where leaving out one
    group leaves a coefficient undetermined, as that of a domain with one data set, no residual tells of that group's
    share in its error, and the estimate is too small (theorem 1 below does not hold): such contrasts are given no
    degrees of freedom, so that nobody reads an interval off it. R's clubSandwich, whose numbers these are otherwise,
    does not say so.

    Everything is computed in the space spanned by the columns of X_g and 1: in all other directions of a group Φ_g is
    σ²I and A_g is I. Groups may therefore have thousands of rows.

    Sources: Bell & McCaffrey, *Bias reduction in standard errors for linear regression with multi-stage samples*,
    Survey Methodology 28 (2002); Pustejovsky & Tipton, *Small-sample methods for cluster-robust variance estimation
    and hypothesis testing in fixed effects models*, Journal of Business & Economic Statistics 36 (2018), as numbered in
    arXiv 1601.01981: equations 4 (the estimate), 7 and 8 (A_g), 11 (degrees of freedom).

    Args:
        fit: The fitted model; its groups are the clusters.
        contrasts: Rows c of sums cᵀβ that are wanted in place of the coefficients, ``(q, p)``.

    Returns:
        Covariance ``(q, q)`` and degrees of freedom ``(q,)`` of the contrasts; 0 where one group alone decides.

    Example:
        Balanced groups and nothing but a mean: the variance of the groups' means over their number, with G − 1.

        >>> from lightning_app.analysis.mixed_model import fit_random_intercept
        >>> y, groups = np.array([0.0, 2, 2, 4, 5, 5]), np.array([0, 0, 1, 1, 2, 2])
        >>> found = cluster_robust(fit_random_intercept(np.ones((6, 1)), y, groups, ["mean"]))
        >>> found.covariance.round(6), found.df.round(6)
        (array([[1.333333]]), array([2.]))
    """
    wanted = np.eye(fit.x.shape[1]) if contrasts is None else contrasts
    ratio = fit.var_group / fit.var_residual
    # From here on σ = 1, and columns are those of XL with LLᵀ = M: leverages then lie between 0 and 1.
    root = np.linalg.cholesky(fit.covariance / fit.var_residual)
    columns, residuals = fit.x @ root, fit.residuals
    order = np.argsort(fit.groups, kind="stable")
    scores, own, cross = [], [], []
    for rows in np.split(order, np.cumsum(np.bincount(fit.groups))[:-1]):
        score, own_part, cross_part = _group(columns[rows], residuals[rows], ratio)
        scores.append(score)
        own.append(own_part)
        cross.append(cross_part)
    turned = wanted @ root
    sums = turned @ np.stack(scores).T  # (q, G)
    diagonal = np.einsum("qi,gij,qj->qg", turned, np.stack(own), turned)
    between = np.einsum("gij,qj->qgi", np.stack(cross), turned)
    products = [np.diag(group) - parts @ parts.T for group, parts in zip(diagonal, between, strict=True)]  # p_gᵀΦp_h
    mean = np.array([np.trace(product) for product in products])
    spread = np.array([np.square(product).sum() for product in products])
    known = mean > (1 - _UNBIASED) * np.square(turned).sum(axis=1)  # cᵀMc, the variance under the fitted covariance
    df = np.where(known, mean**2 / np.where(known, spread, 1), 0)
    return Inference("CR2, Bell–McCaffrey", sums @ sums.T, df)


def _group(x: Array, residuals: Array, ratio: float) -> tuple[Array, Array, Array]:
    """A group's share: LᵀXᵀWAe ``(p,)``, FᵀΦF and LᵀXᵀF ``(p, p)`` each, with F = AWXL."""
    n = len(x)
    means = x.mean(axis=0)
    basis, lengths, turned = np.linalg.svd(x - means, full_matrices=False)
    kept = lengths > _ZERO
    # Coordinates: first along 1, then along the deviations from the means.
    reduced = np.vstack([np.sqrt(n) * means, lengths[kept, None] * turned[kept]])
    residual = np.concatenate([[np.sqrt(n) * residuals.mean()], basis[:, kept].T @ residuals])
    phi = np.ones(len(reduced))
    phi[0] += n * ratio
    whitened = reduced / np.sqrt(phi)[:, None]
    left = np.eye(len(phi)) - whitened @ whitened.T
    # The rank is read off here, where eigenvalues are of order 1: those of the next matrix may differ by any factor.
    rank = int((np.linalg.eigvalsh(left) > _ZERO).sum())
    values, vectors = np.linalg.eigh(phi[:, None] * left * phi)
    values, vectors = values[len(phi) - rank :], vectors[:, len(phi) - rank :]
    half = np.sqrt(phi)[:, None] * vectors
    loads = (half / np.sqrt(values)) @ (half.T @ (reduced / phi[:, None]))
    return loads.T @ residual, loads.T @ (phi[:, None] * loads), reduced.T @ loads
