"""Prostate: rows of both modalities, the middle half, order of slices, grey levels, scores, contradictions."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules import ImageTable
from datamodules.prostate_mri_us import ProstateMRIUS
from datamodules.recipes.prostate import ProstateRecipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.dbc import write_sheet
from tests.raw.dicom import write_dicom
from tests.raw.made import Made
from tests.raw.prostate import COLLECTION, TARGETS, make_prostate, write_targets

PATIENT, UID = "Prostate-MRI-US-Biopsy-0001", "1.2.3.4"
SIDE = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Made]]:
    """The whole download, and what is in it by modality; not to be changed."""
    raw = tmp_path_factory.mktemp("prostate")
    other = tmp_path_factory.mktemp("again")
    return raw, {"us": make_prostate(raw), "mr": make_prostate(other, modality="mr")}


@pytest.fixture(scope="module")
def table(made: tuple[Path, dict[str, Made]], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return prepared(ProstateRecipe(image_size=SIDE), made[0], tmp_path_factory.mktemp("prepared") / "table")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the targets of one series, which is still to be written."""
    write_targets(tmp_path / "raw" / TARGETS, [target(3)])
    return tmp_path / "raw"


def target(score: object, patient: object = PATIENT, uid: object = UID) -> list[object]:
    """A row of the spreadsheet: the same series for both modalities."""
    return [patient, uid, uid, "ROI 1", 0.5, score]


def write(file: Path, pixels: NDArray[np.uint8 | np.uint16 | np.int16], **tags: object) -> None:
    write_dicom(file, pixels, **{"SeriesInstanceUID": UID, "PixelSpacing": ["0.5", "0.5"], **tags})


def frames(count: int = 8, high: int = 256) -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, high, (count, SIDE, SIDE))


def write_slices(folder: Path, values: NDArray[np.int64], **tags: object) -> None:
    """MR, a file per slice, in order by position; numbers and names are in other orders."""
    for i, pixels in enumerate(values):
        usual = {
            "InstanceNumber": len(values) - i,
            "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],  # a sagittal slice: the normal is (−1, 0, 0)
            "ImagePositionPatient": [-3.0 * i, 40 * (i % 3), 7],
        }
        write(folder / f"1-{i * 7 % len(values)}.dcm", pixels.astype(np.uint16), **{**usual, **tags})


