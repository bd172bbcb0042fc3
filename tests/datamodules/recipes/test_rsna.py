"""RSNA: rows, Hounsfield units and their repair, windows, the choice of slices, damaged files, contradictions."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules import ImageTable
from datamodules.recipes.rsna import LABELLINGS, RSNARecipe
from datamodules.rsna import RSNA
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.dicom import write_dicom
from tests.raw.made import Made
from tests.raw.rsna import COMPETITION, CORRUPT, ENCODINGS, SIGNED, UNSIGNED, make_rsna, write_labels, write_slice

BLEEDING, CLEAR = [0, 0, 0, 1, 0, 1], [0] * 6
SIDE = 32
CSV = "stage_2_train.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    """The whole download, and what is in it; not to be changed."""
    raw = tmp_path_factory.mktemp("rsna")
    return raw, make_rsna(raw)


@pytest.fixture(scope="module")
def table(made: tuple[Path, Made], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return prepared(RSNARecipe(image_size=16), made[0], tmp_path_factory.mktemp("prepared") / "table")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with labels of one slice, ID_0, whose file is still to be written."""
    write_labels(tmp_path / "raw" / CSV, [("ID_0", BLEEDING)])
    (tmp_path / "raw" / "stage_2_train").mkdir()
    return tmp_path / "raw"


def ramp() -> NDArray[np.int64]:
    """Hounsfield units from −1000 to 3071: all that 12 bits hold in either encoding."""
    return np.linspace(-1000, 3071, SIDE * SIDE).astype(np.int64).reshape(SIDE, SIDE)


def scaled(units: NDArray[np.int64 | np.float64], level: float, width: float) -> NDArray[np.float64]:
    """A window by its definition: level − width / 2 is black, level + width / 2 is white."""
    levels: NDArray[np.float64] = np.rint(((units - level + width / 2) * 255 / width).clip(0, 255))
    return levels


def picture(folder: Path, recipe: RSNARecipe) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = prepared(recipe, folder, f"{recipe.window}-{recipe.protocol}")[0].images[0]
    return image


def rows(table: ImageTable) -> dict[str, dict[str, str]]:
    return {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(table.columns["source"].tolist())
    }


def test_rows_are_what_was_written(made: tuple[Path, Made], table: ImageTable) -> None:
    assert list(table.columns) == [*LABELLINGS, "group", "split", "source"]
    assert rows(table) == made[1].expected
    assert table.columns["source"].tolist() == sorted(made[1].expected)
    assert table.labellings == list(LABELLINGS)


def test_the_corrupt_file_and_second_listings_are_counted(made: tuple[Path, Made], table: ImageTable) -> None:
    again, summary = prepared(RSNARecipe(image_size=16), made[0] / COMPETITION)
    assert dict(summary["skipped_sources"]) == made[1].skipped
    assert f"stage_2_train/{CORRUPT}.dcm" in made[1].skipped
    np.testing.assert_array_equal(again.images, table.images)


def test_what_is_repaired_is_counted(made: tuple[Path, Made]) -> None:
    _, summary = prepared(RSNARecipe(image_size=16), made[0])
    # Of patient i, who has 1 + i mod 3 slices, slice k is wrapped where i + k = 2 (mod 3).
    wrapped = sum((i + k) % 3 == 2 for i in range(16) for k in range(1 + i % 3))
    assert summary["notes"] == {"unsigned values without an intercept: mended where they had wrapped round": wrapped}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("window", "level", "width"), [("brain", 40, 80), ("subdural", 80, 200), ("bone", 600, 2800)])
def test_every_encoding_gives_hounsfield_units(
    folder: Path, encoding: tuple[int, int, int], window: str, level: float, width: float
) -> None:
    write_slice(folder / "stage_2_train" / "ID_0.dcm", ramp(), encoding)
    inside = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2)) <= (SIDE / 2 if encoding == SIGNED else 99)
    found = picture(folder, RSNARecipe(image_size=SIDE, window=window))  # type: ignore[arg-type]  # a parameter is str
    np.testing.assert_array_equal(found[0][inside], scaled(ramp(), level, width)[inside])
    assert not found[0][~inside].any()  # padding is black


