"""Duke-Breast-Cancer-MRI as the NBIA Data Retriever leaves it, in small."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openpyxl
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from tests.raw.dicom import write_dicom
from tests.raw.made import Made

MANIFEST = "manifest-1607053360376"
BOXES = "Annotation_Boxes.xlsx"
MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping.xlsx"
MAPPING_COLUMNS = (
    *("sop_instance_UID", "original_path_and_filename", "classic_path", "descriptive_path"),
    *(f"Unnamed: {i}" for i in range(4, 15)),
    "series_sort",
)
_SIDE = 32


@dataclass(frozen=True)
class Patient:
    """A patient of the collection.

    Attributes:
        number: Of the patient.
        box: First and last slice of the tumour's box; None for one who is missing in the sheet.
        depth: Slices of each series.
        sequences: Beside ``pre``.
        study: Folder of the study, where names are descriptive.
        folder: Of the patient on disk, where it is misspelt.
        reversed: Whether files are numbered from the last slice on.
        inverted: Whether images are MONOCHROME1.
        lacks: Slices of ``pre`` that were not downloaded.
    """

    number: int
    box: tuple[int, int] | None
    depth: int = 9
    sequences: tuple[str, ...] = ()
    study: str = ""
    folder: str = ""
    reversed: bool = False
    inverted: bool = False
    lacks: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return f"Breast_MRI_{self.number:03}"


# Not sorted. On disk a study "W/WO" is called "WWO".
PATIENTS = (
    Patient(4, (10, 14), 24, ("post_1",), study="01-01-1990-NA-MRI BREAST BILATERAL WWO-97538"),
    Patient(2, (10, 14), 24, ("post_1", "T1_prescan"), reversed=True),
    Patient(7, (10, 14), 24, ("post_1",), folder="BreastMRI007", inverted=True, lacks=(1, 12, 24)),
    Patient(921, None),
    Patient(300, (2, 2), lacks=tuple(range(1, 10))),
    *(Patient(number, (1 + number % 2, 2), reversed=number % 3 == 0) for number in range(20, 10, -1)),
)


def make_dbc(root: Path, seed: int = 0) -> Made:
    """Write series before and after contrast, boxes in no order, a mapping with other file names than those on disk."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    skipped: dict[str, str] = {}
    mapping: list[list[str]] = []
    for patient in PATIENTS:
        for sequence in ("pre", *patient.sequences):
            mapping += _write_series(root, patient, sequence, rng)
        source = f"{patient.name}/pre"
        if patient.box is None:
            skipped[source] = BOXES
        elif len(patient.lacks) == patient.depth:
            skipped[source] = "not on disk"
        else:
            if patient.lacks:
                skipped[f"{source}: {len(patient.lacks)} of {patient.depth} slices"] = "not on disk"
            for s in set(range(1, patient.depth + 1)) - set(patient.lacks):
                expected[f"{source}#{s}"] = _row(patient.name, *patient.box, s)
    boxes = [(patient.name, *patient.box) for patient in PATIENTS if patient.box]
    rng.shuffle(mapping)
    write_boxes(root / BOXES, [*boxes[1:], boxes[0], ("Breast_MRI_555", 3, 9)])
    skipped["Breast_MRI_555/pre"] = MAPPING
    write_mapping(root / "maps" / MAPPING, mapping)
    (root / MANIFEST / "LICENSE").write_text("CC BY-NC 4.0")
    (root / MANIFEST / "metadata.csv").write_text("Series UID,Subject ID\n")
    return Made(expected, skipped)


def write_boxes(file: Path, boxes: Sequence[tuple[object, object, object]]) -> None:
    """Write Annotation_Boxes.xlsx: patient, first and last slice."""
    rows = [[patient, 88, 130, 304, 351, start, end] for patient, start, end in boxes]
    header = ["Patient ID", "Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice"]
    write_sheet(file, [header, *rows])


def write_mapping(file: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write the mapping: its four columns of use, and the others, which are blank."""
    write_sheet(file, [MAPPING_COLUMNS, *([*row, *([None] * 12)] for row in rows)])


def write_sheet(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a workbook of one sheet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    book.save(file)


def original_name(patient: str, sequence: str, s: int) -> str:
    """What the mapping calls a slice."""
    return f"DICOM_Images/{patient}/{sequence}/{patient}_{sequence}_{s:03}.dcm"


def _write_series(root: Path, patient: Patient, sequence: str, rng: np.random.Generator) -> list[list[str]]:
    """The rows of the mapping for a series of which some files are on disk."""
    study, series = (generate_uid(entropy_srcs=[patient.name, what]) for what in ("study", sequence))
    classic = f"Duke-Breast-Cancer-MRI/{patient.name}/{study}/{series}"
    place = f"Duke-Breast-Cancer-MRI/{patient.folder or patient.name}/{study}/{series}"
    if patient.study:
        place = f"Duke-Breast-Cancer-MRI/{patient.name}/{patient.study}/26.000000-ax t1 {sequence}-{series[-5:]}"
    lacks = patient.lacks if sequence == "pre" else ()
    rows = []
    for s in range(patient.depth, 0, -1):
        number = patient.depth + 1 - s if patient.reversed else s
        uid = generate_uid(entropy_srcs=[patient.name, sequence, str(s)])
        descriptive = f"Duke-Breast-Cancer-MRI//BreastMRI{patient.number:03}/W/WO/{number:03}.dcm"
        # Three digits, where there are two on disk.
        rows.append([uid, original_name(patient.name, sequence, s), f"{classic}/1-{number:03}.dcm", descriptive])
        if s not in lacks:
            write_dicom(
                root / MANIFEST / place / f"1-{number:02}.dcm",
                _pixels(rng, patient.depth),
                SOPInstanceUID=uid,
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                PatientID=patient.name,
                Modality="MR",
                InstanceNumber=number,
                PixelSpacing=["0.7", "0.7"],
                PhotometricInterpretation="MONOCHROME1" if patient.inverted else "MONOCHROME2",
            )
    return rows


def _pixels(rng: np.random.Generator, depth: int) -> NDArray[np.uint16]:
    return rng.integers(0, 200 + 10 * depth, (_SIDE, _SIDE)).astype(np.uint16)


def _row(patient: str, start: int, end: int, s: int) -> dict[str, str]:
    distance = min(abs(s - inside) for inside in range(start, end + 1))
    reference = ""
    if s in range(start, end):
        reference = "1"
    elif s <= start - 5 or s > end + 5:
        reference = "0"
    return {
        "label": {0: "1"}.get(distance, "0" if distance >= 6 else ""),
        "reference": reference,
        "slice": str(s),
        "distance": str(distance),
        "group": patient,
        "split": "",
    }
