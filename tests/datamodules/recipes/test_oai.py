"""OAI: which films, which grade, which knee, its pixels; boxes, knees cut out by others, and what is refused."""

import json
import shutil
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules import ImageTable
from datamodules.oai import OAI
from datamodules.preparation.raw import Raw
from datamodules.recipes.oai import OAIRecipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.dicom import write_dicom
from tests.raw.made import Made
from tests.raw.oai import PACKAGE, SERIES, make_kneexray, make_oai, write_contents

PARTICIPANT, FILM = "9000622", "9000622/20040909/00285904/001"
HEADER = "ID|SIDE|READPRJ|V00XRKL|V00BARCDBU"
READINGS = (f"{PARTICIPANT}|1|15|1|", f"{PARTICIPANT}|2|15|3|")
BOXES = ("ID,side,cx,cy", f"{PARTICIPANT},R,200.4,150", f"{PARTICIPANT},l,500,160")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    """The whole download, and what is in it; not to be changed."""
    raw = tmp_path_factory.mktemp("oai")
    return raw, make_oai(raw)


@pytest.fixture(scope="module")
def table(made: tuple[Path, Made], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return prepared(OAIRecipe(image_size=112), made[0], tmp_path_factory.mktemp("prepared") / "table")[0]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """One film of noise, 60×140 mm, with its two readings and boxes."""
    folder = tmp_path / "raw"
    write(folder)
    (folder / "kxr_sq_bu00.txt").write_text("\n".join([HEADER, *READINGS]))
    (folder / "boxes.csv").write_text("\n".join(BOXES))
    return folder


def noise() -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 4096, (300, 700)).astype(np.uint16)


def write(folder: Path, values: NDArray[np.uint16] | None = None, film: str = FILM, **tags: object) -> None:
    usual: dict[str, object] = {"SeriesDescription": SERIES, "PixelSpacing": [0.2, 0.2], "BitsStored": 12}
    write_dicom(folder / "0.E.1" / film, noise() if values is None else values, **usual | tags)


def boxed(raw: Path, **options: object) -> ImageTable:
    """The table of the film of noise, in the size of the crops."""
    return prepared(OAIRecipe(crops="boxes", image_size=672, **options), raw)[0]  # type: ignore[arg-type]  # for brevity


