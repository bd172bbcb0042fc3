"""Exact inner products of 8-bit values, as fast as the machine can do them."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

INT32_DIMS = (2**31 - 1) // 128**2
"""Inner products of values in −128…127 over so many dimensions fit into int32."""

_FLOAT_DIMS = 2**24 // 128**2
"""Over so many dimensions every partial sum is at most 2²⁴: exact in float32, whatever the order."""

_BLOCK_BYTES = 64 * 2**20
_BLOCK_DIMS = 2**16
_STRIP = 256  # columns of a symmetric result at a time
_LARGE, _LARGE_DIMS, _LARGE_PART = 2048, 2**14, 512
"""Results of more rows and columns than this are put together from parts whose operands stay in the cache."""

_NORM_ROWS = 32


def centred_products(rows: Tensor, i: Tensor, j: Tensor) -> Tensor:
    r"""Inner products of 8-bit rows about 128.

    .. math:: P_{ab} = \sum_p (x_{i_a p} - 128)(x_{j_b p} - 128)

    Args:
        rows: ``(n, d)`` uint8.
        i: ``(a,)`` int64, rows on the left.
        j: ``(b,)`` int64, rows on the right. The very same tensor as ``i`` costs little more than half.

    Returns:
        ``(a, b)``, the exact integers: int32 for d ≤ 131,071, int64 above. Where the processor's int8 products
        pass a test on values that overflow 16-bit sums, they are used; elsewhere float32 products over blocks
        of 1,024 dimensions, whose partial sums are integers of at most 2²⁴.

    Example:
        >>> x = torch.tensor([[0, 255], [128, 129]], dtype=torch.uint8)
        >>> centred_products(x, torch.arange(2), torch.arange(2)).tolist()
        [[32513, 127], [127, 1]]
    """
    dims = rows.shape[1]
    symmetric = i is j
    int8 = rows.device.type == "cpu" and int8_products_are_exact()
    large = int8 and not symmetric and len(i) + len(j) > _LARGE
    step = _LARGE_DIMS if large else min(_BLOCK_DIMS, max(2048, _BLOCK_BYTES // (len(i) + len(j))))
    step = step if int8 else _FLOAT_DIMS
    tall = _LARGE_PART if large else len(i)
    wide = _LARGE_PART if large else _STRIP if symmetric else len(j)
    total = torch.zeros(len(i), len(j), dtype=torch.int32 if dims <= INT32_DIMS else torch.int64, device=rows.device)
    for start in range(0, dims, step):
        block = rows[:, start : start + step]
        left = _centred(block, i)
        right = left if symmetric else _centred(block, j)
        # A single column transposed has ambiguous strides, and _int_mm reads beyond its end.
        if not int8 or block.shape[1] == 1:
            left = left.float()
            right = left if symmetric else right.float()
        for at in range(0, len(j), wide):
            # Of a symmetric result, the part on and below the diagonal is enough.
            for top in range(at if symmetric else 0, len(i), tall):
                part = slice(top, top + tall), slice(at, at + wide)
                total[part] += _products(left[part[0]], right[part[1]])
    if symmetric:
        for at in range(0, len(j), wide):
            total[at : at + wide, at + wide :] = total[at + wide :, at : at + wide].T
    return total


def centred_norms(rows: Tensor) -> Tensor:
    """Σ (x − 128)² of every 8-bit row, exact, ``(n,)`` int64.

    They are the diagonals of small products: several times faster than squaring and adding up.
    """
    parts = []
    for start in range(0, len(rows), _NORM_ROWS):
        part = torch.arange(start, min(start + _NORM_ROWS, len(rows)), device=rows.device)
        parts.append(centred_products(rows, part, part).diagonal())
    return torch.cat(parts).to(torch.int64)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of rows of integers, exact in int32 for so many dimensions as fit."""
    if left.dtype == torch.int8:
        return torch._int_mm(left, right.T)
    with _exact_float32_products(left.device):
        return (left @ right.T).to(torch.int32)


def _centred(rows: Tensor, part: Tensor) -> Tensor:
    """Some of the rows, less 128, as int8: flipping the highest bit of x makes it x − 128 in two's complement."""
    first, last = int(part[0]), int(part[-1])
    if last - first + 1 == len(part) and torch.equal(part, torch.arange(first, last + 1, device=part.device)):
        # Into rows of its own: one row cut out of columns would keep strides that _int_mm takes for a column.
        centred = torch.empty((len(part), rows.shape[1]), dtype=torch.uint8, device=rows.device)
        return torch.bitwise_xor(rows[first : last + 1], 128, out=centred).view(torch.int8)
    on_cpu = rows.device.type == "cpu"  # where NumPy takes a part of rows several times faster
    taken = torch.from_numpy(rows.numpy()[part.numpy()]) if on_cpu else rows[part]
    return taken.bitwise_xor_(128).view(torch.int8)


@cache
def int8_products_are_exact() -> bool:
    """Whether this machine's int8 products are exact, also where 16-bit partial sums would overflow.

    Without VNNI or AMX instructions they are not, and nothing says so.
    """
    # Elsewhere torch multiplies int8 without oneDNN: right, but slower than float32.
    if platform.machine() not in ("x86_64", "AMD64") or not torch._C._has_mkldnn:
        return False
    extremes = torch.tensor([-128, 127], dtype=torch.int8)
    generator = torch.Generator().manual_seed(0)
    for n, m, dims in ((1, 1, 2), (1, 40, 64), (3, 5, 1000), (33, 65, 4099), (64, 128, 1024)):
        drawn = [extremes[torch.randint(2, (size, dims), generator=generator)] for size in (n, m)]
        constant = [[torch.full((size, dims), int(e), dtype=torch.int8) for size in (n, m)] for e in extremes]
        mixed = [constant[0][0], constant[1][1]]
        for left, right in (drawn, mixed, mixed[::-1] if n == m else drawn, *constant):
            try:
                found = torch._int_mm(left, right.T)
            except RuntimeError:
                return False
            if not torch.equal(found.to(torch.int64), left.to(torch.int64) @ right.to(torch.int64).T):
                return False
    return True


@contextmanager
def _exact_float32_products(device: torch.device) -> Iterator[None]:
    """Switch off TF32, bf16 products and autocast for the time being."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set by the interface of torch 2.9, which this one does not mix with
        with _ieee_products(device), torch.autocast(device.type, enabled=False):
            yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _ieee_products(device: torch.device) -> Iterator[None]:
    """Switch off TF32 and bf16 products in the words of torch 2.9 and later."""
    backends: Any = torch.backends  # its types do not know these words yet
    matmul = backends.cuda.matmul if device.type == "cuda" else backends.mkldnn.matmul
    precision, matmul.fp32_precision = matmul.fp32_precision, "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = precision
