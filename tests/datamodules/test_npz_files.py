"""NumPy archives: every layout by its shape, keys by their common names, and nothing executed."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.npz_files import read_npz
from metrics import InputError

LABELS = np.array([1, 0, 1, 2])


def _images(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _save(**arrays: Any) -> Path:
    np.savez("some.npz", **arrays)
    return Path("some.npz")


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 5, 6), (0, 1, 2)),
        ((4, 5, 6, 1), (0, 3, 1, 2)),
        ((4, 5, 6, 3), (0, 3, 1, 2)),
        ((4, 1, 5, 6), (0, 1, 2, 3)),
        ((4, 3, 5, 6), (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_every_layout_becomes_channels_first(shape: tuple[int, ...], axes: tuple[int, ...], compressed: bool) -> None:
    images = _images(*shape)
    (np.savez_compressed if compressed else np.savez)("some.npz", images=images, labels=LABELS)
    collection = read_npz("some.npz")
    expected = images.transpose(axes).reshape(4, -1, 5, 6)
    np.testing.assert_array_equal(collection.images, expected)
    assert collection.images.is_contiguous()
    assert collection.labels.tolist() == [1, 0, 1, 2]
    assert collection.class_names == ("0", "1", "2")
    assert collection.sources == tuple(f"some.npz[{i}]" for i in range(4))
    assert (collection.name, collection.groups, collection.splits, collection.notes) == ("some", None, None, ())


@pytest.mark.parametrize("images_key", ["images", "x", "X", "data", "arr_0"])
@pytest.mark.parametrize("labels_key", ["labels", "y", "Y", "label", "target", "arr_1"])
def test_common_names_are_found(images_key: str, labels_key: str) -> None:
    file = _save(**{"other": LABELS, labels_key: LABELS, images_key: _images(4, 5, 6)})
    assert len(read_npz(file)) == 4


def test_other_names_can_be_given() -> None:
    file = _save(images=_images(4, 5, 6), labels=LABELS, pixels=_images(4, 2, 2, seed=1), malignant=1 - LABELS % 2)
    collection = read_npz(file, images_key="pixels", labels_key="malignant")
    np.testing.assert_array_equal(collection.images[:, 0], _images(4, 2, 2, seed=1))
    assert collection.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"pixels": 1, "labels": 1}, {}, r"some.npz holds pixels, labels: name one of them with images_key"),
        ({"images": 1, "classes": 1}, {}, r"some.npz holds images, classes: name one of them with labels_key"),
        (
            {"images": 1, "classes": 1},
            {"labels_key": "z"},
            r"labels_key='z' is not in some.npz: choose from images, cl",
        ),
        (
            {"images": 1, "labels": 1},
            {"images_key": "z"},
            r"images_key='z' is not in some.npz: choose from images, lab",
        ),
        ({"train_images": 1, "test_labels": 1}, {}, r"holds train_images but no train_labels"),
        ({}, {}, r"some.npz holds nothing"),
    ],
)
def test_names_that_are_not_there_are_refused_with_those_that_are(
    arrays: dict[str, Any], options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(_save(**arrays), **options)


@pytest.mark.parametrize("keys", ["{}_images {}_labels", "x_{} y_{}"])
@pytest.mark.parametrize("splits", [("train", "val", "test"), ("test", "train"), ("val",)])
def test_medmnist_and_keras_files_have_splits(keys: str, splits: tuple[str, ...]) -> None:
    arrays = {}
    for i, split in enumerate(splits):
        images_key, labels_key = keys.format(split, split).split()
        arrays[labels_key] = np.full((i + 1, 1), 7 + i, dtype=np.uint8)
        arrays[images_key] = _images(i + 1, 5, 6, 3, seed=i)
    collection = read_npz(_save(**arrays))
    order = sorted(splits, key=("train", "val", "test").index)
    counts = {split: i + 1 for i, split in enumerate(splits)}
    assert collection.splits is not None
    assert collection.splits.tolist() == [split for split in order for _ in range(counts[split])]
    assert collection.sources == tuple(f"some.npz[{split} {i}]" for split in order for i in range(counts[split]))
    assert [collection.class_names[label] for label in collection.labels] == [
        str(6 + counts[split]) for split in order for _ in range(counts[split])
    ]
    seeds = [splits.index(split) for split in order]
    np.testing.assert_array_equal(
        collection.images.permute(0, 2, 3, 1), np.concatenate([_images(i + 1, 5, 6, 3, seed=i) for i in seeds])
    )


def test_classes_are_chosen_across_splits() -> None:
    arrays = {f"{split}_labels": LABELS[:, None] for split in ("train", "test")}
    arrays |= {f"{split}_images": _images(4, 5, 6, seed=i) for i, split in enumerate(("train", "test"))}
    collection = read_npz(_save(**arrays), classes=["2", "0"])
    np.testing.assert_array_equal(
        collection.images[:, 0], np.concatenate([_images(4, 5, 6, seed=i)[[1, 3]] for i in (0, 1)])
    )
    assert collection.labels.tolist() == [1, 0, 1, 0]
    assert collection.class_names == ("2", "0")
    assert collection.splits is not None
    assert collection.splits.tolist() == ["train", "train", "test", "test"]
    assert collection.sources[2] == "some.npz[test 1]"
    with pytest.raises(InputError, match=r"class '3' does not exist in some.npz: choose from 0, 1, 2"):
        read_npz("some.npz", classes=["3"])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_are_taken_times_255_and_rounded_with_a_note(kind: type[np.floating[Any]]) -> None:
    images = (np.arange(600) / 599).reshape(300, 1, 2).astype(kind)
    collection = read_npz(_save(x=images, y=np.arange(300) % 2))
    expected = [round(float(value) * 255) for value in images.flatten()]
    assert collection.images.flatten().tolist() == expected
    assert collection.notes == ("images are floats in [0, 1]: taken times 255 and rounded",)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.full((4, 5, 6), 1.01),
            r"'x' in some.npz holds float64 from 1.01 to 1.01: expected uint8, or floats in \[0",
        ),
        (np.full((4, 5, 6), -0.5, dtype=np.float32), r"holds float32 from -0.5 to -0.5"),
        (np.full((4, 5, 6), np.nan), r"holds float64 from nan to nan"),
        (np.ones((4, 5, 6), dtype=np.int64), r"holds int64: expected uint8, or floats in \[0, 1\]"),
        (np.ones((4, 5, 6), dtype=bool), r"holds bool: expected uint8"),
        (np.ones((4, 5, 6), dtype=np.complex64), r"holds complex64: expected uint8"),
        (_images(4, 5), r"the shape \(4, 5\): expected \(n, H, W\), \(n, H, W, C\) or \(n, C, H, W\) with C = 1 or 3"),
        (_images(4, 5, 6, 4), r"the shape \(4, 5, 6, 4\): expected"),
        (_images(4, 3, 6, 3), r"the shape \(4, 3, 6, 3\): either side of it could be the channels"),
        (_images(4, 5, 6, 7, 3), r"the shape \(4, 5, 6, 7, 3\): expected"),
        (_images(0, 5, 6), r"the shape \(0, 5, 6\): there is no pixel"),
        (_images(3, 5, 6), r"some.npz holds 3 images but 4 labels"),
    ],
)
def test_images_of_another_kind_are_refused(images: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(_save(x=images, y=LABELS))


@pytest.mark.parametrize(
    ("labels", "class_names", "numbers"),
    [
        (np.array([[3], [1], [3], [2]], dtype=np.uint8), ("1", "2", "3"), [2, 0, 2, 1]),
        (np.array([-1, 1, 1, -1]), ("-1", "1"), [0, 1, 1, 0]),
        (np.array([2.0, 10.0, 2.0, 10.0]), ("2", "10"), [0, 1, 0, 1]),
        (np.array([True, False, True, True]), ("0", "1"), [1, 0, 1, 1]),
        (np.array(["b", "a ", "b", "a"]), ("a", "b"), [1, 0, 1, 0]),
        (np.array([b"b", "ä".encode(), b"b", b"b"]), ("b", "ä"), [0, 1, 0, 0]),
    ],
)
def test_labels_are_whole_numbers_or_text(
    labels: NDArray[Any], class_names: tuple[str, ...], numbers: list[int]
) -> None:
    collection = read_npz(_save(x=_images(4, 5, 6), y=labels))
    assert (collection.class_names, collection.labels.tolist()) == (class_names, numbers)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.eye(4, dtype=int),
            r"'y' in some.npz has the shape \(4, 4\): expected \(n,\) or \(n, 1\), one label per image",
        ),
        (np.array(3), r"the shape \(\): expected"),
        (np.array([0.5, 1, 2, 3]), "holds float64 that are no classes"),
        (np.array([np.nan, 1, 2, 3]), "holds float64 that are no classes"),
        (np.array([np.inf, 1, 2, 3]), "holds float64 that are no classes"),
        (np.array([1j, 1, 2, 3]), "holds complex128 that are no classes"),
        (np.array(["", "", "", ""]), "some.npz has no image with a label"),
    ],
)
def test_labels_of_another_kind_are_refused(labels: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npz(_save(x=_images(4, 5, 6), y=labels))


def test_images_with_blank_labels_are_left_out() -> None:
    collection = read_npz(_save(x=_images(4, 5, 6), y=np.array(["a", "", "b", " "])))
    np.testing.assert_array_equal(collection.images[:, 0], _images(4, 5, 6)[[0, 2]])
    assert collection.sources == ("some.npz[0]", "some.npz[2]")
    assert collection.notes == ("2 of 4 images have no label: left out",)


def test_splits_of_several_shapes_are_refused() -> None:
    file = _save(x_train=_images(4, 5, 6), y_train=LABELS, x_test=_images(4, 7, 6), y_test=LABELS)
    with pytest.raises(InputError, match=r"several shapes \(train \(1, 5, 6\), test \(1, 7, 6\)\)"):
        read_npz(file)


def test_objects_are_not_unpickled() -> None:
    file = _save(x=_images(4, 5, 6), y=np.array([0, "1", 2, print], dtype=object))
    with pytest.raises(InputError, match=r"'y' in some.npz cannot be read: Object arrays cannot be loaded"):
        read_npz(file)


def test_what_is_no_archive_is_refused() -> None:
    np.save("array.npy", LABELS)
    Path("text.npz").write_text("hello")
    with zipfile.ZipFile("other.npz", "w") as archive:
        archive.writestr("images", "hello")
        archive.writestr("labels", "hello")
    for name, message in (
        ("nowhere.npz", "no file at nowhere.npz"),
        (".", "no file at"),
        ("array.npy", r"array.npy is no .npz archive: write one with np.savez\('array.npz'"),
        ("text.npz", "text.npz is no .npz archive"),
        ("other.npz", "'images' in other.npz is no array"),
    ):
        with pytest.raises(InputError, match=message):
            read_npz(name)


def test_damaged_archives_are_refused() -> None:
    np.savez_compressed("some.npz", x=np.zeros((4, 50, 60), dtype=np.uint8), y=LABELS)
    content = bytearray(Path("some.npz").read_bytes())
    content[60:90] = bytes(30)
    Path("some.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"'x' in some.npz cannot be read: "):
        read_npz("some.npz")
