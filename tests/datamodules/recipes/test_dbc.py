"""DBC: rows, how slices are told apart, grey levels, partial downloads, contradictions, and the margin."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules import ImageTable
from datamodules.dbc import DBC
from datamodules.preparation.raw import Raw
from datamodules.recipes.dbc import DBCRecipe, read_mapping
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.dbc import BOXES, MANIFEST, MAPPING, make_dbc, original_name, write_boxes, write_mapping, write_sheet
from tests.raw.dicom import write_dicom
from tests.raw.made import Made

PATIENT = "Breast_MRI_001"
SIDE, DEPTH = 16, 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    """The whole download, and what is in it; not to be changed."""
    raw = tmp_path_factory.mktemp("dbc")
    return raw, make_dbc(raw)


@pytest.fixture(scope="module")
def table(made: tuple[Path, Made], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return prepared(DBCRecipe(image_size=SIDE), made[0], tmp_path_factory.mktemp("prepared") / "table")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one patient: a series of eight slices, of which the first is in the box."""
    raw = tmp_path / "raw"
    for s, values in enumerate(volume(), start=1):
        write_slice(raw / "series" / f"1-{s}.dcm", values, s)
    write_boxes(raw / BOXES, [(PATIENT, 1, 1)])
    write_mapping(raw / MAPPING, rows())
    return raw


def volume() -> NDArray[np.uint16]:
    """Slices whose maxima differ, and a few values far above all others."""
    values = np.random.default_rng(5).integers(0, 300, (DEPTH, SIDE, SIDE)) + 50 * np.arange(DEPTH)[:, None, None]
    values[3, 4, 4] = 9000
    return values.astype(np.uint16)


def write_slice(file: Path, values: NDArray[np.uint16], s: int, **tags: object) -> None:
    usual = {"SOPInstanceUID": f"1.2.{s}", "SeriesInstanceUID": "1.2.3.4", "PixelSpacing": ["0.7", "0.7"]}
    write_dicom(file, values, **{**usual, **tags})


def rows(sequence: str = "pre") -> list[list[str]]:
    return [[f"1.2.{s}", original_name(PATIENT, sequence, s), "", ""] for s in range(1, DEPTH + 1)]


def windowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
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


def test_rows_are_what_was_written(made: tuple[Path, Made], table: ImageTable) -> None:
    assert list(table.columns) == ["label", "reference", "slice", "distance", "group", "split", "source"]
    assert cells(table) == made[1].expected
    sources = table.columns["source"].tolist()
    assert sources == sorted(sources, key=lambda source: (source.split("#")[0], int(source.split("#")[1])))
    assert table.labellings == ["label", "reference"]


@pytest.mark.parametrize("inner", ["", MANIFEST])
def test_what_was_not_downloaded_is_counted(made: tuple[Path, Made], tmp_path: Path, inner: str) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(made[0] / inner, raw)
    if inner:  # the folder of the tree itself, with the spreadsheets in it
        shutil.copy(made[0] / BOXES, raw / "Duke-Breast-Cancer-MRI")
        shutil.copy(made[0] / "maps" / MAPPING, raw)
    table, summary = prepared(DBCRecipe(image_size=SIDE), raw)
    found = dict(summary["skipped_sources"])
    assert found.keys() == made[1].skipped.keys()
    assert all(reason in found[source] for source, reason in made[1].skipped.items())
    assert cells(table) == made[1].expected


