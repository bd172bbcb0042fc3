"""RSNA Intracranial Hemorrhage as it is downloaded, in small."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from tests.raw.dicom import write_dicom
from tests.raw.made import Made

COMPETITION = "rsna-intracranial-hemorrhage-detection"
KINDS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")  # as in the CSV
PADDING = -2000
CORRUPT = "ID_6431af929"
_SIDE = 64
_PATIENTS = 16

# What the files of the set say of themselves: (PixelRepresentation, BitsStored, RescaleIntercept).
SIGNED, UNSIGNED, WRAPPED = (1, 16, -1024), (0, 12, -1024), (0, 12, 0)
ENCODINGS = (SIGNED, UNSIGNED, WRAPPED)


def make_rsna(root: Path, seed: int = 0) -> Made:
    """Write stage_2_train with its labels, one file of stage_2_test, which has none, and an id that is listed twice."""
    rng = np.random.default_rng(seed)
    folder = root / COMPETITION
    expected: dict[str, dict[str, str]] = {}
    labels: dict[str, list[int]] = {}
    numbers = rng.choice(16**9, 3 * _PATIENTS, replace=False).tolist()
    for i in range(_PATIENTS):
        for k in range(1 + i % 3):
            name = f"ID_{numbers.pop():09x}"
            bleeds = (i + k) % 2 == 1
            labels[name] = _kinds(rng) if bleeds else [0] * 6
            patient = "" if i == 5 else f"ID_{i * 7919:08x}"
            write_slice(
                folder / "stage_2_train" / f"{name}.dcm",
                head(rng, bleeds),
                ENCODINGS[(i + k) % 3],
                PatientID=patient,
                **({"WindowCenter": ["40", "400"], "WindowWidth": ["80", "2000"]} if i == 2 else {}),
            )
            expected[f"stage_2_train/{name}.dcm"] = {
                "any": str(labels[name][5]),
                **{kind: str(label) for kind, label in zip(KINDS[:5], labels[name][:5], strict=True)},
                "group": patient or name,
                "split": "",
            }
    labels[CORRUPT] = [0, 0, 0, 0, 0, 0]
    write_slice(folder / "stage_2_train" / f"{CORRUPT}.dcm", head(rng, False), UNSIGNED, PixelData=bytes(1500))
    write_slice(folder / "stage_2_test" / "ID_000000e27.dcm", head(rng, False), UNSIGNED)
    listed = [*rng.permutation(sorted(labels)).tolist(), min(labels)]
    write_labels(folder / "stage_2_train.csv", [(name, labels[name]) for name in listed])
    twice = f"stage_2_train/{min(labels)}.dcm"
    return Made(expected, {twice: "listed a second time", f"stage_2_train/{CORRUPT}.dcm": "its pixels are cut short"})


def head(rng: np.random.Generator, bleeds: bool) -> NDArray[np.int64]:
    """Hounsfield units: air, a skull, a brain of 20 to 45, in it blood of 60 to 75."""
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2
    radius = np.hypot(rows, columns)
    units = np.full((_SIDE, _SIDE), -1000)
    units[radius < 28] = 1200
    brain = radius < 25
    units[brain] = rng.integers(20, 46, int(brain.sum()))
    if bleeds:
        blood = np.hypot(rows - rng.integers(-12, 12), columns - rng.integers(-12, 12)) < 6
        units[blood] = rng.integers(60, 76, int(blood.sum()))
    return units


def write_slice(file: Path, units: NDArray[np.int64], encoding: tuple[int, int, int], **tags: object) -> None:
    """Write Hounsfield units in one of the encodings; signed files are padded outside the field of view.

    In the wrapped encoding a value is stored without its intercept, modulo 4096.
    """
    representation, bits, intercept = encoding
    stored = (units - intercept) % 4096 if encoding == WRAPPED else units - intercept
    if representation:
        rows, columns = np.indices(units.shape) - np.array(units.shape)[:, None, None] / 2
        stored = np.where(np.hypot(rows, columns) > max(units.shape) / 2, PADDING, stored)
    usual: Mapping[str, object] = {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "BitsStored": bits,
        "RescaleSlope": "1",
        "RescaleIntercept": str(intercept),
        "WindowCenter": "40",
        "WindowWidth": "100",
        "PixelSpacing": ["0.488281", "0.488281"],
    }
    write_dicom(file, stored.astype(np.int16 if representation else np.uint16), **{**usual, **tags})


def write_labels(file: Path, labels: list[tuple[str, list[int]]]) -> None:
    """Write stage_2_train.csv: six lines for every slice."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["ID", "Label"])
        for name, row in labels:
            writer.writerows((f"{name}_{kind}", label) for kind, label in zip(KINDS, row, strict=True))


def _kinds(rng: np.random.Generator) -> list[int]:
    """At least one kind, and so any."""
    kinds = rng.integers(0, 2, 5)
    kinds[rng.integers(5)] = 1
    return [*kinds.tolist(), 1]
