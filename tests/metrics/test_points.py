"""Samples become rows that can be compared, or are refused; equal rows are found."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metrics import InputError
from metrics.points import as_labels, as_points, distinct_rows, equal_rows


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("uint8", "uint8"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float64"),
        ("int16", "float64"),
        ("int64", "float64"),
        ("bool", "float64"),
    ],
)
def test_points_are_flattened_to_rows_of_three_dtypes(dtype: str, kept: str) -> None:
    images = np.arange(24).reshape(2, 3, 2, 2).astype(dtype)
    for points in (as_points(images), as_points(torch.from_numpy(images))):
        assert points.dtype == getattr(torch, kept)
        assert points.tolist() == images.reshape(2, 12).tolist()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_points_are_not_copied(dtype: str) -> None:
    images = np.arange(24).reshape(2, 3, 2, 2).astype(dtype)
    assert as_points(images).data_ptr() == images.ctypes.data
    assert as_points(torch.from_numpy(images)).data_ptr() == images.ctypes.data


def test_a_read_only_memory_map_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    points = as_points(images)
    assert points.data_ptr() == images.ctypes.data
    assert points.tolist() == images.reshape(2, 12).tolist()


def test_views_of_any_layout_are_points() -> None:
    images = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    for view in (images[::-1], images[..., ::2], images.transpose(0, 3, 1, 2), np.asfortranarray(images)):
        assert as_points(view).tolist() == view.reshape(2, -1).tolist()


def test_gradients_are_left_out() -> None:
    assert not as_points(torch.ones(2, 3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e151])
def test_values_that_are_not_finite_are_counted_and_refused(value: float) -> None:
    points = np.ones((5, 2, 3))
    points[1, 0], points[3, 1, 2] = value, value
    with pytest.raises(InputError, match="2 of 5 points hold NaN or infinite values"):
        as_points(points)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_they_are_counted_in_every_part_of_the_check(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metrics.points._CHECKED_AT_ONCE", 6)
    points = np.ones((5, 3), dtype=np.float32)
    points[[0, 4], 2] = value
    with pytest.raises(InputError, match="2 of 5 points"):
        as_points(points)


def test_the_largest_float32_is_finite() -> None:
    assert as_points(np.full((2, 1), np.finfo(np.float32).max)).dtype == torch.float32


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), ()])
def test_shapes_without_points_are_refused(shape: tuple[int, ...]) -> None:
    text = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=f"points of shape {text}"):
        as_points(np.zeros(shape))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "uint64"])
def test_labels_are_integers_of_any_kind(dtype: str) -> None:
    labels = np.array([1, 0, 1, 1]).astype(dtype)
    frozen = labels.copy()
    frozen.flags.writeable = False
    for given in (labels, torch.from_numpy(labels), frozen, labels.repeat(2)[::2], labels[::-1][::-1]):
        found = as_labels(given, 4)
        assert (found.dtype, found.tolist()) == (np.int64, [1, 0, 1, 1])
    assert as_labels(labels[::-1], 4).tolist() == [1, 1, 0, 1]


def test_labels_may_be_huge_and_negative() -> None:
    labels = [2**63 - 1, -(2**63), 0]
    assert as_labels(np.array(labels), 3).tolist() == labels


@pytest.mark.parametrize(
    "labels", [np.zeros(5, int), np.zeros((6, 1), int), np.zeros(7, int), np.zeros(6), np.zeros(6, complex)]
)
def test_labels_of_another_shape_or_kind_are_refused(labels: NDArray[np.generic]) -> None:
    with pytest.raises(InputError, match=rf"6 images but labels of shape \({labels.shape[0]},.*one integer label"):
        as_labels(labels, 6)


def test_words_are_no_labels() -> None:
    with pytest.raises(InputError, match="give one integer label per image"):
        as_labels(np.array(["cat", "dog"]), 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_equal_rows_are_told_by_the_first_of_each_kind(dtype: type[np.generic]) -> None:
    rows = np.random.default_rng(2).integers(0, 3, (80, 3)).astype(dtype)
    firsts = np.array([next(j for j in range(80) if (rows[j] == row).all()) for row in rows])
    expected = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    assert len(expected) < 28
    # Digests that tell everything, something, and nothing.
    for digests in (torch.from_numpy(firsts), torch.from_numpy(rows.sum(axis=1)), torch.zeros(80)):
        np.testing.assert_array_equal(equal_rows(torch.from_numpy(rows), digests), firsts)
        np.testing.assert_array_equal(distinct_rows(torch.from_numpy(rows), digests), expected)


def test_negative_zero_is_no_other_value() -> None:
    rows = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    assert distinct_rows(rows, torch.ones(3)).tolist() == [0, 2]
    assert torch.signbit(rows[1, 0]), "the caller's tensor was changed"