def padded(film: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """The 672 pixels about a place of a film that is far from none of its borders."""
    wide = np.pad(film, 672)
    cut: NDArray[np.uint8] = wide[row + 336 : row + 1008, column + 336 : column + 1008]
    return cut


def rows(table: ImageTable) -> dict[str, dict[str, str]]:
    facts = [name for name in table.columns if name != "source"]
    return {
        source: {name: str(table.columns[name][i]) for name in facts}
        for i, source in enumerate(table.columns["source"].tolist())
    }


def test_rows_are_what_was_written(made: tuple[Path, Made], table: ImageTable) -> None:
    assert rows(table) == made[1].expected
    assert list(table.columns) == ["label", "kl", "side", "group", "split", "source"]
    assert table.columns["source"].tolist() == sorted(made[1].expected)
    assert table.labellings == ["label", "kl"]


def test_knees_and_films_that_are_not_used_are_skipped_with_a_reason(
    made: tuple[Path, Made], table: ImageTable
) -> None:
    summary = json.loads((table.folder / "prepare.json").read_text())
    skipped = dict(summary["skipped_sources"])
    assert set(skipped) == set(made[1].skipped)
    for source, reason in made[1].skipped.items():
        assert reason in skipped[source]
    assert sorted(summary["notes"].values()) == [1, 1]
    assert "a file of a later visit: left out" in summary["notes"]


def test_joints_lie_in_the_middle_of_their_images(table: ImageTable) -> None:
    sized = table.columns["group"] != "9569946"  # that film does not say how large its pixels are
    images = table.images[sized, 0].astype(np.int64)
    assert len(images) > 20
    middle = images[:, 54:58, 48:64].mean(axis=(1, 2))
    above, below = images[:, 40:48, 48:64].mean(axis=(1, 2)), images[:, 64:72, 48:64].mean(axis=(1, 2))
    beside = images[:, :, :20].mean(axis=(1, 2)), images[:, :, -20:].mean(axis=(1, 2))
    for dark in (middle, *beside):
        assert (dark < 40).all()
    for bright in (above, below):
        assert (bright > 140).all()


def test_the_package_itself_will_do(made: tuple[Path, Made], tmp_path: Path) -> None:
    outer, inner = (OAIRecipe().pieces(Raw(place, tmp_path)) for place in (made[0], made[0] / PACKAGE))
    assert [(piece.source, piece.facts) for piece in outer] == [(piece.source, piece.facts) for piece in inner]
    assert all((made[0] / PACKAGE / piece.files[0]).is_file() for piece in inner)


def test_contents_name_the_series(made: tuple[Path, Made], table: ImageTable, tmp_path: Path) -> None:
    write_contents(tmp_path / "raw" / "OAI_00m")
    shutil.copy(made[0] / PACKAGE / "kxr_sq_bu00.txt", tmp_path / "raw" / "KXR_SQ_BU00.txt")
    listed, summary = prepared(OAIRecipe(image_size=112), tmp_path / "raw")
    assert rows(listed) == made[1].expected
    np.testing.assert_array_equal(listed.images, table.images)
    assert f"a file of a series that is not called {SERIES}: left out" in summary["notes"]  # the hand


def test_a_film_that_contents_list_must_be_there(raw: Path) -> None:
    (raw / "contents.csv").write_text(f"Folder,SeriesDescription\n./0.C.2/9000622/20040910/00285905,{SERIES}\n")
    with pytest.raises(InputError, match=r"0\.C\.2/9000622/20040910/00285905/001 cannot be read: the file is absent"):
        prepared(OAIRecipe(image_size=16), raw)


def test_the_left_knee_in_the_picture_is_the_right_one_of_the_patient(raw: Path) -> None:
    values = noise() // 16
    values[:, 100:250] += 3500
    values[:, 450:600] += 2000
    write(raw, values, PixelSpacing=[0.6, 0.6])
    table, _ = prepared(OAIRecipe(image_size=32), raw)
    highest = dict(zip(table.columns["side"].tolist(), table.images.max(axis=(1, 2, 3)).tolist(), strict=True))
    assert highest["R"] > 210
    assert 120 < highest["L"] < 150


@pytest.mark.parametrize("inverted", [False, True])
def test_grey_levels_span_what_the_bits_can_hold(raw: Path, inverted: bool) -> None:
    write(raw, PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2")
    table = boxed(raw)
    levels = np.rint(noise() / 4095 * 255).astype(np.uint8)
    levels = 255 - levels if inverted else levels
    assert table.columns["side"].tolist() == ["L", "R"]
    np.testing.assert_array_equal(table.images[0, 0], padded(levels, 160, 500))
    np.testing.assert_array_equal(table.images[1, 0], padded(levels, 150, 200))


def test_grey_levels_span_the_window_that_is_stated(raw: Path) -> None:
    write(raw, WindowCenter=[2000, 1000], WindowWidth=[1000, 50], RescaleSlope=2, RescaleIntercept=-100)
    levels = np.rint((((2.0 * noise() - 100) - 1500) / 1000).clip(0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(boxed(raw).images[1, 0], padded(levels, 150, 200))


def test_reference_scales_film_and_knee_by_their_maxima(raw: Path) -> None:
    values = (noise() // 4).astype(np.uint16)
    values[:, 600:] //= 2
    values[0, 0] = 2000  # out of reach of the left knee
    write(raw, values, PhotometricInterpretation="MONOCHROME1")
    film = (255 - values.astype(np.int64) * 255 // 2000).astype(np.uint8)
    knee = padded(film, 160, 500).astype(np.int64)
    np.testing.assert_array_equal(boxed(raw, protocol="reference").images[0, 0], knee * 255 // knee.max())


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 690), (299, 3), (280, 699), (150, 350)])
def test_knees_at_the_border_are_filled_up_with_black(raw: Path, row: int, column: int) -> None:
    # The released code cuts rows off at the film's width.
    (raw / "boxes.csv").write_text(f"ID,side,cx,cy\n{PARTICIPANT},L,{column},{row}\n")
    table = boxed(raw)
    np.testing.assert_array_equal(
        table.images[0, 0], padded(np.rint(noise() / 4095 * 255).astype(np.uint8), row, column)
    )


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagerPixelSpacing"])
def test_pixels_become_a_fifth_of_a_millimetre(raw: Path, tag: str) -> None:
    slope = np.linspace(0, 4095, 200)
    values = np.broadcast_to(slope[:, None], (200, 100)).astype(np.uint16)  # 80×60 mm
    sizes: dict[str, object] = {"PixelSpacing": None, tag: [0.4, 0.6]}
    write(raw, values, FILM, **sizes)
    (raw / "boxes.csv").write_text(f"ID,side,cx,cy\n{PARTICIPANT},L,150,200\n")
    image = boxed(raw).images[0, 0]
    assert np.argwhere(image.any(axis=0)).ravel()[[0, -1]].tolist() == [336 - 150, 336 + 149]
    film = image[136:536, 186:486]  # 400×300 pixels
    expected = np.interp(np.arange(400) / 2 - 0.25, np.arange(200), slope) / 4095 * 255
    np.testing.assert_allclose(film, np.broadcast_to(expected[:, None], film.shape), atol=1)


@pytest.mark.parametrize("spacing", [None, [0, 0]])
def test_pixels_without_a_size_are_taken_for_a_fifth_of_a_millimetre(raw: Path, spacing: list[int] | None) -> None:
    levels = np.rint(noise() / 4095 * 255).astype(np.uint8)
    write(raw, PixelSpacing=spacing)
    table, summary = prepared(OAIRecipe(crops="boxes", image_size=672), raw)
    np.testing.assert_array_equal(table.images[0, 0], padded(levels, 160, 500))
    assert summary["notes"] == {"a film that does not state the size of its pixels: taken as 0.2 mm": 1}


def grades(raw: Path, *lines: str, header: str = HEADER) -> dict[str, str]:
    """The grade of each knee of the film of noise under some readings."""
    (raw / "kxr_sq_bu00.txt").write_text("\n".join([header, *lines]))
    table, _ = prepared(OAIRecipe(image_size=16), raw)
    return dict(zip(table.columns["side"].tolist(), table.columns["kl"].tolist(), strict=True))


@pytest.mark.parametrize(
    ("lines", "grade"),
    [
        (["1|42|4|", "1|37|3|", "1|15|2|"], "2"),
        (["1|42|4|", "1|37|3|", "1|15||"], "3"),
        (["1|42|4: Severe|", "1|15|.: Missing Form|"], "4"),
        (["1|15|1|016600999999", "1|37|3|016600285904"], "3"),  # project 15 graded another film
        (["1|15|1|", "1|15|2|016600285904"], "2"),  # a grade of this film goes before one of an unknown film
        (["1|15|1|016600999999", "1|15|2|T"], "2"),
        (["1|15|2|016600285904", "1|15|2|016600285904"], "2"),  # twice the same
    ],
)
def test_the_grade_that_counts(raw: Path, lines: list[str], grade: str) -> None:
    assert grades(raw, *(f"{PARTICIPANT}|{line}" for line in lines)) == {"R": grade}


def test_readings_need_not_name_their_film(raw: Path) -> None:
    header = "V00XRKL|id|Side|READPRJ"
    assert grades(raw, f"3: Moderate|{PARTICIPANT}|2: Left|15", header=header) == {"L": "3"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1|15|0|", r"line 4: grade 0 of a knee that line 2 grades 1: keep one"),
        ("1|15|5|", r"line 4: .*V00XRKL '5'; expected .* a grade of 0 to 4"),
        ("3|15|1|", r"line 4: .*SIDE '3', .* side 1 \(right\) or 2 \(left\)"),
        ("|15|1|", r"line 4: .*SIDE ''"),
        ("1|15|severe|", r"line 4: V00XRKL is 'severe', expected a number"),
    ],
)
def test_readings_that_cannot_be_right_are_refused(raw: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=r"kxr_sq_bu00\.txt, " + message):
        grades(raw, *READINGS, f"{PARTICIPANT}|{line}")


def test_a_missing_column_is_named(raw: Path) -> None:
    with pytest.raises(InputError, match=r"has no column 'V00XRKL': its columns are ID, SIDE"):
        grades(raw, f"{PARTICIPANT}|1", header="ID|SIDE|READPRJ")


def test_readings_are_required(raw: Path) -> None:
    (raw / "kxr_sq_bu00.txt").unlink()
    with pytest.raises(InputError, match=r"holds no file called kxr_sq_bu00\.txt"):
        prepared(OAIRecipe(), raw)


def test_a_film_in_two_places_is_refused(raw: Path) -> None:
    shutil.copytree(raw / "0.E.1", raw / "copy" / "0.E.1")
    with pytest.raises(InputError, match=rf"holds {FILM} twice \(0\.E\.1/{FILM}, copy/0\.E\.1/{FILM}\)"):
        prepared(OAIRecipe(), raw)


def test_a_truncated_film_is_named_or_left_out(raw: Path) -> None:
    other = "9000623/20040909/00285905/001"
    write(raw, film=other)
    (raw / "kxr_sq_bu00.txt").write_text("\n".join([HEADER, *READINGS, "9000623|1|15|2|"]))
    file = raw / "0.E.1" / FILM
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"{FILM} cannot be read: its pixels are cut short"):
        prepared(OAIRecipe(image_size=16), raw)
    table, summary = prepared(OAIRecipe(image_size=16), raw, "other", skip_unreadable=True)
    assert list(rows(table)) == [f"{other}#R"]
    assert sorted(source for source, _ in summary["skipped_sources"]) == [FILM, f"{other}#L"]


def test_what_is_no_film_is_refused(raw: Path) -> None:
    (raw / "0.E.1" / FILM).write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"{FILM} cannot be read: "):
        prepared(OAIRecipe(), raw)


def test_several_frames_are_refused(raw: Path) -> None:
    write(raw, np.stack([noise()] * 3))
    with pytest.raises(InputError, match="holds 3 frames: expected one"):
        prepared(OAIRecipe(), raw)


@pytest.mark.parametrize(("spacing", "size"), [([10, 10], "3000 × 7000"), ([0.01, 0.2], "3 × 140")])
def test_a_film_of_impossible_size_is_refused(raw: Path, spacing: list[float], size: str) -> None:
    write(raw, PixelSpacing=spacing)
    with pytest.raises(InputError, match=f"measures {size} mm: expected 10 to 1000"):
        prepared(OAIRecipe(), raw)


def test_a_knee_without_a_box_is_skipped(raw: Path) -> None:
    (raw / "boxes.csv").write_text("\n".join(BOXES[:2]))
    table, summary = prepared(OAIRecipe(crops="boxes", image_size=16), raw)
    assert list(rows(table)) == [f"{FILM}#R"]
    assert summary["skipped_sources"] == [[f"{FILM}#L", "boxes.csv has no row for it"]]


def test_boxes_of_a_participant_with_several_films_name_the_film(raw: Path) -> None:
    other = "9000622/20040909/00285905/001"
    write(raw, film=other)
    with pytest.raises(InputError, match=f"a box for {PARTICIPANT} L and does not say for which of 2 films"):
        prepared(OAIRecipe(crops="boxes"), raw)
    lines = (f"{line},{code}" for line, code in zip(BOXES, ("Barcode", "00285904", "285905"), strict=True))
    (raw / "boxes.csv").write_text("\n".join(lines))
    table, _ = prepared(OAIRecipe(crops="boxes", image_size=16), raw)
    assert list(rows(table)) == [f"{FILM}#R", f"{other}#L"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{PARTICIPANT},R,left,4", "line 4: cx is 'left' and cy '4', expected two numbers"),
        (f"{PARTICIPANT},R,nan,4", "line 4: cx is 'nan'"),
        (f"{PARTICIPANT},B,3,4", "line 4: side is 'B', expected L or R"),
        (f"{PARTICIPANT},R,3,4", f"line 4: another box for {PARTICIPANT} R"),
    ],
)
def test_boxes_that_cannot_be_right_are_refused(raw: Path, line: str, message: str) -> None:
    (raw / "boxes.csv").write_text("\n".join([*BOXES, line]))
    with pytest.raises(InputError, match=rf"boxes\.csv, {message}"):
        prepared(OAIRecipe(crops="boxes"), raw)


