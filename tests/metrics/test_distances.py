"""Distances are exact, or bounded: against Python integers, fractions and NumPy."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metrics import distances, products, squared_distances
from metrics.distances import Distances
from tests.metrics import brute_force

Array = NDArray[Any]

# Clouds of floating-point points, (n, d): wide, narrow and far away, of very different scales.
CLOUDS = ["normal", "far", "near duplicates", "scales", "one outlier"]


@pytest.fixture(params=["highest", "medium", "autocast"])
def precision(request: pytest.FixtureRequest) -> Iterator[AbstractContextManager[object]]:
    """A setting that rounds ordinary products, and the block to compute in."""
    before = torch.get_float32_matmul_precision()
    if request.param == "autocast":
        yield torch.autocast("cpu", dtype=torch.bfloat16)
        return
    torch.set_float32_matmul_precision(request.param)
    yield nullcontext()
    after = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(before)
    assert after == request.param, "the caller's precision was changed"


@pytest.fixture(params=["int8 where exact", "float32"])
def arithmetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine takes, and what machines without exact int8 products take."""
    if request.param == "float32":
        monkeypatch.setattr(products, "int8_products_are_exact", lambda: False)


def cloud(kind: str, n: int, dims: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, dims))
    if kind == "far":
        return points + 1e6
    if kind == "near duplicates":
        return 1e8 + 1e-6 * points
    if kind == "scales":
        return points * 10.0 ** rng.integers(-12, 12, (n, 1))
    if kind == "one outlier":
        points[0] = 1e9
    return points


def _integers(a: Array, b: Array) -> list[list[int]]:
    return brute_force.squared_distances(a, b).tolist()


def _fractions(points: Array) -> list[list[Fraction]]:
    rows = [[Fraction(float(value)) for value in row] for row in points]
    return [[sum(((x - y) ** 2 for x, y in zip(a, b, strict=True)), Fraction()) for b in rows] for a in rows]


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dims", [1, 1023, 1024, 1025, 4097, 150_528])
@pytest.mark.parametrize("values", ["random", "extremes"])
def test_squared_distances_of_uint8_are_the_exact_integers(
    dims: int, values: str, precision: AbstractContextManager[object]
) -> None:
    rng = np.random.default_rng(dims)
    pixels = rng.integers(0, 256, (5, dims)) if values == "random" else rng.choice([0, 255], (5, dims))
    black, white = np.zeros((1, dims)), np.full((1, dims), 255)
    points = np.concatenate([pixels, black, white]).astype(np.uint8)
    with precision:
        ours = squared_distances(torch.from_numpy(points), torch.from_numpy(points[2:]))
    assert ours.dtype == torch.float64
    assert ours.tolist() == _integers(points, points[2:])
    assert ours[5, 4] == dims * 255**2


def test_squared_distances_of_float_near_duplicates_do_not_cancel(precision: AbstractContextManager[object]) -> None:
    rng = np.random.default_rng(0)
    a = 1e3 + rng.normal(size=(1, 8))
    b = a + 1e-9 * rng.integers(-9, 10, (6, 8))
    with precision:
        ours = squared_distances(torch.from_numpy(a), torch.from_numpy(b))
    exact = [float(sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a[0], row, strict=True))) for row in b]
    assert ours[0].tolist() == pytest.approx(exact, rel=1e-13, abs=0)


@pytest.mark.parametrize(
    ("dims", "dtype"), [(33_025, torch.int32), (33_026, torch.int64), (131_071, torch.int64), (131_073, torch.int64)]
)
def test_tiles_are_as_wide_as_the_largest_distance_needs(dims: int, dtype: torch.dtype) -> None:
    points = torch.zeros((3, dims), dtype=torch.uint8)
    points[1] = 255
    found = Distances(points)
    tile = found.tile(torch.arange(3), torch.tensor([1, 0]))
    assert tile.dtype == dtype
    assert tile.tolist() == [[dims * 255**2, 0], [0, dims * 255**2], [dims * 255**2, 0]]
    assert found.largest > dims * 255**2


