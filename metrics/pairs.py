"""The closest pairs of points with different labels: what decides label sharpness."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.distances import Distances
from metrics.ranks import Progress, map_shared, n_processes

_TILE_ROWS, _TILE_COLUMNS = 2048, 2048
_OWN_BLOCK = 256
"""Classes of at least so many points are compared on their own, with no pair of equal labels computed in vain."""


def closest_pairs(
    distances: Distances,
    subset: NDArray[np.int64],
    labels: NDArray[np.int64],
    count: int = 1,
    *,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """The pairs of points with different labels that are closest to each other, over every such pair, exactly.

    Args:
        distances: Of the whole set.
        subset: ``(m,)``: the points that take part.
        labels: ``(n,)`` labels of the whole set.
        count: How many pairs, at least 1.
        progress: Told after every part of the work.

    Returns:
        Squared distances ``(c,)`` float64, ascending, and the pairs ``(c, 2)`` int64 with i < j; equally close pairs
        by (i, j). c = ``count``, or the number of pairs where there are fewer.

    Example:
        >>> points = Distances(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> squared, pairs = closest_pairs(points, np.arange(3), np.array([0, 0, 1]), count=2)
        >>> squared.tolist(), pairs.tolist()
        ([4.0, 9.0], [[1, 2], [0, 2]])
    """
    device = distances.rows.device
    by_label = subset[np.lexsort((subset, labels[subset]))]
    sorted_labels = labels[by_label]
    points, y = torch.from_numpy(by_label).to(device), torch.from_numpy(sorted_labels).to(device)
    tiles = []
    for start, stop in _row_blocks(sorted_labels):
        first = int(np.searchsorted(sorted_labels, sorted_labels[start], side="right"))
        for left in range(first, len(by_label), _TILE_COLUMNS):
            tiles.append((start, stop, left, min(left + _TILE_COLUMNS, len(by_label))))
    best = _Closest(distances, count)
    map_shared(lambda tile: best.look(points, y, *tile), tiles, progress)
    shares = map_shared(lambda _: (best.squared.cpu(), best.pairs.cpu()), range(n_processes()))
    return _smallest(torch.cat([s for s, _ in shares]), torch.cat([p for _, p in shares]), count)


class _Closest:
    """The closest pairs seen so far."""

    def __init__(self, distances: Distances, count: int) -> None:
        self.distances = distances
        self.count = count
        self.squared = torch.empty(0, dtype=torch.float64, device=distances.rows.device)
        self.pairs = torch.empty((0, 2), dtype=torch.int64, device=distances.rows.device)

    def look(self, points: Tensor, y: Tensor, start: int, stop: int, left: int, right: int) -> None:
        """Compare the points start … stop with left … right; both are ordered by label."""
        i, j = points[start:stop], points[left:right]
        tile = self.distances.tile(i, j)
        if y[start] != y[stop - 1]:
            tile.masked_fill_(y[start:stop, None] >= y[left:right], self.distances.largest)
        slack = float(self.distances.slack(i).max())
        bound = float(self.squared[-1]) if len(self.squared) == self.count else np.inf
        if float(tile.min()) - slack > bound:
            return
        if self.count == 1:
            bound = min(bound, float(tile.min()) + slack)
        elif tile.numel() > self.count:
            bound = min(bound, float(tile.flatten().topk(self.count, largest=False).values.max()) + slack)
        near = tile < self.distances.largest
        if bound < self.distances.largest:
            # An integer bound: compared with a float, a tile of integers would be rounded.
            near &= tile <= (int(bound) if self.distances.is_exact else bound + slack)
        rows, columns = torch.nonzero(near, as_tuple=True)
        if self.distances.is_exact:
            squared = tile[rows, columns].to(torch.float64)
        else:
            squared = self.distances.exact(i[rows], j[columns][:, None])[:, 0]
        pairs = torch.stack([i[rows], j[columns]], dim=1).sort(dim=1).values
        self.squared, self.pairs = _smallest(
            torch.cat([self.squared, squared]), torch.cat([self.pairs, pairs]), self.count
        )


def _smallest(squared: Tensor, pairs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    order = np.lexsort((pairs[:, 1].cpu(), pairs[:, 0].cpu(), squared.cpu()))[:count]
    chosen = torch.from_numpy(order).to(squared.device)
    return squared[chosen], pairs[chosen]


def _row_blocks(sorted_labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Cut labels in ascending order into blocks: large classes by themselves, small ones together."""
    bounds = [0, *(np.flatnonzero(np.diff(sorted_labels)) + 1).tolist(), len(sorted_labels)]
    blocks: list[tuple[int, int]] = []
    begun = 0
    for start, stop in itertools.pairwise(bounds):
        if stop - start >= _OWN_BLOCK or stop - begun > _TILE_ROWS:
            if begun < start:
                blocks.append((begun, start))
            begun = start
        if stop - start >= _OWN_BLOCK:
            blocks += [(at, min(at + _TILE_ROWS, stop)) for at in range(start, stop, _TILE_ROWS)]
            begun = stop
    if begun < len(sorted_labels):
        blocks.append((begun, len(sorted_labels)))
    return blocks