def test_boxes_are_required(raw: Path) -> None:
    (raw / "boxes.csv").unlink()
    with pytest.raises(InputError, match=r"holds no file called boxes\.csv"):
        prepared(OAIRecipe(crops="boxes"), raw)


def test_knees_that_were_cut_out_by_chen(tmp_path: Path) -> None:
    made = make_kneexray(tmp_path / "raw")
    table, summary = prepared(OAIRecipe(crops="kneexray"), tmp_path / "raw", "one")
    assert rows(table) == made.expected
    assert summary["skipped"] == {}
    for i in (0, 17):
        stored = np.asarray(Image.open(tmp_path / "raw/ClsKLData/kneeKL224" / table.columns["source"][i]))
        np.testing.assert_array_equal(table.images[i, 0], stored)
    inner, _ = prepared(OAIRecipe(crops="kneexray", image_size=16), tmp_path / "raw/ClsKLData/kneeKL224", "two")
    assert rows(inner) == made.expected
    reference, _ = prepared(OAIRecipe(crops="kneexray", protocol="reference"), tmp_path / "raw", "three")
    whole = table.images.astype(np.int64)
    np.testing.assert_array_equal(reference.images, whole * 255 // whole.max(axis=(1, 2, 3), keepdims=True))


def test_the_larger_knees_of_chen_are_not_taken(tmp_path: Path) -> None:
    make_kneexray(tmp_path / "raw")
    with pytest.raises(InputError, match="holds nothing of OAI"):
        prepared(OAIRecipe(crops="kneexray"), tmp_path / "raw/ClsKLData/kneeKL299")


def test_a_knee_with_two_grades_is_refused(tmp_path: Path) -> None:
    make_kneexray(tmp_path / "raw")
    place = tmp_path / "raw/ClsKLData/kneeKL224"
    file = min(place.glob("train/0/*.png"))
    (place / "val/3").mkdir(parents=True, exist_ok=True)
    shutil.copy(file, place / "val/3" / file.name)
    with pytest.raises(InputError, match=rf"holds {file.name} twice \(.*train/0/{file.name}, .*val/3/{file.name}\)"):
        prepared(OAIRecipe(crops="kneexray"), tmp_path / "raw")


def test_knees_of_chen_among_no_films_are_pointed_out(tmp_path: Path) -> None:
    make_kneexray(tmp_path / "raw")
    with pytest.raises(InputError, match="holds knees that are cut out already: give --crops kneexray"):
        prepared(OAIRecipe(), tmp_path / "raw")


def test_an_empty_folder_says_where_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"The NIMH Data Archive .* OAIBaselineImages"):
        prepared(OAIRecipe(), tmp_path / "raw")