@pytest.mark.usefixtures("arithmetic")
@given(n=st.integers(1, 40), dims=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_tiles_of_8_bit_points_are_exact_and_without_slack(n: int, dims: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.choice([0, 1, 128, 254, 255], (n, dims)).astype(np.uint8)
    found = Distances(torch.from_numpy(points))
    i, j = rng.integers(n, size=rng.integers(1, 9)), rng.permutation(n)
    tile = found.tile(torch.from_numpy(i), torch.from_numpy(j))
    assert tile.tolist() == _integers(points[i], points[j])
    assert found.slack(torch.from_numpy(i)).tolist() == [0] * len(i)
    assert found.exact_rows(torch.from_numpy(i)).tolist() == _integers(points[i], points)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize("dims", [1, 7, 200])
def test_float_tiles_err_by_less_than_their_slack_and_exact_ones_by_the_last_digits(
    dims: int, kind: str, dtype: type[np.generic], monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    monkeypatch.setattr(distances, "_BLOCK_BYTES", 16 * 12 * 90)  # dimensions in three blocks
    points = cloud(kind, 12, dims).astype(dtype)
    truth = _fractions(points)
    everyone = torch.arange(12)
    with precision:
        found = Distances(torch.from_numpy(points))
        tile, slack = found.tile(everyone, everyone), found.slack(everyone)
        exact = found.exact_rows(everyone)
    assert torch.equal(exact, found.exact(everyone, everyone.expand(12, -1)))
    assert torch.equal(exact, exact.T)
    for i in range(12):
        for j in range(12):
            assert float(exact[i, j]) == pytest.approx(float(truth[i][j]), rel=1e-13, abs=0)
            assert abs(float(tile[i, j]) - float(exact[i, j])) <= float(slack[i])


def test_distances_to_many_points_come_complete() -> None:
    # More points than are compared at once.
    levels = np.random.default_rng(0).integers(0, 256, (8005, 2), dtype=np.uint8)
    for points in (levels, levels.astype(np.float64)):
        found = Distances(torch.from_numpy(points)).exact_rows(torch.tensor([8004, 5]))
        assert found.tolist() == _integers(levels[[8004, 5]], levels)


def test_slack_is_not_so_wide_that_every_row_would_need_a_second_look() -> None:
    points = np.random.default_rng(0).normal(size=(100, 1000))
    found = Distances(torch.from_numpy(points))
    nearest = brute_force.neighbors(points, 1)[0] ** 2
    assert float(found.slack(torch.arange(100)).max()) < 1e-9 * nearest.min()


@pytest.mark.parametrize("block", [16, 16 * 100, 2**27])
def test_exact_distances_do_not_depend_on_the_memory_they_get(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Distances(torch.from_numpy(cloud("scales", 30, 33)))
    i, j = torch.arange(30), torch.arange(30).expand(30, -1)
    before = found.exact(i, j)
    monkeypatch.setattr(distances, "_BLOCK_BYTES", block)
    assert torch.equal(found.exact(i, j), before)
    assert torch.equal(found.exact(i[4:5], j[4:5, 3:7]), before[4:5, 3:7])


def test_equal_points_are_found_wherever_they_lie() -> None:
    # More dimensions than are added up at once, and the second of the twins among the last few points.
    points = np.random.default_rng(0).normal(size=(1030, 8300)).astype(np.float32)
    points[1027] = points[3]
    points[7, 0], points[1028] = 0, points[7]
    points[1028, 0] = -0.0
    found = Distances(torch.from_numpy(points))
    expected = np.arange(1030)
    expected[[1027, 1028]] = 3, 7
    np.testing.assert_array_equal(found.first_equal(), expected)
    np.testing.assert_array_equal(found.distinct(), np.delete(np.arange(1030), [1027, 1028]))


@given(n=st.integers(1, 60), dims=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from("BfdR"))
def test_equal_points_of_every_kind(n: int, dims: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, (n, dims)).astype(np.uint8 if kind in "BR" else kind)
    firsts = [next(j for j in range(n) if (points[j] == row).all()) for row in points]
    found = Distances(torch.from_numpy(points.repeat(2, axis=1)[:, ::2] if kind == "R" else points))
    assert len(found) == n
    assert found.first_equal().tolist() == firsts
    assert found.distinct().tolist() == sorted(set(firsts))
