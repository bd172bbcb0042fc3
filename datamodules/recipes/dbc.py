"""Duke-Breast-Cancer-MRI: slices of fat-saturated breast MR before contrast, and the box of a tumour."""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.preparation.dicom import NO_SPACING, grey_levels, pixel_spacing
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, PictureRecipe, Piece, Skip
from datamodules.preparation.tcia import NOT_ON_DISK, find_series, instance_uid, read_series, series_window
from datamodules.tables import Cell
from metrics import InputError

_BOXES = "Annotation_Boxes.xlsx"
_MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping.xlsx"
_SLICE = re.compile(r"(?:.*/)?([^/]+)/pre/[^/]*?(\d+)\.dcm")  # patient/sequence/…_012.dcm
_MARGIN = 5  # slices


@dataclass(frozen=True)
class Breast:
    """The pre-contrast series of a patient.

    Attributes:
        patient: e.g. Breast_MRI_001.
        start: First slice of the tumour's box, counted from 1.
        end: Its last slice.
        slices: Number of each slice by its SOPInstanceUID.
    """

    patient: str
    start: int
    end: int
    slices: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class DBCRecipe(PictureRecipe[Breast]):
    """Duke-Breast-Cancer-MRI: every slice of the fat-saturated T1 series before contrast of 922 patients, in grey.

    A row holds ``label``: 1 for a slice within the box of the tumour (Start ≤ s ≤ End), 0 for one more than 5 slices
    outside, else blank; ``reference``: the same by the rule of arXiv 2401.08865, 1 for Start ≤ s < End, 0 for
    s ≤ Start − 5 or s > End + 5; ``slice`` (from 1, as the boxes count); ``distance`` (slices to the box, 0 within);
    ``group``, the patient; ``split``, blank; and ``source``, e.g. ``Breast_MRI_001/pre#12``.

    Files are told apart by their SOPInstanceUID, never by their names, which depend on the download and are misspelt in
    the mapping. Slices that were not downloaded are counted and left out.

    Grey levels span the 0.1 to the 99.9 percentile of the series, MONOCHROME1 is inverted after that; under the
    reference protocol each slice is scaled by its own maximum.

    Source: A. Saha et al., British Journal of Cancer 119, 2018; The Cancer Imaging Archive, 10.7937/TCIA.e3sv-re93.
    """

    name = "dbc"
    title = "Duke-Breast-Cancer-MRI"
    access = (
        "Get Duke-Breast-Cancer-MRI from The Cancer Imaging Archive (cancerimagingarchive.net) with the NBIA Data "
        "Retriever; the series before contrast, which the mapping calls pre, or a part of them, will do. From the same "
        f"page get {_BOXES} and {_MAPPING}. No registration; CC BY-NC 4.0."
    )

    def pieces(self, raw: Raw) -> list[Piece[Breast]]:
        """One piece per patient of whom there is a box and at least one slice.

        Raises:
            InputError: A spreadsheet is missing, or contradicts itself; names file and row.
        """
        boxes = read_boxes(raw, raw.require(_BOXES, "the boxes of the tumours, from the collection's page at TCIA"))
        slices = read_mapping(raw, raw.require(_MAPPING, "which file is which slice, from the same page"))
        owners = {uid: patient for patient, numbers in slices.items() for uid in numbers}
        files: dict[str, set[str]] = {}
        for series in find_series(raw).values():
            for patient in {owners[uid] for uid in series.instances if uid in owners}:
                files.setdefault(patient, set()).update(series.files)
        pieces = []
        for patient in sorted(slices.keys() | boxes.keys()):
            source = f"{patient}/pre"
            if patient not in slices:
                raw.skip(source, f"not in {_MAPPING}")
            elif patient not in boxes:
                raw.skip(source, f"not in {_BOXES}")
            elif patient not in files:
                raw.skip(source, NOT_ON_DISK)
            else:
                breast = Breast(patient, *boxes[patient], slices[patient])
                pieces.append(Piece(source, tuple(sorted(files[patient])), breast))
        return pieces

    def decode(self, folder: Path, piece: Piece[Breast]) -> Iterator[Found]:
        """The slices of the series that are there."""
        breast = piece.facts
        series = read_series(folder, piece.files, wanted=breast.slices)
        if len(series) < len(breast.slices):
            missing = len(breast.slices) - len(series)
            yield Skip(f"{piece.source}: {missing} of {len(breast.slices)} slices", NOT_ON_DISK)
        window = None if self.protocol == "reference" else series_window(series)
        numbered = {breast.slices[instance_uid(data)]: (data, values) for data, values in series}
        for s, (data, values) in sorted(numbered.items()):
            spacing = pixel_spacing(data)
            if spacing is None:
                yield Note(NO_SPACING)
            distance = max(breast.start - s, s - breast.end, 0)
            yield (
                self.square(grey_levels(data, values, window)[None], spacing),
                {
                    "label": "" if 0 < distance <= _MARGIN else int(distance == 0),
                    "reference": _reference(s, breast.start, breast.end),
                    "slice": s,
                    "distance": distance,
                    "group": breast.patient,
                    "split": "",
                    "source": f"{piece.source}#{s}",
                },
            )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the two labels mean."""
        names = {0: "no tumour in the slice", 1: "tumour in the slice"}
        return {"label": names, "reference": names}


def read_boxes(raw: Raw, file: str) -> dict[str, tuple[int, int]]:
    """First and last slice of the box of each patient, from Annotation_Boxes.xlsx.

    Raises:
        InputError: A missing column, a slice that is no number from 1 on, an end before the start, a patient with two
            boxes.
    """
    boxes: dict[str, tuple[int, int]] = {}
    for row, (patient, *cells) in raw.sheet(file, ["Patient ID", "Start Slice", "End Slice"]):
        where = f"{raw.folder / file}, row {row}"
        if not patient:
            raise InputError(f"{where}: Patient ID is blank")
        if not all(cell.isdecimal() for cell in cells):
            raise InputError(f"{where}: Start Slice {cells[0]!r} and End Slice {cells[1]!r} must be whole numbers")
        start, end = (int(cell) for cell in cells)
        if not 1 <= start <= end:
            raise InputError(f"{where}: the slices {start} to {end} are no range, counted from 1")
        if boxes.setdefault(patient, (start, end)) != (start, end):
            raise InputError(f"{where}: {patient} has another box in an earlier row: keep the right one")
    return boxes


def read_mapping(raw: Raw, file: str) -> dict[str, dict[str, int]]:
    """By patient, the slices of the sequence ``pre``: SOPInstanceUID and number.

    Reading the sheet takes minutes; what was read is kept in ``raw.scratch``.

    Raises:
        InputError: A missing column, a file name that cannot be understood, an identifier that two rows share.
    """
    slices: dict[str, dict[str, int]] = {}
    taken: dict[str, tuple[str, int]] = {}
    filled: set[tuple[str, int]] = set()
    for row, uid, name in _cached_rows(raw, file):
        where = f"{raw.folder / file}, row {row}"
        match = _SLICE.fullmatch(name)
        if match is None or not uid:
            raise InputError(
                f"{where}: sop_instance_UID {uid!r}, original_path_and_filename {name!r}: expected an identifier and "
                "DICOM_Images/Breast_MRI_001/pre/Breast_MRI_001_pre_012.dcm"
            )
        place = match[1], int(match[2])
        if taken.setdefault(uid, place) != place:
            raise InputError(f"{where}: {uid} is {'/pre#'.join(map(str, taken[uid]))} in an earlier row")
        numbers = slices.setdefault(place[0], {})
        if uid not in numbers and place in filled:
            raw.skip(f"{place[0]}/pre#{place[1]} in row {row}", "another file is the same slice")
            continue
        filled.add(place)
        numbers[uid] = place[1]
    return slices


def _cached_rows(raw: Raw, file: str) -> Iterator[tuple[str, str, str]]:
    """Row, sop_instance_UID and original_path_and_filename of the rows of the sequence ``pre``."""
    status = (raw.folder / file).stat()
    cache = raw.scratch / f"mapping-{status.st_size}-{status.st_mtime_ns}.csv"
    if not cache.exists():
        beside = cache.with_suffix(".part")
        with beside.open("w", newline="", encoding="utf-8") as text:
            writer = csv.writer(text)
            for number, (uid, name) in raw.sheet(file, ["sop_instance_UID", "original_path_and_filename"]):
                if "/pre/" in name:
                    writer.writerow((number, uid, name))
        os.replace(beside, cache)
    with cache.open(newline="", encoding="utf-8") as text:
        yield from ((row, uid, name) for row, uid, name in csv.reader(text))


def _reference(s: int, start: int, end: int) -> Cell:
    if start <= s < end:
        return 1
    return 0 if s <= start - _MARGIN or s > end + _MARGIN else ""