def test_each_slice_is_the_file_that_the_mapping_names(made: tuple[Path, Made], table: ImageTable) -> None:
    pydicom = pytest.importorskip("pydicom")
    full, _ = prepared(DBCRecipe(image_size=32), made[0], "full")
    of_patient = np.flatnonzero(full.columns["group"] == "Breast_MRI_002")
    files = (made[0] / MANIFEST / "Duke-Breast-Cancer-MRI" / "Breast_MRI_002").rglob("1-*.dcm")
    sequences: dict[str, dict[int, NDArray[np.uint16]]] = {}
    for data in map(pydicom.dcmread, files):
        sequences.setdefault(data.SeriesInstanceUID, {})[data.InstanceNumber] = data.pixel_array
    # This patient's files are numbered from the last slice on; one series is that of pre.
    wanted = [windowed(np.stack([series[24 - i] for i in range(24)])) for series in sequences.values()]
    assert len(wanted) == 3
    assert [bool((full.images[of_patient, 0] == levels).all()) for levels in wanted].count(True) == 1


def test_grey_levels_span_percentiles_of_the_series(folder: Path) -> None:
    table, _ = prepared(DBCRecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images[:, 0], windowed(volume().astype(np.float64)))


def test_the_scale_of_each_slice_applies_before_percentiles(folder: Path) -> None:
    slopes = np.array([1, 2, 0.5, 1, 4, 1, 1, 3])
    for s, values in enumerate(volume(), start=1):
        tags = {"RescaleSlope": str(slopes[s - 1]), "RescaleIntercept": "-20"}
        write_slice(folder / "series" / f"1-{s}.dcm", values, s, **tags)
    table, _ = prepared(DBCRecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images[:, 0], windowed(volume() * slopes[:, None, None] - 20))


@pytest.mark.parametrize("protocol", ["standard", "reference"])
def test_monochrome1_is_inverted_after_scaling(folder: Path, protocol: str) -> None:
    recipe = DBCRecipe(image_size=SIDE, protocol=protocol)  # type: ignore[arg-type]  # a parameter is str
    upright, _ = prepared(recipe, folder, "upright")
    for s, values in enumerate(volume(), start=1):
        write_slice(folder / "series" / f"1-{s}.dcm", values, s, PhotometricInterpretation="MONOCHROME1")
    inverted, _ = prepared(recipe, folder, "inverted")
    np.testing.assert_array_equal(inverted.images, 255 - upright.images)


