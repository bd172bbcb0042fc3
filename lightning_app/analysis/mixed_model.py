"""Linear models with a random intercept per group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
    """Standard errors and t intervals of the coefficients of a fit.

    Attributes:
        method: What it is called: "CR2, Bell–McCaffrey", "Kenward–Roger", …
        covariance: Of the coefficients, ``(p, p)``.
        df: Degrees of freedom of each coefficient's t distribution, ``(p,)``.
    """

    method: str
    covariance: Array
    df: Array


def fit_random_intercept(
    x: Array, y: Array, groups: NDArray[np.int64], names: Sequence[str], *, reml: bool = True
) -> MixedFit:
    """To be written."""
    raise NotImplementedError
