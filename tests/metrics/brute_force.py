"""The slow and obvious way to distances, neighbours and sharpest pairs, in NumPy and Python."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def squared_distances(a: Array, b: Array) -> Array:
    """Every squared distance: int64 for uint8 points, float64 for others; differences before squares."""
    kind = np.int64 if a.dtype == np.uint8 else np.float64
    x, y = a.reshape(len(a), -1).astype(kind), b.reshape(len(b), -1).astype(kind)
    return np.array([((y - row) ** 2).sum(axis=1) for row in x])


def neighbors(points: Array, k: int) -> tuple[Array, Array]:
    """Distances and indices of the k nearest others, by distance, then by index."""
    squared = squared_distances(points, points)
    everyone = range(len(points))
    indices = [sorted((j for j in everyone if j != i), key=lambda j: (squared[i, j], j))[:k] for i in everyone]
    return np.sqrt(np.take_along_axis(squared, np.array(indices), axis=1)), np.array(indices)


def sharpest_pairs(points: Array, labels: Iterable[int]) -> list[tuple[float, int, int]]:
    """Every pair with different labels as (squared distance, i, j), i < j: by distance, then by i and j."""
    squared, y = squared_distances(points, points), list(labels)
    pairs = [(squared[i, j], i, j) for i in range(len(y)) for j in range(i + 1, len(y)) if y[i] != y[j]]
    return sorted(pairs)


def conflicts(points: Array, labels: Iterable[int]) -> list[int]:
    """Points that also occur under another label."""
    seen: dict[bytes, set[int]] = {}
    rows = [np.ascontiguousarray(row).tobytes() for row in points]
    for row, label in zip(rows, labels, strict=True):
        seen.setdefault(row, set()).add(int(label))
    return [i for i, row in enumerate(rows) if len(seen[row]) > 1]