def test_a_stack_has_the_three_windows_as_channels(folder: Path) -> None:
    write_slice(folder / "stage_2_train" / "ID_0.dcm", ramp(), UNSIGNED)
    expected = [scaled(ramp(), *window) for window in ((40, 80), (80, 200), (600, 2800))]
    np.testing.assert_array_equal(picture(folder, RSNARecipe(image_size=SIDE, window="stack")), expected)


@pytest.mark.parametrize(
    ("representation", "intercept", "stored", "unit"),
    # 3096 is the first value that wraps round, to −1000; signed, or with an intercept below −100, it is what it says.
    [(0, 0, 3096, -1000), (0, 0, 3095, 3095), (0, -100, 3096, -1000), (0, -101, 3096, 2995), (1, 0, 3096, 3096)],
)
def test_only_unsigned_values_without_an_intercept_are_repaired(
    folder: Path, representation: int, intercept: int, stored: int, unit: int
) -> None:
    values = np.full((SIDE, SIDE), stored)
    values[0, 0] = 800  # else the picture is constant
    write_dicom(
        folder / "stage_2_train" / "ID_0.dcm",
        values.astype(np.int16 if representation else np.uint16),
        RescaleSlope="1",
        RescaleIntercept=str(intercept),
    )
    found = picture(folder, RSNARecipe(image_size=SIDE, window="bone"))
    assert found[0, 5, 5] == scaled(np.array(unit), 600, 2800)


def test_a_slope_applies(folder: Path) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.int16).reshape(SIDE, SIDE)
    write_dicom(folder / "stage_2_train" / "ID_0.dcm", values, RescaleSlope="0.5", RescaleIntercept="-200")
    found = picture(folder, RSNARecipe(image_size=SIDE))
    np.testing.assert_array_equal(found[0], scaled(values / 2 - 200, 40, 80))


def test_monochrome1_is_inverted_after_scaling(folder: Path) -> None:
    write_slice(folder / "stage_2_train" / "ID_0.dcm", ramp(), UNSIGNED, PhotometricInterpretation="MONOCHROME1")
    found = picture(folder, RSNARecipe(image_size=SIDE))
    np.testing.assert_array_equal(found[0], 255 - scaled(ramp(), 40, 80))


