"""Neighbours are exact, ties included: against sorting in Python, and scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from metrics import InputError, nearest_enemies, nearest_friends, nearest_neighbors, neighbors
from metrics.distances import Distances
from metrics.neighbors import neighbors_within
from tests.metrics import brute_force
from tests.metrics.test_distances import CLOUDS, cloud

Array = NDArray[Any]


@pytest.fixture(params=["one square", "one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all points are compared at once, or in one tile or many as larger sets are."""
    if request.param != "one square":
        monkeypatch.setattr(neighbors, "_SQUARE", 0)
    if request.param == "many tiles":
        monkeypatch.setattr(neighbors, "_TILE_ROWS", 7)
        monkeypatch.setattr(neighbors, "_TILE_COLUMNS", 11)


def _check(points: Array, k: int) -> None:
    expected, indices = brute_force.neighbors(points, k)
    distances, found = nearest_neighbors(points, k)
    assert (distances.dtype, found.dtype) == (torch.float64, torch.int64)
    np.testing.assert_array_equal(found, indices)
    if points.dtype == np.uint8:
        np.testing.assert_array_equal(distances, expected)
    else:
        np.testing.assert_allclose(distances, expected, rtol=1e-12)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_neighbors_are_those_of_scikit_learn(dtype: type[np.generic]) -> None:
    points = np.random.default_rng(1).uniform(0, 256, (60, 3, 4, 4)).astype(dtype)
    raw = points.reshape(60, -1).astype(np.float64)
    expected, indices = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(raw).kneighbors()
    distances, found = nearest_neighbors(points, 9)
    assert (distances.dtype, found.dtype) == (torch.float64, torch.int64)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(found, indices)