def test_reference_scales_each_slice_by_its_own_maximum(folder: Path) -> None:
    table, _ = prepared(DBCRecipe(image_size=SIDE, protocol="reference"), folder)
    values = volume().astype(np.int64)
    np.testing.assert_array_equal(table.images[:, 0], values * 255 // values.max(axis=(1, 2), keepdims=True))


def test_missing_spacing_counts_as_square_with_a_note(folder: Path) -> None:
    write_slice(folder / "series" / "1-3.dcm", volume()[2], 3, PixelSpacing=None)
    table, summary = prepared(DBCRecipe(image_size=SIDE), folder)
    assert summary["notes"] == {"no size of a pixel is stated: it is taken for square": 1}
    np.testing.assert_array_equal(table.images[:, 0], windowed(volume().astype(np.float64)))


@pytest.mark.parametrize(("start", "end"), [(3, 3), (1, 8), (2, 4)])
def test_both_label_rules_at_the_ends_of_a_box(folder: Path, start: int, end: int) -> None:
    write_boxes(folder / BOXES, [(PATIENT, start, end)])
    table, _ = prepared(DBCRecipe(image_size=SIDE), folder)
    numbers = list(range(1, DEPTH + 1))
    inside = [start <= s <= end for s in numbers]
    assert [cell == "1" for cell in table.columns["label"].tolist()] == inside
    assert [cell == "1" for cell in table.columns["reference"].tolist()] == [start <= s < end for s in numbers]


def test_a_patient_is_looked_up_by_name_not_by_row(folder: Path) -> None:
    boxes = [(f"Breast_MRI_{n:03}", n, n) for n in (5, 3, 2)]
    write_boxes(folder / BOXES, [*boxes, (PATIENT, 4, 6)])
    table, _ = prepared(DBCRecipe(image_size=SIDE), folder)
    assert np.flatnonzero(table.columns["distance"] == "0").tolist() == [3, 4, 5]


def test_files_may_lie_in_one_folder_or_in_several(folder: Path) -> None:
    whole, _ = prepared(DBCRecipe(image_size=SIDE), folder, "whole")
    # Two halves, the second twice; beside the first a file of another series that begins and one that ends the folder.
    for place in ("second", "copy"):
        (folder / place).mkdir()
        for s in range(5, DEPTH + 1):
            shutil.copy(folder / "series" / f"1-{s}.dcm", folder / place)
    for s in range(5, DEPTH + 1):
        (folder / "series" / f"1-{s}.dcm").unlink()
    write_slice(folder / "series" / "0-1.dcm", volume()[0], 77, SeriesInstanceUID="1.2.99")
    table, summary = prepared(DBCRecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images, whole.images)
    assert summary["skipped"] == {}


def test_junk_is_passed_over(folder: Path) -> None:
    (folder / "series" / "LICENSE").write_text("CC BY-NC 4.0")
    (folder / "series" / "0-notes.txt").write_text("notes")
    (folder / "none").mkdir()
    (folder / "none" / "1-1.dcm").write_text("<html>503 Service Unavailable</html>")
    table, summary = prepared(DBCRecipe(image_size=SIDE), folder)
    assert len(table) == DEPTH
    assert summary["skipped_sources"] == [["none", "none of its files can be read as DICOM"]]


def test_only_the_sequence_called_pre_is_taken(folder: Path) -> None:
    write_mapping(folder / MAPPING, [*rows()[:2], *[row for row in rows("post_1") if row[0] > "1.2.2"]])
    table, _ = prepared(DBCRecipe(image_size=SIDE), folder)
    assert table.columns["slice"].tolist() == ["1", "2"]
    write_mapping(folder / MAPPING, rows("T1_pre"))
    with pytest.raises(InputError, match=r"holds nothing of Duke-Breast-Cancer-MRI\. Get Duke-Breast-Cancer-MRI from"):
        prepared(DBCRecipe(image_size=SIDE), folder, "none")


def test_the_mapping_is_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Raw(folder, tmp_path)
    first = read_mapping(raw, MAPPING)
    assert first == {PATIENT: {f"1.2.{s}": s for s in range(1, DEPTH + 1)}}
    with monkeypatch.context() as patched:
        patched.setattr(Raw, "sheet", lambda *_: pytest.fail("read again"))
        assert read_mapping(raw, MAPPING) == first
    write_mapping(folder / MAPPING, rows()[:3])
    assert len(read_mapping(Raw(folder, tmp_path), MAPPING)[PATIENT]) == 3  # another sheet is read anew


def test_a_second_file_of_a_slice_is_skipped(folder: Path) -> None:
    write_mapping(folder / MAPPING, [*rows(), ["1.2.88", original_name(PATIENT, "pre", 4), "", ""], rows()[0]])
    table, summary = prepared(DBCRecipe(image_size=SIDE), folder)
    assert len(table) == DEPTH
    assert summary["skipped_sources"] == [[f"{PATIENT}/pre#4 in row 10", "another file is the same slice"]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["1.2.9", f"DICOM_Images/{PATIENT}/pre/{PATIENT}_pre.dcm"], "row 10: sop_instance_UID '1.2.9', original_path"),
        (["", original_name(PATIENT, "pre", 9)], "row 10: sop_instance_UID '', original_path_and_filename 'DICOM_"),
        (["1.2.5", original_name("Breast_MRI_002", "pre", 5)], f"row 10: 1.2.5 is {PATIENT}/pre#5 in an earlier row"),
        (["1.2.5", original_name(PATIENT, "pre", 6)], f"row 10: 1.2.5 is {PATIENT}/pre#5 in an earlier row"),
    ],
)
def test_contradictions_in_the_mapping_are_named(folder: Path, row: list[str], reason: str) -> None:
    write_mapping(folder / MAPPING, [*rows(), [*row, "", ""]])
    with pytest.raises(InputError, match=f"{MAPPING}, {reason}"):
        prepared(DBCRecipe(image_size=SIDE), folder)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((PATIENT, 5, 4), "row 3: the slices 5 to 4 are no range"),
        ((PATIENT, 0, 4), "row 3: the slices 0 to 4 are no range"),
        ((PATIENT, 2.5, 4), r"row 3: Start Slice '2.5' and End Slice '4' must be whole numbers"),
        ((PATIENT, 2, None), "row 3: Start Slice '2' and End Slice '' must be whole numbers"),
        ((PATIENT, 1, 2), f"row 3: {PATIENT} has another box in an earlier row"),
        ((None, 1, 2), "row 3: Patient ID is blank"),
    ],
)
def test_contradictions_in_the_boxes_are_named(folder: Path, box: tuple[object, object, object], reason: str) -> None:
    write_boxes(folder / BOXES, [(PATIENT, 1, 1), box])
    with pytest.raises(InputError, match=f"{BOXES}, {reason}"):
        prepared(DBCRecipe(image_size=SIDE), folder)


