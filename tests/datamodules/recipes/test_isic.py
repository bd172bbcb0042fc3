"""ISIC 2019: every photograph with its diagnosis and its lesion, by ids that are left as they are."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from datamodules.isic2019 import ISIC2019
from datamodules.recipes.isic import LABELLINGS, ISICRecipe
from datamodules.tables import ImageTable
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.isic import DIAGNOSES, IMAGES, METADATA, TRUTH, make_isic
from tests.raw.made import Made

RAW = Path("raw")
RECIPE = ISICRecipe(image_size=16)
FIRST = "ISIC_0000000"
SMALLER = "ISIC_0000002_downsampled"
NO_LESION = "an image without a lesion_id is taken for a lesion of its own"


def _rows(table: ImageTable) -> dict[str, dict[str, str]]:
    columns = {name: cells.tolist() for name, cells in table.columns.items()}
    sources = columns.pop("source")
    return {source: {name: columns[name][i] for name in columns} for i, source in enumerate(sources)}


def _edit(name: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a spreadsheet, the first of which is its header."""
    lines = change((RAW / name).read_text(encoding="utf-8").splitlines())
    (RAW / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(name: str, image: str) -> int:
    """The line of a spreadsheet that is about an image."""
    lines = (RAW / name).read_text(encoding="utf-8").splitlines()
    return next(i for i, line in enumerate(lines, start=1) if line.startswith(f"{image},"))


@pytest.fixture
def made() -> Made:
    return make_isic(RAW)


def test_rows_are_what_was_written(made: Made) -> None:
    table, summary = prepared(RECIPE, RAW)
    assert _rows(table) == made.expected
    assert table.columns["source"].tolist() == sorted(made.expected)
    assert table.images.shape == (len(made.expected), 3, 16, 16)
    assert list(table.columns) == [*LABELLINGS, "group", "split", "source"]
    assert table.labellings == list(LABELLINGS)
    assert sorted(LABELLINGS) == sorted(DIAGNOSES)
    assert LABELLINGS[0] == "NV"
    assert summary["skipped"] == {}


def test_lesions_are_groups_and_images_without_one_their_own(made: Made) -> None:
    table, summary = prepared(RECIPE, RAW)
    rows = _rows(table)
    assert rows[SMALLER]["group"] == rows["ISIC_0000003"]["group"] == "HAM_0000037"
    own = [source for source, row in rows.items() if row["group"] == source]
    assert own == [f"ISIC_{i:07d}" + ("_downsampled" if i == 10 else "") for i in (0, 5, 10, 15, 20, 25, 29)]
    assert summary["notes"] == {NO_LESION: len(own)}


def test_images_may_lie_in_one_folder_or_above_another(made: Made) -> None:
    Path("raw", IMAGES).rename("images")
    shutil.rmtree(RAW / "ISIC_2019_Training_Input")
    Path("images").rename("raw/ISIC_2019_Training_Input")
    RAW.rename("inner")
    Path("outer").mkdir()
    Path("inner").rename("outer/isic")
    table, _ = prepared(RECIPE, "outer")
    assert _rows(table) == made.expected


def test_photographs_are_padded_and_keep_their_colours(made: Made) -> None:
    table, _ = prepared(RECIPE, RAW)
    with Image.open(RAW / IMAGES / f"{SMALLER}.jpg") as picture:
        values = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float()
    expected = F.interpolate(values, (12, 16), mode="bilinear", antialias=True)[0].numpy()  # 24 x 32
    image = table.images[table.columns["source"].tolist().index(SMALLER)]
    assert not image[:, [0, 1, 14, 15]].any()
    np.testing.assert_allclose(image[:, 2:14], expected, atol=1.01)


def test_reference_photographs_are_scaled_by_their_maximum_and_stretched(made: Made) -> None:
    table, _ = prepared(ISICRecipe(image_size=16, protocol="reference"), RAW)
    with Image.open(RAW / IMAGES / f"{FIRST}.jpg") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)
    values = torch.from_numpy(pixels * 255 // pixels.max())[None].float()
    expected = F.interpolate(values, (16, 16), mode="bilinear", antialias=True)[0].numpy()
    np.testing.assert_allclose(table.images[0], expected, atol=1.01)


def test_without_the_ground_truth_it_says_where_to_get_it(made: Made) -> None:
    (RAW / TRUTH).unlink()
    with pytest.raises(InputError, match=rf"raw holds nothing of ISIC 2019 .*{TRUTH} and .* from challenge.isic"):
        prepared(RECIPE, RAW)


def test_without_the_metadata_lesions_are_unknown_and_it_stops(made: Made) -> None:
    (RAW / METADATA).unlink()
    with pytest.raises(InputError, match=rf"raw holds no file called {METADATA} \(which images show the same lesion\)"):
        prepared(RECIPE, RAW)


def test_an_image_that_is_listed_twice_alike_is_taken_once(made: Made) -> None:
    _edit(TRUTH, lambda lines: [*lines, lines[_line(TRUTH, FIRST) - 1]])
    _edit(METADATA, lambda lines: [*lines, lines[_line(METADATA, FIRST) - 1]])
    table, summary = prepared(RECIPE, RAW)
    assert _rows(table) == made.expected
    assert summary["skipped_sources"] == [[FIRST, "listed a second time"]]


def test_an_image_that_is_listed_twice_and_differs_is_refused(made: Made) -> None:
    _edit(METADATA, lambda lines: [*lines, f"{SMALLER},55.0,palms/soles,HAM_9999999,male"])
    with pytest.raises(InputError, match=rf"{METADATA}, line 31: {SMALLER} .* lesion_id 'HAM_9999999' after 'HAM_00"):
        prepared(RECIPE, RAW)
    make_isic(RAW)
    _edit(TRUTH, lambda lines: [*lines, f"{FIRST},1.0{',0.0' * 8}"])
    with pytest.raises(InputError, match=rf"{TRUTH}, line 32: {FIRST} is listed a second time, with another diagnosis"):
        prepared(RECIPE, RAW)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0", "2 diagnoses are 1.0, expected exactly one"),
        ("0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0", "0 diagnoses are 1.0, expected exactly one"),
        ("0.5,0.5,0.0,0.0,0.0,0.0,0.0,0.0,0.0", "NV is '0.5', expected 0.0 or 1.0"),
        ("0.0,1.0", "BCC is '', expected 0.0 or 1.0"),
    ],
)
def test_rows_without_one_diagnosis_are_refused(made: Made, cells: str, message: str) -> None:
    number = _line(TRUTH, SMALLER)
    _edit(TRUTH, lambda lines: [f"{SMALLER},{cells}" if line.startswith(SMALLER) else line for line in lines])
    with pytest.raises(InputError, match=rf"{TRUTH}, line {number}: {message}"):
        prepared(RECIPE, RAW)


