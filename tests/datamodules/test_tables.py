"""Image tables: what is written is what is read, all or nothing, and contradictions are refused."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules import ImageTable, write_table
from datamodules.tables import Row, exists
from metrics import InputError

Sample = tuple[NDArray[np.uint8], Row]


def _images(n: int, shape: tuple[int, ...] = (3, 4, 5), seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def _samples(n: int, seed: int = 0) -> Iterator[Sample]:
    for i, image in enumerate(_images(n, seed=seed)):
        yield image, {"label": i % 2, "group": f"patient {i // 2}", "source": f'a, "b"/{i}.png'}


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    """Six images of three patients."""
    return write_table(tmp_path / "table", _samples(6))


@pytest.mark.parametrize("n", [1, 9, 10, 1000])
def test_what_is_written_is_what_is_read(n: int, tmp_path: Path) -> None:
    written = write_table(tmp_path / "deep" / "table", _samples(n))
    for table in (written, ImageTable.open(tmp_path / "deep" / "table"), ImageTable.open(str(written.folder))):
        np.testing.assert_array_equal(table.images, _images(n))
        assert len(table) == n
        assert table.labels("label").tolist() == [i % 2 for i in range(n)]
        assert np.bincount(table.groups).tolist() == [2] * (n // 2) + [1] * (n % 2)
        assert table.columns["source"].tolist() == [f'a, "b"/{i}.png' for i in range(n)]
        assert list(table.columns) == ["label", "group", "source"]


def test_images_are_a_plain_npy_file_that_numpy_maps_read_only(table: ImageTable) -> None:
    for mode in ("r", None):
        np.testing.assert_array_equal(np.load(table.folder / "images.npy", mmap_mode=mode), _images(6))
    assert isinstance(table.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        table.images[0] = 0


def test_views_are_written_by_value(tmp_path: Path) -> None:
    images = _images(3).transpose(0, 3, 2, 1)[:, ::-1]
    table = write_table(tmp_path / "table", [(image, {"group": i}) for i, image in enumerate(images)])
    np.testing.assert_array_equal(table.images, images)


def test_equal_groups_have_equal_numbers(tmp_path: Path) -> None:
    names = ["b", "a", "10", "b", "1", "10"]
    table = write_table(tmp_path / "table", zip(_images(6), [{"group": name} for name in names], strict=True))
    numbers = table.groups.tolist()
    assert [[a == b for b in numbers] for a in numbers] == [[a == b for b in names] for a in names]


def test_nothing_is_left_when_the_samples_fail_midway(tmp_path: Path) -> None:
    def broken() -> Iterator[Sample]:
        yield from _samples(3)
        raise RuntimeError("unreadable scan")

    with pytest.raises(RuntimeError, match="unreadable scan"):
        write_table(tmp_path / "table", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_finishes_second_keeps_the_first_table(tmp_path: Path) -> None:
    def overtaken() -> Iterator[Sample]:
        assert not exists(tmp_path / "table")
        yield from _samples(4, seed=1)
        write_table(tmp_path / "table", _samples(6))

    np.testing.assert_array_equal(write_table(tmp_path / "table", overtaken()).images, _images(6))
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="table exists and is no image table"):
        write_table(tmp_path / "table", _samples(2))
    assert [path.name for path in tmp_path.rglob("*")] == ["table", "notes.txt"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write an image table at .*/file/table"):
        write_table(tmp_path / "file" / "table", _samples(2))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no images"),
        ([(np.zeros((1, 2, 2)), {"group": 0})], r"images are float64 \(1, 2, 2\)"),
        ([(_images(1)[0, 0], {"group": 0})], r"images are uint8 \(4, 5\)"),
        ([(_images(1)[0], {"label": 0})], "columns label: 'group' is missing"),
        (
            [*_samples(2), (_images(1, (1, 4, 5))[0], {})],
            r"image 2 is uint8 \(1, 4, 5\), the first was uint8 \(3, 4, 5\)",
        ),
        ([*_samples(2), (np.zeros((3, 4, 5)), {})], r"image 2 is float64 \(3, 4, 5\)"),
        ([*_samples(1), (_images(1)[0], {"group": 0, "label": 1, "source": 2})], "row 1 has the columns group, label"),
    ],
)
def test_samples_that_do_not_fit_together_are_refused_without_a_trace(
    samples: list[Sample], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_table(tmp_path / "table", samples)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["images.npy", "manifest.csv", "."])
def test_half_a_table_is_none(missing: str, table: ImageTable) -> None:
    assert exists(table.folder)
    if missing == ".":
        table.folder.rename(table.folder.with_name("elsewhere"))
    else:
        (table.folder / missing).unlink()
    assert not exists(table.folder)
    with pytest.raises(InputError, match=f"no image table at {table.folder}"):
        ImageTable.open(table.folder)


@pytest.mark.parametrize("size", [1, 9, 60, 128, 128 + 6 * 60 - 1])
def test_truncated_images_are_refused(size: int, table: ImageTable) -> None:
    os.truncate(table.folder / "images.npy", size)
    with pytest.raises(InputError, match=f"the image table at {table.folder} cannot be read"):
        ImageTable.open(table.folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("group", "patient"), "no column 'group'"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "6 images but 5 manifest rows"),
        (lambda text: text.splitlines()[0] + "\n", "6 images but 0 manifest rows"),
        (lambda text: text + text.splitlines()[-1], "6 images but 7 manifest rows"),
    ],
)
def test_manifests_that_contradict_the_images_are_refused(
    edit: Callable[[str], str], message: str, table: ImageTable
) -> None:
    manifest = table.folder / "manifest.csv"
    manifest.write_text(edit(manifest.read_text()))
    with pytest.raises(InputError, match=message):
        ImageTable.open(table.folder)


def test_manifests_that_are_no_text_are_refused(table: ImageTable) -> None:
    (table.folder / "manifest.csv").write_bytes(b"label,group\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="cannot be read"):
        ImageTable.open(table.folder)


@pytest.mark.parametrize(
    ("images", "shown"),
    [(np.zeros((6, 3, 4, 5)), r"float64 \(6, 3, 4, 5\)"), (_images(6, (4, 5)), r"uint8 \(6, 4, 5\)")],
)
def test_images_of_another_kind_are_refused(images: NDArray[np.generic], shown: str, table: ImageTable) -> None:
    np.save(table.folder / "images.npy", images)
    with pytest.raises(InputError, match=f"holds {shown}"):
        ImageTable.open(table.folder)


@pytest.fixture
def labelled(tmp_path: Path) -> ImageTable:
    """Two labellings, one with a blank, beside columns that are none."""
    rows: list[Row] = [
        {"finding": 3, "view": "", "laterality": "left", "empty": "", "signed": 0, "group": 1, "source": 1, "split": 0},
        {"finding": 0, "view": 1, "laterality": "2", "empty": "", "signed": -1, "group": 2, "source": 2, "split": 1},
    ]
    return write_table(tmp_path / "labelled", zip(_images(2), rows, strict=True))


def test_blank_labels_are_minus_one(labelled: ImageTable) -> None:
    assert labelled.labels("finding").tolist() == [3, 0]
    assert labelled.labels("view").tolist() == [-1, 1]
    assert labelled.labels("view").dtype == np.int64


def test_labellings_are_the_columns_of_integers(labelled: ImageTable) -> None:
    assert labelled.labellings == ["finding", "view", "signed"]


@pytest.mark.parametrize("name", ["laterality", "empty", "group", "source", "split", "label"])
def test_columns_that_are_no_labelling_are_refused_with_those_that_are(name: str, labelled: ImageTable) -> None:
    with pytest.raises(InputError, match=f"no labelling '{name}': choose from finding, view, signed"):
        labelled.labels(name)


def test_a_label_of_minus_one_is_not_used(labelled: ImageTable) -> None:
    assert labelled.labels("signed").tolist() == [int(cell) for cell in labelled.columns["signed"]]
    assert -1 in labelled.labels("signed")


def test_other_negative_labels_are_refused(tmp_path: Path) -> None:
    rows = [{"label": label, "group": label} for label in (0, -2, -1)]
    pixels = np.zeros((3, 1, 8, 8), dtype=np.uint8)
    table = write_table(tmp_path / "below", zip(pixels, rows, strict=True))
    with pytest.raises(InputError, match=r"1 labels of 'label' .* below −1"):
        table.labels("label")


def test_facts_are_no_labellings(tmp_path: Path) -> None:
    rows = [{"any": i % 2, "slice": i, "distance": 2, "group": i, "split": "", "source": i} for i in range(4)]
    table = write_table(tmp_path / "slices", zip(np.zeros((4, 1, 8, 8), dtype=np.uint8), rows, strict=True))
    assert table.labellings == ["any"]
    assert table.splits is None
    with pytest.raises(InputError, match="no labelling 'slice': choose from any"):
        table.labels("slice")


def test_official_splits_are_known_where_there_are_some(tmp_path: Path) -> None:
    parts = ["train", "", "test", "valid"]
    rows = [{"label": 0, "group": i, "split": part} for i, part in enumerate(parts)]
    table = write_table(tmp_path / "parts", zip(np.zeros((4, 1, 8, 8), dtype=np.uint8), rows, strict=True))
    assert table.splits is not None
    assert table.splits.tolist() == parts


def test_an_official_split_of_another_name_is_refused(tmp_path: Path) -> None:
    rows = [{"label": 0, "group": i, "split": part} for i, part in enumerate(["train", "val"])]
    table = write_table(tmp_path / "parts", zip(np.zeros((2, 1, 8, 8), dtype=np.uint8), rows, strict=True))
    with pytest.raises(InputError, match=r"'split' of .* holds 'val', not train, valid, test or blank"):
        table.splits  # noqa: B018  # reading it is what is tested


def test_a_column_that_is_missing_or_holds_something_else_is_named(labelled: ImageTable) -> None:
    assert labelled.integers("group").tolist() == [int(cell) for cell in labelled.columns["group"]]
    with pytest.raises(InputError, match="has no column 'distance': its columns are finding, view"):
        labelled.integers("distance")
    with pytest.raises(InputError, match=r"the column 'laterality' of .* holds 'left': expected whole numbers"):
        labelled.integers("laterality")
