"""Estimators of intrinsic dimension, as functions of the distances to neighbours."""

import inspect
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.errors import InputError

Floats = NDArray[np.float64]

OWN = ("mle", "twonn", "geomle")
"""Computed here, from exact neighbours, with standard errors."""

SCIKIT_DIMENSION = (
    "CorrInt",
    "DANCo",
    "ESS",
    "FisherS",
    "GRIDE",
    "KNN",
    "MADA",
    "MLE",
    "MOM",
    "MiND_ML",
    "PH",
    "TLE",
    "TwoNN",
    "lPCA",
)
"""Those of scikit-dimension, by the names of its classes, with its defaults."""

estimators = OWN + SCIKIT_DIMENSION
"""Names that :func:`metrics.intrinsic_dimension` takes."""

_DISCARDED = 0.1  # of TwoNN's ratios, as Facco et al. do
_GEOMLE_BOOTSTRAPS, _GEOMLE_RIDGE = 20, 5e-3  # as in the authors' code
_POINTS_AT_ONCE = 2048


def check_estimator(name: str) -> None:
    """Refuse a name that is none of an estimator.

    Raises:
        InputError: With the names that there are.
    """
    if name not in estimators:
        raise InputError(f"unknown estimator {name!r}: choose from {', '.join(estimators)}")


def mle(logs: Floats) -> float:
    r"""Levina & Bickel's maximum likelihood, averaged as MacKay & Ghahramani propose.

    .. math:: \hat d = \Bigl[ \frac1n \sum_{i=1}^n \frac{1}{k-2}
              \sum_{j=1}^{k-1} \log \frac{T_k(x_i)}{T_j(x_i)} \Bigr]^{-1}

    Args:
        logs: ``(n, k)``: log T_j(x_i), the logarithm of the distance to the j-th neighbour, k ≥ 3.

    Example:
        >>> round(mle(np.log([[1.0, 2.0, 4.0]])), 6)
        0.480898
    """
    k = logs.shape[1]
    inverse = ((k - 1) * logs[:, -1] - logs[:, :-1].sum(axis=1)) / (k - 2)
    mean = float(inverse.mean())
    return 1 / mean if mean > 0 else np.inf


def twonn(logs: Floats) -> float:
    r"""Facco et al., *Scientific Reports* 7:12140 (2017).

    The slope through the origin of :math:`-\log(1 - F(\mu))` against :math:`\log \mu`, with
    :math:`\mu_i = T_2(x_i) / T_1(x_i)` and F their empirical distribution, the largest tenth left out.

    Args:
        logs: ``(n, k)``: log T_j(x_i), k ≥ 2; only two neighbours are used.

    Example:
        >>> round(twonn(np.log([[1.0, 2.0], [1.0, 2.0], [1.0, 4.0]])), 6)
        1.084963
    """
    ratios = np.sort(logs[:, 1] - logs[:, 0])
    n = len(ratios)
    kept = int(n * (1 - _DISCARDED))
    x, y = ratios[:kept], -logarithms(1 - np.arange(1, kept + 1) / n)
    # Sums, not inner products: those are rounded in another way on every kind of processor.
    spread = float((x * x).sum())
    return float((x * y).sum()) / spread if spread > 0 else np.inf


def logarithms(values: Floats) -> Floats:
    """Natural logarithms, the same to the last digit with every processor's instructions.

    NumPy's own in float64 are not: those computed with AVX-512 are others. In extended precision there is one way.

    Example:
        >>> logarithms(np.array([1.0, np.e])).tolist()
        [0.0, 1.0]
    """
    return np.log(values.astype(np.longdouble)).astype(np.float64)


