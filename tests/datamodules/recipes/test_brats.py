"""BraTS: rows, brain rule, label rules, grey levels, damaged volumes, and the policies of its data module."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from datamodules import ImageTable
from datamodules.brats import BraTS
from datamodules.preparation.brains import shows_brain
from datamodules.recipes.brats import BraTSRecipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.brats import AFFINE, SIDE, TRAINING, make_brats, write_volume
from tests.raw.made import Made

SUBJECT = "Brats18_2013_7_1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    """The whole download, and what is in it; not to be changed."""
    raw = tmp_path_factory.mktemp("brats")
    return raw, make_brats(raw)


@pytest.fixture(scope="module")
def table(made: tuple[Path, Made], tmp_path_factory: pytest.TempPathFactory) -> ImageTable:
    return prepared(BraTSRecipe(image_size=16), made[0], tmp_path_factory.mktemp("prepared") / "table")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one subject: ten slices, a disk of noise, tumour in slice 4."""
    place = tmp_path / "raw" / "HGG" / SUBJECT
    write_volume(place / f"{SUBJECT}_flair.nii.gz", flair())
    write_volume(place / f"{SUBJECT}_t2.nii.gz", np.sign(flair()))
    write_volume(place / f"{SUBJECT}_seg.nii.gz", segmentation())
    return place


def disk(radius: float, side: int = SIDE) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    inside: NDArray[np.bool_] = np.hypot(rows, columns) < radius
    return inside


def flair(slices: int = 10) -> NDArray[np.int16]:
    noise = np.random.default_rng(3).gamma(2, 150, (slices, SIDE, SIDE))
    return ((100 + noise) * disk(54)).astype(np.int16)


def segmentation(slices: int = 10) -> NDArray[np.int16]:
    values = np.zeros((slices, SIDE, SIDE), dtype=np.int16)
    values[4, 50:60, 50:60] = 4
    return values


def test_rows_are_what_was_written(made: tuple[Path, Made], table: ImageTable) -> None:
    assert list(table.columns) == ["label", "reference", "slice", "distance", "grade", "group", "split", "source"]
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made[1].expected
    assert sources == sorted(sources, key=lambda source: (source.split("#")[0], int(source.split("#")[1])))
    assert table.labellings == ["label", "reference"]


def test_incomplete_subjects_are_skipped(made: tuple[Path, Made], table: ImageTable) -> None:
    summary = json.loads((table.folder / "prepare.json").read_text())
    assert {source: reason for source, reason in summary["skipped_sources"]} == {
        source: f"has no {volume}" for source, volume in made[1].skipped.items()
    }


def test_the_training_folder_will_do_and_a_missing_volume_shifts_no_other(
    made: tuple[Path, Made], table: ImageTable, tmp_path: Path
) -> None:
    shutil.copytree(made[0] / TRAINING, tmp_path / "raw")
    for file in (tmp_path / "raw" / "HGG" / "Brats18_2013_10_1").glob("*_flair*"):
        file.unlink()
    without, summary = prepared(BraTSRecipe(image_size=16), tmp_path / "raw")
    others = table.columns["group"] != "Brats18_2013_10_1"
    for name, cells in without.columns.items():
        assert cells.tolist() == table.columns[name][others].tolist()
    np.testing.assert_array_equal(without.images, table.images[others])
    assert ["HGG/Brats18_2013_10_1", "has no flair"] in summary["skipped_sources"]


def test_grey_levels_span_percentiles_of_the_volume(folder: Path) -> None:
    table, _ = prepared(BraTSRecipe(image_size=SIDE), folder.parent.parent)
    values = np.sort(flair().ravel()).astype(np.float64)
    low, high = (np.interp(share * (len(values) - 1), np.arange(len(values)), values) for share in (0.001, 0.999))
    levels = np.rint(((flair() - low) / (high - low)).clip(0, 1) * 255)
    assert len(table) == 10
    np.testing.assert_array_equal(table.images[:, 0], levels)


