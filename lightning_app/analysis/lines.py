"""Straight lines through points, with honest intervals: through data sets, inside them, and of one over N."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.regression.linear_model import OLS

from lightning_app.analysis.cluster_robust import cluster_robust
from lightning_app.analysis.law import NotIdentified
from lightning_app.analysis.mixed_model import fit_random_intercept

Array = NDArray[np.float64]
_FEWEST_GROUPS = 3
_ROUNDING = 1e-9  # relative: below it, differences are rounding errors


@dataclass(frozen=True)
class Slope:
    """A coefficient with its 95 % interval.

    Attributes:
        value: Estimate.
        low: Lower end; None where the points allow no interval.
        high: Upper end.
        df: Degrees of freedom of the t distribution behind it.
        p: Of the hypothesis that it is 0.
    """

    value: float
    low: float | None = None
    high: float | None = None
    df: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Line:
    """A fitted line.

    Attributes:
        slope: Change of y per unit of x.
        offsets: How far each other level of the factor lies above the baseline, at the same x.
        band: Ordinates at ``(k,)`` values of x, and the ends of their 95 % interval (NaN where there is none); with a
            factor, for the mix of levels that the points have.
        n: Points.
        groups: Data sets among them; as many as points where each stands for itself.
        method: Where the interval comes from.
        note: Why there is no interval; "" where there is one.
    """

    slope: Slope
    offsets: dict[str, Slope]
    band: Callable[[ArrayLike], tuple[Array, Array, Array]]
    n: int
    groups: int
    method: str
    note: str = ""


def fit_line(
    x: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Any] | None = None,
    factor: Sequence[str] | None = None,
    *,
    called: str = "x",
) -> Line:
    r"""Fit :math:`y = a + b x (+ \text{level})`.

    Without ``groups`` it is ordinary least squares with t intervals: for one point per data set, its mean. Where x says
    nothing about single runs, that is the test to take: exact where data sets have equally many runs, and more powerful
    than a cluster-robust one of the runs. With ``groups``, points of one data set are not independent: a random
    intercept per data set (restricted maximum likelihood) takes up what they have in common, and the interval is
    cluster-robust (CR2 with Bell–McCaffrey degrees of freedom); where each has one point, it is least squares again.
    Fewer than three data sets, or no more of them than coefficients that only data sets can tell, give a line without
    an interval: least squares would take its points for independent, and promise too much.

    Args:
        x: ``(n,)``. Rows where x or y is not finite do not count.
        y: ``(n,)``.
        groups: Data set of every point, ``(n,)``.
        factor: Level of every point, ``(n,)``; levels share one slope. The level of the first point is the baseline.
        called: What x is, for reasons.

    Raises:
        NotIdentified: x is the same everywhere, or cannot be told from the levels.

    Example:
        >>> line = fit_line([0, 1, 2, 3], [1, 3, 5, 9])
        >>> round(line.slope.value, 3), line.slope.df
        (2.6, 2.0)
        >>> [round(float(value[0]), 2) for value in line.band([1.5])]
        [4.5, 2.83, 6.17]
    """
    values = np.array([x, y], np.float64)
    finite = np.flatnonzero(np.isfinite(values).all(axis=0))
    at, response = values[:, finite]
    cluster = np.arange(values.shape[1]) if groups is None else pd.factorize(np.array(groups, object))[0]
    level, levels = pd.factorize(np.array(np.full(values.shape[1], "") if factor is None else factor, object)[finite])
    if len(at) < 2:
        raise NotIdentified("there is one point only" if len(at) else "there are no points")
    if _constant(at):
        raise NotIdentified(f"{called} is the same everywhere")
    centre, scale = float(at.mean()), float(at.std())
    design = np.column_stack([np.ones(len(at)), (at - centre) / scale, np.eye(len(levels))[level][:, 1:]])
    if np.linalg.matrix_rank(design, tol=_ROUNDING * len(design) ** 0.5) < design.shape[1]:
        raise NotIdentified(f"{called} is the same inside every level")
    height = float(response.mean())
    response = np.zeros(len(at)) if _constant(response) else response - height
    fit = _fit(design, response, cluster[finite], ("intercept", "x", *map(str, levels[1:])))
    wanted, middle = np.eye(design.shape[1])[1:], design.mean(axis=0)
    wanted[0] /= scale
    slope, *offsets = fit.slopes(wanted)

    def band(where: ArrayLike) -> tuple[Array, Array, Array]:
        points = np.tile(middle, (np.size(where), 1))
        points[:, 1] = (np.asarray(where, np.float64) - centre) / scale
        found = np.array([(one.value, one.low, one.high) for one in fit.slopes(points)], np.float64)
        return height + found[:, 0], height + found[:, 1], height + found[:, 2]

    named = dict(zip(map(str, levels[1:]), offsets, strict=True))
    return Line(slope, named, band, len(at), len(np.unique(cluster[finite])), fit.method, fit.note)


def parallel_slopes(curves: Sequence[tuple[Array, Array]]) -> list[Slope]:
    r"""The slope of every curve, with one residual variance for all of them.

    .. math:: \hat b_i \pm t_{f} \sqrt{\frac{\sum_j \mathrm{RSS}_j / f}{\sum_k (x_{ik} - \bar x_i)^2}},
              \qquad f = \sum_j (n_j - 2)

    A handful of points leaves a residual variance that may be small by luck, and an interval that is too short for it.
    All curves are taken to scatter alike about their lines.

    Args:
        curves: x and y of every curve, ``(n_i,)`` each, at two or more distinct x.

    Returns:
        Slopes, without intervals where no curve has more than two points.

    Example:
        >>> two = [(np.array([0.0, 1, 2]), np.array([0.0, 1.1, 1.9])), (np.array([0.0, 1]), np.array([5.0, 3]))]
        >>> [(round(slope.value, 2), slope.df) for slope in parallel_slopes(two)]
        [(0.95, 1.0), (-2.0, 1.0)]
    """
    centred = [(x - x.mean(), y - y.mean()) for x, y in curves]
    spread = np.array([x @ x for x, _ in centred])
    slopes = np.array([x @ y for x, y in centred]) / spread
    rest = sum(float(np.square(y - slope * x).sum()) for slope, (x, y) in zip(slopes, centred, strict=True))
    free = float(sum(len(x) - 2 for x, _ in centred))
    return [
        _slope(float(slope), float(np.sqrt(rest / max(free, 1) / over)), free)
        for slope, over in zip(slopes, spread, strict=True)
    ]


def mean_curve(x: ArrayLike, y: ArrayLike, curves: Sequence[Any]) -> tuple[Array, Array]:
    r"""The mean of several curves, where some may lack points: :math:`y = f(x) + \text{curve}` by least squares.

    A curve that lies high and ends early bends no mean. Where every curve has every x, it is the mean at each x.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
        curves: Which curve a point belongs to, ``(n,)``.

    Returns:
        The distinct x in order, and f there plus the mean over curves.

    Raises:
        NotIdentified: Curves that share no x with the others.

    Example:
        >>> mean_curve([1, 2, 1, 2, 3], [1.0, 2, 11, 12, 13], ["short", "short", "long", "long", "long"])
        (array([1., 2., 3.]), array([6., 7., 8.]))
    """
    at, where = np.unique(np.asarray(x, np.float64), return_inverse=True)
    curve = pd.factorize(np.array(curves, object))[0]
    table = np.column_stack([np.eye(len(at))[where], np.asarray(y, np.float64)])
    means = np.zeros((len(set(curve)), table.shape[1]))
    np.add.at(means, curve, table)
    means /= np.bincount(curve)[:, None]
    inside = table - means[curve]
    if np.linalg.matrix_rank(inside[:, :-1]) < len(at) - 1:
        raise NotIdentified("some sizes share no curve with the others")
    f = np.linalg.lstsq(inside[:, :-1], inside[:, -1], rcond=None)[0].astype(np.float64)
    return at, f + float((means[:, -1] - means[:, :-1] @ f).mean())


def _constant(values: Array) -> bool:
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


@dataclass(frozen=True)
class _Fit:
    """Coefficients, and what gives the standard errors and degrees of freedom of sums of them, if anything does."""

    beta: Array
    errors: Callable[[Array], tuple[Array, ArrayLike]] | None
    method: str
    note: str = ""

    def slopes(self, weights: Array) -> list[Slope]:
        """Inference for sums of the coefficients times the rows of ``weights``."""
        values = weights @ self.beta
        if self.errors is None:
            return [Slope(float(value)) for value in values]
        stderrs, dfs = np.broadcast_arrays(*self.errors(weights))
        return [_slope(*map(float, numbers)) for numbers in zip(values, stderrs, dfs, strict=True)]


def _slope(value: float, stderr: float, df: float) -> Slope:
    if df <= 0:  # no data set but one has a say in it
        return Slope(value)
    half = stderr * float(stats.t.ppf(0.975, df))
    p = 2 * float(stats.t.sf(abs(value) / stderr, df)) if stderr > 0 else float(value == 0)
    return Slope(value, value - half, value + half, df, p)


def _fit(x: Array, y: Array, groups: NDArray[np.int64], names: tuple[str, ...]) -> _Fit:
    everything = np.column_stack([x, y])
    first, groups = np.unique(groups, return_index=True, return_inverse=True)[1:]
    spread = np.abs(everything - everything[first][groups]).max(axis=0) > _ROUNDING * np.abs(everything).max(axis=0)
    if not spread.any():  # one point per data set, or as good as
        return _least_squares(x[first], y[first])
    note = ""
    if len(first) < max(_FEWEST_GROUPS, int((~spread[:-1]).sum()) + 1):
        note = f"points of one data set are not independent, and data sets are too few: {len(first)}"
    else:
        try:
            fit = fit_random_intercept(x, y, groups, names)
        except ValueError as error:  # nothing is left over of y, for instance
            note = str(error)
    if note:
        return replace(_least_squares(x, y), errors=None, note=note)

    def errors(weights: Array) -> tuple[Array, Array]:
        inference = cluster_robust(fit, weights)
        return np.sqrt(np.diag(inference.covariance)), inference.df

    return _Fit(fit.beta, errors, "random intercept per data set, CR2, Bell–McCaffrey")


def _least_squares(x: Array, y: Array) -> _Fit:
    method = "ordinary least squares"
    if len(x) <= x.shape[1]:
        return _Fit(
            np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64),
            None,
            method,
            f"{len(x)} points are too few for an interval",
        )
    fit = OLS(y, x).fit()
    covariance, df = fit.cov_params(), fit.df_resid

    def errors(weights: Array) -> tuple[Array, float]:
        return np.sqrt(np.maximum(((weights @ covariance) * weights).sum(axis=1), 0)), df

    return _Fit(fit.params, errors, method)
