"""Curves of many runs that have points of their own: on a common grid, averaged over data sets, and where they peak."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FEWEST = 3
"""Points of a curve that can have a peak."""


@dataclass(frozen=True)
class Mean:
    """The mean of the curves of several data sets.

    Attributes:
        sets: The curve of every data set, ``(g,)`` each; NaN where it has no value.
        value: Their mean, ``(g,)``: where all of them have a value, so that it is a mean of the same sets everywhere.
        stderr: Its standard error over data sets, ``(g,)``; NaN for one set.
    """

    sets: dict[str, Array]
    value: Array
    stderr: Array


def on_grid(curves: ArrayLike, x: ArrayLike, y: ArrayLike, grid: ArrayLike) -> Array:
    """Put curves on a common grid: linear between the points of a curve, nothing outside of them.

    Args:
        curves: Which curve a point belongs to, ``(n,)`` whole numbers 0 … c − 1. Points need no order.
        x: ``(n,)``, finite. Points of a curve at one x count as their mean.
        y: ``(n,)``, finite.
        grid: ``(g,)``.

    Returns:
        ``(c, g)``; NaN outside a curve's own range, and for a curve without points.

    Example:
        >>> on_grid([0, 0, 2, 2], [1, 3, 2, 3], [10, 30, 5, 6], [1, 2, 3])
        array([[10., 20., 30.],
               [nan, nan, nan],
               [nan,  5.,  6.]])
    """
    points, grid = _points(curves, x, y), np.asarray(grid, np.float64)
    number, at = points["curve"].to_numpy(), points["x"].to_numpy()
    found = np.full((int(number.max(initial=-1)) + 1, len(grid)), np.nan)
    if not len(points):
        return found
    # All curves in one: each has a stretch of its own, so that no point is interpolated between two of them.
    low = min(at.min(), grid.min())
    stretch = 1 + max(at.max(), grid.max()) - low
    every = np.interp(
        (np.arange(len(found)) * stretch)[:, None] + (grid - low), number * stretch + (at - low), points["y"].to_numpy()
    )
    there, first, count = np.unique(number, return_index=True, return_counts=True)
    inside = (grid >= at[first][:, None]) & (grid <= at[first + count - 1][:, None])
    found[there] = np.where(inside, every[there], np.nan)
    return found


def mean_by_domain(values: Array, runs: pd.DataFrame) -> dict[str, Mean]:
    """Average the curves of runs by domain, every data set counting alike.

    The runs of a network on a data set are averaged first, then its networks: where all of them have a value.

    Args:
        values: ``(c, g)``, NaN where a run has no value.
        runs: ``data``, ``domain`` and ``backbone`` of every run, ``(c,)`` rows.

    Returns:
        The mean of every domain, in the order of the runs. Runs without any value do not count.

    Example:
        >>> runs = pd.DataFrame({"data": ["A", "A", "B"], "domain": "natural", "backbone": "vgg13"})
        >>> mean_by_domain(np.array([[1.0, 4], [3, 4], [6, np.nan]]), runs)["natural"].value
        array([ 4., nan])
    """
    some = np.isfinite(values).any(axis=1)
    keys = runs[["domain", "data", "backbone"]].iloc[np.flatnonzero(some)]
    networks = pd.DataFrame(values[some]).groupby([keys[name].to_numpy() for name in keys], sort=False).mean()
    means = {}
    for domain, sets in _complete(networks).groupby(level=0, sort=False):
        own = sets.to_numpy()
        error = own.std(axis=0, ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.full(own.shape[1], np.nan)
        names = sets.index.get_level_values(1)
        means[str(domain)] = Mean(dict(zip(names, own, strict=True)), own.mean(axis=0), error)
    return means


def peaks(curves: ArrayLike, x: ArrayLike, y: ArrayLike) -> pd.DataFrame:
    """Where curves are highest.

    Args:
        curves: As for :func:`on_grid`.
        x: As there.
        y: As there.

    Returns:
        A row for every curve of three points or more, by its number: ``x`` and ``y`` of its highest point (the first of
        several), ``at_end`` whether that is its first or last point, so that the peak may lie further out, and ``gap``,
        the mean distance between its points.

    Example:
        >>> peaks([0, 0, 0, 1, 1], [0.2, 0.5, 0.9, 0, 1], [3, 8, 5, 1, 2]).round(3).to_dict("index")
        {0: {'x': 0.5, 'y': 8.0, 'at_end': False, 'gap': 0.35}}
    """
    points = _points(curves, x, y)
    of_curves = points.groupby("curve")
    ends = of_curves["x"].agg(["first", "last", "size"])
    ends = ends[ends["size"] >= FEWEST]
    highest = points.loc[of_curves["y"].idxmax().loc[ends.index]].set_index("curve")
    at_end = (highest["x"] == ends["first"]) | (highest["x"] == ends["last"])
    return highest.assign(at_end=at_end, gap=(ends["last"] - ends["first"]) / (ends["size"] - 1))


def _points(curves: ArrayLike, x: ArrayLike, y: ArrayLike) -> pd.DataFrame:
    """In order of curves and x, each x of a curve once."""
    columns = {"curve": np.asarray(curves, np.int64), "x": np.asarray(x, np.float64), "y": np.asarray(y, np.float64)}
    return pd.DataFrame(columns).groupby(["curve", "x"])["y"].mean().reset_index()


def _complete(networks: pd.DataFrame) -> pd.DataFrame:
    """Means over the networks of each domain and data set, where none of them is missing."""
    grouped = networks.groupby(level=[0, 1], sort=False)
    return grouped.mean().where(grouped.count().eq(grouped.size(), axis=0))
