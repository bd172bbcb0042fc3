"""Intrinsic dimension: how many degrees of freedom a set of points has."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.dimension_estimators import (
    OWN,
    Floats,
    check_estimator,
    first_of,
    geomle,
    logarithms,
    mle,
    scikit_dimension,
    twonn,
)
from metrics.distances import Distances
from metrics.errors import InputError, require_at_least
from metrics.estimate import Estimate
from metrics.neighbors import neighbors_within
from metrics.points import Points, as_points
from metrics.ranks import Progress
from metrics.sampling import random_sample

_MAX_DUPLICATES = 0.2
_MIN_NEIGHBORS = 3
_SPLITS, _MIN_SPLITS, _SPLIT_POINTS = 100, 40, 500_000
_GEOMLE_REPEATS, _GEOMLE_SPLITS = 10, 30
_GEOMLE, _HALVES = 1, 2  # independent streams of random numbers

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighborhoods:
    """Exact neighbours of every distinct point of a set: computed once, for all estimators and all k.

    Attributes:
        points: ``(n, d)``, the whole set that was given.
        used: ``(m,)`` rows of it that take part: a seeded sample, without exact duplicates.
        distances: ``(m, K)`` float64, ascending.
        indices: ``(m, K)`` int64: neighbours as positions in ``used``.
        n_dropped: Duplicates left out.
    """

    points: Tensor
    used: Tensor
    distances: Floats
    indices: Indices
    n_dropped: int


def neighborhoods(
    points: Points,
    *,
    estimators: Sequence[str] = ("mle", "twonn"),
    k: int = 20,
    max_samples: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Neighborhoods:
    """Find the neighbours that :func:`intrinsic_dimension` needs, once for several estimators or several k.

    Args:
        points: Samples, ``(n, ...)``, flattened to rows; uint8 images or floating-point features.
        estimators: For which of them.
        k: Largest number of neighbours that will be asked for. More are kept, for the standard errors.
        max_samples: Use a seeded random choice of at most so many points; None takes all.
        seed: Seed of that choice.
        progress: Told after every part of the work.

    Raises:
        InputError: Too few points for k, more than 20 % duplicates, NaN or infinite values.

    Example:
        >>> square = np.random.default_rng(0).random((1000, 2))
        >>> found = neighborhoods(square, k=20)
        >>> [round(intrinsic_dimension(found, k=k).value, 1) for k in (10, 20)]
        [1.7, 1.8]
    """
    if not estimators:
        raise InputError("no estimator: name at least one")
    for estimator in estimators:
        check_estimator(estimator)
    require_at_least(1, max_samples=max_samples)
    require_at_least(0, seed=seed)
    if k < _MIN_NEIGHBORS:
        raise InputError(f"k={k} is too small: at least {_MIN_NEIGHBORS} neighbours are needed")
    rows = as_points(points)
    sample = torch.from_numpy(random_sample(len(rows), max_samples, seed)).to(rows.device)
    distances = Distances(rows if len(sample) == len(rows) else rows[sample])
    kept = distances.distinct()
    n_dropped = len(sample) - len(kept)
    if n_dropped > _MAX_DUPLICATES * len(sample):
        raise InputError(
            f"{n_dropped} of {len(sample)} points are exact duplicates (at most {_MAX_DUPLICATES:.0%} are allowed): "
            "remove them, or check that the features have not collapsed"
        )
    needed = neighbors_needed(estimators, k)
    if len(kept) <= needed:
        what = f"geomle with k={k}, which takes {needed}" if needed > k and "geomle" in estimators else f"k={needed}"
        raise InputError(
            f"{len(kept)} distinct points are too few for {what} neighbours: give at least {needed + 1} or lower k"
        )
    length = min(len(kept) - 1, _enough(needed, 0.5))
    found, indices = neighbors_within(distances, kept.to(rows.device), length, progress=progress)
    positions = np.searchsorted(kept.numpy(), indices.cpu().numpy())
    return Neighborhoods(rows, sample[kept.to(rows.device)], found.cpu().numpy(), positions, n_dropped)


def intrinsic_dimension(
    points: Points | Neighborhoods,
    *,
    estimator: str = "mle",
    k: int = 20,
    max_samples: int | None = None,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the intrinsic dimension of a set of points.

    - ``mle`` (Levina & Bickel, *Maximum likelihood estimation of intrinsic dimension*, NeurIPS 2004,
      eq. 8, averaged as MacKay & Ghahramani propose, with the paper's normalisation k − 2):

      .. math:: \hat d = \Bigl[ \frac1n \sum_{i=1}^n \frac{1}{k-2}
                \sum_{j=1}^{k-1} \log \frac{T_k(x_i)}{T_j(x_i)} \Bigr]^{-1}

    - ``twonn`` (Facco et al., *Scientific Reports* 7:12140, 2017): the slope of
      :math:`-\log(1 - F(\mu))` against :math:`\log \mu` through the origin, with
      :math:`\mu_i = T_2(x_i) / T_1(x_i)`, the largest tenth of the ratios left out.
    - ``geomle`` (Gomtsyan et al., ACML 2019): :func:`metrics.dimension_estimators.geomle`.
    - Every estimator of scikit-dimension by the name of its class: ``CorrInt``, ``lPCA``, ….

    Neighbours are exact (:func:`metrics.nearest_neighbors`). Exact duplicates are removed first: they are no sample of
    the manifold, and one pair of them would turn the estimate into zero.

    **Standard error** of ``mle``, ``twonn`` and ``geomle``: neighbourhoods overlap, so local estimates are not
    independent. Two *disjoint* halves A and B of the sample are, and the variance of the whole is half that of each:

    .. math:: \mathrm{SE}^2 = \hat d^2 \; \tfrac14
              \bigl\langle (\log \hat d_A - \log \hat d_B)^2 \bigr\rangle_{\text{random splits}}

    over 100 seeded splits (fewer, but at least 40, above 5,000 points; 30 for ``geomle``). It measures scatter, not
    bias: docs/method.md shows both. None where a half has too few points, where neighbourhoods were found for a smaller
    k, and for scikit-dimension's estimators.

    Args:
        points: Samples, ``(n, ...)``, flattened to rows; uint8 images or floating-point features; or the result of
            :func:`neighborhoods`, from which any number of estimates can be read.
        estimator: One of :data:`metrics.estimators`.
        k: Neighbours per point for ``mle``, 3 ≤ k < n; ``twonn`` always uses two, ``geomle`` k/2 … 2k of those that
            bootstrap samples hold, which takes about 5 k points.
        max_samples: Measure on a seeded random choice of at most so many points; None takes all.
        seed: Seed of that choice, of ``geomle``'s bootstrap samples and of the splits.

    Returns:
        The estimate (dimensionless, > 0); ``n_dropped`` counts the duplicates.

    Raises:
        InputError: Too few points, an unknown estimator, NaN or infinite values, more than 20 %
            duplicates, or neighbours that are equally far (no dimension can be read off them).

    Example:
        >>> line = torch.linspace(0, 1, 200, dtype=torch.float64).square().reshape(-1, 1)
        >>> round(intrinsic_dimension(line @ torch.ones(1, 3, dtype=torch.float64), k=10).value, 1)
        1.1
    """
    check_estimator(estimator)
    require_at_least(0, seed=seed)
    if not isinstance(points, Neighborhoods):
        points = neighborhoods(points, estimators=[estimator], k=k, max_samples=max_samples, seed=seed)
    elif max_samples is not None and max_samples < len(points.used):
        raise InputError(f"max_samples={max_samples}: the neighbourhoods were computed for {len(points.used)} points")
    needed = _needed(estimator, k)
    if k < _MIN_NEIGHBORS or needed > points.distances.shape[1]:
        raise InputError(
            f"k={k} is out of range: these neighbourhoods hold {points.distances.shape[1]} neighbours, "
            f"{estimator} needs {needed}; choose k ≥ {_MIN_NEIGHBORS} or compute more"
        )
    stderr = None
    if estimator in OWN:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # what comes of ties is looked at below
            value, stderr = _own_estimate(points, estimator, k, seed)
    else:
        value = scikit_dimension(
            estimator,
            points.points[points.used].cpu().numpy().astype(np.float64),
            points.distances[:, :needed],
            points.indices[:, :needed],
            k,
            seed,
        )
    if not (math.isfinite(value) and value > 0):
        raise InputError("neighbours are equally far: no dimension can be read off these points")
    return Estimate(value=value, stderr=stderr, n_used=len(points.used), n_dropped=points.n_dropped)