@pytest.mark.parametrize(("name", "column"), [(TRUTH, "VASC"), (METADATA, "lesion_id")])
def test_a_missing_column_is_refused(made: Made, name: str, column: str) -> None:
    _edit(name, lambda lines: [lines[0].replace(column, "other"), *lines[1:]])
    with pytest.raises(InputError, match=rf"{name} has no column '{column}': its columns are image, "):
        prepared(RECIPE, RAW)


@pytest.mark.parametrize(
    ("damage", "reason"), [("absent", r"absent \(listed in raw/.*line \d+"), ("truncated", "truncated")]
)
def test_an_image_that_cannot_be_read_stops_it_or_is_counted(made: Made, damage: str, reason: str) -> None:
    image = RAW / IMAGES / f"{SMALLER}.jpg"
    content = image.read_bytes()
    image.unlink()
    if damage == "truncated":
        image.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{SMALLER}.jpg cannot be read: .*{reason}.*--skip-unreadable"):
        prepared(RECIPE, RAW)
    table, summary = prepared(RECIPE, RAW, skip_unreadable=True)
    assert set(_rows(table)) == set(made.expected) - {SMALLER}
    assert [source for source, _ in summary["skipped_sources"]] == [SMALLER]


def test_two_copies_of_an_image_are_refused_but_others_do_not_matter(made: Made) -> None:
    for folder in ("ISIC_2019_Test_Input", "thumbnails"):
        (RAW / folder).mkdir(exist_ok=True)
        shutil.copy(RAW / IMAGES / f"{FIRST}.jpg", RAW / folder / "cover.jpg")
    prepared(RECIPE, RAW)
    shutil.copy(RAW / IMAGES / f"{FIRST}.jpg", RAW)
    with pytest.raises(InputError, match=rf"raw holds {FIRST} twice \({FIRST}.jpg, {IMAGES}/{FIRST}.jpg\)"):
        prepared(RECIPE, RAW, "other")


@pytest.mark.parametrize("labelling", [None, "MEL"])
def test_one_diagnosis_is_told_from_all_others(made: Made, labelling: str | None) -> None:
    table, _ = prepared(RECIPE, RAW)
    labels = ISIC2019("table", labelling=labelling).read_labels(table)
    assert labels.tolist() == [int(made.expected[source][labelling or "NV"]) for source in sorted(made.expected)]


@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_it_can_be_trained_on(made: Made, protocol: Any) -> None:
    prepared(ISICRecipe(image_size=16, protocol=protocol), RAW)
    data = ISIC2019("table", protocol=protocol, n_train=8, n_val=0, n_test=4, image_size=16)
    assert (len(data.train_set), len(data.test_set), data.input_shape) == (8, 4, (3, 16, 16))
    assert (data.name, data.domain, data.num_classes) == ("ISIC2019", "medical", 2)