@pytest.mark.skipif(util.find_spec("data_store") is None, reason="needs pydicom-data")
def test_a_real_radiograph_without_a_size_becomes_bright_where_it_stores_low_values(raw: Path) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    file = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(file, str)
    film = dcmread(file)
    assert film.PhotometricInterpretation == "MONOCHROME1"
    assert [float(size) for size in film.PixelSpacing] == [0, 0]
    film.SeriesDescription = SERIES
    film.save_as(raw / "0.E.1" / FILM)
    (raw / "boxes.csv").write_text(f"ID,side,cx,cy\n{PARTICIPANT},L,900,900\n")
    table, summary = prepared(OAIRecipe(crops="boxes", image_size=672), raw)
    assert len(summary["notes"]) == 1
    stored = film.pixel_array[900 - 336 : 900 + 336, 900 - 336 : 900 + 336].astype(np.float64)
    low, width = float(film.WindowCenter) - float(film.WindowWidth) / 2, float(film.WindowWidth)
    expected = 255 - np.rint(((stored - low) / width).clip(0, 1) * 255)
    np.testing.assert_array_equal(table.images[0, 0], expected)


def test_the_grade_is_a_labelling_too(table: ImageTable) -> None:
    binary = OAI(str(table.folder), n_train=8, n_val=2, n_test=4, image_size=16)
    assert (binary.domain, binary.num_classes) == ("medical", 2)
    assert binary.train_set.labels.bincount().tolist() == [4, 4]
    assert not set(binary.train_set.groups.tolist()) & set(binary.test_set.groups.tolist())
    np.testing.assert_array_equal(binary.read_labels(table), OAI(labelling="kl").read_labels(table) >= 2)


def test_a_table_of_other_crops_is_refused(table: ImageTable) -> None:
    with pytest.raises(InputError, match="prepared with crops=localizer, and OAI is to have crops=boxes"):
        OAI(str(table.folder), crops="boxes", n_train=8, n_val=2, n_test=4).setup()


def test_other_crops_are_kept_elsewhere() -> None:
    assert OAI(crops="kneexray").table_folder == Path("data/oai-kneexray")
    assert OAI().table_folder == Path("data/oai")
