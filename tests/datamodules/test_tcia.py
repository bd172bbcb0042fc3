"""Series of DICOM files: found by their headers, read once each, in order; windows of whole series."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.levels import percentile_window
from datamodules.pictures import UnreadableError
from datamodules.preparation.raw import Raw
from datamodules.preparation.tcia import by_number, by_position, find_series, instance_uid, read_series, series_window
from tests.raw.dicom import write_dicom

RAW = Path("raw")
AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]


def write(name: str, series: str, instance: str, value: int = 0, **tags: object) -> None:
    pixels = np.full((4, 4), value, dtype=np.uint16)
    write_dicom(RAW / name, pixels, SeriesInstanceUID=series, SOPInstanceUID=instance, **tags)


def find() -> dict[str, tuple[str, ...]]:
    return {uid: series.files for uid, series in find_series(Raw(RAW, Path())).items()}


def test_series_are_found_whatever_their_folders_are_called() -> None:
    write("b/1.2.1/1-2.dcm", "1.2.2", "1.2.2.2")
    write("b/1.2.1/1-1.dcm", "1.2.2", "1.2.2.1")
    write("a/06-28-2009-MRI PROSTATE W WO-1/11.0-t2/1-1.DCM", "1.2.1", "1.2.1.1")
    write("1-1.dcm", "1.2.3", "1.2.3.1")
    assert find() == {
        "1.2.1": ("a/06-28-2009-MRI PROSTATE W WO-1/11.0-t2/1-1.DCM",),
        "1.2.2": ("b/1.2.1/1-1.dcm", "b/1.2.1/1-2.dcm"),
        "1.2.3": ("1-1.dcm",),
    }


def test_parts_of_a_series_are_put_together() -> None:
    write("first/1-1.dcm", "1.2", "1.2.1")
    write("second/1-2.dcm", "1.2", "1.2.2")
    series = find_series(Raw(RAW, Path()))["1.2"]
    assert series.files == ("first/1-1.dcm", "second/1-2.dcm")
    assert series.instances == {"1.2.1", "1.2.2"}


def test_a_folder_of_several_series_is_taken_apart() -> None:
    for i, uid in enumerate(("1.1", "1.2", "1.2", "1.1", "1.3")):
        write(f"all/{i}.dcm", uid, f"{uid}.{i}")
    assert find() == {"1.1": ("all/0.dcm", "all/3.dcm"), "1.2": ("all/1.dcm", "all/2.dcm"), "1.3": ("all/4.dcm",)}


def test_two_files_of_a_folder_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(9):
        write(f"all/{i}.dcm", "1.2", f"1.2.{i}")
    opened = []

    def counted(file: Path, **options: bool) -> object:
        opened.append(file.name)
        return read_dicom(file, **options)

    from datamodules.preparation.dicom import read_dicom

    monkeypatch.setattr("datamodules.preparation.tcia.read_dicom", counted)
    assert len(find()["1.2"]) == 9
    assert opened == ["0.dcm", "8.dcm"]


def test_junk_is_passed_over() -> None:
    write("series/1-2.dcm", "1.2", "1.2.2")
    for name in ("series/LICENSE", "series/metadata.csv", "series/._1-2.dcm", "series/1-1.dcm", "none/1-1.dcm"):
        (RAW / name).parent.mkdir(exist_ok=True)
        (RAW / name).write_text("not DICOM")
    raw = Raw(RAW, Path())
    assert find_series(raw)["1.2"].files == ("series/1-1.dcm", "series/1-2.dcm")
    assert raw.skipped == [("none", "none of its files can be read as DICOM")]


def test_every_instance_is_read_once() -> None:
    for i in (3, 1, 2):
        write(f"{i}.dcm", "1.2", f"1.2.{i} ", value=i)
    shutil.copy(RAW / "2.dcm", RAW / "copy.dcm")
    files = ["1.dcm", "2.dcm", "3.dcm", "copy.dcm"]
    series = read_series(RAW, files)
    assert [instance_uid(data) for data, _ in series] == ["1.2.1", "1.2.2", "1.2.3"]
    assert [int(values[0, 0]) for _, values in series] == [1, 2, 3]
    assert all("PixelData" not in data for data, _ in series)
    assert [instance_uid(data) for data, _ in read_series(RAW, files, wanted={"1.2.3", "1.2.9"})] == ["1.2.3"]


def test_a_file_that_cannot_be_read_is_named() -> None:
    write("a/1.dcm", "1.2", "1.2.1")
    (RAW / "a" / "2.dcm").write_text("not DICOM")
    with pytest.raises(UnreadableError, match=r"a/2\.dcm: is no DICOM file"):
        read_series(RAW, ["a/1.dcm", "a/2.dcm"])
    with pytest.raises(UnreadableError, match=r"a/3\.dcm: the file is absent"):
        read_series(RAW, ["a/1.dcm", "a/3.dcm"])


def order(by: str, **tags: list[object]) -> list[int]:
    """In which order files come out that were written with some tags."""
    count = len(next(iter(tags.values())))
    for i in range(count):
        write(f"{i}.dcm", "1.2", f"1.2.{i}", value=i, **{keyword: values[i] for keyword, values in tags.items()})
    series = read_series(RAW, [f"{i}.dcm" for i in range(count)])
    ordered = by_position(series) if by == "position" else by_number(series)
    return [int(values[0, 0]) for _, values in ordered]


@pytest.mark.parametrize(
    ("orientation", "axis", "expected"),
    # The normal is the product of the two directions: (0, 0, 1), (0, 0, −1) and (−1, 0, 0).
    [(AXIAL, 2, [1, 2, 0]), ([-1, 0, 0, 0, 1, 0], 2, [0, 2, 1]), (SAGITTAL, 0, [0, 2, 1])],
)
def test_slices_are_ordered_along_their_normal(orientation: list[int], axis: int, expected: list[int]) -> None:
    positions: list[object] = []
    for height, elsewhere in ((10.5, 3), (-10, 99), (9, -99)):
        positions.append([height if i == axis else elsewhere for i in range(3)])
    orientations: list[object] = [orientation] * 3
    assert order("position", ImagePositionPatient=positions, ImageOrientationPatient=orientations) == expected


@pytest.mark.parametrize("missing", [None, "", [1, 2]])
def test_one_slice_without_position_makes_numbers_decide(missing: object) -> None:
    positions: list[object] = [[0, 0, 1], [0, 0, 2], missing]
    found = order(
        "position",
        ImagePositionPatient=positions,
        ImageOrientationPatient=[AXIAL, AXIAL, AXIAL],
        InstanceNumber=[3, 1, 2],
    )
    assert found == [1, 2, 0]


def test_slices_at_one_position_are_ordered_by_number() -> None:
    positions: list[object] = [[0, 0, 5], [0, 0, 5], [0, 0, 1]]
    orientations: list[object] = [AXIAL] * 3
    found = order(
        "position", ImagePositionPatient=positions, ImageOrientationPatient=orientations, InstanceNumber=[9, 2, 3]
    )
    assert found == [2, 1, 0]


def test_files_without_a_number_come_last() -> None:
    assert order("number", InstanceNumber=[None, 10, 9, None]) == [2, 1, 0, 3]


@pytest.mark.parametrize("share", [(0.1, 99.9), (0, 100), (25, 50), (33.3, 66.6)])
@pytest.mark.parametrize("slopes", [(1, 1, 1), (2, 0.5, 7), (-1, 1, 1)])
def test_the_window_of_a_series_is_that_of_all_its_values(
    share: tuple[float, float], slopes: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(3)
    everything: list[NDArray[np.floating[Any]]] = []
    for i, slope in enumerate(slopes):
        pixels = rng.integers(-500, 900, (5 + i, 9)).astype(np.int16)
        tags = {"RescaleSlope": str(slope), "RescaleIntercept": str(10 * i)}
        write_dicom(RAW / f"{i}.dcm", pixels, SOPInstanceUID=f"1.{i}", **tags)
        everything.append(pixels.ravel() * slope + 10 * i)
    series = read_series(RAW, ["0.dcm", "1.dcm", "2.dcm"])
    expected = percentile_window(np.concatenate(everything), *share)
    assert series_window(series, *share) == pytest.approx(expected, rel=1e-12)


def test_the_window_of_a_constant_series_is_a_point() -> None:
    write("0.dcm", "1.2", "1.2.1", value=7)
    assert series_window(read_series(RAW, ["0.dcm"])) == (7, 7)
