"""Exact distances: integers for 8-bit images, float64 differences for everything else."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.errors import InputError

Points = Tensor | NDArray[np.generic]

_EXACT_DIMS = 1024
"""Products of values in −128…127 over so many dimensions stay at or below 2²⁴: exact in float32."""

_CHUNK_BYTES = 64 * 2**20


def as_points(points: Points) -> Tensor:
    """Flatten samples to rows and check that they can be compared.

    Args:
        points: ``(n, ...)``, uint8 or floating point, NumPy or torch.

    Returns:
        ``(n, d)``; uint8 stays uint8, every other dtype becomes float64.

    Raises:
        InputError: No samples, or NaN or infinite values among them.
    """
    if isinstance(points, np.ndarray) and (not points.flags.writeable or min(points.strides, default=0) < 0):
        points = points.copy()  # torch takes neither without a complaint
    rows = torch.as_tensor(points)
    if rows.ndim < 2 or rows.numel() == 0:
        raise InputError(f"points of shape {tuple(rows.shape)} are empty: expected (n, ...) with n ≥ 1 samples")
    rows = rows.detach().flatten(1)
    if rows.dtype == torch.uint8:
        return rows
    rows = rows.to(torch.float64)
    broken = int((~torch.isfinite(rows)).any(dim=1).sum())
    if broken:
        raise InputError(
            f"{broken} of {len(rows)} points hold NaN or infinite values: "
            "if they are features, training diverged (lower the learning rate)"
        )
    return rows


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    r"""All squared Euclidean distances between two sets of points.

    .. math:: D_{ij} = \sum_p (a_{ip} - b_{jp})^2

    Args:
        a: ``(n, d)``, uint8 or float64.
        b: ``(m, d)``, the same dtype.

    Returns:
        ``(n, m)`` float64. For uint8 the result is the exact integer: with x − 128 in −128…127, float32
        products over blocks of at most 1,024 dimensions are exact on any machine, and float64
        sums of integers below 2⁵³ are too. For float64, differences are taken before squaring, so
        near-duplicates do not cancel.

    Example:
        >>> x = torch.tensor([[0, 0], [3, 4]], dtype=torch.uint8)
        >>> squared_distances(x, x).tolist()
        [[0.0, 25.0], [25.0, 0.0]]
    """
    if a.dtype != torch.uint8:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    distances = _squared_norms(a)[:, None] + _squared_norms(b)[None, :]
    with _exact_float32_products(a.device):
        for start in range(0, a.shape[1], _EXACT_DIMS):
            block_a = a[:, start : start + _EXACT_DIMS].float() - 128
            block_b = b[:, start : start + _EXACT_DIMS].float() - 128
            distances -= 2 * (block_a @ block_b.T).double()
    return distances


def nearest_neighbors(points: Points, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest neighbours of every point among the others, exactly.

    Args:
        points: ``(n, ...)``, uint8 or floating point; flattened to rows.
        k: Number of neighbours, 1 ≤ k ≤ n − 1.

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
    rows = as_points(points)
    n = len(rows)
    if not 1 <= k < n:
        raise InputError(f"k={k} neighbours do not exist among {n} points: choose 1 ≤ k ≤ {n - 1} or give more points")
    distances, indices = [], []
    for chunk in row_chunks(n, n):
        squared = squared_distances(rows[chunk], rows)
        own = torch.arange(chunk.start, chunk.stop)
        squared[torch.arange(len(own)), own] = torch.inf
        nearest = squared.sort(dim=1, stable=True)
        distances.append(nearest.values[:, :k].sqrt())
        indices.append(nearest.indices[:, :k])
    return torch.cat(distances), torch.cat(indices)


def distinct_rows(rows: Tensor) -> Tensor:
    """Indices of the first occurrence of every distinct row, ascending.

    Args:
        rows: ``(n, d)``, uint8 or float64 without NaN.

    Returns:
        int64, shape ``(n_distinct,)``.

    Example:
        >>> distinct_rows(torch.tensor([[1.0], [2.0], [1.0]])).tolist()
        [0, 1]
    """
    first: dict[bytes, int] = {}
    for i, key in enumerate(row_keys(rows)):
        first.setdefault(key, i)
    return torch.tensor(sorted(first.values()), dtype=torch.int64)


def row_keys(rows: Tensor) -> list[bytes]:
    """One key per row, the same for equal rows and for no others.

    Args:
        rows: ``(n, d)``, uint8 or float64 without NaN.

    Example:
        >>> a, b, c = row_keys(torch.tensor([[0.0], [-0.0], [1.0]]))
        >>> a == b, a == c
        (True, False)
    """
    # Adding zero turns −0.0 into 0.0, which compares equal but has other bytes.
    values = (rows if rows.dtype == torch.uint8 else rows + 0.0).cpu().numpy()
    return [row.tobytes() for row in values]


def row_chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of rows, each so short that its float64 distances to all columns fit in 64 MB.

    Example:
        >>> [(s.start, s.stop) for s in row_chunks(5, 4_000_000)]
        [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, _CHUNK_BYTES // (8 * max(1, n_columns)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _squared_norms(rows: Tensor) -> Tensor:
    """Σ (x − 128)² per row of uint8 values, exact, as float64."""
    total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for start in range(0, rows.shape[1], _EXACT_DIMS):
        block = rows[:, start : start + _EXACT_DIMS].float() - 128
        total += block.square().sum(dim=1).double()
    return total


@contextmanager
def _exact_float32_products(device: torch.device) -> Iterator[None]:
    """Switch off TF32, bf16 products and autocast for the time being."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
