"""One's own folder: classes and groups from paths, pictures of every kind, and a table that makes itself."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from datamodules.class_folders import read_class_folders
from datamodules.image_folder import ImageFolder
from datamodules.preparation.partial import PartialTable
from datamodules.recipes.imagefolder import ImageFolderRecipe
from datamodules.tables import ImageTable
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.imagefolder import GROUPS, ROOT, make_imagefolder, write_picture
from tests.raw.made import Made

RAW = Path("raw")
SCANS = RAW / ROOT
RECIPE = ImageFolderRecipe(image_size=16)


def _rows(table: ImageTable) -> dict[str, dict[str, str]]:
    columns = {name: cells.tolist() for name, cells in table.columns.items()}
    sources = columns.pop("source")
    return {source: {name: columns[name][i] for name in columns} for i, source in enumerate(sources)}


def _image(table: ImageTable, source: str) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = table.images[table.columns["source"].tolist().index(source)]
    return image


def _grey(name: str, pixels: NDArray[Any]) -> None:
    (SCANS / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(SCANS / name)


@pytest.fixture
def made() -> Made:
    return make_imagefolder(RAW)


@pytest.mark.parametrize("splits", [False, True])
def test_rows_are_what_was_written(splits: bool) -> None:
    made = make_imagefolder(RAW, splits=splits)
    table, summary = prepared(RECIPE, SCANS)
    assert _rows(table) == made.expected
    assert table.columns["source"].tolist() == sorted(made.expected)
    assert table.images.shape == (len(made.expected), 3, 16, 16)
    assert list(table.columns) == ["label", "class", "group", "split", "source"]
    assert table.labellings == ["label"]
    assert summary["notes"] == {"1 files are no pictures by their extension: left out (1 .txt)": 1}


@pytest.mark.parametrize("splits", [False, True])
def test_it_reads_what_measure_reads(splits: bool) -> None:
    make_imagefolder(RAW, splits=splits)
    table, _ = prepared(RECIPE, SCANS)
    collection = read_class_folders(SCANS)
    assert table.columns["source"].tolist() == list(collection.sources)
    assert table.labels("label").tolist() == collection.labels.tolist()
    assert table.columns["class"].tolist() == [collection.class_names[label] for label in collection.labels]


def test_classes_that_are_numbers_are_in_their_order() -> None:
    rng = np.random.default_rng(0)
    for name in ("10", "9", "100"):
        write_picture(SCANS / name / "1.png", rng)
    table, _ = prepared(RECIPE, SCANS)
    assert dict(zip(table.columns["class"].tolist(), table.labels("label").tolist(), strict=True)) == {
        "9": 0,
        "10": 1,
        "100": 2,
    }


@pytest.mark.parametrize("pattern", [GROUPS, r"case\d+", r"(?<=/)c\w+\d(?=_)"])
def test_groups_are_found_in_paths(made: Made, pattern: str) -> None:
    table, _ = prepared(ImageFolderRecipe(image_size=16, group_pattern=pattern), SCANS)
    groups = {source: row["group"] for source, row in _rows(table).items()}
    assert groups == {source: source.rpartition("/")[2][:6] for source in made.expected}


def test_a_path_without_a_group_is_refused(made: Made) -> None:
    write_picture(SCANS / "ill/extra.png", np.random.default_rng(0))
    for pattern in (r"case(\d+)", r"(case\d+)|extra"):
        with pytest.raises(InputError, match=r"group_pattern='.*case.*' finds no group in the path ill/extra.png"):
            prepared(ImageFolderRecipe(group_pattern=pattern), SCANS)


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match=r"group_pattern='\(a' is no regular expression: missing \)"):
        ImageFolderRecipe(group_pattern="(a")
    with pytest.raises(InputError, match="image_size=4 is too small"):
        ImageFolderRecipe(image_size=4)


def test_sixteen_bits_keep_their_full_range_in_grey_and_colour(made: Made) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    _grey("ill/case99_deep.png", values)
    for channels in (1, 3):
        table, _ = prepared(ImageFolderRecipe(image_size=16, channels=channels), SCANS, f"table{channels}")
        expected = np.broadcast_to(np.arange(256).reshape(16, 16), (channels, 16, 16))
        np.testing.assert_array_equal(_image(table, "ill/case99_deep.png"), expected)


def test_colour_becomes_luma_where_grey_is_asked_for(made: Made) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    _grey("ill/case99_colour.png", pixels)
    table, _ = prepared(ImageFolderRecipe(image_size=16, channels=1), SCANS)
    np.testing.assert_allclose(_image(table, "ill/case99_colour.png")[0], pixels @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize(
    ("options", "rows"),
    [({}, slice(2, 14)), ({"fit": "stretch"}, slice(0, 16)), ({"protocol": "reference"}, slice(0, 16))],
)
def test_pictures_are_made_square(made: Made, options: dict[str, Any], rows: slice) -> None:
    pixels = np.random.default_rng(2).integers(0, 128, (24, 32), dtype=np.uint8)
    _grey("ill/case99_wide.png", pixels)
    table, _ = prepared(ImageFolderRecipe(image_size=16, channels=1, **options), SCANS)
    image = _image(table, "ill/case99_wide.png")[0]
    scaled = pixels.astype(int) * 255 // pixels.max() if "protocol" in options else pixels
    values = torch.from_numpy(scaled)[None, None].float()
    expected = F.interpolate(values, (rows.stop - rows.start, 16), mode="bilinear", antialias=True)[0, 0].numpy()
    np.testing.assert_allclose(image[rows], expected, atol=1.01)
    assert not np.delete(image, np.r_[rows], axis=0).any()


def test_constant_pictures_are_skipped_and_counted(made: Made) -> None:
    _grey("ill/case99_black.png", np.zeros((9, 9), dtype=np.uint8))
    table, summary = prepared(RECIPE, SCANS)
    assert _rows(table) == made.expected
    assert [source for source, _ in summary["skipped_sources"]] == ["ill/case99_black.png"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"text", "cannot be identified"), (None, "32 bits per pixel have no range")],
)
def test_a_picture_that_cannot_be_read_stops_it_or_is_counted(made: Made, content: bytes | None, reason: str) -> None:
    bad = SCANS / "well/case98_0.tif"
    Image.fromarray(np.random.default_rng(0).random((9, 9), dtype=np.float32)).save(bad)
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(InputError, match=rf"well/case98_0.tif cannot be read: .*{reason}.*--skip-unreadable"):
        prepared(RECIPE, SCANS)
    table, summary = prepared(RECIPE, SCANS, skip_unreadable=True)
    assert _rows(table) == made.expected
    assert [source for source, _ in summary["skipped_sources"]] == ["well/case98_0.tif"]


def test_a_folder_of_another_layout_is_refused(made: Made) -> None:
    shutil.rmtree(SCANS / "well")
    with pytest.raises(InputError, match=r"fewer than two class folders with pictures \(classes: ill; .*<split>"):
        prepared(RECIPE, SCANS)


def test_a_name_that_is_no_text_is_refused(made: Made) -> None:
    shutil.copy(SCANS / next(iter(made.expected)), os.fsdecode(b"raw/scans/ill/\xff.png"))
    with pytest.raises(InputError, match=r"ill/\\udcff.png' is no name in UTF-8: rename it"):
        prepared(RECIPE, SCANS)
    (SCANS / "ill" / "é\u202f.png").write_bytes(Path(os.fsdecode(b"raw/scans/ill/\xff.png")).read_bytes())
    Path(os.fsdecode(b"raw/scans/ill/\xff.png")).unlink()
    table, _ = prepared(RECIPE, SCANS)
    assert "ill/é\u202f.png" in table.columns["source"].tolist()


@pytest.fixture
def _one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other processes, which take seconds to start."""
    monkeypatch.setattr("datamodules.preparation.prepare.available_processors", lambda: 1)


