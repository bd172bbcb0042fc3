"""Prostate-MRI-US-Biopsy as the NBIA Data Retriever leaves it, in small."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.uid import MRImageStorage, UltrasoundMultiFrameImageStorage, generate_uid

from tests.raw.dbc import write_sheet
from tests.raw.dicom import write_dicom
from tests.raw.made import Made

COLLECTION = "manifest-1694710246744/Prostate-MRI-US-Biopsy"
TARGETS = "Target Data_2019-12-05.xlsx"
COLUMNS = (
    *("Patient ID", "seriesInstanceUID_MR", "seriesInstanceUID_US", "labelname", "ROI Volume (cc)"),
    "UCLA Score (Similar to PIRADS v2)",
)
FRAMES, SLICES = 12, 6  # of ultrasound and of MR
_SIDE = {"us": 40, "mr": 32}


@dataclass(frozen=True)
class Patient:
    """A patient of the collection.

    Attributes:
        number: Of the patient.
        scores: UCLA scores of the targets, all in the same two series; None where there is none.
        descriptive: Whether folders are named by what is in them.
        lacks: What of us and mr was not downloaded.
        unnamed: What of us and mr the spreadsheet does not name.
    """

    number: int
    scores: tuple[int | None, ...]
    descriptive: bool = False
    lacks: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"Prostate-MRI-US-Biopsy-{self.number:04}"


# Not sorted.
PATIENTS = (
    Patient(31, (1, 4)),  # negative and positive by its targets: one series, positive
    Patient(2, (0,), descriptive=True),
    Patient(900, (3, None)),
    Patient(5, (None,)),
    Patient(1024, (5,), lacks=("us",)),
    Patient(77, (2,), unnamed=("us",)),
    *(Patient(100 - i, ((0, 1, 1, 2, 2, 3, 5)[i % 7],), descriptive=i % 5 == 0) for i in range(14)),
)


def make_prostate(root: Path, seed: int = 0, modality: Literal["us", "mr"] = "us") -> Made:
    """Write series of both modalities and the targets; what must be found is that of one modality."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    skipped: dict[str, str] = {}
    rows: list[list[object]] = []
    for patient in PATIENTS:
        series = {kind: generate_uid(entropy_srcs=[patient.name, kind]) for kind in ("us", "mr")}
        for kind, uid in series.items():
            if kind not in patient.lacks:
                _write_series(root, patient, kind, uid, rng)
        stated = {kind: "" if kind in patient.unnamed else f" {uid} " for kind, uid in series.items()}
        for score in patient.scores:
            rows.append([f"{patient.name} ", stated["mr"], stated["us"], "ROI 1", 0.31, score])
            if modality in patient.unnamed:
                skipped[f"{patient.name} in row {len(rows) + 1}"] = f"no seriesInstanceUID_{modality.upper()}"
        source = f"{patient.name}/{series[modality]}"
        scores = [score for score in patient.scores if score is not None]
        if modality in patient.unnamed:
            continue
        if not scores:
            skipped[source] = "no target has a score"
        elif modality in patient.lacks:
            skipped[source] = "not on disk"
        else:
            middle = range(3, 9) if modality == "us" else range(1, 4)  # of 12 frames, of 6 slices
            expected |= {f"{source}#{i}": _row(patient.name, max(scores), i) for i in middle}
    write_targets(root / TARGETS, rows)
    (root / COLLECTION / "LICENSE").write_text("CC BY 4.0")
    return Made(expected, skipped)


def write_targets(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write the spreadsheet of targets."""
    write_sheet(file, [COLUMNS, *rows])


def _write_series(root: Path, patient: Patient, kind: str, uid: str, rng: np.random.Generator) -> None:
    study = generate_uid(entropy_srcs=[patient.name, kind, "study"])
    place = f"{study}/{uid}"
    if patient.descriptive:
        place = f"06-28-2009-MRI PROSTATE W WO CONTRAST-{study[-5:]}/11.000000-{kind} axial oblProstate-{uid[-5:]}"
    folder = root / COLLECTION / patient.name / place
    tags = {"PatientID": patient.name, "StudyInstanceUID": study, "SeriesInstanceUID": uid}
    side = _SIDE[kind]
    if kind == "us":
        frames = rng.integers(0, 256, (FRAMES, side, side)).astype(np.uint8)
        spacing = ["0.4", "0.4"]
        tags |= {"SOPClassUID": UltrasoundMultiFrameImageStorage, "Modality": "US"}
        write_dicom(folder / "1-1.dcm", frames, PixelSpacing=spacing, **tags)
        return
    for number in rng.permutation(SLICES) + 1:
        write_dicom(
            folder / f"1-{number:02}.dcm",
            rng.integers(0, 900, (side, side)).astype(np.uint16),
            SOPClassUID=MRImageStorage,
            Modality="MR",
            InstanceNumber=int(number),
            PixelSpacing=["0.66", "0.66"],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 1.5 * int(number)],
            **tags,
        )


def _row(patient: str, score: int, i: int) -> dict[str, str]:
    return {
        "default": "0" if score in (0, 1) else "1",
        "hard": {2: "0", 3: "1", 4: "1", 5: "1"}.get(score, ""),
        "score": str(score),
        "slice": str(i),
        "group": patient,
        "split": "",
    }
