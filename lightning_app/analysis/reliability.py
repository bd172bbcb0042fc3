"""How much of what a regressor tells is not the error of its estimate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_app.analysis.mixed_model import MixedFit

Array = NDArray[np.float64]


def reliability(fit: MixedFit, column: int, blocks: Sequence[NDArray[np.int64]], variances: Sequence[float]) -> float:
    r"""Reliability of a regressor given the others, as the fit weighs them.

    .. math:: \lambda = 1 - \frac{\sum_b s_b^2\, 1_b^T P\, 1_b}{x^T P x}, \qquad
              P = V^{-1} - V^{-1} Z (Z^T V^{-1} Z)^{-1} Z^T V^{-1}

    with the regressor x, the other columns Z, and an error of variance :math:`s_b^2` that all rows of a block share,
    because they share one measurement. The estimated coefficient is on average λ times what it would be without these
    errors (Carroll, Ruppert, Stefanski & Crainiceanu 2006, Measurement Error in Nonlinear Models, ch. 3). With as many
    rows in every group, one block per group, and the same s² for all, λ is 1 − s² / (residual variance of the groups' x
    on the groups' other regressors).

    Args:
        fit: The fit.
        column: Which column of its design.
        blocks: Rows of every block.
        variances: :math:`s_b^2` of every block.

    Returns:
        λ, 0 … 1; 0 where the errors are as large as all that x varies.

    Example:
        >>> x, groups = np.array([[1.0, 0], [1, 0], [1, 1], [1, 1], [1, 2], [1, 2]]), np.array([0, 0, 1, 1, 2, 2])
        >>> fit = MixedFit(x, x[:, 1], groups, ("1", "x"), np.ones(2), np.eye(2), 0.3, 0.1, 0.0, True)
        >>> round(reliability(fit, 1, [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])], [0.2, 0.2, 0.2]), 6)
        0.8
    """
    told = np.zeros((len(fit.y), len(blocks)))
    for i, rows in enumerate(blocks):
        told[rows, i] = 1
    others = _whitened(np.delete(fit.x, column, axis=1), fit)
    basis, _ = np.linalg.qr(others)
    left = _whitened(np.column_stack([fit.x[:, column], told]), fit)
    left -= basis @ (basis.T @ left)
    squares = np.square(left).sum(axis=0)
    return max(0.0, float(1 - squares[1:] @ np.asarray(variances) / squares[0]))


def _whitened(columns: Array, fit: MixedFit) -> Array:
    """σ V^(−1/2) times the columns: every group's mean is pulled towards 0 as far as its random intercept takes it."""
    sizes = np.bincount(fit.groups)
    means = np.stack([np.bincount(fit.groups, column) / sizes for column in columns.T], axis=1)
    pull = 1 - np.sqrt(fit.var_residual / (fit.var_residual + sizes * fit.var_group))
    whitened: Array = columns - (pull[:, None] * means)[fit.groups]
    return whitened