SIZES: dict[str, Any] = {"n_train": 8, "n_val": 0, "n_test": 4, "image_size": 16}


@pytest.mark.usefixtures("_one_processor")
@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_the_table_makes_itself(made: Made, protocol: Any) -> None:
    data = ImageFolder(folder=str(SCANS), group_pattern=GROUPS, protocol=protocol, domain="medical", **SIZES)
    assert (len(data.train_set), len(data.test_set), data.input_shape) == (8, 4, (3, 16, 16))
    assert (data.name, data.domain, data.num_classes) == ("ImageFolder scans", "medical", 2)
    assert data.table_folder.parent == Path("data/imagefolder")
    assert data.table_folder.name.startswith("scans-")
    table = ImageTable.open(data.table_folder)
    assert len(set(table.columns["group"].tolist())) == 16
    if protocol == "standard":
        assert not set(data.train_set.groups.tolist()) & set(data.test_set.groups.tolist())


@pytest.mark.usefixtures("_one_processor")
def test_a_table_is_made_once_and_again_where_options_differ(made: Made) -> None:
    options: list[dict[str, Any]] = [
        {},
        {},
        {"group_pattern": GROUPS},
        {"fit": "crop"},
        {"channels": 1},
        {"protocol": "reference"},
    ]
    folders = []
    for extra in options:
        data = ImageFolder(folder=str(SCANS), **SIZES | extra)
        data.prepare_data()
        folders.append(data.table_folder)
    assert len(set(folders)) == 5
    assert folders[0] == folders[1]
    assert ImageTable.open(folders[4]).images.shape[1:] == (1, 16, 16)
    assert sorted(Path("data/imagefolder").iterdir()) == sorted(set(folders))


