"""Linear models with a random intercept per group."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_app.analysis.grouped_design import Array, GroupedDesign

_EXACT = 1e-12  # residuals this small, as a part of the response, are rounding errors


@dataclass(frozen=True)
class MixedFit:
    r"""A fit of :math:`y = X\beta + u_g + e` with :math:`u_g \sim N(0, \tau^2)` and :math:`e \sim N(0, \sigma^2)`.

    Attributes:
        x: Design, ``(n, p)``, of full column rank.
        y: Response, ``(n,)``.
        groups: Group of every row, ``(n,)``, whole numbers 0 … G − 1.
        names: What the columns of the design are called, p of them.
        beta: Estimated coefficients, ``(p,)``.
        covariance: Model-based covariance of the coefficients, ``(p, p)``: (XᵀV⁻¹X)⁻¹.
        var_group: τ², at least 0; 0 is a valid estimate.
        var_residual: σ², above 0.
        log_likelihood: Of the observations (restricted where ``reml``), with all constants.
        reml: Whether variances were estimated by restricted maximum likelihood.
    """

    x: Array
    y: Array
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    beta: Array
    covariance: Array
    var_group: float
    var_residual: float
    log_likelihood: float
    reml: bool

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups.max()) + 1

    @property
    def residuals(self) -> Array:
        """The response less Xβ, ``(n,)``: the random intercepts are in them."""
        return self.y - self.x @ self.beta


@dataclass(frozen=True)
class Inference:
    """What t intervals of the coefficients of a fit, or of sums of them, are made of.

    Attributes:
        method: What it is called: "CR2, Bell–McCaffrey", "Kenward–Roger", …
        covariance: Of the coefficients, ``(p, p)``.
        df: Degrees of freedom of each coefficient's t distribution, ``(p,)``; 0 where the error cannot be estimated.
    """

    method: str
    covariance: Array
    df: Array


def fit_random_intercept(
    x: Array, y: Array, groups: NDArray[Any], names: Sequence[str], *, reml: bool = True
) -> MixedFit:
    r"""Fit a linear model whose errors share a part within groups, by exact (restricted) maximum likelihood.

    .. math:: \ell(\theta) = -\tfrac12 \Big[ n \log \frac{2 \pi S(\theta)}{n} + n + \sum_g \log(1 + n_g \theta) \Big],
              \quad S(\theta) = \min_\beta\, (y - X\beta)^T (I + \theta Z Z^T)^{-1} (y - X\beta)

    is maximised over :math:`\theta = \tau^2/\sigma^2 \ge 0`, with :math:`\hat\sigma^2 = S/n`. The restricted likelihood
    has n − p in the place of n and the further term :math:`\log |X^T (I + \theta Z Z^T)^{-1} X|` in the brackets.
    There is one number to search for, and a row costs nothing once its group is summed: fits take milliseconds, which
    bootstraps need, and a variance of 0 between groups is found as exactly 0.

    Source: Bates, Mächler, Bolker & Walker, *Fitting linear mixed-effects models using lme4*, Journal of Statistical
    Software 67 (2015), equations 34 and 41, whose constants are kept.

    Args:
        x: Design, ``(n, p)``, with a column of ones where there is to be an intercept.
        y: Response, ``(n,)``.
        groups: Which group a row belongs to, ``(n,)``: any labels. Where every row is a group of its own, τ² is 0.
        names: What the columns are called.
        reml: Restricted maximum likelihood; False for likelihoods that are compared between designs.

    Raises:
        ValueError: Columns that depend on each other, too few rows, no residuals within groups, or values that are not
            finite.

    Example:
        Two groups of two: the mean squares are 4 between them and 2 within them, and τ² is half the difference.

        >>> fit = fit_random_intercept(np.ones((4, 1)), np.array([0.0, 2, 2, 4]), np.array(list("aabb")), ["mean"])
        >>> round(float(fit.beta[0]), 6), round(fit.var_residual, 6), round(fit.var_group, 6)
        (2.0, 2.0, 1.0)
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("the design or the response has values that are not finite: leave those rows out")
    labels, numbers = np.unique(groups, return_inverse=True)
    numbers = numbers.astype(np.int64)
    n, p = x.shape
    design = GroupedDesign(x, numbers, names)
    alone = len(labels) == n
    if not alone and design.free_within < 1:
        raise ValueError(
            f"{n} rows in {len(labels)} groups leave no residuals within groups: add rows of the same groups"
        )
    responses = design.responses(y[:, None])
    rest = np.square(y - design.basis @ (design.basis.T @ y)).sum() if alone else responses.rest[0]
    if rest <= _EXACT**2 * float(y @ y):
        raise ValueError("the columns explain the response exactly within groups: there is no residual variance")
    found = design.best(responses, reml=reml)
    free = n - p if reml else n
    var_residual = float(found.squares[0]) / free
    back = np.linalg.inv(design.transform)
    determinant = 2 * float(np.linalg.slogdet(design.transform)[1]) if reml else 0.0
    deviance = float(found.deviance[0]) + determinant + free * (1 + math.log(2 * math.pi / free))
    return MixedFit(
        x=x,
        y=y,
        groups=numbers,
        names=tuple(names),
        beta=back @ found.coefficients[0],
        covariance=var_residual * back @ np.linalg.inv(design.gram(found.ratio)[0]) @ back.T,
        var_group=float(found.ratio[0]) * var_residual,
        var_residual=var_residual,
        log_likelihood=-deviance / 2,
        reml=reml,
    )