@pytest.mark.usefixtures("tiles")
@given(
    n=st.integers(2, 40),
    dims=st.integers(1, 4),
    levels=st.integers(1, 5),
    kind=st.sampled_from(["uint8", "float16", "float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_ties_are_ordered_by_index(n: int, dims: int, levels: int, kind: str, seed: int, data: st.DataObject) -> None:
    # Few values in few dimensions: most distances occur many times, many of them are zero.
    points = np.random.default_rng(seed).integers(0, levels, (n, dims)).astype(kind)
    _check(points * np.array(51, kind), data.draw(st.integers(1, n - 1)))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_points_of_a_lattice(dtype: str) -> None:
    side = np.arange(4)
    lattice = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    _check(np.concatenate([lattice, lattice[:1]]).astype(dtype), 12)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("k", [1, 5, 39])
def test_points_that_are_all_equally_far(dtype: str, k: int) -> None:
    _check(np.eye(40, dtype=dtype), k)
    _check(np.ones((40, 3), dtype=dtype), k)


@pytest.mark.parametrize(("n", "dtype"), [(5000, "uint8"), (2000, "float32")])
def test_thousands_of_images_of_one_pixel(n: int, dtype: str) -> None:
    # Every grey level occurs many times: the neighbours are the first k others of the same level.
    pixels = np.random.default_rng(3).integers(0, n // 20, (n, 1, 1, 1))
    distances, indices = nearest_neighbors(pixels.astype(dtype), 4)
    assert not distances.any()
    values = pixels.ravel()
    for i in range(0, n, 100):
        same = np.flatnonzero(values == values[i])
        assert indices[i].tolist() == same[same != i][:4].tolist()


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clouds_where_products_cancel(dtype: type[np.generic], kind: str) -> None:
    for seed in range(3):
        points = cloud(kind, 50, 6, seed).astype(dtype)
        for k in (1, 20):
            if kind != "scales":
                _check(points, k)
                continue
            # Seen from a point that is far away, others are equally far to all digits, and either may come first.
            distances, indices = nearest_neighbors(points, k)
            squared = brute_force.squared_distances(points, points)
            np.testing.assert_allclose(distances, brute_force.neighbors(points, k)[0], rtol=1e-12)
            np.testing.assert_allclose(distances**2, np.take_along_axis(squared, indices.numpy(), 1), rtol=1e-12)


def test_near_duplicates_far_from_the_origin_get_a_second_look() -> None:
    # Products of float64 tell nothing about clusters that are 10⁸ apart and 10⁻⁶ wide.
    rng = np.random.default_rng(0)
    points = rng.choice([-1e8, 1e8], (300, 1)) + 1e-6 * rng.normal(size=(300, 5))
    found = Distances(torch.from_numpy(points))
    everyone = torch.arange(300)
    guess = found.tile(everyone, everyone).fill_diagonal_(torch.inf).argmin(dim=1)
    expected = brute_force.neighbors(points, 1)[1][:, 0]
    assert np.mean(guess.numpy() != expected) > 0.5, "these points are too easy"
    _check(points, 3)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("n", "dims"), [(2, 1), (2, 5), (3, 1), (30, 1), (30, 1025), (9, 4097), (3, 131_073)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_every_number_of_dimensions_and_of_points(n: int, dims: int, dtype: type[np.generic]) -> None:
    points = np.random.default_rng(dims).integers(0, 256, (n, dims)).astype(dtype)
    for k in {1, n - 1}:
        _check(points, k)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("rows", [1, 16, 1000])
@pytest.mark.parametrize("columns", [5, 33, 1000])
def test_tiles_do_not_matter(dtype: str, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(4).integers(0, 9, (90, 3)).astype(dtype)
    expected = nearest_neighbors(points, 10)
    monkeypatch.setattr(neighbors, "_SQUARE", 0)
    monkeypatch.setattr(neighbors, "_TILE_ROWS", rows)
    monkeypatch.setattr(neighbors, "_TILE_COLUMNS", columns)
    found = nearest_neighbors(points, 10)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_the_order_of_the_points_does_not_matter(dtype: str) -> None:
    # In so many dimensions no two neighbours are equally far: those would be ordered by index.
    points = np.random.default_rng(5).uniform(0, 256, (200, 4000)).astype(dtype)
    order = np.random.default_rng(6).permutation(200)
    distances, indices = nearest_neighbors(points, 7)
    shuffled, whose = nearest_neighbors(points[order], 7)
    assert torch.equal(shuffled, distances[order])
    assert torch.equal(torch.from_numpy(order)[whose], indices[order])


@pytest.mark.parametrize("k", [-1, 0, 5, 6])
def test_numbers_of_neighbors_that_do_not_exist_are_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"k={k} neighbours do not exist among 5 points: choose 1 ≤ k ≤ 4"):
        nearest_neighbors(torch.rand(5, 2), k)


def test_progress_ends_where_the_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_SQUARE", 99)
    monkeypatch.setattr(neighbors, "_TILE_ROWS", 30)
    told: list[tuple[int, int]] = []
    nearest_neighbors(torch.rand(100, 2), 3, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_neighbors_within_a_subset(dtype: str) -> None:
    points = np.random.default_rng(7).integers(0, 5, (60, 2)).astype(dtype)
    subset = np.flatnonzero(np.random.default_rng(8).integers(2, size=60))
    distances, indices = neighbors_within(Distances(torch.from_numpy(points)), torch.from_numpy(subset), 6)
    expected, positions = brute_force.neighbors(points[subset], 6)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(indices, subset[positions])


@pytest.mark.usefixtures("tiles")
@given(
    n=st.integers(2, 40),
    classes=st.integers(1, 6),
    levels=st.sampled_from([2, 5, 256]),
    kind=st.sampled_from(["uint8", "float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_enemies_and_friends_are_the_nearest_of_their_kind(
    n: int, classes: int, levels: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points, labels = rng.integers(0, levels, (n, 2)).astype(kind), rng.integers(classes, size=n) * 10**17 - 5
    squared = brute_force.squared_distances(points, points)
    for nearest, same in ((nearest_enemies, False), (nearest_friends, True)):
        if not same and len(np.unique(labels)) == 1:
            with pytest.raises(InputError, match=rf"all {n} points have the label {labels[0]}"):
                nearest(points, labels)
            continue
        distances, indices = nearest(points, labels)
        for i in range(n):
            others = [j for j in range(n) if j != i and (labels[j] == labels[i]) == same]
            j = min(others, key=lambda j: (squared[i, j], j), default=-1)
            assert int(indices[i]) == j
            assert float(distances[i]) == (math.inf if j < 0 else math.sqrt(squared[i, j]))


@pytest.mark.parametrize("nearest", [nearest_enemies, nearest_friends])
def test_labels_that_are_no_labels_are_refused(nearest: Any) -> None:
    with pytest.raises(InputError, match="5 images but labels of shape"):
        nearest(torch.rand(5, 2), torch.arange(4))