def _own_estimate(found: Neighborhoods, estimator: str, k: int, seed: int) -> tuple[float, float | None]:
    """The estimate and its standard error; None where halves have too few neighbours, or no dimension."""
    length = _needed(estimator, k)
    kept = slice(_enough(length, 0.5))
    logs, indices = logarithms(found.distances[:, kept]), found.indices[:, kept]
    dims = found.points.shape[1]
    rng = np.random.default_rng([seed, _GEOMLE])
    everyone = np.arange(len(logs))

    def estimate(logs: Floats, indices: Indices, members: Indices, repeats: int) -> float:
        if estimator == "geomle":
            return geomle(logs, indices, members, k, dims, rng, repeats=repeats)
        return mle(logs) if estimator == "mle" else twonn(logs)

    value = estimate(logs[:, :length], indices[:, :length], everyone, _GEOMLE_REPEATS)
    enough_points = len(logs) // 2 > length and logs.shape[1] >= min(len(logs) - 1, _enough(length, 0.5))
    if not enough_points or not (math.isfinite(value) and value > 0):
        return value, None
    splits = _GEOMLE_SPLITS if estimator == "geomle" else max(_MIN_SPLITS, min(_SPLITS, _SPLIT_POINTS // len(logs)))
    draw = np.random.default_rng([seed, _HALVES])
    squares = []
    for _ in range(splits):
        first = np.zeros(len(logs), dtype=bool)
        first[draw.permutation(len(logs))[: len(logs) // 2]] = True
        together = first[indices] == first[:, None]
        near = first_of(logs, together, length)
        who = first_of(indices, together, length) if estimator == "geomle" else indices  # others do not ask
        a, b = (estimate(near[half], who[half], everyone[half], 1) for half in (first, ~first))
        if not (0 < a < math.inf and 0 < b < math.inf):
            return value, None
        squares.append(math.log(a / b) ** 2)
    return value, value * math.sqrt(float(np.mean(squares)) / 4)


def neighbors_needed(estimators: Iterable[str], k: int) -> int:
    """How many neighbours every point must have: there must be more distinct points than these.

    Example:
        >>> neighbors_needed(["twonn"], k=20), neighbors_needed(["mle", "twonn"], k=20)
        (2, 20)
    """
    return max(_needed(estimator, k) for estimator in estimators)


def _needed(estimator: str, k: int) -> int:
    """How many neighbours an estimate takes: of ``geomle``'s, bootstrap samples must happen to hold 2 k."""
    return {"twonn": 2, "geomle": _enough(2 * k, 1 - math.exp(-1))}.get(estimator, k)


def _enough(needed: int, part: float) -> int:
    """So many neighbours that a random part of all points almost surely (five sigma) holds enough of them."""
    return math.ceil((needed + 5 * math.sqrt(needed * (1 - part))) / part) + 6