@pytest.mark.parametrize(
    ("file", "header", "column"),
    [
        (BOXES, ["Patient ID", "Start Slice"], "End Slice"),
        (MAPPING, ["sop_instance_UID", "classic_path"], "original_path_and_filename"),
    ],
)
def test_missing_columns_and_sheets_are_named(folder: Path, file: str, header: list[str], column: str) -> None:
    write_sheet(folder / file, [header])
    with pytest.raises(InputError, match=f"{file} has no column '{column}': its columns are {', '.join(header)}"):
        prepared(DBCRecipe(image_size=SIDE), folder)
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"holds no file called {file}"):
        prepared(DBCRecipe(image_size=SIDE), folder)


def test_two_spreadsheets_that_differ_are_refused(folder: Path) -> None:
    write_boxes(folder / "old" / BOXES, [(PATIENT, 2, 3)])
    with pytest.raises(InputError, match=f"holds 2 different files called {BOXES}"):
        prepared(DBCRecipe(image_size=SIDE), folder)


def test_a_damaged_slice_is_named(folder: Path) -> None:
    file = folder / "series" / "1-5.dcm"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match=f"{PATIENT}/pre cannot be read: series/1-5.dcm: its pixels are cut short"):
        prepared(DBCRecipe(image_size=SIDE), folder)


@pytest.mark.parametrize("margin", [0, 2, 5, 9])
def test_the_margin_decides_which_slices_are_negative(table: ImageTable, margin: int) -> None:
    labels = DBC(str(table.folder), margin=margin).read_labels(table)
    for cell, label in zip(table.columns["distance"].tolist(), labels.tolist(), strict=True):
        distance = int(cell)
        assert label == (1 if distance == 0 else 0 if distance > margin else -1)


def test_the_usual_margin_is_that_of_the_column(table: ImageTable) -> None:
    np.testing.assert_array_equal(DBC(str(table.folder)).read_labels(table), table.labels("label"))


def test_the_reference_protocol_takes_its_own_labels(table: ImageTable) -> None:
    by_protocol = DBC(str(table.folder), protocol="reference", margin=0).read_labels(table)
    np.testing.assert_array_equal(by_protocol, table.labels("reference"))
    by_name = DBC(str(table.folder), protocol="reference", labelling="label").read_labels(table)
    np.testing.assert_array_equal(by_name, table.labels("label"))
    assert (by_name != by_protocol).any()


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(InputError, match="margin=-1 is out of range"):
        DBC(margin=-1)


def test_patients_are_not_split(table: ImageTable) -> None:
    data = DBC(str(table.folder), n_train=8, n_val=2, n_test=4, image_size=SIDE)
    groups = [set(part.groups.tolist()) for part in (data.train_set, data.val_set, data.test_set)]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert data.domain == "medical"
    assert data.train_set.labels.bincount().tolist() == [4, 4]
