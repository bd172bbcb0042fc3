"""Nearest neighbours, exactly: of any kind, or among the points with another label."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from metrics.distances import Distances
from metrics.errors import InputError
from metrics.points import Points, as_labels, as_points
from metrics.ranks import Progress, map_shared, n_processes

_TILE_ROWS, _TILE_COLUMNS = 1024, 8000  # int32 tiles of 32 MB; wide, because the k smallest of long rows come cheap
_SQUARE = 4096
"""So many points are compared with themselves in one tile, of which little more than half has to be computed."""

_SPARE = 8
"""Candidates beyond the k-th, so that ties and rounding rarely need a second look."""

Barred = Callable[[Tensor, Tensor], Tensor]
"""Which of the points j ``(b,)`` may not be neighbours of the points i ``(a,)``: ``(a, b)`` bool."""


def nearest_neighbors(points: Points, k: int, *, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """The k nearest neighbours of every point among the others, exactly.

    8-bit images are compared as integers. For floating-point points a fast pass in float64 products picks candidates,
    a bound on its error proves that none is missing, and float64 differences decide. In a
    ``torch.distributed`` run the processes share the work: call it on every process with the same points.

    Args:
        points: ``(n, ...)``, uint8 or floating point, on any device; flattened to rows.
        k: Number of neighbours, 1 ≤ k ≤ n − 1.
        progress: Told after every part of the work.

    Returns:
        Distances (float64, ascending) and indices (int64), both ``(n, k)``. A point is not its own
        neighbour; equal distances are ordered by index.

    Raises:
        InputError: k out of range, no points, or values that are not finite.

    Example:
        >>> distances, indices = nearest_neighbors(torch.tensor([[0.0], [1.0], [3.0]]), k=1)
        >>> distances.flatten().tolist(), indices.flatten().tolist()
        ([1.0, 1.0, 2.0], [1, 0, 1])
    """
    distances = Distances(as_points(points))
    everything = torch.arange(len(distances), device=distances.rows.device)
    return neighbors_within(distances, everything, k, progress=progress)


def nearest_enemies(points: Points, labels: Points, *, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """The nearest point with another label, for every point (its *nearest enemy*), exactly.

    Args:
        points: As for :func:`nearest_neighbors`.
        labels: ``(n,)`` integers, at least two different ones.
        progress: Told after every part of the work.

    Returns:
        Distances (float64) and indices (int64), both ``(n,)``; of equally near ones the first.

    Raises:
        InputError: A single label, lengths that differ, no points, or values that are not finite.

    Example:
        >>> distances, indices = nearest_enemies(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]))
        >>> distances.tolist(), indices.tolist()
        ([3.0, 2.0, 2.0], [2, 2, 1])
    """
    rows = as_points(points)
    y = torch.from_numpy(as_labels(labels, len(rows))).to(rows.device)
    if bool((y == y[0]).all()):
        raise InputError(f"all {len(y)} points have the label {int(y[0])}: enemies need a second one")
    everything = torch.arange(len(rows), device=rows.device)
    found, indices = neighbors_within(
        Distances(rows), everything, 1, barred=lambda i, j: y[i][:, None] == y[j], progress=progress
    )
    return found[:, 0], indices[:, 0]


def nearest_friends(points: Points, labels: Points, *, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """The nearest other point with the same label, for every point, exactly.

    Args:
        points: As for :func:`nearest_neighbors`; at least two.
        labels: ``(n,)`` integers.
        progress: Told after every part of the work.

    Returns:
        Distances (float64) and indices (int64), both ``(n,)``; of equally near ones the first. A point that is alone
        with its label has distance infinity and index −1.

    Raises:
        InputError: A single point, lengths that differ, or values that are not finite.

    Example:
        >>> distances, indices = nearest_friends(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 1, 0]))
        >>> distances.tolist(), indices.tolist()
        ([3.0, inf, 3.0], [2, -1, 0])
    """
    rows = as_points(points)
    y = torch.from_numpy(as_labels(labels, len(rows))).to(rows.device)
    everything = torch.arange(len(rows), device=rows.device)
    found, indices = neighbors_within(
        Distances(rows), everything, 1, barred=lambda i, j: y[i][:, None] != y[j], progress=progress
    )
    _, inverse, counts = torch.unique(y, return_inverse=True, return_counts=True)
    alone = counts[inverse] == 1
    return found[:, 0].masked_fill(alone, torch.inf), indices[:, 0].masked_fill(alone, -1)


def neighbors_within(
    distances: Distances,
    subset: Tensor,
    k: int,
    *,
    barred: Barred | None = None,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`nearest_neighbors` among some points of a set.

    Args:
        distances: Of the whole set.
        subset: ``(m,)`` int64, ascending: the points that take part.
        k: Number of neighbours, 1 ≤ k ≤ m − 1.
        barred: Pairs that do not count, besides a point and itself; every point must keep k others.
        progress: Told after every part of the work.

    Returns:
        Distances and indices of the set, both ``(m, k)``.

    Raises:
        InputError: k out of range.
    """
    n = len(subset)
    if not 1 <= k < n:
        raise InputError(f"k={k} neighbours do not exist among {n} points: choose 1 ≤ k ≤ {n - 1} or give more points")
    whole = n <= _SQUARE and n_processes() == 1
    step = max(1, min(_TILE_ROWS, -(-n // n_processes())))
    parts = map_shared(
        lambda i: tuple(part.cpu() for part in _nearest(distances, i, subset, k, barred)),
        [subset] if whole else torch.split(subset, step),
        progress,
    )
    squared, indices = (torch.cat(column) for column in zip(*parts, strict=True))
    # NumPy's square roots are correctly rounded; torch's differ in the last digit from machine to machine.
    found = torch.from_numpy(np.sqrt(squared.to(torch.float64).numpy()))
    return found.to(subset.device), indices.to(subset.device)


def _nearest(distances: Distances, i: Tensor, subset: Tensor, k: int, barred: Barred | None) -> tuple[Tensor, Tensor]:
    """The k smallest squared distances from points i into a subset, and whose they are, each ``(len(i), k)``."""
    kept = min(k + _SPARE, len(subset))
    values = torch.empty((len(i), 0), dtype=distances.dtype, device=i.device)
    indices = torch.empty((len(i), 0), dtype=torch.int64, device=i.device)
    for j in [i] if i is subset else torch.split(subset, _TILE_COLUMNS):
        tile = _allowed(distances.tile(i, j), distances.largest, i, j, barred)
        nearest = tile.topk(min(kept, len(j)), dim=1, largest=False, sorted=False)
        values = torch.cat([values, nearest.values], dim=1)
        indices = torch.cat([indices, j[nearest.indices]], dim=1)
        if values.shape[1] > kept:
            nearest = values.topk(kept, dim=1, largest=False, sorted=False)
            values, indices = nearest.values, indices.gather(1, nearest.indices)
    values, order = values.sort(dim=1)
    indices = indices.gather(1, order)
    # Whatever was not kept is at least as far as the last that was: only where that is clearly beyond the k-th,
    # nothing that belongs to the k nearest can be missing.
    margin = 2 * distances.slack(i)
    settled = (values[:, -1] > values[:, k - 1] + margin) | (kept == len(subset))
    if not distances.is_exact:
        beyond = ~torch.isfinite(values)
        values = distances.exact(i, indices).masked_fill_(beyond, torch.inf)
    squared, ranked = _ordered(values, indices, k)
    unsettled = torch.nonzero(~settled).flatten()
    for rows in torch.split(unsettled, _rows_at_once(distances)) if len(unsettled) else ():
        every = _allowed(distances.exact_rows(i[rows])[:, subset], distances.largest, i[rows], subset, barred)
        squared[rows], ranked[rows] = _ordered(every, subset.expand(len(rows), -1), k)
    return squared, ranked


def _allowed(tile: Tensor, largest: float, i: Tensor, j: Tensor, barred: Barred | None) -> Tensor:
    """Put every pair that does not count out of reach."""
    if barred is not None:
        tile.masked_fill_(barred(i, j), largest)
    if int(i[0]) <= int(j[-1]) and int(j[0]) <= int(i[-1]):  # both ascend
        tile.masked_fill_(i[:, None] == j, largest)
    return tile


def _ordered(values: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row; equal ones by index."""
    by_index = indices.argsort(dim=1)
    values, indices = values.gather(1, by_index), indices.gather(1, by_index)
    order = values.argsort(dim=1, stable=True)[:, :k]
    return values.gather(1, order), indices.gather(1, order)


def _rows_at_once(distances: Distances) -> int:
    """So many rows that their float64 distances to all points fit in 64 MB."""
    return max(1, 2**23 // len(distances))
