"""Collections of tables and data modules: the same images, labels, groups and splits as they have."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from datamodules import ImageTable, TableDataModule, write_table
from datamodules.collected_tables import from_data_module, read_table
from datamodules.tables import Cell, Row
from metrics import InputError

LABELS: tuple[Cell, ...] = (8, 3, "", 10, 3, 8)


@pytest.fixture
def table() -> ImageTable:
    """Six images under two labellings, with splits and sources."""
    rows: list[Row] = [
        {
            "label": y,
            "other": i // 3,
            "group": f"g{i // 2}",
            "source": f"{i}.dcm",
            "split": "test" if i % 2 else "train",
        }
        for i, y in enumerate(LABELS)
    ]
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 4), dtype=np.uint8)
    return write_table("scans", zip(images, rows, strict=True))


@pytest.mark.parametrize(
    ("classes", "rows", "labels", "class_names"),
    [
        (None, [0, 1, 3, 4, 5], [1, 0, 2, 0, 1], ("3", "8", "10")),
        (["8", "3"], [0, 1, 4, 5], [0, 1, 1, 0], ("8", "3")),
        (["10"], [3], [0], ("10",)),
    ],
)
def test_a_table_is_read_as_it_is(
    classes: list[str] | None, rows: list[int], labels: list[int], class_names: tuple[str, ...], table: ImageTable
) -> None:
    collection = read_table(table.folder, classes=classes)
    np.testing.assert_array_equal(collection.images, table.images[rows])
    assert collection.labels.tolist() == labels
    assert collection.class_names == class_names
    assert collection.groups is not None
    assert collection.groups.tolist() == [f"g{row // 2}" for row in rows]
    assert collection.splits is not None
    assert collection.splits.tolist() == ["test" if row % 2 else "train" for row in rows]
    assert collection.sources == tuple(f"{row}.dcm" for row in rows)
    assert collection.name == "scans"
    assert collection.notes == ("1 of 6 images have no label under 'label': left out",)


def test_another_labelling(table: ImageTable) -> None:
    collection = read_table(table.folder, labelling="other")
    assert collection.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert collection.notes == ()
    with pytest.raises(InputError, match="no labelling 'third': choose from label, other"):
        read_table(table.folder, labelling="third")
    with pytest.raises(InputError, match=r"class '7' does not exist in scans \(label\): choose from 3, 8, 10"):
        read_table(table.folder, classes=["7"])


def test_a_table_without_splits_sources_and_some_groups() -> None:
    rows: list[Row] = [{"label": i, "group": group} for i, group in enumerate(("", "a", ""))]
    table = write_table("deep/scans", zip(np.zeros((3, 1, 2, 2), dtype=np.uint8), rows, strict=True))
    collection = read_table(str(table.folder))
    assert collection.splits is None
    assert collection.sources == ("scans[0]", "scans[1]", "scans[2]")
    assert collection.groups is not None
    assert collection.groups.tolist() == ["scans[0]", "a", "scans[2]"]


def _module(
    table: ImageTable,
    image_size: int = 16,
    channels: Literal["keep", 1, 3] = "keep",
    classes: list[int | list[int]] | None = None,
) -> TableDataModule:
    return TableDataModule(
        str(table.folder), n_train=40, n_val=20, n_test=30, image_size=image_size, channels=channels, classes=classes
    )


def test_a_data_module_gives_its_three_sets(tiny_table: ImageTable) -> None:
    data = _module(tiny_table)
    collection = from_data_module(data)
    sets = {"train": data.train_set, "val": data.val_set, "test": data.test_set}
    rows = np.concatenate([part.rows.numpy() for part in sets.values()])
    assert collection.splits is not None
    assert collection.splits.tolist() == ["train"] * 40 + ["val"] * 20 + ["test"] * 30
    np.testing.assert_array_equal(collection.images, tiny_table.images[rows])
    np.testing.assert_array_equal(collection.labels, tiny_table.labels("label")[rows])
    assert collection.groups is not None
    assert collection.groups.tolist() == [f"g{row}" for row in rows]
    assert collection.sources == tuple(f"noise {row}" for row in rows)
    assert (collection.name, collection.class_names, collection.notes) == ("tiny", ("0", "1"), ())


def test_what_a_data_module_did_to_its_images_is_noted(tiny_table: ImageTable) -> None:
    collection = from_data_module(_module(tiny_table, image_size=8, channels=3))
    assert collection.images.shape == (90, 3, 8, 8)
    assert collection.notes == (
        "resampled from 16x16 to 8x8 (width x height)",
        "grey images are shown as colour, three equal channels",
    )


def test_the_classes_of_a_data_module(tmp_path: Path) -> None:
    rows: list[Row] = [{"label": 10 - i % 3, "group": i} for i in range(60)]
    noise = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    table = write_table(tmp_path / "t", zip(noise, rows, strict=True))

    def data(classes: list[int | list[int]] | None) -> TableDataModule:
        return TableDataModule(str(table.folder), classes=classes, n_train=12, n_val=0, n_test=6, image_size=8)

    assert from_data_module(data(None)).class_names == ("8", "9", "10")
    assert from_data_module(data([10, 8])).class_names == ("10", "8")
    merged = from_data_module(data([10, [8, 9]]))
    assert merged.class_names == ("10", "8+9")
    labels = table.labels("label")[[int(source.removeprefix("t[").removesuffix("]")) for source in merged.sources]]
    np.testing.assert_array_equal(merged.labels, np.where(labels == 10, 0, 1))

    one = from_data_module(data([10, [8, 9]]), classes=["8+9"])
    assert one.class_names == ("8+9",)
    assert len(one.images) == len(one.sources) == len(one.labels) == 9
    np.testing.assert_array_equal(one.images, merged.images[merged.labels == 1])
    with pytest.raises(InputError, match=r"class '8' does not exist in t: choose from 10, 8\+9"):
        from_data_module(data([10, [8, 9]]), classes=["8"])
