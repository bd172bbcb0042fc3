"""The closest pairs with different labels: against a sorted list of all of them."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metrics import pairs
from metrics.distances import Distances
from metrics.pairs import closest_pairs
from tests.metrics import brute_force
from tests.metrics.test_distances import CLOUDS, cloud

Array = NDArray[Any]
Found = list[tuple[float, int, int]]

# Points per class: few and many, equal and not, and on both sides of the size above which a class has its own block.
CLASSES = [
    [1, 1],
    [30, 30],
    [255, 20],
    [20, 256],
    [257, 255],
    [300] + [1] * 40,
    [1] * 40 + [300],
    [3] * 20 + [260] + [4] * 19,
    [270, 2, 3, 280, 1, 1],
    [7] * 30,
]


@pytest.fixture(params=["one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the points fill one tile or many."""
    if request.param == "many tiles":
        monkeypatch.setattr(pairs, "_TILE_ROWS", 5)
        monkeypatch.setattr(pairs, "_TILE_COLUMNS", 7)
        monkeypatch.setattr(pairs, "_OWN_BLOCK", 4)


def _closest(points: Array, labels: Array, count: int, subset: Array | None = None) -> Found:
    everyone = np.arange(len(points)) if subset is None else subset
    squared, found = closest_pairs(Distances(torch.from_numpy(points)), everyone, labels, count)
    assert (squared.dtype, found.dtype) == (torch.float64, torch.int64)
    return [(d, i, j) for d, (i, j) in zip(squared.tolist(), found.tolist(), strict=True)]


def _agree(found: Found, expected: Found, *, exactly: bool) -> None:
    assert [pair[1:] for pair in found] == [pair[1:] for pair in expected]
    distances, truth = [pair[0] for pair in found], [float(pair[0]) for pair in expected]
    assert distances == (truth if exactly else pytest.approx(truth, rel=1e-12, abs=0))


@pytest.mark.usefixtures("tiles")
@given(
    n=st.integers(2, 30),
    dims=st.integers(1, 4),
    levels=st.sampled_from([1, 2, 4, 256]),
    kind=st.sampled_from(["uint8", "float32", "float64"]),
    classes=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_closest_pairs_of_any_points(
    n: int, dims: int, levels: int, kind: str, classes: int, seed: int, data: st.DataObject
) -> None:
    # Few levels in few dimensions: many ties, many pairs at distance zero.
    rng = np.random.default_rng(seed)
    points, labels = rng.integers(0, levels, (n, dims)).astype(kind), rng.integers(-2, classes, n) * 2**60
    subset = rng.permutation(n)[: rng.integers(2, n + 1)]
    expected = [pair for pair in brute_force.sharpest_pairs(points, labels) if {*pair[1:]} <= {*subset.tolist()}]
    count = data.draw(st.integers(1, len(expected) + 3))
    _agree(_closest(points, labels, count, subset), expected[:count], exactly=True)


@pytest.mark.parametrize("sizes", CLASSES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_classes_of_every_size(sizes: list[int], dtype: str) -> None:
    rng = np.random.default_rng(len(sizes))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)) * 3 - 4, sizes))
    points = rng.uniform(0, 256, (len(labels), 5)).astype(dtype)
    expected = brute_force.sharpest_pairs(points, labels)
    for count in (1, 30):
        _agree(_closest(points, labels, count), expected[:count], exactly=dtype == "uint8")


@pytest.mark.parametrize("sizes", CLASSES[:-1])
@pytest.mark.parametrize("limits", [(256, 2048, 2048), (10, 16, 32), (1, 2, 1000), (1000, 3, 4)])
def test_every_pair_is_compared_once(
    sizes: list[int], limits: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in zip(("_OWN_BLOCK", "_TILE_ROWS", "_TILE_COLUMNS"), limits, strict=True):
        monkeypatch.setattr(pairs, name, limit)
    sizes = [min(size, 40) for size in sizes]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    points = np.random.default_rng(1).integers(0, 256, (len(labels), 2), dtype=np.uint8)
    found = [pair[1:] for pair in _closest(points, labels, len(labels) ** 2)]
    expected = [(i, j) for i, j in itertools.combinations(range(len(labels)), 2) if labels[i] != labels[j]]
    assert sorted(found) == expected


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=30), own=st.integers(1, 20), longest=st.integers(20, 40))
def test_blocks_of_rows_are_no_longer_than_tiles(sizes: list[int], own: int, longest: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "_OWN_BLOCK", own)
        patch.setattr(pairs, "_TILE_ROWS", longest)
        blocks = pairs._row_blocks(labels)
    assert [i for start, stop in blocks for i in range(start, stop)] == list(range(len(labels)))
    assert all(0 < stop - start <= longest for start, stop in blocks)
    for start, stop in blocks:  # a large class is by itself
        names = set(labels[start:stop].tolist())
        assert len(names) == 1 or max(sizes[name] for name in names) < own


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("kind", [kind for kind in CLOUDS if kind != "scales"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clouds_where_products_cancel(dtype: type[np.generic], kind: str) -> None:
    for seed in range(3):
        points, labels = cloud(kind, 40, 6, seed).astype(dtype), np.arange(40) % 3
        expected = brute_force.sharpest_pairs(points, labels)
        for count in (1, 10, len(expected)):
            _agree(_closest(points, labels, count), expected[:count], exactly=False)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("count", [1, 2, 50, 10_000])
def test_of_equally_close_pairs_the_first_come(dtype: str, count: int) -> None:
    labels = np.random.default_rng(2).integers(4, size=30)
    expected = [(2.0, i, j) for i, j in itertools.combinations(range(30), 2) if labels[i] != labels[j]]
    assert _closest(np.eye(30, dtype=dtype), labels, count) == expected[:count]


def test_the_largest_distance_there_is_counts() -> None:
    # Black and white: no pair is further apart, and none may be taken for one that does not count.
    for dims in (1, 33_025, 33_026):
        points = np.repeat(np.array([[0], [0], [255]], dtype=np.uint8), dims, axis=1)
        assert _closest(points, np.array([0, 0, 1]), 5) == [(dims * 255**2, 0, 2), (dims * 255**2, 1, 2)]


def test_one_label_has_no_pairs() -> None:
    assert _closest(np.eye(4), np.zeros(4, dtype=np.int64), 3) == []


def test_progress_ends_where_the_work_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_TILE_COLUMNS", 10)
    told: list[tuple[int, int]] = []
    closest_pairs(
        Distances(torch.rand(60, 2)),
        np.arange(60),
        np.arange(60) // 30,
        progress=lambda done, of: told.append((done, of)),
    )
    total = told[-1][1]
    assert total >= 3
    assert told == [(done, total) for done in range(1, total + 1)]