def test_reference_scales_each_slice_by_its_own_maximum(folder: Path) -> None:
    values = flair()
    values[7] //= 8  # a slice whose maximum is far below that of the volume
    write_volume(folder / f"{SUBJECT}_flair.nii.gz", values)
    standard, _ = prepared(BraTSRecipe(image_size=SIDE), folder.parent.parent, "standard")
    reference, _ = prepared(BraTSRecipe(image_size=SIDE, protocol="reference"), folder.parent.parent, "reference")
    levels = standard.images.astype(np.int64)
    highest = levels.max(axis=(2, 3), keepdims=True)
    assert highest[7] < 255
    np.testing.assert_array_equal(reference.images, levels * 255 // highest)


def test_pictures_are_upright(folder: Path) -> None:
    values = np.zeros((10, SIDE, SIDE), dtype=np.int16)
    values[:] = disk(54)
    values[:, 20:30, 35:45] = 9
    # BraTS counts y from front to back and x from the patient's right to the left.
    front_right = AFFINE @ [40, 25, 0, 1], AFFINE @ [80, 95, 0, 1]
    assert (front_right[0] - front_right[1])[:2].tolist() == [40, 70]  # mm to the right, mm to the front
    write_volume(folder / f"{SUBJECT}_flair.nii.gz", values)
    table, _ = prepared(BraTSRecipe(image_size=SIDE), folder.parent.parent)
    bright = np.argwhere(table.images[0, 0] == 255)
    assert bright.min(axis=0).tolist() == [20, 35]
    assert bright.max(axis=0).tolist() == [29, 44]


def test_in_a_short_volume_no_slice_is_ambiguous_to_the_reference(folder: Path) -> None:
    table, _ = prepared(BraTSRecipe(image_size=16), folder.parent.parent)
    assert table.columns["reference"].tolist() == [str(int(k == 4)) for k in range(10)]
    assert table.columns["distance"].tolist() == [str(abs(k - 4)) for k in range(10)]


def test_the_brain_rule_is_that_of_the_release() -> None:
    morphology = pytest.importorskip("skimage.morphology")
    filters, measure = pytest.importorskip("skimage.filters"), pytest.importorskip("skimage.measure")

    def by_scikit_image(picture: NDArray[np.float64], min_area: int) -> bool:
        mask = morphology.erosion(picture > 0, morphology.disk(2), mode="ignore")
        mask = morphology.closing(mask, morphology.disk(2), mode="ignore")
        mask = ndimage.binary_fill_holes(filters.roberts(mask))
        return bool(measure.label(mask).max() <= 1 and mask.sum() >= min_area)

    rng = np.random.default_rng(0)
    volume = np.zeros((120, 48, 48))
    for picture in volume:
        for _ in range(rng.integers(1, 3)):  # disks that may touch, overlap, or leave the picture
            row, column, radius = *rng.integers(14, 34, 2), rng.integers(4, 22)
            picture[np.hypot(*(np.mgrid[:48, :48] - np.array([row, column])[:, None, None])) < radius] = 1
        if rng.random() < 0.5:
            picture[rng.integers(0, 48) :, rng.integers(0, 48)] = 0  # a cut
        if rng.random() < 0.5:
            picture[rng.random(picture.shape) < 0.002] = 0  # holes
    for min_area in (1, 200, 400):
        for around in (volume, np.pad(volume, ((0, 0), (9, 0), (7, 8)))):  # far from some borders, or at them
            kept = [by_scikit_image(picture, min_area) for picture in around]
            assert 0.1 < np.mean(kept) < 0.95
            assert shows_brain(around, min_area).tolist() == kept


def test_the_area_of_a_disk_decides() -> None:
    radii = (44, 47, 50, 53)
    volume = np.stack([disk(radius, 240) for radius in radii]).astype(np.float64)
    # Eroded by 2 pixels; the outline, half a pixel to each side, belongs to it.
    kept = [bool(np.pi * (radius - 1.5) ** 2 >= 7000) for radius in radii]
    assert kept == [False, False, True, True]
    assert shows_brain(volume, 7000).tolist() == kept


def test_a_black_volume_shows_no_brain() -> None:
    assert not shows_brain(np.zeros((3, 20, 20)), 1).any()


def test_a_subject_without_enough_brain_is_skipped(folder: Path) -> None:
    other = folder.with_name("Brats18_2013_8_1")
    for kind in ("flair", "t2", "seg"):
        write_volume(other / f"{other.name}_{kind}.nii", segmentation())
    table, summary = prepared(BraTSRecipe(image_size=16, min_area=8000), folder.parent.parent)
    assert set(table.columns["group"].tolist()) == {SUBJECT}
    assert summary["skipped_sources"] == [[f"HGG/{other.name}", "no slice shows a brain of 8000 pixels"]]


@pytest.mark.parametrize(("above", "grade"), [("lgg", "LGG"), ("others", "")])
def test_the_grade_is_that_of_the_folder_above(folder: Path, above: str, grade: str) -> None:
    raw = folder.parent.rename(folder.parent.with_name(above))
    table, _ = prepared(BraTSRecipe(image_size=16), raw)
    assert set(table.columns["grade"].tolist()) == {grade}
    assert table.columns["source"][0] == f"{grade}/{SUBJECT}#0".lstrip("/")


@pytest.mark.parametrize("kind", ["flair", "t2", "seg"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_truncated_volume_is_named(folder: Path, kind: str, packed: bool) -> None:
    file = folder / f"{SUBJECT}_{kind}.nii.gz"
    content = file.read_bytes()
    if not packed:
        file.unlink()
        file, content = file.with_suffix(""), gzip.decompress(content)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"HGG/{SUBJECT} cannot be read: {file.name} is no whole NIfTI volume: "):
        prepared(BraTSRecipe(image_size=16), folder.parent.parent)


def test_an_unreadable_subject_can_be_left_out(folder: Path) -> None:
    shutil.copytree(folder, other := folder.with_name("Brats18_2013_8_1"))
    for file in other.iterdir():
        file.rename(file.with_name(file.name.replace(SUBJECT, other.name)))
    (other / f"{other.name}_t2.nii.gz").write_bytes(b"no volume")
    table, summary = prepared(BraTSRecipe(image_size=16), folder.parent.parent, skip_unreadable=True)
    assert set(table.columns["group"].tolist()) == {SUBJECT}
    assert f"{other.name}_t2.nii.gz" in str(summary["skipped_sources"])


def test_volumes_of_different_shapes_are_refused(folder: Path) -> None:
    write_volume(folder / f"{SUBJECT}_seg.nii.gz", segmentation(slices=9))
    with pytest.raises(InputError, match=rf"{SUBJECT}_seg.nii.gz has the shape \(120, 120, 9\), T2 \(120, 120, 10\)"):
        prepared(BraTSRecipe(image_size=16), folder.parent.parent)


def test_a_stack_of_volumes_is_refused(folder: Path) -> None:
    write_volume(folder / f"{SUBJECT}_t2.nii.gz", np.ones((2, 3, 4, 5), dtype=np.int16))
    with pytest.raises(InputError, match=r"_t2.nii.gz has the shape \(5, 4, 3, 2\): expected a volume"):
        prepared(BraTSRecipe(image_size=16), folder.parent.parent)


def test_unknown_tissues_are_refused(folder: Path) -> None:
    values = segmentation()
    values[5, 7, 7] = 3
    write_volume(folder / f"{SUBJECT}_seg.nii.gz", values)
    with pytest.raises(InputError, match=rf"{SUBJECT}_seg.nii.gz holds the value 3: a segmentation holds 0, 1, 2, 4"):
        prepared(BraTSRecipe(image_size=16), folder.parent.parent)


def test_a_subject_in_two_places_is_refused(folder: Path) -> None:
    shutil.copytree(folder, folder.parent.parent / "LGG" / SUBJECT)
    with pytest.raises(InputError, match=rf"holds {SUBJECT} twice \(HGG/{SUBJECT}, LGG/{SUBJECT}\)"):
        prepared(BraTSRecipe(image_size=16), folder.parent.parent)


def test_a_folder_without_subjects_says_where_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"extract MICCAI_BraTS_2018_Data_Training\.zip"):
        prepared(BraTSRecipe(), tmp_path / "raw")


@pytest.mark.parametrize("min_area", [0, -3])
def test_an_area_below_one_is_refused(min_area: int) -> None:
    with pytest.raises(InputError, match=f"min_area={min_area} is out of range"):
        BraTSRecipe(min_area=min_area)


@pytest.mark.parametrize("margin", [0, 2, 5, 9])
def test_the_margin_decides_which_slices_are_negative(table: ImageTable, margin: int) -> None:
    labels = BraTS(str(table.folder), margin=margin).read_labels(table)
    for cell, label in zip(table.columns["distance"].tolist(), labels.tolist(), strict=True):
        distance = int(cell)
        assert label == (1 if distance == 0 else 0 if distance > margin else -1)


def test_the_usual_margin_is_that_of_the_column(table: ImageTable) -> None:
    np.testing.assert_array_equal(BraTS(str(table.folder)).read_labels(table), table.labels("label"))


def test_the_reference_protocol_takes_its_own_labels(table: ImageTable) -> None:
    by_protocol = BraTS(str(table.folder), protocol="reference", margin=0).read_labels(table)
    np.testing.assert_array_equal(by_protocol, table.labels("reference"))
    by_name = BraTS(str(table.folder), protocol="reference", labelling="label", margin=5).read_labels(table)
    np.testing.assert_array_equal(by_name, table.labels("label"))
    assert (by_name != by_protocol).any()


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(InputError, match="margin=-1 is out of range"):
        BraTS(margin=-1)


def test_subjects_are_not_split(table: ImageTable) -> None:
    data = BraTS(str(table.folder), n_train=8, n_val=4, n_test=4, image_size=16)
    groups = [set(part.groups.tolist()) for part in (data.train_set, data.val_set, data.test_set)]
    shared = groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert data.domain == "medical"
    assert data.train_set.labels.bincount().tolist() == [4, 4]
    assert not shared