def geomle(
    logs: Floats,
    indices: NDArray[np.int64],
    members: NDArray[np.int64],
    k: int,
    dims: int,
    rng: np.random.Generator,
    *,
    repeats: int,
) -> float:
    r"""Gomtsyan, Mokrov, Panov & Yanovich, *Geometry-aware maximum likelihood estimation* (ACML 2019).

    Curvature and uneven density bias the maximum likelihood estimate more, the further the neighbours are. For each
    point, local estimates with k/2 … 2k neighbours, averaged over 20 bootstrap samples, are regressed on the radius R
    of the neighbourhood,

    .. math:: \hat d_i(R) = \theta_0 + \theta_1 R + \theta_2 R^2,

    by ridge regression (α = 0.005) weighted by their inverse standard deviations; the estimate is the mean of
    :math:`\theta_0` over points, clipped to [0, D], and over ``repeats`` repetitions. The defaults are those of the
    authors' code, except that R is measured in units of the geometric mean distance to the 2k-th neighbour: there the
    estimate changes with the unit of the data, here it does not.

    Args:
        logs: ``(m, K)``: log distances of the points to their neighbours, ascending.
        indices: ``(m, K)``: which points the neighbours are.
        members: ``(m,)``: which points bootstrap samples are drawn from.
        k: Neighbours are k/2 … 2k.
        dims: D, the number of values per point.
        rng: Draws the bootstrap samples.
        repeats: Repetitions.
    """
    fewest, most = max(3, k // 2), 2 * k
    unit = logs[:, min(most, logs.shape[1]) - 1].mean()
    estimates = []
    for _ in range(repeats):
        present = np.zeros((_GEOMLE_BOOTSTRAPS, int(max(indices.max(), members.max())) + 1), dtype=bool)
        for sample in present:
            sample[members[rng.integers(len(members), size=len(members))]] = True
        intercepts = [
            _extrapolated(logs[part] - unit, present[:, indices[part]], fewest, most)
            for part in np.array_split(np.arange(len(logs)), -(-len(logs) // _POINTS_AT_ONCE))
        ]
        estimates.append(np.clip(np.concatenate(intercepts).mean(), 0, dims))
    return float(np.mean(estimates))


def _extrapolated(logs: Floats, present: NDArray[np.bool_], fewest: int, most: int) -> Floats:
    """Local estimates at radius zero, per point; ``present`` says which neighbours each bootstrap sample holds."""
    dimension, radius = [], []
    ks = np.arange(fewest, most + 1)
    for held in present:
        nearest = first_of(logs, held, most)
        below = np.cumsum(nearest, axis=1)[:, ks - 2]
        dimension.append((ks - 2) / ((ks - 1) * nearest[:, ks - 1] - below))
        radius.append(np.exp(nearest[:, ks - 1]))
    y, r = np.mean(dimension, axis=0), np.mean(radius, axis=0)
    weight = 1 / np.maximum(np.std(dimension, axis=0, ddof=1), np.finfo(float).tiny)
    total = weight.sum(axis=1)
    weight, ridge = weight / total[:, None], _GEOMLE_RIDGE / total
    x = np.stack([r, r**2], axis=2)
    x_mean, y_mean = np.einsum("nk,nkf->nf", weight, x), (weight * y).sum(axis=1)
    x_centred, y_centred = x - x_mean[:, None], y - y_mean[:, None]
    gram = np.einsum("nk,nkf,nkg->nfg", weight, x_centred, x_centred) + ridge[:, None, None] * np.eye(2)
    moment = np.einsum("nk,nkf,nk->nf", weight, x_centred, y_centred)
    # Two unknowns, solved by hand: LAPACK rounds in another way on every kind of processor.
    (a, b, c), (p, q) = (gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]), moment.T
    slopes = np.stack([c * p - b * q, a * q - b * p], axis=1) / (a * c - b * b)[:, None]
    return np.asarray(y_mean - (slopes * x_mean).sum(axis=1))


def first_of(values: NDArray[Any], held: NDArray[np.bool_], count: int) -> NDArray[Any]:
    """The first ``count`` values of each row that are held; where a row holds fewer, its last one is repeated.

    Example:
        >>> first_of(np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]]), 2).tolist()
        [[1.0, 3.0]]
    """
    small = np.uint8 if held.shape[1] < 2**8 else np.int32
    order: NDArray[Any] = np.cumsum(held, axis=1, dtype=small)
    chosen = held & (order <= count)
    if (order[:, -1] >= count).all():
        return values[chosen].reshape(len(values), count)
    result = np.repeat(values[:, -1:], count, axis=1)
    rows, columns = np.nonzero(chosen)
    result[rows, order[rows, columns].astype(np.int64) - 1] = values[rows, columns]
    return result


def scikit_dimension(
    name: str, points: Floats, distances: Floats, indices: NDArray[np.int64], k: int, seed: int
) -> float:
    """Any estimator of scikit-dimension, fed with exact neighbours where it takes any.

    Args:
        name: Name of its class.
        points: ``(n, d)`` float64.
        distances: ``(n, k)``, ascending.
        indices: ``(n, k)``.
        k: Passed on where the estimator has such an option.
        seed: Passed on where the estimator draws at random.

    Raises:
        InputError: The estimator failed on these points, with its own words, or found no dimension.
    """
    import skdim  # a slow import (numba, scikit-learn)

    kind: Any = getattr(skdim.id, name)
    known = inspect.signature(kind).parameters
    options = {option: value for option, value in (("k", k), ("random_state", seed)) if option in known}
    fit: dict[str, Any] = {}
    if "precomputed_knn_arrays" in inspect.signature(kind.fit).parameters:
        fit = {"precomputed_knn_arrays": (distances, indices), "n_neighbors": k}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(kind(**options).fit(points, **fit).dimension_)
    except Exception as error:
        raise InputError(f"{name} of scikit-dimension failed on these points: {error}") from error
    if not 0 < value < np.inf:
        raise InputError(f"{name} of scikit-dimension found {value} on these {len(points)} points: give more of them")
    return value