@pytest.mark.usefixtures("_one_processor")
def test_another_folder_of_the_same_name_has_another_table(made: Made) -> None:
    make_imagefolder(Path("other"), seed=1)
    one, two = (ImageFolder(folder=f"{place}/{ROOT}", **SIZES) for place in ("raw", "other"))
    assert one.table_folder != two.table_folder
    same = ImageFolder(folder=str(SCANS.resolve()), **SIZES)
    assert same.table_folder == one.table_folder


@pytest.mark.usefixtures("_one_processor")
def test_pictures_that_have_changed_are_refused(made: Made) -> None:
    data = ImageFolder(folder=str(SCANS), **SIZES)
    data.prepare_data()
    write_picture(SCANS / "ill/case99_0.bmp", np.random.default_rng(0))
    with pytest.raises(
        InputError, match=rf"{data.table_folder} was prepared from other raw files .37 files then, 38 now"
    ):
        data.prepare_data()
    shutil.rmtree(data.table_folder)
    data.prepare_data()
    assert len(ImageTable.open(data.table_folder)) == len(made.expected) + 1


@pytest.mark.usefixtures("_one_processor")
def test_a_table_that_is_there_is_read_while_another_process_reads_it(made: Made) -> None:
    data = ImageFolder(folder=str(SCANS), **SIZES)
    data.prepare_data()
    other = PartialTable(data.table_folder)  # holds the lock
    data.prepare_data()
    other.discard()
    assert len(data.train_set) == 8


def test_a_prepared_table_is_used_as_it_is(made: Made) -> None:
    prepared(ImageFolderRecipe(image_size=16, group_pattern=GROUPS), SCANS)
    data = ImageFolder(table="table", **SIZES)
    assert (len(data.train_set), data.name) == (8, "ImageFolder table")
    with pytest.raises(InputError, match="no image table at nowhere: make it with `lightning prepare imagefolder"):
        ImageFolder(table="nowhere", **SIZES).prepare_data()


def test_options_without_a_folder_are_refused() -> None:
    with pytest.raises(InputError, match="no folder: give the folder that holds a folder per class, or a prepared"):
        ImageFolder()
    with pytest.raises(InputError, match="group_pattern and fit decide how a folder is read: give the folder"):
        ImageFolder(table="table", group_pattern=GROUPS)
    with pytest.raises(InputError, match="folder=nowhere is no folder: give the folder that holds a folder per class"):
        ImageFolder(folder="nowhere").prepare_data()