def test_reference_scales_stored_values_by_their_own_maximum(folder: Path) -> None:
    values = np.arange(-500, SIDE * SIDE - 500, dtype=np.int16).reshape(SIDE, SIDE)
    write_dicom(folder / "stage_2_train" / "ID_0.dcm", values, RescaleSlope="1", RescaleIntercept="-1024")
    found = picture(folder, RSNARecipe(image_size=SIDE, protocol="reference"))
    np.testing.assert_array_equal(found[0], np.maximum(values, 0).astype(np.int64) * 255 // values.max())


def test_oblong_pixels_become_square(folder: Path) -> None:
    units = np.full((16, 32), 60)
    units[:, :16] = 40
    write_slice(folder / "stage_2_train" / "ID_0.dcm", units, UNSIGNED, PixelSpacing=["1.0", "0.5"])
    found = picture(folder, RSNARecipe(image_size=16))[0]  # 16 mm by 16 mm: fills the square
    assert found[8, 2] == scaled(np.array(40), 40, 80)
    assert found[0, 13] == found[15, 13] == scaled(np.array(60), 40, 80)


@pytest.mark.parametrize("spacing", [None, ["0", "0"]])
def test_missing_spacing_counts_as_square_with_a_note(folder: Path, spacing: list[str] | None) -> None:
    write_slice(folder / "stage_2_train" / "ID_0.dcm", ramp(), UNSIGNED, PixelSpacing=spacing)
    table, summary = prepared(RSNARecipe(image_size=SIDE), folder)
    np.testing.assert_array_equal(table.images[0, 0], scaled(ramp(), 40, 80))
    assert summary["notes"] == {"no size of a pixel is stated: it is taken for square": 1}


def test_a_smaller_choice_is_balanced_and_part_of_a_larger_one(made: tuple[Path, Made], table: ImageTable) -> None:
    chosen = []
    for per_class in (3, 6):
        part, _ = prepared(RSNARecipe(image_size=16, per_class=per_class), made[0], f"of {per_class}")
        assert part.columns["any"].tolist().count("1") == per_class
        assert part.columns["any"].tolist().count("0") >= per_class - 1  # the corrupt one may be among them
        chosen.append(set(part.columns["source"].tolist()))
    other, _ = prepared(RSNARecipe(image_size=16, per_class=3, seed=1), made[0], "other")
    assert chosen[0] < chosen[1] < set(table.columns["source"].tolist())
    assert set(other.columns["source"].tolist()) != chosen[0]


def test_files_that_were_not_chosen_are_not_read(folder: Path) -> None:
    write_labels(folder / CSV, [(f"ID_{i}", BLEEDING) for i in range(5)])
    for i in range(5):
        write_slice(folder / "stage_2_train" / f"ID_{i}.dcm", ramp(), UNSIGNED)
    table, _ = prepared(RSNARecipe(image_size=16, per_class=1), folder, "one")
    (chosen,) = table.columns["source"].tolist()
    for i in range(5):
        if f"stage_2_train/ID_{i}.dcm" != chosen:
            (folder / "stage_2_train" / f"ID_{i}.dcm").unlink()
    again, _ = prepared(RSNARecipe(image_size=16, per_class=1), folder, "again")
    assert again.columns["source"].tolist() == [chosen]


def test_an_absent_file_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"stage_2_train/ID_0\.dcm cannot be read: the file is absent"):
        prepared(RSNARecipe(), folder)


@pytest.mark.parametrize(("content", "reason"), [(b"", "is no DICOM file"), (b"<html>" * 99, "is no DICOM file")])
def test_a_file_that_is_no_dicom_is_named_or_left_out(folder: Path, content: bytes, reason: str) -> None:
    write_labels(folder / CSV, [("ID_0", BLEEDING), ("ID_1", CLEAR)])
    (folder / "stage_2_train" / "ID_0.dcm").write_bytes(content)
    write_slice(folder / "stage_2_train" / "ID_1.dcm", ramp(), UNSIGNED)
    with pytest.raises(InputError, match=f"ID_0.dcm cannot be read: {reason}"):
        prepared(RSNARecipe(image_size=16), folder, "stopped")
    table, summary = prepared(RSNARecipe(image_size=16), folder, "left-out", skip_unreadable=True)
    assert table.columns["source"].tolist() == ["stage_2_train/ID_1.dcm"]
    assert summary["skipped_sources"][0][0] == "stage_2_train/ID_0.dcm"


def test_a_file_that_was_cut_on_disk_is_skipped_too(folder: Path) -> None:
    write_labels(folder / CSV, [("ID_0", BLEEDING), ("ID_1", CLEAR)])
    for i in range(2):
        write_slice(folder / "stage_2_train" / f"ID_{i}.dcm", ramp(), UNSIGNED)
    file = folder / "stage_2_train" / "ID_0.dcm"
    file.write_bytes(file.read_bytes()[:-100])
    _, summary = prepared(RSNARecipe(image_size=16), folder)
    assert summary["skipped_sources"] == [["stage_2_train/ID_0.dcm", "its pixels are cut short"]]


def change(folder: Path, line: int, cells: list[str] | None) -> None:
    """Replace a line of the CSV, counted from 1, or take it out."""
    with (folder / CSV).open(newline="") as text:
        lines = list(csv.reader(text))
    lines[line - 1 : line] = [] if cells is None else [cells]
    with (folder / CSV).open("w", newline="") as text:
        csv.writer(text).writerows(lines)


