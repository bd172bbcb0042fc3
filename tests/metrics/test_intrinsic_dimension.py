"""Intrinsic dimension: against scikit-dimension on raw points, the written formula, and known manifolds."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import skdim
from numpy.typing import NDArray

from metrics import EstimatorName, InputError, intrinsic_dimension
from metrics.distances import Points

ESTIMATORS: tuple[EstimatorName, ...] = ("mle", "twonn")
Array = NDArray[np.float64]


def _plane(n: int, rng: np.random.Generator) -> Array:
    """A square of R², turned into ten dimensions."""
    return rng.uniform(size=(n, 2)) @ np.linalg.qr(rng.normal(size=(10, 2)))[0].T


def _circle(n: int, rng: np.random.Generator) -> Array:
    angle = rng.uniform(0, 2 * math.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _torus(n: int, rng: np.random.Generator) -> Array:
    """The flat torus, a product of three circles: no boundary and no curvature in the mean."""
    return np.concatenate([_circle(n, rng) for _ in range(3)], axis=1)


def _sphere(n: int, rng: np.random.Generator) -> Array:
    points = rng.normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _images(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """8-bit images with five degrees of freedom."""
    mixed = rng.uniform(-1, 1, (n, 5)) @ rng.uniform(-1, 1, (5, 64))
    return (127 + 25 * mixed).round().clip(0, 255).astype(np.uint8).reshape(n, 1, 8, 8)


def _formula(points: Array, k: int) -> float:
    """Levina and Bickel with the average of MacKay and Ghahramani, normalised by k − 2."""
    inverse = []
    for i, x in enumerate(points):
        t = np.sort(np.sqrt(((np.delete(points, i, axis=0) - x) ** 2).sum(axis=1)))[:k]
        inverse.append(np.log(t[k - 1] / t[: k - 1]).sum() / (k - 2))
    return 1 / float(np.mean(inverse))


@pytest.mark.parametrize("sample", [_plane, _torus, _images])
@pytest.mark.parametrize("k", [3, 20])
def test_mle_is_scikit_dimensions_on_raw_points_and_the_formula(
    sample: Callable[[int, np.random.Generator], Points], k: int
) -> None:
    points = np.asarray(sample(150, np.random.default_rng(0)))
    raw = points.reshape(150, -1).astype(np.float64)
    estimate = intrinsic_dimension(points, estimator="mle", k=k)
    assert estimate.value == pytest.approx(_formula(raw, k), rel=1e-10)
    reference = skdim.id.MLE(unbiased=True).fit(raw, n_neighbors=k, comb="mle")
    assert estimate.value == pytest.approx(reference.dimension_, rel=1e-8)
    assert (estimate.stderr, estimate.n_used, estimate.n_dropped) == (None, 150, 0)


@pytest.mark.parametrize("sample", [_plane, _torus, _images])
def test_twonn_is_scikit_dimensions_on_raw_points(sample: Callable[[int, np.random.Generator], Points]) -> None:
    points = np.asarray(sample(150, np.random.default_rng(0)))
    reference = skdim.id.TwoNN().fit(points.reshape(150, -1).astype(np.float64))
    assert intrinsic_dimension(points, estimator="twonn").value == pytest.approx(reference.dimension_, rel=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("manifold", "dimension"), [(_circle, 1), (_plane, 2), (_sphere, 2), (_torus, 3)])
def test_known_manifolds_have_their_dimension_within_15_percent(
    manifold: Callable[[int, np.random.Generator], Array], dimension: int, estimator: EstimatorName
) -> None:
    estimate = intrinsic_dimension(manifold(1000, np.random.default_rng(1)), estimator=estimator)
    assert estimate.value == pytest.approx(dimension, rel=0.15)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 50.0)])
def test_scale_and_place_do_not_matter(estimator: EstimatorName, scale: float, shift: float) -> None:
    points = _torus(200, np.random.default_rng(2))
    expected = intrinsic_dimension(points, estimator=estimator).value
    assert intrinsic_dimension(points * scale + shift, estimator=estimator).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_8_bit_images_and_the_same_floats_have_one_dimension(estimator: EstimatorName) -> None:
    images = _images(200, np.random.default_rng(3))
    expected = intrinsic_dimension(images, estimator=estimator).value
    assert intrinsic_dimension(images / 255, estimator=estimator).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_duplicates_are_removed_and_counted(estimator: EstimatorName) -> None:
    points = _torus(100, np.random.default_rng(4))
    # 25 of 125 are 20 %, which is still allowed.
    estimate = intrinsic_dimension(np.concatenate([points, points[:25]]), estimator=estimator)
    assert estimate.value == intrinsic_dimension(points, estimator=estimator).value
    assert (estimate.n_used, estimate.n_dropped) == (100, 25)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_more_than_20_percent_duplicates_are_refused(estimator: EstimatorName) -> None:
    points = _torus(100, np.random.default_rng(4))
    with pytest.raises(InputError, match="26 of 126 points are exact duplicates"):
        intrinsic_dimension(np.concatenate([points, points[:26]]), estimator=estimator)


@pytest.mark.parametrize(
    ("estimator", "k", "n", "message"),
    [
        ("mle", 20, 20, "20 distinct points are too few for k=20 neighbours: give at least 21"),
        ("mle", 3, 3, "3 distinct points are too few for k=3"),
        ("twonn", 20, 2, "2 distinct points are too few for k=2"),
        ("mle", 2, 50, "k=2 is too small"),
        ("geomle", 20, 50, "unknown estimator 'geomle'"),
    ],
)
def test_what_cannot_be_estimated_is_refused(estimator: EstimatorName, k: int, n: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        intrinsic_dimension(_torus(n, np.random.default_rng(5)), estimator=estimator, k=k)


def test_duplicates_do_not_count_as_points() -> None:
    points = _torus(20, np.random.default_rng(5))
    with pytest.raises(InputError, match="20 distinct points are too few for k=20"):
        intrinsic_dimension(np.concatenate([points, points[:1]]), k=20)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_as_few_points_as_the_neighbors_need_are_enough(estimator: EstimatorName) -> None:
    n = 21 if estimator == "mle" else 3
    assert intrinsic_dimension(_torus(n, np.random.default_rng(6)), estimator=estimator, k=20).n_used == n


def test_vertices_of_a_simplex_have_no_dimension() -> None:
    with pytest.raises(InputError, match="equally far"):
        intrinsic_dimension(np.eye(30), estimator="mle", k=5)


def test_values_that_are_not_finite_are_refused() -> None:
    points = _torus(50, np.random.default_rng(7))
    points[3, 0] = np.nan
    with pytest.raises(InputError, match="1 of 50 points"):
        intrinsic_dimension(points)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_random_choice_of_points_is_seeded(estimator: EstimatorName) -> None:
    points = _torus(200, np.random.default_rng(8))
    zero, again, one = (
        intrinsic_dimension(points, estimator=estimator, max_samples=100, seed=seed) for seed in (0, 0, 1)
    )
    assert zero == again
    assert zero.value != one.value
    assert zero.n_used == one.n_used == 100
    whole = intrinsic_dimension(points, estimator=estimator)
    assert intrinsic_dimension(points, estimator=estimator, max_samples=200, seed=1) == whole
    assert whole.n_used == 200
