"""Intrinsic dimension of images (d_data) and of representations (d_repr)."""

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.distances import Points, as_points, distinct_rows, nearest_neighbors
from metrics.errors import InputError
from metrics.estimate import Estimate

EstimatorName = Literal["mle", "twonn"]

_MAX_DUPLICATES = 0.2
_MIN_NEIGHBORS = 3  # the normalisation k − 2 needs at least three


def intrinsic_dimension(
    points: Points,
    *,
    estimator: EstimatorName = "mle",
    k: int = 20,
    max_samples: int | None = None,
    seed: int = 0,
) -> Estimate:
    r"""Estimate how many degrees of freedom a set of points has.

    With :math:`T_j(x_i)` the distance from :math:`x_i` to its j-th nearest neighbour:

    - ``mle`` (Levina & Bickel, *Maximum likelihood estimation of intrinsic dimension*, NeurIPS 2004,
      eq. 8, averaged as MacKay & Ghahramani propose, with the paper's normalisation k − 2):

      .. math:: \hat d = \Bigl[ \frac1n \sum_{i=1}^n \frac{1}{k-2}
                \sum_{j=1}^{k-1} \log \frac{T_k(x_i)}{T_j(x_i)} \Bigr]^{-1}

    - ``twonn`` (Facco et al., *Scientific Reports* 7:12140, 2017): the slope of
      :math:`-\log(1 - F(\mu))` against :math:`\log \mu` through the origin, with
      :math:`\mu_i = T_2(x_i) / T_1(x_i)`, the largest tenth of the ratios left out.

    Neighbours are exact (:func:`metrics.distances.nearest_neighbors`); the estimators are those of
    scikit-dimension. Exact duplicates are removed first: they are no sample of the manifold, and one
    pair of them would turn the estimate into zero.

    Args:
        points: Samples, ``(n, ...)``, flattened to rows; uint8 images or floating-point features.
        estimator: ``mle`` or ``twonn``.
        k: Neighbours per point for ``mle``, 3 ≤ k < n; ``twonn`` always uses two.
        max_samples: Measure on a seeded random choice of at most so many points; None takes all.
        seed: Seed of that choice.

    Returns:
        The estimate (dimensionless, > 0); ``n_dropped`` counts the duplicates. No standard error is given.

    Raises:
        InputError: Too few points, an unknown estimator, NaN or infinite values, more than 20 %
            duplicates, or neighbours that are all equally far (no dimension can be read off them).

    Example:
        >>> line = torch.linspace(0, 1, 200, dtype=torch.float64).square().reshape(-1, 1)
        >>> round(intrinsic_dimension(line @ torch.ones(1, 3, dtype=torch.float64), k=10).value, 1)
        1.1
    """
    if estimator not in ("mle", "twonn"):
        raise InputError(f"unknown estimator {estimator!r}: choose 'mle' or 'twonn'")
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples={max_samples} is out of range: choose 1 or more, or none for all")
    if k < _MIN_NEIGHBORS:
        raise InputError(f"k={k} is too small: at least {_MIN_NEIGHBORS} neighbours are needed")
    rows = as_points(points)
    if max_samples is not None and max_samples < len(rows):
        chosen = np.random.default_rng(seed).permutation(len(rows))[:max_samples]
        rows = rows[torch.from_numpy(np.sort(chosen))]
    kept = distinct_rows(rows)
    n_dropped = len(rows) - len(kept)
    if n_dropped > _MAX_DUPLICATES * len(rows):
        raise InputError(
            f"{n_dropped} of {len(rows)} points are exact duplicates (at most {_MAX_DUPLICATES:.0%} are allowed): "
            "remove them, or check that the features have not collapsed"
        )
    n_neighbors = k if estimator == "mle" else 2
    if len(kept) <= n_neighbors:
        raise InputError(
            f"{len(kept)} distinct points are too few for k={n_neighbors} neighbours: "
            f"give at least {n_neighbors + 1} or lower k"
        )
    distances, indices = nearest_neighbors(rows[kept], n_neighbors)
    value = _estimate(estimator, distances.cpu().numpy(), indices.cpu().numpy())
    if not (math.isfinite(value) and value > 0):
        raise InputError("every neighbour is equally far: no dimension can be read off these points")
    return Estimate(value=value, stderr=None, n_used=len(kept), n_dropped=n_dropped)


def _estimate(estimator: EstimatorName, distances: NDArray[np.float64], indices: NDArray[np.int64]) -> float:
    import skdim  # a slow import (numba, scikit-learn)

    # scikit-dimension only checks X when neighbours are given: the distances stand in for it.
    with np.errstate(divide="ignore"):
        if estimator == "mle":
            mle = skdim.id.MLE(unbiased=True)
            mle.fit(distances, precomputed_knn_arrays=(distances, indices), n_neighbors=distances.shape[1])
            return float(mle.dimension_)
        return float(skdim.id.TwoNN(dist=True).fit(distances[:, :2]).dimension_)
