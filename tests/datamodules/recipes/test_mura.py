"""MURA: the images of the lists and no others, labels from the folders of studies, regions of its data module."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from datamodules.mura import MURA
from datamodules.recipes.mura import MURARecipe
from datamodules.tables import ImageTable
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.made import Made
from tests.raw.mura import ROOT, make_mura, write_image, write_lines

TOP = Path("raw", ROOT)
RECIPE = MURARecipe(image_size=16)
STUDY = "train/XR_SHOULDER/patient00003/study1_negative"
FIRST = f"{STUDY}/image1.png"


def _rows(table: ImageTable) -> dict[str, dict[str, str]]:
    columns = {name: cells.tolist() for name, cells in table.columns.items()}
    sources = columns.pop("source")
    return {source: {name: columns[name][i] for name in columns} for i, source in enumerate(sources)}


def _append(name: str, line: str) -> int:
    """Add a line to a list; returns its number."""
    lines = (TOP / name).read_text(encoding="utf-8").splitlines()
    write_lines(TOP / name, [*lines, line])
    return len(lines) + 1


def _first_of(made: Made, mode: str) -> tuple[str, NDArray[np.uint8]]:
    """An image of a mode and its pixels as they are stored."""
    for source in made.expected:
        with Image.open(TOP / source) as picture:
            if picture.mode == mode:
                return source, np.asarray(picture).copy()
    raise AssertionError(f"no image is {mode}")


def _image(table: ImageTable, source: str) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = table.images[table.columns["source"].tolist().index(source)][0]
    return image


@pytest.fixture
def made() -> Made:
    return make_mura(Path("raw"))


@pytest.mark.parametrize("raw", ["raw", TOP])
def test_rows_are_what_was_written(made: Made, raw: str | Path) -> None:
    table, summary = prepared(RECIPE, raw)
    assert _rows(table) == made.expected
    assert table.columns["source"].tolist() == sorted(made.expected)
    assert table.images.shape == (len(made.expected), 1, 16, 16)
    assert list(table.columns) == ["label", "region", "group", "split", "source"]
    assert table.labellings == ["label"]
    assert (summary["skipped"], summary["notes"]) == ({}, {})


def test_the_fixture_has_patients_on_both_sides_and_in_two_regions(made: Made) -> None:
    for column in ("label", "region"):
        pairs = {(row["group"], row[column]) for row in made.expected.values()}
        assert max(Counter(group for group, _ in pairs).values()) == 2


def test_the_label_is_that_of_the_study_whatever_the_rest_of_the_path_says() -> None:
    odd = Path("raw/all_positive", ROOT)
    source = "valid/XR_WRIST/patient11185/study2_negative/image_positive.png"
    write_image(odd / source, np.random.default_rng(0))
    write_lines(odd / "valid_image_paths.csv", [f"all_positive/{ROOT}/{source}"])
    table, _ = prepared(RECIPE, "raw")
    assert _rows(table)[source]["label"] == "0"


def test_one_list_is_enough_and_none_says_where_to_get_them(made: Made) -> None:
    (TOP / "train_image_paths.csv").unlink()
    table, _ = prepared(RECIPE, "raw")
    assert set(_rows(table)) == {source for source, row in made.expected.items() if row["split"] == "valid"}
    (TOP / "valid_image_paths.csv").unlink()
    with pytest.raises(InputError, match=r"raw holds nothing of MURA .*valid_image_paths.csv in it, from the Stanford"):
        prepared(RECIPE, "raw", "other")


def test_images_are_padded_and_keep_their_grey_levels(made: Made) -> None:
    table, _ = prepared(RECIPE, "raw")
    grey, pixels = _first_of(made, "L")
    values = torch.from_numpy(pixels)[None, None].float()
    expected = F.interpolate(values, (16, 11), mode="bilinear", antialias=True)[0, 0].numpy()  # 30 x 20
    image = _image(table, grey)
    assert not image[:, [0, 1, 13, 14, 15]].any()
    np.testing.assert_allclose(image[:, 2:13], expected, atol=1.01)


def test_colour_becomes_luma(made: Made) -> None:
    table, _ = prepared(MURARecipe(image_size=30), "raw")
    colour, pixels = _first_of(made, "RGB")
    red, green, blue = pixels.astype(float).transpose(2, 0, 1)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    np.testing.assert_allclose(_image(table, colour)[:, 5:25], expected, atol=1)


def test_reference_images_are_scaled_by_their_maximum_and_stretched(made: Made) -> None:
    table, _ = prepared(MURARecipe(image_size=16, protocol="reference"), "raw")
    grey, pixels = _first_of(made, "L")
    assert pixels.max() < 255
    values = torch.from_numpy(pixels.astype(int) * 255 // pixels.max())[None, None].float()
    expected = F.interpolate(values, (16, 16), mode="bilinear", antialias=True)[0, 0].numpy()
    np.testing.assert_allclose(_image(table, grey), expected, atol=1.01)


def test_what_is_listed_twice_or_is_of_macos_is_skipped(made: Made) -> None:
    _append("train_image_paths.csv", f"{ROOT}/{FIRST}")
    _append("train_image_paths.csv", f"{ROOT}/{STUDY}/._image1.png")
    table, summary = prepared(RECIPE, "raw")
    assert _rows(table) == made.expected
    assert summary["skipped_sources"] == [
        [FIRST, "listed a second time"],
        [f"{STUDY}/._image1.png", "a file of macOS, no picture"],
    ]


@pytest.mark.parametrize(
    "line",
    [
        f"{ROOT}/valid/XR_HAND/patient00003/study1_negative/image1.png",
        f"{ROOT}/train/XR_HAND/patient00003/study1_unsure/image1.png",
        f"{ROOT}/train/XR_HAND/study1_negative/image1.png",
    ],
)
def test_paths_of_another_form_are_refused(made: Made, line: str) -> None:
    number = _append("train_image_paths.csv", line)
    with pytest.raises(InputError, match=rf"train_image_paths.csv, line {number}: expected a path .*got '{line}'"):
        prepared(RECIPE, "raw")


@pytest.mark.parametrize("label", ["1", "", "x"])
def test_a_study_whose_label_is_not_that_of_its_folder_is_refused(made: Made, label: str) -> None:
    line = f"{ROOT}/{STUDY}/,{label}"
    number = _append("train_labeled_studies.csv", line)
    with pytest.raises(InputError, match=rf"train_labeled_studies.csv, line {number}: expected .* got '{line}'"):
        prepared(RECIPE, "raw")


@pytest.mark.parametrize(("damage", "reason"), [("absent", r"absent \(listed in raw/.*line \d+"), ("truncated", "")])
def test_an_image_that_cannot_be_read_stops_it_or_is_counted(made: Made, damage: str, reason: str) -> None:
    image = TOP / FIRST
    content = image.read_bytes()
    image.unlink()
    if damage == "truncated":
        image.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{FIRST} cannot be read: .*{reason}.*--skip-unreadable"):
        prepared(RECIPE, "raw")
    table, summary = prepared(RECIPE, "raw", skip_unreadable=True)
    assert set(_rows(table)) == set(made.expected) - {FIRST}
    assert [source for source, _ in summary["skipped_sources"]] == [FIRST]


def test_two_copies_of_the_images_are_refused(made: Made) -> None:
    shutil.copytree(TOP / STUDY, Path("raw/backup", STUDY))
    with pytest.raises(InputError, match=rf"raw holds {STUDY}/image1.png twice .*--raw"):
        prepared(RECIPE, "raw")


@pytest.mark.parametrize(
    ("options", "regions"),
    [
        ({}, {"XR_ELBOW", "XR_SHOULDER"}),
        ({"regions": ["elbow"]}, {"XR_ELBOW"}),
        ({"regions": ["xr_Elbow", " SHOULDER "]}, {"XR_ELBOW", "XR_SHOULDER"}),
        ({"protocol": "reference"}, {"XR_SHOULDER"}),
        ({"protocol": "reference", "regions": ["ELBOW"]}, {"XR_ELBOW"}),
    ],
)
def test_regions_are_chosen(made: Made, options: dict[str, Any], regions: set[str]) -> None:
    table, _ = prepared(RECIPE, "raw")
    labels = MURA("table", **options).read_labels(table)
    rows = [made.expected[source] for source in sorted(made.expected)]
    assert labels.tolist() == [int(row["label"]) if row["region"] in regions else -1 for row in rows]


def test_regions_that_do_not_exist_are_refused(made: Made) -> None:
    table, _ = prepared(RECIPE, "raw")
    with pytest.raises(InputError, match="region 'knee' does not exist in table: choose from XR_ELBOW, XR_SHOULDER"):
        MURA("table", regions=["elbow", "knee"]).read_labels(table)
    with pytest.raises(InputError, match=r"regions=\[\] keeps no image"):
        MURA("table", regions=[])


@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_it_can_be_trained_on(made: Made, protocol: Any) -> None:
    prepared(MURARecipe(image_size=16, protocol=protocol), "raw")
    data = MURA("table", protocol=protocol, n_train=8, n_val=0, n_test=4, image_size=16)
    assert (len(data.train_set), len(data.test_set), data.input_shape) == (8, 4, (1, 16, 16))
    assert (data.name, data.domain, data.num_classes) == ("MURA", "medical", 2)
