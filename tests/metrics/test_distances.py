"""Distances are exact: against Python integers and fractions, NumPy and scikit-learn."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from metrics import InputError, nearest_neighbors, squared_distances
from metrics.distances import as_points, distinct_rows, row_chunks


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


def _integer_distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[list[int]]:
    return [[int(((x.astype(np.int64) - y.astype(np.int64)) ** 2).sum()) for y in b] for x in a]


def _sorted_neighbors(squared: list[list[int]], k: int) -> list[list[int]]:
    """By distance, then by index, without the point itself."""
    return [
        sorted((j for j in range(len(row)) if j != i), key=lambda j: (row[j], j))[:k] for i, row in enumerate(squared)
    ]


@pytest.mark.parametrize("dims", [1, 1023, 1024, 1025, 150_528])
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
    assert ours.tolist() == _integer_distances(points, points[2:])
    assert ours[5, 4] == dims * 255**2


def test_squared_distances_of_float_near_duplicates_do_not_cancel(precision: AbstractContextManager[object]) -> None:
    rng = np.random.default_rng(0)
    a = 1e3 + rng.normal(size=(1, 8))
    b = a + 1e-9 * rng.integers(-9, 10, (6, 8))
    with precision:
        ours = squared_distances(torch.from_numpy(a), torch.from_numpy(b))
    exact = [float(sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a[0], row, strict=True))) for row in b]
    assert ours[0].tolist() == pytest.approx(exact, rel=1e-13, abs=0)


@pytest.mark.parametrize("chunk_bytes", [1, 8 * 60 * 7, 64 * 2**20])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_nearest_neighbors_agree_with_scikit_learn(
    dtype: type[np.generic], chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.distances._CHUNK_BYTES", chunk_bytes)
    points = np.random.default_rng(1).uniform(0, 256, (60, 3, 4, 4)).astype(dtype)
    raw = points.reshape(60, -1).astype(np.float64)
    expected, neighbors = NearestNeighbors(n_neighbors=9, algorithm="brute").fit(raw).kneighbors()
    distances, indices = nearest_neighbors(points, 9)
    assert (distances.dtype, indices.dtype) == (torch.float64, torch.int64)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(indices, neighbors)


@pytest.mark.parametrize("chunk_bytes", [1, 64 * 2**20])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_equally_far_neighbors_are_ordered_by_index(
    dtype: torch.dtype, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.distances._CHUNK_BYTES", chunk_bytes)
    # A lattice with its corner twice: many ties, one of them at distance zero.
    lattice = np.array([(x, y, z) for x in range(4) for y in range(4) for z in range(4)] + [(0, 0, 0)], dtype=np.uint8)
    indices = nearest_neighbors(torch.from_numpy(lattice).to(dtype), 12)[1]
    assert indices.tolist() == _sorted_neighbors(_integer_distances(lattice, lattice), 12)


@pytest.mark.parametrize("k", [-1, 0, 5, 6])
def test_numbers_of_neighbors_that_do_not_exist_are_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"k={k} neighbours do not exist among 5 points: choose 1 ≤ k ≤ 4"):
        nearest_neighbors(torch.rand(5, 2), k)


@pytest.mark.parametrize(("rows", "columns", "bytes_", "longest"), [(10, 5, 1, 1), (10, 5, 120, 3), (10, 5, 400, 10)])
def test_row_chunks_cover_every_row_once_within_the_memory(
    rows: int, columns: int, bytes_: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.distances._CHUNK_BYTES", bytes_)
    chunks = list(row_chunks(rows, columns))
    assert [i for chunk in chunks for i in range(chunk.start, chunk.stop)] == list(range(rows))
    assert max(chunk.stop - chunk.start for chunk in chunks) == longest


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_distinct_rows_are_the_first_of_each_kind(dtype: type[np.generic]) -> None:
    rows = np.random.default_rng(2).integers(0, 3, (80, 3)).astype(dtype)
    expected = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    assert len(expected) < 28
    np.testing.assert_array_equal(distinct_rows(torch.from_numpy(rows)), expected)


def test_negative_zero_is_no_distinct_value() -> None:
    rows = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    assert distinct_rows(rows).tolist() == [0, 2]
    assert torch.signbit(rows[1, 0]), "the caller's tensor was changed"


@pytest.mark.parametrize(
    ("dtype", "kept"), [("uint8", "uint8"), ("int64", "float64"), ("float16", "float64"), ("float32", "float64")]
)
def test_points_are_flattened_to_rows_of_two_dtypes(dtype: str, kept: str) -> None:
    images = np.arange(24).reshape(2, 3, 2, 2).astype(dtype)
    for points in (as_points(images), as_points(torch.from_numpy(images))):
        assert points.dtype == getattr(torch, kept)
        assert points.tolist() == images.reshape(2, 12).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(value: float) -> None:
    points = np.ones((5, 2, 3))
    points[1, 0], points[3, 1, 2] = value, value
    with pytest.raises(InputError, match="2 of 5 points"):
        as_points(points)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), ()])
def test_shapes_without_points_are_refused(shape: tuple[int, ...]) -> None:
    text = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=f"points of shape {text}"):
        as_points(np.zeros(shape))