def windowed(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Grey levels between two percentiles of everything, linearly interpolated, by their definition."""
    ordered = np.sort(values.ravel()).astype(np.float64)
    low, high = (np.interp(share * (ordered.size - 1), np.arange(ordered.size), ordered) for share in (0.001, 0.999))
    levels: NDArray[np.float64] = np.rint(((values - low) * 255 / (high - low)).clip(0, 255))
    return levels


def cells(table: ImageTable) -> dict[str, dict[str, str]]:
    return {
        source: {name: str(column[i]) for name, column in table.columns.items() if name != "source"}
        for i, source in enumerate(table.columns["source"].tolist())
    }


@pytest.mark.parametrize("modality", ["us", "mr"])
@pytest.mark.parametrize("inner", [False, True])
def test_rows_are_what_was_written(
    made: tuple[Path, dict[str, Made]], tmp_path: Path, modality: Literal["us", "mr"], inner: bool
) -> None:
    raw, wanted = made[0], made[1][modality]
    if inner:  # the folder of the tree itself, with the spreadsheet in it
        raw = shutil.copytree(raw / COLLECTION, tmp_path / "raw")
        shutil.copy(made[0] / TARGETS, raw)
    table, summary = prepared(ProstateRecipe(image_size=SIDE, modality=modality), raw)
    assert list(table.columns) == ["default", "hard", "score", "slice", "group", "split", "source"]
    assert cells(table) == wanted.expected
    sources = table.columns["source"].tolist()
    assert sources == sorted(sources)  # no number has two digits
    assert table.labellings == ["default", "hard", "score"]
    found = dict(summary["skipped_sources"])
    assert found.keys() == wanted.skipped.keys()
    assert all(reason in found[source] for source, reason in wanted.skipped.items())


@pytest.mark.parametrize(
    ("count", "first", "last"), [(2, 0, 0), (3, 0, 1), (4, 1, 2), (7, 1, 4), (8, 2, 5), (13, 3, 8)]
)
def test_the_middle_half_is_taken_as_it_is_stored(folder: Path, count: int, first: int, last: int) -> None:
    write(folder / "1-1.dcm", frames(count).astype(np.uint8))
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    assert table.columns["slice"].tolist() == [str(i) for i in range(first, last + 1)]
    np.testing.assert_array_equal(table.images[:, 0], frames(count)[first : last + 1])


def test_a_window_leaves_8_bits_alone(folder: Path) -> None:
    tags = {"WindowCenter": "30", "WindowWidth": "10", "RescaleSlope": "2", "RescaleIntercept": "5"}
    write(folder / "1-1.dcm", frames().astype(np.uint8), **tags)
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images[:, 0], frames()[2:6])


@pytest.mark.parametrize(
    ("tags", "low", "high"),
    [({"WindowCenter": ["2000", "1"], "WindowWidth": ["3000", "1"]}, 500, 3500), ({"BitsStored": 12}, 0, 4095)],
)
def test_more_bits_are_scaled_by_the_range_that_is_stated(
    folder: Path, tags: dict[str, object], low: int, high: int
) -> None:  # fmt: skip
    write(folder / "1-1.dcm", frames(high=4096).astype(np.uint16), **tags)
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    levels = np.rint(((frames(high=4096)[2:6] - low) * 255 / (high - low)).clip(0, 255))
    np.testing.assert_array_equal(table.images[:, 0], levels)


def test_colour_becomes_luma(folder: Path) -> None:
    colours = np.random.default_rng(2).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    write(folder / "1-1.dcm", colours, SamplesPerPixel=3)
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    luma = colours[1:3] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(table.images[:, 0] - luma).max() < 0.51  # rounded


def test_several_files_of_frames_follow_each_other_by_number(folder: Path) -> None:
    values = frames(8).astype(np.uint8)
    write(folder / "1-1.dcm", values[6:], InstanceNumber=12)
    write(folder / "1-2.dcm", values[:6], InstanceNumber=2)
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images[:, 0], values[2:6])


def test_a_copy_of_a_file_adds_nothing(folder: Path) -> None:
    write(folder / "a" / "1-1.dcm", frames().astype(np.uint8))
    (folder / "b").mkdir()
    shutil.copy(folder / "a" / "1-1.dcm", folder / "b")
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    assert table.columns["slice"].tolist() == ["2", "3", "4", "5"]


def test_a_single_frame_is_skipped(folder: Path) -> None:
    write_targets(folder / TARGETS, [target(3), target(1, uid="1.2.5")])
    write(folder / "a" / "1-1.dcm", frames(1)[0].astype(np.uint8))
    write(folder / "b" / "1-1.dcm", frames().astype(np.uint8), SeriesInstanceUID="1.2.5")
    _, summary = prepared(ProstateRecipe(image_size=SIDE), folder)
    assert summary["skipped_sources"] == [[f"{PATIENT}/{UID}", "has a single slice"]]


def test_mr_is_sorted_by_position_and_spans_percentiles_of_the_series(folder: Path) -> None:
    values = frames(8, 1000) + 90 * np.arange(8)[:, None, None]
    write_slices(folder, values)
    table, _ = prepared(ProstateRecipe(image_size=SIDE, modality="mr"), folder)
    assert table.columns["slice"].tolist() == ["2", "3", "4", "5"]
    np.testing.assert_array_equal(table.images[:, 0], windowed(values)[2:6])


@pytest.mark.parametrize("missing", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_without_positions_mr_is_sorted_by_number(folder: Path, missing: str) -> None:
    values = frames(8, 1000)
    write_slices(folder, values, **{missing: None})
    table, _ = prepared(ProstateRecipe(image_size=SIDE, modality="mr"), folder)
    np.testing.assert_array_equal(table.images[:, 0], windowed(values)[::-1][2:6])  # numbers run the other way


def test_mr_of_several_frames_is_refused(folder: Path) -> None:
    write(folder / "1-1.dcm", frames().astype(np.uint16))
    with pytest.raises(InputError, match=r"1-1\.dcm: holds 8 frames: expected one slice per file"):
        prepared(ProstateRecipe(image_size=SIDE, modality="mr"), folder)


@pytest.mark.parametrize("modality", ["us", "mr"])
@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_monochrome1_is_inverted_after_scaling(
    folder: Path, modality: Literal["us", "mr"], protocol: Literal["standard", "reference"]
) -> None:
    tables = []
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        if modality == "us":
            write(folder / "1-1.dcm", frames().astype(np.uint8), PhotometricInterpretation=kind)
        else:
            write_slices(folder, frames(8, 900), PhotometricInterpretation=kind)
        recipe = ProstateRecipe(image_size=SIDE, modality=modality, protocol=protocol)
        tables.append(prepared(recipe, folder, kind)[0])
    np.testing.assert_array_equal(tables[1].images, 255 - tables[0].images)


@pytest.mark.parametrize("modality", ["us", "mr"])
def test_reference_scales_each_slice_by_its_own_maximum(folder: Path, modality: Literal["us", "mr"]) -> None:
    values = frames(8, 100) + 20 * np.arange(8)[:, None, None]
    if modality == "us":
        write(folder / "1-1.dcm", values.astype(np.uint8))
    else:
        write_slices(folder, values)
    recipe = ProstateRecipe(image_size=SIDE, modality=modality, protocol="reference")
    table, _ = prepared(recipe, folder)
    levels = values * 255 // values.max(axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(table.images[:, 0], levels[2:6])


def test_oblong_pixels_become_square_and_missing_spacing_is_noted(folder: Path) -> None:
    values = frames(4)[:, ::2].astype(np.uint8)  # 8 rows of 2 mm, 16 columns of 1 mm
    write(folder / "1-1.dcm", values, PixelSpacing=["2", "1"])
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder, "oblong")
    wanted = [np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for frame in values]
    np.testing.assert_array_equal(table.images[:, 0], wanted[1:3])
    write(folder / "1-1.dcm", values, PixelSpacing=None)
    table, summary = prepared(ProstateRecipe(image_size=SIDE), folder, "unknown")
    assert not table.images[:, 0, :4].any()  # padded above and below
    assert summary["notes"] == {"no size of a pixel is stated: it is taken for square": 2}


@pytest.mark.parametrize(
    ("scores", "cells"),
    [
        ((0,), ("0", "", "0")),
        ((1, 0), ("0", "", "1")),
        ((1, 2), ("1", "0", "2")),
        ((4, 1), ("1", "1", "4")),
        (("NaN", 3, None), ("1", "1", "3")),
        (("5.0", "nan"), ("1", "1", "5")),
    ],
)
def test_a_series_has_the_highest_score_of_its_targets(
    folder: Path, scores: tuple[object, ...], cells: tuple[str, ...]
) -> None:  # fmt: skip
    write_targets(folder / TARGETS, [target(score) for score in scores])
    write(folder / "1-1.dcm", frames(4).astype(np.uint8))
    table, _ = prepared(ProstateRecipe(image_size=SIDE), folder)
    assert len(table) == 2
    assert tuple(table.columns[name][0] for name in ("default", "hard", "score")) == cells


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (target(6), "row 3: UCLA Score .* is '6', expected 0 to 5 or blank"),
        (target(2.5), "row 3: UCLA Score .* is '2.5'"),
        (target("high"), "row 3: UCLA Score .* is 'high'"),
        (target(3, patient="Prostate-MRI-US-Biopsy-0002"), f"row 3: series {UID} is of .*-0002, and of {PATIENT}"),
        (target(3, patient=None), "row 3: Patient ID is blank"),
    ],
)
def test_contradictions_in_the_targets_are_named(folder: Path, row: list[object], reason: str) -> None:
    write_targets(folder / TARGETS, [target(3), row])
    with pytest.raises(InputError, match=f"{TARGETS}, {reason}"):
        prepared(ProstateRecipe(image_size=SIDE), folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"holds nothing of Prostate-MRI-US-Biopsy\. Get Prostate-MRI-US-Biopsy, all"):
        prepared(ProstateRecipe(image_size=SIDE), folder)
    write_sheet(folder / TARGETS, [["Patient ID", "seriesInstanceUID_US"]])
    with pytest.raises(InputError, match=r"has no column 'UCLA Score .*': its columns are Patient ID, seriesInstance"):
        prepared(ProstateRecipe(image_size=SIDE), folder)
    (folder / TARGETS).unlink()
    with pytest.raises(InputError, match=r"holds no file called Target Data\*\.xlsx"):
        prepared(ProstateRecipe(image_size=SIDE), folder)


def test_a_damaged_file_is_named(folder: Path) -> None:
    write(folder / "1-1.dcm", frames().astype(np.uint8))
    content = (folder / "1-1.dcm").read_bytes()
    (folder / "1-1.dcm").write_bytes(content[:-700])
    with pytest.raises(InputError, match=r"1-1\.dcm.* cannot be read: .*its pixels are cut short"):
        prepared(ProstateRecipe(image_size=SIDE), folder)


def test_tables_of_different_modalities_have_folders_of_their_own() -> None:
    assert ProstateRecipe().folder == "data/prostate"
    assert ProstateRecipe(modality="mr", protocol="reference").folder == "data/prostate-mr-reference"


@pytest.mark.parametrize("labelling", [None, "default", "hard", "score"])
def test_the_labelling_is_a_column(table: ImageTable, labelling: str | None) -> None:
    data = ProstateMRIUS(str(table.folder), labelling=labelling)
    np.testing.assert_array_equal(data.read_labels(table), table.labels(labelling or "default"))


def test_a_table_of_another_modality_is_refused(table: ImageTable) -> None:
    with pytest.raises(InputError, match="modality=us, and ProstateMRIUS is to have modality=mr"):
        ProstateMRIUS(str(table.folder), modality="mr", n_train=4, n_val=0, n_test=4).setup()


@pytest.mark.parametrize("labelling", ["default", "hard"])
def test_patients_are_not_split(table: ImageTable, labelling: str) -> None:
    data = ProstateMRIUS(str(table.folder), labelling=labelling, n_train=8, n_val=2, n_test=4, image_size=SIDE)
    groups = [set(part.groups.tolist()) for part in (data.train_set, data.val_set, data.test_set)]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert data.domain == "medical"
    assert data.train_set.labels.bincount().tolist() == [4, 4]
