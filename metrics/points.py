"""Samples as rows: what every distance is taken between."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.errors import InputError

Points = Tensor | NDArray[np.generic]

_LARGEST = 1e150  # squares of larger values overflow
_CHECKED_AT_ONCE = 2**24  # values


def as_points(points: Points) -> Tensor:
    """Flatten samples to rows and check that they can be compared.

    Args:
        points: ``(n, ...)``, uint8 or any other real dtype, NumPy or torch, on any device.

    Returns:
        ``(n, d)``. uint8, float32 and float64 stay what they are and are not copied where the layout
        allows; every other dtype becomes float64.

    Raises:
        InputError: No samples, or NaN, infinite or absurdly large values among them.
    """
    rows = _as_tensor(points)
    if rows.ndim < 2 or rows.numel() == 0:
        raise InputError(f"points of shape {tuple(rows.shape)} are empty: expected (n, ...) with n ≥ 1 samples")
    rows = rows.detach().flatten(1)
    if rows.dtype == torch.uint8:
        return rows
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.to(torch.float64)
    step = max(1, _CHECKED_AT_ONCE // rows.shape[1])
    broken = sum(int((~(part.abs() < _LARGEST)).any(dim=1).sum()) for part in torch.split(rows, step))
    if broken:
        raise InputError(
            f"{broken} of {len(rows)} points hold NaN or infinite values: "
            "if they are features, training diverged (lower the learning rate)"
        )
    return rows


def as_labels(labels: Points, n: int) -> NDArray[np.int64]:
    """Check that there is one integer label for each of n samples.

    Raises:
        InputError: Another shape, or labels that are no integers.
    """
    try:
        given = _as_tensor(labels).cpu()
    except TypeError as error:  # strings, for instance
        raise InputError(f"labels that torch cannot read ({error}): give one integer label per image") from error
    if given.shape != (n,) or given.is_floating_point() or given.is_complex():
        raise InputError(
            f"{n} images but labels of shape {tuple(given.shape)}, {given.dtype}: give one integer label per image"
        )
    return given.numpy().astype(np.int64)


def distinct_rows(rows: Tensor, digests: Tensor) -> Tensor:
    """Indices of the first occurrence of every distinct row, ascending.

    Args:
        rows: ``(n, d)``.
        digests: ``(n,)``, equal for equal rows (squared norms, for instance); rows with equal digests are compared
            value by value.

    Returns:
        int64, shape ``(n_distinct,)``.

    Example:
        >>> rows = torch.tensor([[1.0], [2.0], [1.0]])
        >>> distinct_rows(rows, rows.square().sum(1)).tolist()
        [0, 1]
    """
    return torch.from_numpy(np.unique(equal_rows(rows, digests)))


def equal_rows(rows: Tensor, digests: Tensor) -> NDArray[np.int64]:
    """For every row the index of the first row that equals it.

    Args:
        rows: ``(n, d)``.
        digests: ``(n,)``, equal for equal rows.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [-0.0]])
        >>> equal_rows(rows, rows.square().sum(1)).tolist()
        [0, 1, 0]
    """
    _, inverse, counts = np.unique(digests.cpu().numpy(), return_inverse=True, return_counts=True)
    first = np.arange(len(rows))
    seen: dict[tuple[int, bytes], int] = {}
    for i in np.flatnonzero(counts[inverse] > 1).tolist():
        values = rows[i].cpu()
        # Adding zero turns −0.0 into 0.0, which compares equal but has other bytes.
        key = (values if values.dtype == torch.uint8 else values + 0.0).numpy().tobytes()
        first[i] = seen.setdefault((int(inverse[i]), key), i)
    return first


def _as_tensor(points: Points) -> Tensor:
    if isinstance(points, Tensor):
        return points
    if isinstance(points, np.ndarray) and min(points.strides, default=0) < 0:
        points = points.copy()  # torch knows no negative strides
    with warnings.catch_warnings():
        # A memory map that must not be written: nothing here writes, and a copy would fill the memory.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(points)
