"""Correlation of two properties over data sets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

_NORMAL = float(stats.norm.ppf(0.975))
_CONSTANT = 1e-12  # of the largest value: below it, differences are rounding errors


@dataclass(frozen=True)
class Correlation:
    """How two properties go together.

    Attributes:
        r: Pearson's correlation, −1 … 1; None where it does not exist.
        low: Lower end of its 95 % interval; None below four points.
        high: Upper end.
        p: Of the hypothesis that it is 0.
        spearman: The same of the ranks: only their order counts. None where levels are held fixed.
        n: Points.
        reason: Why something is None; "" where nothing is.
    """

    r: float | None
    low: float | None
    high: float | None
    p: float | None
    spearman: float | None
    n: int
    reason: str = ""


def correlate(
    x: ArrayLike,
    y: ArrayLike,
    groups: Sequence[Any] | None = None,
    *,
    within: Sequence[Any] | None = None,
    called: tuple[str, str] = ("x", "y"),
) -> Correlation:
    r"""Pearson's correlation with an interval.

    .. math:: t = r \sqrt{\frac{m - 2}{1 - r^2}}, \qquad
              \tanh\Bigl(\operatorname{artanh} r \pm \frac{1.96}{\sqrt{m - 3}}\Bigr)

    (exact test of normal data, and Fisher's transformation, Biometrika 10:507, 1915), where m is the number of points.
    Points of one data set are not independent: with ``groups``, each group is one point, at the means of its rows. With
    ``within``, the mean of every level is taken away first, which asks how the two go together *inside* levels; m is
    then less by the number of levels less one (the partial correlation).

    Args:
        x: One property, ``(n,)``. Rows where x or y is not finite do not count.
        y: The other, ``(n,)``.
        groups: Data set of every row, ``(n,)``; without, every row is a point.
        within: Level of every row, ``(n,)``: its domain. The rows of a group have one.
        called: What x and y are, for reasons.

    Returns:
        The correlation. Below three points, or where a property is the same everywhere, there is none; it says why.

    Example:
        >>> found = correlate([1, 2, 3, 4, 5], [1, 3, 2, 5, 4])
        >>> found.r, round(found.p, 3), found.n
        (0.8, 0.104, 5)
        >>> correlate([1, 1, 3, 3], [5, 7, 1, 2], groups=["a", "a", "b", "b"]).reason
        '2 points are too few for a correlation'
    """
    rows = pd.DataFrame({"x": np.asarray(x, np.float64), "y": np.asarray(y, np.float64)})
    rows["group"] = np.arange(len(rows)) if groups is None else pd.factorize(np.asarray(groups, object))[0]
    rows["level"] = 0 if within is None else pd.factorize(np.asarray(within, object))[0]
    rows = rows[np.isfinite(rows["x"]) & np.isfinite(rows["y"])]
    points = rows.groupby("group").mean()
    centred = points[["x", "y"]] - points.groupby("level")[["x", "y"]].transform("mean")
    n, levels = len(points), points["level"].nunique()
    free = n - 2 - max(levels - 1, 0)  # m − 2
    if free < 1:
        among = "" if levels < 2 else f" in {levels} levels"
        return _none(n, f"{n} point{'s' * (n != 1)}{among} {'are' if n != 1 else 'is'} too few for a correlation")
    for (name, column), what in zip(centred.items(), called, strict=True):
        if float(np.abs(column).max()) <= _CONSTANT * float(np.abs(points[name]).max()):
            return _none(n, f"{what} is the same everywhere" + (" inside the levels" if levels > 1 else ""))
    r = _pearson(centred["x"].to_numpy(), centred["y"].to_numpy())
    spearman = None
    if within is None:
        spearman = _pearson(*(stats.rankdata(points[name]) - (n + 1) / 2 for name in ("x", "y")))
    p = 0.0 if abs(r) == 1 else 2 * float(stats.t.sf(abs(r) * math.sqrt(free / (1 - r * r)), free))
    if free < 2:
        return Correlation(r, None, None, p, spearman, n, f"{n} points are too few for an interval")
    if abs(r) == 1:
        return Correlation(r, r, r, p, spearman, n)
    half = _NORMAL / math.sqrt(free - 1)
    return Correlation(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), p, spearman, n)


def _none(n: int, reason: str) -> Correlation:
    return Correlation(None, None, None, None, None, n, reason)


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Of values whose mean is 0. Scaled first, so that no square is too large or too small for a float."""
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    r = float(x @ y / math.sqrt((x @ x) * (y @ y)))
    return max(-1.0, min(1.0, r))