@pytest.mark.parametrize(
    ("line", "cells", "reason"),
    [
        (1, ["id", "Probability"], "has no column 'Label': its columns are id, Probability"),
        (3, ["ID_0_intraparenchymal", "0.5"], "line 3: Label is '0.5', expected 0 or 1"),
        (4, ["ID_0_epidermal", "0"], "line 4: ID is 'ID_0_epidermal', expected a slice and one of any, epidural"),
        (4, ["epidural", "0"], "line 4: ID is 'epidural'"),
        (6, ["ID_0_subarachnoid", "0"], "line 6: ID_0_subarachnoid has had another label"),
        (7, None, "has no line for ID_0_any"),
    ],
)
def test_contradictions_in_the_labels_are_named(folder: Path, line: int, cells: list[str] | None, reason: str) -> None:
    write_slice(folder / "stage_2_train" / "ID_0.dcm", ramp(), UNSIGNED)
    change(folder, line, cells)
    with pytest.raises(InputError, match=reason):
        prepared(RSNARecipe(image_size=16), folder)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(InputError, match=r"holds no folder stage_2_train\. Join the competition .* at Kaggle"):
        prepared(RSNARecipe(), raw)
    (raw / "stage_2_train").mkdir()
    with pytest.raises(InputError, match=r"holds no file called stage_2_train\.csv"):
        prepared(RSNARecipe(), raw)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="per_class=0 is out of range"):
        RSNARecipe(per_class=0)
    with pytest.raises(InputError, match="seed=-1 is out of range"):
        RSNARecipe(seed=-1)
    with pytest.raises(InputError, match="window=bone has no effect with protocol=reference"):
        RSNARecipe(window="bone", protocol="reference")


def test_tables_of_different_windows_have_folders_of_their_own() -> None:
    assert RSNARecipe().folder == "data/rsna"
    assert RSNARecipe(window="bone").folder == "data/rsna-bone"
    assert RSNARecipe(protocol="reference", per_class=9).folder == "data/rsna-reference"


def test_a_real_head_keeps_its_brain() -> None:
    files = pytest.importorskip("pydicom.data")
    pytest.importorskip("data_store")  # the package pydicom-data
    file = Path(files.get_testdata_file("693_UNCR.dcm", download=False))
    assert file.is_file()
    raw = Path("raw")
    write_labels(raw / CSV, [("ID_0", CLEAR)])
    (raw / "stage_2_train").mkdir()
    (raw / "stage_2_train" / "ID_0.dcm").symlink_to(file)
    brain = picture(raw, RSNARecipe(image_size=512))[0]
    reference = picture(raw, RSNARecipe(image_size=512, protocol="reference"))[0]
    units = files.get_testdata_file("693_UNCR.dcm", read=True, download=False)
    values = units.pixel_array * float(units.RescaleSlope) + float(units.RescaleIntercept)
    tissue = (values >= 20) & (values <= 50)
    assert tissue.mean() > 0.05
    assert len(np.unique(brain[tissue])) == len(np.unique(values[tissue])) > 25
    assert len(np.unique(reference[tissue])) == 4
    assert not brain[units.pixel_array == -2000].any()


def test_the_data_module_splits_patients_apart(table: ImageTable) -> None:
    data = RSNA(str(table.folder), n_train=8, n_val=2, n_test=4, image_size=16)
    groups = [set(part.groups.tolist()) for part in (data.train_set, data.val_set, data.test_set)]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert data.domain == "medical"
    np.testing.assert_array_equal(data.read_labels(table), table.labels("any"))


def test_another_labelling_can_be_chosen(table: ImageTable) -> None:
    data = RSNA(str(table.folder), labelling="subarachnoid")
    np.testing.assert_array_equal(data.read_labels(table), table.labels("subarachnoid"))
    with pytest.raises(InputError, match="has no labelling 'sah': choose from any, epidural"):
        RSNA(str(table.folder), labelling="sah").read_labels(table)


def test_a_table_of_another_window_is_refused(table: ImageTable) -> None:
    with pytest.raises(InputError, match="window=brain, and RSNA is to have window=bone"):
        RSNA(str(table.folder), window="bone", n_train=4, n_val=0, n_test=4).setup()
