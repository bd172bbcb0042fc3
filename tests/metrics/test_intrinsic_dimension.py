"""Intrinsic dimension: against scikit-dimension on raw points, the written formula, and known manifolds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skdim
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from metrics import InputError, estimators, intrinsic_dimension, nearest_neighbors, neighborhoods
from metrics.points import Points

ESTIMATORS = ("mle", "twonn")
OWN = ("mle", "twonn", "geomle")
Array = NDArray[np.float64]
Sampler = Callable[[int, np.random.Generator], Points]

MANIFOLDS = skdim.datasets.BenchmarkManifolds(random_state=0).generate(n=200)


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


@pytest.mark.parametrize("name", sorted(MANIFOLDS))
def test_mle_and_twonn_are_scikit_dimensions_on_its_benchmark_manifolds(name: str) -> None:
    points = MANIFOLDS[name]
    for k in (5, 20):
        reference = skdim.id.MLE(unbiased=True).fit(points, n_neighbors=k, comb="mle").dimension_
        assert intrinsic_dimension(points, estimator="mle", k=k).value == pytest.approx(reference, rel=1e-8)
    reference = skdim.id.TwoNN().fit(points).dimension_
    assert intrinsic_dimension(points, estimator="twonn").value == pytest.approx(reference, rel=1e-8)


@pytest.mark.parametrize("sample", [_plane, _torus, _images])
@pytest.mark.parametrize("k", [3, 20])
def test_mle_is_scikit_dimensions_on_raw_points_and_the_formula(sample: Sampler, k: int) -> None:
    points = np.asarray(sample(150, np.random.default_rng(0)))
    raw = points.reshape(150, -1).astype(np.float64)
    estimate = intrinsic_dimension(points, estimator="mle", k=k)
    assert estimate.value == pytest.approx(_formula(raw, k), rel=1e-10)
    reference = skdim.id.MLE(unbiased=True).fit(raw, n_neighbors=k, comb="mle")
    assert estimate.value == pytest.approx(reference.dimension_, rel=1e-8)
    assert (estimate.n_used, estimate.n_dropped) == (150, 0)


@pytest.mark.parametrize("sample", [_plane, _torus, _images])
def test_twonn_is_scikit_dimensions_on_raw_points(sample: Sampler) -> None:
    points = np.asarray(sample(150, np.random.default_rng(0)))
    reference = skdim.id.TwoNN().fit(points.reshape(150, -1).astype(np.float64))
    assert intrinsic_dimension(points, estimator="twonn").value == pytest.approx(reference.dimension_, rel=1e-8)


@pytest.mark.parametrize("estimator", OWN)
@pytest.mark.parametrize(("manifold", "dimension"), [(_circle, 1), (_plane, 2), (_sphere, 2), (_torus, 3)])
def test_known_manifolds_have_their_dimension_within_15_percent(
    manifold: Callable[[int, np.random.Generator], Array], dimension: int, estimator: str
) -> None:
    n = 400 if estimator == "geomle" else 1000
    estimate = intrinsic_dimension(manifold(n, np.random.default_rng(1)), estimator=estimator)
    assert estimate.value == pytest.approx(dimension, rel=0.15)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 50.0)])
def test_scale_and_place_do_not_matter(estimator: str, scale: float, shift: float) -> None:
    points = _torus(200, np.random.default_rng(2))
    expected = intrinsic_dimension(points, estimator=estimator)
    found = intrinsic_dimension(points * scale + shift, estimator=estimator)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.stderr == pytest.approx(expected.stderr, rel=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_8_bit_images_and_the_same_floats_have_one_dimension(estimator: str) -> None:
    images = _images(200, np.random.default_rng(3))
    expected = intrinsic_dimension(images, estimator=estimator).value
    assert intrinsic_dimension(images / 255, estimator=estimator).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("estimator", OWN)
def test_duplicates_are_removed_and_counted(estimator: str) -> None:
    points = _torus(100, np.random.default_rng(4))
    # 25 of 125 are 20 %, which is still allowed.
    estimate = intrinsic_dimension(np.concatenate([points, points[:25]]), estimator=estimator, k=10)
    whole = intrinsic_dimension(points, estimator=estimator, k=10)
    assert (estimate.value, estimate.stderr) == (whole.value, whole.stderr)
    assert (estimate.n_used, estimate.n_dropped) == (100, 25)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_duplicates_are_found_wherever_they_lie(kind: str) -> None:
    points = (100 * _torus(120, np.random.default_rng(4)) + 128).clip(0, 255).round().astype(kind)
    points = np.unique(points, axis=0)
    mixed = np.concatenate([points[40:60], points, points[:3]])
    assert intrinsic_dimension(mixed).n_dropped == 23
    assert intrinsic_dimension(mixed).value == pytest.approx(intrinsic_dimension(points).value, rel=1e-12)


@pytest.mark.parametrize("estimator", OWN)
def test_more_than_20_percent_duplicates_are_refused(estimator: str) -> None:
    points = _torus(100, np.random.default_rng(4))
    with pytest.raises(InputError, match=r"26 of 126 points are exact duplicates \(at most 20%"):
        intrinsic_dimension(np.concatenate([points, points[:26]]), estimator=estimator, k=10)


@pytest.mark.parametrize(
    ("estimator", "k", "n", "message"),
    [
        ("mle", 20, 20, "20 distinct points are too few for k=20 neighbours: give at least 21"),
        ("mle", 3, 3, "3 distinct points are too few for k=3"),
        ("twonn", 20, 2, "2 distinct points are too few for k=2"),
        ("geomle", 20, 90, "90 distinct points are too few"),
        ("CorrInt", 20, 20, "20 distinct points are too few for k=20"),
        ("mle", 2, 50, "k=2 is too small: at least 3"),
        ("twonn", 0, 50, "k=0 is too small: at least 3"),
        ("knn", 20, 50, "unknown estimator 'knn': choose from mle, twonn"),
    ],
)
def test_what_cannot_be_estimated_is_refused(estimator: str, k: int, n: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        intrinsic_dimension(_torus(n, np.random.default_rng(5)), estimator=estimator, k=k)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_samples": 0}, "max_samples=0 is out of range"), ({"seed": -1}, "seed=-1 is out of range")],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    points = _torus(50, np.random.default_rng(5))
    with pytest.raises(InputError, match=message):
        intrinsic_dimension(points, **options)
    with pytest.raises(InputError, match=message):
        neighborhoods(points, **options)


def test_a_negative_seed_is_refused_for_neighborhoods_too() -> None:
    with pytest.raises(InputError, match="seed=-1"):
        intrinsic_dimension(neighborhoods(_torus(50, np.random.default_rng(5))), seed=-1)


def test_duplicates_do_not_count_as_points() -> None:
    points = _torus(20, np.random.default_rng(5))
    with pytest.raises(InputError, match="20 distinct points are too few for k=20"):
        intrinsic_dimension(np.concatenate([points, points[:1]]), k=20)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_as_few_points_as_the_neighbors_need_are_enough(estimator: str) -> None:
    n = 21 if estimator == "mle" else 3
    estimate = intrinsic_dimension(_torus(n, np.random.default_rng(6)), estimator=estimator, k=20)
    assert (estimate.n_used, estimate.stderr) == (n, None)


@pytest.mark.parametrize("estimator", OWN)
def test_vertices_of_a_simplex_have_no_dimension(estimator: str) -> None:
    with pytest.raises(InputError, match="equally far"):
        intrinsic_dimension(np.eye(60), estimator=estimator, k=5)


@pytest.mark.parametrize("estimator", OWN)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_ties_give_a_number_or_an_error_that_says_why(estimator: str, dtype: str) -> None:
    # All neighbours of a lattice's points that count for TwoNN and GeoMLE are equally far; of MLE's, not all.
    side = np.arange(6)
    lattice = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3).astype(dtype)
    if estimator != "mle":
        with pytest.raises(InputError, match="equally far"):
            intrinsic_dimension(lattice, estimator=estimator, k=5)
        return
    assert intrinsic_dimension(lattice, k=5).value == pytest.approx(_formula(lattice.astype(np.float64), 5), rel=1e-10)


def test_a_standard_error_that_cannot_be_told_is_none() -> None:
    # Some halves have no dimension: in them all neighbours are equally far.
    mixed = np.concatenate([np.eye(200), np.random.default_rng(0).normal(size=(3, 200))])
    estimate = intrinsic_dimension(mixed, k=5)
    assert math.isfinite(estimate.value)
    assert estimate.stderr is None


@pytest.mark.parametrize("estimator", estimators)
def test_values_that_are_not_finite_are_refused(estimator: str) -> None:
    points = _torus(50, np.random.default_rng(7))
    points[3, 0] = np.nan
    with pytest.raises(InputError, match="1 of 50 points hold NaN"):
        intrinsic_dimension(points, estimator=estimator)


@pytest.mark.parametrize("estimator", OWN)
def test_a_random_choice_of_points_is_seeded(estimator: str) -> None:
    points = _torus(200, np.random.default_rng(8))
    zero, again, one = (
        intrinsic_dimension(points, estimator=estimator, k=10, max_samples=100, seed=seed) for seed in (0, 0, 1)
    )
    assert zero == again
    assert zero.value != one.value
    assert zero.n_used == one.n_used == 100
    whole = intrinsic_dimension(points, estimator=estimator, k=10)
    assert intrinsic_dimension(points, estimator=estimator, k=10, max_samples=200) == whole
    assert whole.n_used == 200


def test_neighborhoods_hold_exact_neighbors_of_distinct_sampled_points() -> None:
    points = _torus(100, np.random.default_rng(9))
    points[90:] = points[:10]
    found = neighborhoods(points, k=7, max_samples=80, seed=4)
    used = found.used.numpy()
    assert (np.diff(used) > 0).all()
    assert len(used) + found.n_dropped == 80
    assert len(np.unique(points[used], axis=0)) == len(used)
    distances, indices = nearest_neighbors(points[used], found.distances.shape[1])
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.parametrize("kind", ["images", "features"])
def test_shared_neighborhoods_give_what_separate_calls_give(kind: str) -> None:
    rng = np.random.default_rng(10)
    points = _images(220, rng) if kind == "images" else _torus(220, rng).astype(np.float32)
    names = ["mle", "twonn", "geomle", "CorrInt", "MLE", "lPCA", "MOM"]
    shared = neighborhoods(points, estimators=names, k=20, max_samples=200, seed=3)
    for name in names:
        for k in (5, 12, 20):
            alone = intrinsic_dimension(points, estimator=name, k=k, max_samples=200, seed=3)
            assert intrinsic_dimension(shared, estimator=name, k=k, seed=3) == alone, (name, k)


def test_neighborhoods_that_hold_too_few_neighbors() -> None:
    points = _torus(300, np.random.default_rng(11))
    small = neighborhoods(points, k=5)
    held = small.distances.shape[1]
    with pytest.raises(InputError, match=f"k={held + 1} is out of range: these neighbourhoods hold {held} neighbours"):
        intrinsic_dimension(small, k=held + 1)
    with pytest.raises(InputError, match="k=2 is out of range"):
        intrinsic_dimension(small, k=2)
    with pytest.raises(InputError, match=r"k=5 is out of range.* geomle needs"):
        intrinsic_dimension(small, estimator="geomle", k=5)
    with pytest.raises(InputError, match="max_samples=100: the neighbourhoods were computed for 300 points"):
        intrinsic_dimension(small, k=5, max_samples=100)
    # Enough for the estimate, but not for its halves.
    estimate = intrinsic_dimension(small, k=held)
    assert (estimate.value, estimate.stderr) == (intrinsic_dimension(points, k=held).value, None)


def test_no_estimator_is_refused() -> None:
    with pytest.raises(InputError, match="no estimator"):
        neighborhoods(np.eye(30), estimators=[])


def test_progress_ends_where_the_work_does() -> None:
    told: list[tuple[int, int]] = []
    neighborhoods(_torus(60, np.random.default_rng(12)), progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] == len(told)


@pytest.mark.parametrize(
    ("estimator", "k", "enough"), [("mle", 5, 12), ("mle", 20, 42), ("twonn", 20, 6), ("geomle", 5, 76)]
)
def test_halves_that_are_large_enough_give_a_standard_error(estimator: str, k: int, enough: int) -> None:
    points = _torus(enough, np.random.default_rng(13))
    options: dict[str, Any] = {"estimator": estimator, "k": k}
    estimate = intrinsic_dimension(points, **options)
    assert estimate.stderr is not None
    assert 0 < estimate.stderr < math.inf
    assert estimate == intrinsic_dimension(points, **options)
    assert estimate.stderr != intrinsic_dimension(points, seed=1, **options).stderr
    assert intrinsic_dimension(points[:-2], **options).stderr is None


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_standard_error_is_that_of_halves(estimator: str) -> None:
    # The same quantity by its words, with other random splits: 200 of ours against 100 of theirs.
    points, rng = _torus(120, np.random.default_rng(14)), np.random.default_rng(15)
    estimate = intrinsic_dimension(points, estimator=estimator, k=8)
    squares = []
    for _ in range(200):
        halves = [points[half] for half in np.split(rng.permutation(120), 2)]
        a, b = (_formula(half, 8) if estimator == "mle" else skdim.id.TwoNN().fit(half).dimension_ for half in halves)
        squares.append(math.log(a / b) ** 2)
    expected = estimate.value**2 * np.mean(squares) / 4
    spread = estimate.value**2 * np.std(squares) / 4 * math.sqrt(1 / 100 + 1 / 200)
    assert estimate.stderr is not None
    assert abs(estimate.stderr**2 - expected) < 4 * spread


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_standard_error_is_the_scatter_of_repeated_draws(estimator: str) -> None:
    # The variance of 60 normal draws is σ² χ²(59) / 59, which is beyond these bounds once in 1,000 times.
    draws = [
        intrinsic_dimension(np.random.default_rng([16, draw]).uniform(size=(200, 3)), estimator=estimator)
        for draw in range(60)
    ]
    variance = np.var([draw.value for draw in draws], ddof=1)
    claimed = np.mean([(draw.stderr or math.nan) ** 2 for draw in draws])
    low, high = chi2.ppf([0.0005, 0.9995], 59) / 59
    assert low < variance / claimed < high


def test_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002  # must not change
    for estimator in OWN:
        intrinsic_dimension(_torus(150, np.random.default_rng(17)), estimator=estimator, k=5, max_samples=100)
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
