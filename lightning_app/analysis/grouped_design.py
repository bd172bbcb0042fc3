"""The likelihood of a random-intercept model as a function of one number, for many responses at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ZERO = 1e-10  # what would be of order 1 and is smaller is the rounding error of 0
_SAME = 1e-9  # deviances this close are the same
_RATIOS = np.concatenate([[0.0], 2.0 ** np.arange(-10, 41)])  # θ · (largest group): τ from nothing to a million σ
_MOST_STEPS = 60


def group_means(values: Array, groups: NDArray[np.int64]) -> Array:
    """Means of rows ``(n, k)`` over groups 0 … G − 1, none of them empty: ``(G, k)``.

    Example:
        >>> group_means(np.array([[1.0], [5.0], [3.0]]), np.array([0, 1, 0]))
        array([[2.],
               [5.]])
    """
    sizes = np.bincount(groups)
    sums: Array = np.add.reduceat(values[np.argsort(groups, kind="stable")], np.cumsum(sizes) - sizes, axis=0)
    return sums / sizes[:, None]


@dataclass(frozen=True)
class Responses:
    """All that the likelihood needs to know of m responses.

    Attributes:
        means: ``(G, m)`` means of the groups.
        within: ``(p, m)`` deviations from them, along the directions in which the design moves within groups.
        rest: ``(m,)`` squared length of what else there is of the deviations.
    """

    means: Array
    within: Array
    rest: Array


@dataclass(frozen=True)
class Profile:
    """The likelihood maximised over coefficients and σ², at one θ for each of m responses.

    Attributes:
        ratio: ``(m,)`` θ = τ²/σ².
        deviance: ``(m,)`` −2 · log-likelihood without its constants.
        slope: ``(m,)`` derivative of the deviance by θ, over the sum of n_g / (1 + n_g θ): of order 1 in any units.
        coefficients: ``(m, p)``, of the basis.
        squares: ``(m,)`` sum of squared residuals (y − Xβ)ᵀ (I + θZZᵀ)⁻¹ (y − Xβ).
    """

    ratio: Array
    deviance: Array
    slope: Array
    coefficients: Array
    squares: Array


class GroupedDesign:
    r"""A design whose rows fall into groups, prepared for fits of many responses.

    With :math:`\theta = \tau^2/\sigma^2` and :math:`w_g = n_g / (1 + n_g \theta)` the covariance of a group has the
    inverse :math:`V_g^{-1} = \sigma^{-2} (I - \frac{\theta}{1 + n_g \theta} 1 1^T)`, so that

    .. math:: \sigma^2\, a^T V^{-1} b = \sum_g (a_g - \bar a_g)^T (b_g - \bar b_g) + \sum_g w_g\, \bar a_g \bar b_g :

    a part within groups that does not depend on θ, and a part of their means. The columns are turned into an
    orthonormal basis in which the first part is diagonal; then sums of squares are added up and never subtracted.

    Attributes:
        groups: ``(n,)``, 0 … G − 1.
        sizes: ``(G,)`` rows of each group.
        basis: ``(n, p)``, orthonormal columns that span those of the design.
        transform: ``(p, p)``: design = basis · transform.
        means: ``(G, p)``, of the basis.
        directions: ``(n, p)`` in which the basis moves within groups; 0 where it does not move.
        scales: ``(p,)`` how far, 0 … 1.

    Args:
        x: ``(n, p)``.
        groups: ``(n,)``, 0 … G − 1, none of them empty.
        names: Of the columns.

    Raises:
        ValueError: No more rows than columns, or columns that depend on each other.
    """

    def __init__(self, x: Array, groups: NDArray[np.int64], names: Sequence[str]) -> None:
        n, p = x.shape
        if n <= p:
            raise ValueError(f"{n} rows cannot tell {p} coefficients and a variance apart")
        lengths = np.linalg.norm(x, axis=0)
        lengths[lengths == 0] = 1
        basis, singular, turned = np.linalg.svd(x / lengths, full_matrices=False)
        null = turned[singular <= _ZERO * singular.max(initial=1)]
        if len(null):
            tied = [name for name, part in zip(names, np.abs(null).max(axis=0), strict=True) if part > 1e-6]
            raise ValueError(f"the columns {', '.join(tied)} depend on each other: leave out one of them")
        self.groups = groups
        self.sizes = np.bincount(groups).astype(np.float64)
        directions, scales, rotation = np.linalg.svd(basis - group_means(basis, groups)[groups], full_matrices=False)
        self.scales = np.where(scales > _ZERO, scales, 0)
        self.directions = np.where(self.scales > 0, directions, 0)
        self.basis: Array = basis @ rotation.T
        self.transform = rotation @ (singular[:, None] * turned) * lengths
        self.means = group_means(self.basis, groups)
        self._products = (self.means[:, :, None] * self.means[:, None, :]).reshape(len(self.sizes), p * p)

    @property
    def free_within(self) -> int:
        """Degrees of freedom within groups: rows, less groups, less columns that move within groups."""
        return len(self.basis) - len(self.sizes) - int((self.scales > 0).sum())

    @property
    def largest_array(self) -> int:
        """Numbers, for one response, in the largest array of :meth:`best`."""
        return len(_RATIOS) * int(max(self.means.shape))

    def responses(self, y: Array) -> Responses:
        """What the likelihood needs to know of responses ``(n, m)``."""
        means = group_means(y, self.groups)
        deviations = y - means[self.groups]
        within = self.directions.T @ deviations
        return Responses(means, within, np.square(deviations - self.directions @ within).sum(axis=0))

    def gram(self, ratio: Array) -> Array:
        """σ² · basisᵀ V⁻¹ basis at every θ of ``ratio`` ``(k,)``: ``(k, p, p)``."""
        return self._gram(self.sizes / (1 + self.sizes * ratio[:, None]))

    def _gram(self, weights: Array) -> Array:
        p = len(self.scales)
        gram: Array = np.diag(self.scales**2) + (weights @ self._products).reshape(len(weights), p, p)
        return gram

    def best(self, responses: Responses, *, reml: bool) -> Profile:
        """The fit of each response at its most likely θ ≥ 0.

        The deviance is looked at over a grid of θ, common to all responses; beside its lowest point the zero of the
        slope is found to rounding error. θ is exactly 0 where the deviance rises from there, or is flat.
        """
        grid = _RATIOS / self.sizes.max()
        seen = self._at(grid, responses.means[None], responses.within[None], responses.rest[None], reml=reml)
        lowest = (seen.deviance <= seen.deviance.min(axis=0) + _SAME).argmax(axis=0)
        every = np.arange(len(lowest))
        rises = seen.slope[lowest, every] >= -_ZERO
        low = np.where(rises, np.maximum(lowest - 1, 0), lowest)
        high = np.where(rises, lowest, np.minimum(lowest + 1, len(grid) - 1))
        one_each = (responses.means.T[:, :, None], responses.within.T[:, :, None], responses.rest[:, None])
        ratio = grid[lowest]
        inner = np.flatnonzero(low < high)
        if len(inner):
            parts = [part[inner] for part in one_each]
            ratio[inner] = _zeros(
                lambda at: self._at(at, *parts, reml=reml).slope[:, 0],
                (grid[low[inner]], grid[high[inner]]),
                (seen.slope[low, every][inner], seen.slope[high, every][inner]),
            )
        found = self._at(ratio, *one_each, reml=reml)
        return Profile(ratio, found.deviance[:, 0], found.slope[:, 0], found.coefficients[:, :, 0], found.squares[:, 0])

    def _at(self, ratio: Array, means: Array, within: Array, rest: Array, *, reml: bool) -> Profile:
        """At k values of θ, responses for all of them (first axis of length 1) or for each: ``(k, m)``."""
        n, p = self.basis.shape
        free = n - p if reml else n
        weights = self.sizes / (1 + self.sizes * ratio[:, None])
        inverse = np.linalg.inv(self._gram(weights))
        scales, w = self.scales[:, None], weights[:, :, None]
        coefficients = inverse @ (scales * within + self.means.T @ (w * means))
        between = means - self.means @ coefficients
        squares = rest + np.square(within - scales * coefficients).sum(axis=1) + (w * between**2).sum(axis=1)
        deviance = free * np.log(squares) + np.log1p(self.sizes * ratio[:, None]).sum(axis=1)[:, None]
        slope = weights.sum(axis=1)[:, None] - free * np.square(w * between).sum(axis=1) / squares
        if reml:
            deviance -= np.linalg.slogdet(inverse)[1][:, None]
            moved = (weights**2 @ self._products).reshape(-1, p, p)
            slope -= (moved * inverse).sum(axis=(1, 2))[:, None]
        return Profile(ratio, deviance, slope / weights.sum(axis=1)[:, None], coefficients, squares)


def _zeros(function: Callable[[Array], Array], ends: tuple[Array, Array], values: tuple[Array, Array]) -> Array:
    """Where functions rise through 0 between two ends, by the Illinois rule of false position, all at once."""
    (low, high), (at_low, at_high) = ends, values
    zero, done, before = (low + high) / 2, np.zeros(len(low), dtype=bool), at_low > 0
    for _ in range(_MOST_STEPS):
        change = (at_low < 0) & (at_high > 0)
        span = np.where(change, at_high - at_low, 1)
        middle = np.where(change, (low * at_high - high * at_low) / span, (low + high) / 2)
        zero = np.where(done, zero, middle)
        value = function(zero)
        done |= (np.abs(value) < 1e-13) | (high - low <= 1e-14 * high)
        if done.all():
            break
        up = value > 0
        again = up == before  # the other end has stayed: its value is halved, so that it moves
        at_low = np.where(up, np.where(again, at_low / 2, at_low), value)
        at_high = np.where(up, value, np.where(again, at_high / 2, at_high))
        low, high, before = np.where(up, low, zero), np.where(up, zero, high), up
    return zero
