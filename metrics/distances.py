"""Squared distances within one set of points: exact for 8-bit images, bounded for everything else."""

import torch
from torch import Tensor

from metrics.points import distinct_rows, equal_rows
from metrics.products import centred_norms, centred_products

_BLOCK_BYTES = 128 * 2**20
_EPS = 2.0**-53
_NORM_ROWS = 1024
_ROW_COLUMNS = 8000  # of the distances to all points, at a time


class Distances:
    r"""All squared Euclidean distances of a set, computed a tile at a time.

    .. math:: D_{ij} = \sum_p (x_{ip} - x_{jp})^2
              = \lVert x_i \rVert^2 + \lVert x_j \rVert^2 - 2 \langle x_i, x_j \rangle

    For uint8 points every tile holds the exact integers. For floating-point points a tile holds approximations
    and :meth:`slack` bounds their error, so that candidates can be chosen by them and none is lost; :meth:`exact`
    takes differences before it squares, in float64, and decides.

    Args:
        rows: ``(n, d)`` from :func:`metrics.points.as_points`; kept as they are, not copied.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.is_exact = rows.dtype == torch.uint8
        dims = rows.shape[1]
        if self.is_exact:
            self.norms = centred_norms(rows)
            self.dtype = torch.int32 if dims * 255**2 < 2**31 else torch.int64
            self.largest: float = torch.iinfo(self.dtype).max
        else:
            # About the mean the norms, and with them the bound, are smallest.
            self._centre = rows.mean(dim=0, dtype=torch.float64)
            self.norms = self._float_norms()
            self.dtype = torch.float64
            self.largest = torch.inf

    def __len__(self) -> int:
        """Number of points."""
        return len(self.rows)

    def tile(self, i: Tensor, j: Tensor) -> Tensor:
        """Squared distances between points i ``(a,)`` and points j ``(b,)``: ``(a, b)``, exact or approximate."""
        if self.is_exact:
            products = centred_products(self.rows, i, j).to(self.dtype)
            squared = torch.sub(self.norms[j].to(self.dtype), products, alpha=2, out=products)
            return squared.add_(self.norms[i].to(self.dtype)[:, None])
        squared = self.norms[i][:, None] + self.norms[j]
        with torch.autocast(self.rows.device.type, enabled=False):
            for start, stop in self._blocks(len(i) + len(j)):
                squared.addmm_(self._block(i, start, stop), self._block(j, start, stop).T, alpha=-2)
        return squared

    def slack(self, i: Tensor) -> Tensor:
        r"""How far a tile of approximations may be from what :meth:`exact` returns, per row: ``(a,)`` float64.

        Centring, d products and sums in float64, and the rounding of the differences themselves each err by at
        most a multiple of :math:`d\,u\,(\lVert x_i\rVert + \lVert x_j\rVert)^2` with :math:`u = 2^{-53}` (Higham,
        *Accuracy and Stability of Numerical Algorithms*, 2nd ed., eq. 3.5); the constant below exceeds their sum.
        """
        if self.is_exact:
            return torch.zeros(len(i), dtype=torch.float64, device=self.rows.device)
        reach = self.norms[i].sqrt() + self.norms.max().sqrt()
        return (8 * (self.rows.shape[1] + 16) * _EPS) * reach.square()

    def exact(self, i: Tensor, j: Tensor) -> Tensor:
        """Squared distances between points i ``(a,)`` and, for each, points j ``(a, k)``: ``(a, k)`` float64.

        Differences are taken before squares, and added up in one fixed order: the same bits on every machine.
        """
        found = torch.empty(j.shape, dtype=torch.float64, device=self.rows.device)
        at_once = max(1, _BLOCK_BYTES // (16 * self.rows.shape[1]))  # differences
        columns = min(at_once, max(1, j.shape[1]))
        for rows in torch.split(torch.arange(len(i), device=i.device), max(1, at_once // columns)):
            left = self.rows[i[rows]].to(torch.float64)[:, None]
            for start in range(0, j.shape[1], columns):
                right = self.rows[j[rows, start : start + columns]].to(torch.float64)
                found[rows, start : start + columns] = _sum_in_fixed_order(right.sub_(left).square_())
        return found

    def exact_rows(self, i: Tensor) -> Tensor:
        """Squared distances of points i ``(a,)`` to all points: ``(a, n)``, exact integers or as :meth:`exact`."""
        everything = torch.arange(len(self), device=self.rows.device)
        if self.is_exact:
            return torch.cat([self.tile(i, part) for part in torch.split(everything, _ROW_COLUMNS)], dim=1)
        return self.exact(i, everything.expand(len(i), -1))

    def distinct(self) -> Tensor:
        """Indices of the first occurrence of every distinct point, ascending."""
        return distinct_rows(self.rows, self.norms)

    def first_equal(self) -> Tensor:
        """For every point the index of the first point that equals it, ``(n,)`` int64."""
        return torch.from_numpy(equal_rows(self.rows, self.norms))

    def _float_norms(self) -> Tensor:
        norms = torch.zeros(len(self.rows), dtype=torch.float64, device=self.rows.device)
        everything = torch.arange(len(self.rows), device=self.rows.device)
        for part in torch.split(everything, _NORM_ROWS):
            # The same blocks for a shorter part: equal points have equal norms, which tell duplicates.
            for start, stop in self._blocks(_NORM_ROWS):
                norms[part] += _sum_in_fixed_order(self._block(part, start, stop).square_())
        return norms

    def _block(self, part: Tensor, start: int, stop: int) -> Tensor:
        return self.rows[:, start:stop].index_select(0, part).to(torch.float64) - self._centre[start:stop]

    def _blocks(self, n_rows: int) -> list[tuple[int, int]]:
        dims = self.rows.shape[1]
        step = max(64, _BLOCK_BYTES // (16 * n_rows))
        return [(start, min(start + step, dims)) for start in range(0, dims, step)]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    r"""All squared Euclidean distances between two sets of points.

    .. math:: D_{ij} = \sum_p (a_{ip} - b_{jp})^2

    Args:
        a: ``(n, d)``, uint8 or float64.
        b: ``(m, d)``, the same dtype.

    Returns:
        ``(n, m)`` float64: for uint8 the exact integers, for float64 differences taken before squaring.

    Example:
        >>> x = torch.tensor([[0, 0], [3, 4]], dtype=torch.uint8)
        >>> squared_distances(x, x).tolist()
        [[0.0, 25.0], [25.0, 0.0]]
    """
    both = Distances(torch.cat([a, b]))
    left = torch.arange(len(a), device=a.device)
    right = torch.arange(len(a), len(both), device=a.device)
    if both.is_exact:
        return both.tile(left, right).to(torch.float64)
    return both.exact(left, right.expand(len(a), -1))


def _sum_in_fixed_order(values: Tensor) -> Tensor:
    """Sums over the last axis by halving it: element-wise additions, which every machine rounds alike."""
    while values.shape[-1] > 1:
        half = values.shape[-1] // 2
        folded = values[..., :half] + values[..., half : 2 * half]
        if values.shape[-1] % 2:
            folded[..., 0] += values[..., -1]
        values = folded
    return values[..., 0]
