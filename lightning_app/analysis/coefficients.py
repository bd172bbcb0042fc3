"""The coefficients of the law with their intervals, by three methods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from lightning_app.analysis.cluster_robust import cluster_robust
from lightning_app.analysis.design import BACKBONE
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.identification import ROUNDING, centred
from lightning_app.analysis.kenward_roger import kenward_roger
from lightning_app.analysis.mixed_model import Inference, MixedFit

CONFIDENCE = 0.95
KENWARD_ROGER, FIXED_EFFECTS = "Kenward–Roger", "data set as a fixed effect"


@dataclass(frozen=True)
class Coefficient:
    """A coefficient with its interval.

    Attributes:
        name: As in the formula: "intercept", "log N / d", "log K_F", "domain: radiology", "backbone: vgg13".
        value: Estimate.
        stderr: Standard error (CR2).
        df: Degrees of freedom of its t interval (Bell–McCaffrey).
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Of the hypothesis that it is 0.
        others: The interval by other methods, by their names: "Kenward–Roger", "data set as a fixed effect".
    """

    name: str
    value: float
    stderr: float
    df: float
    low: float
    high: float
    p: float
    others: dict[str, tuple[float, float]]


def coefficients_of(fit: MixedFit, backbones: Sequence[str]) -> Iterator[Coefficient]:
    """Every coefficient, and the last backbone's effect, which is less the sum of the others'."""
    names, wanted = fit.names, np.eye(len(fit.names))
    if len(backbones) > 1:
        names = (*names, BACKBONE + backbones[-1])
        wanted = np.vstack([wanted, [-float(name.startswith(BACKBONE)) for name in fit.names]])
    found = cluster_robust(fit, wanted)
    ends = _ends(fit, found, wanted)
    others = {KENWARD_ROGER: _ends(fit, kenward_roger(fit, wanted), wanted), FIXED_EFFECTS: _fixed_effects(fit, wanted)}
    for i, name in enumerate(names):
        value, stderr, df = float(wanted[i] @ fit.beta), float(np.sqrt(found.covariance[i, i])), float(found.df[i])
        p = float(2 * stats.t.sf(abs(value) / stderr, df))
        beside = {method: _pair(pairs[i]) for method, pairs in others.items() if np.isfinite(pairs[i]).all()}
        yield Coefficient(name, value, stderr, df, *_pair(ends[i]), p, beside)


def _ends(fit: MixedFit, found: Inference, wanted: Array) -> Array:
    """Ends of the intervals of the contrasts, ``(q, 2)``; NaN without degrees of freedom."""
    half = stats.t.ppf((1 + CONFIDENCE) / 2, found.df) * np.sqrt(np.diag(found.covariance))
    values = wanted @ fit.beta
    return np.stack([values - half, values + half], axis=1)


def _pair(ends: Array) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])


def _fixed_effects(fit: MixedFit, wanted: Array) -> Array:
    """Least squares with an intercept of its own for every data set; NaN for what does not move within data sets.

    The intercepts are taken out of everything first, which changes neither the coefficients nor CR2 (Pustejovsky &
    Tipton 2018, theorem 2).
    """
    x, y = centred(fit.x, fit.groups), centred(fit.y[:, None], fit.groups)[:, 0]
    moves = np.abs(x).max(axis=0) > ROUNDING * np.abs(fit.x).max(axis=0)
    x = x[:, moves]
    ends = np.full((len(wanted), 2), np.nan)
    free = len(y) - fit.n_groups - x.shape[1]
    if moves.any() and free > 0 and np.linalg.matrix_rank(x) == x.shape[1]:
        inverse = np.linalg.inv(x.T @ x).astype(np.float64, copy=False)
        beta = inverse @ (x.T @ y)
        noise = float(np.square(y - x @ beta).sum() / free)
        within = replace(fit, x=x, y=y, beta=beta, covariance=noise * inverse, var_group=0.0, var_residual=noise)
        told = ~wanted[:, ~moves].any(axis=1)
        contrasts = wanted[told][:, moves]
        ends[told] = _ends(within, cluster_robust(within, contrasts), contrasts)
    return ends
