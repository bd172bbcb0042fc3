"""CheXpert as it is downloaded, in small."""

import csv
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tests.raw.made import Made

Layout = Literal["small", "large", "batches"]

OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""In the order of the CSV files."""

_CODES = {"1.0": "1", "0.0": "0", "-1.0": "-1", "": ""}
_EFFUSION = ("1.0", "0.0", "", "1.0", "-1.0", "")  # of the studies, one after the other
_EDEMA = ("0.0", "1.0", "-1.0", "", "1.0", "0.0", "")
_PATIENTS = {"train": range(1, 19), "valid": range(64541, 64546)}
_ROOTS = {"small": "CheXpert-v1.0-small", "large": "CheXpert-v1.0", "batches": "chexpertchestxrays-u20210408"}


def make_chexpert(root: Path, seed: int = 0, layout: Layout = "small") -> Made:
    """Write films of 18 patients to train on and 5 to validate with, most with two studies.

    Args:
        root: Receives the folder of the download.
        seed: Seed of the pixels and of the codes of all observations but Pleural Effusion and Edema.
        layout: That of the small version, of the original in one archive, or of the original in batches.
    """
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    lines: dict[str, list[list[str]]] = {"train": [], "valid": []}
    studies = 0
    for split, numbers in _PATIENTS.items():
        for number in numbers:
            patient = f"patient{number:05d}"
            for study in range(1, 2 + (number % 3 > 0)):
                codes = dict(zip(OBSERVATIONS, rng.choice(list(_CODES), len(OBSERVATIONS)).tolist(), strict=True))
                codes["Pleural Effusion"] = _EFFUSION[studies % len(_EFFUSION)]
                codes["Edema"] = _EDEMA[studies % len(_EDEMA)]
                views = ("frontal", "lateral") if studies % 4 == 0 else ("frontal",)
                for i, view in enumerate(views, start=1):
                    source = f"{split}/{patient}/study{study}/view{i}_{view}.jpg"
                    prefix = "CheXpert-v1.0-small" if layout == "small" else "CheXpert-v1.0"
                    position = rng.choice(["AP", "PA"]) if view == "frontal" else ""
                    facts = [str(rng.choice(["Male", "Female", "Unknown"])), "61", view.title(), str(position)]
                    lines[split].append([f"{prefix}/{source}", *facts, *codes.values()])
                    expected[source] = {name: _CODES[code] for name, code in codes.items()}
                    expected[source] |= {"view": view, "group": patient, "split": split}
                studies += 1
    top = root / _ROOTS[layout]
    for source in rng.permutation(list(expected)).tolist():
        write_film(top / _place(source, layout), rng)
    sheets = top / "CheXpert-v1.0 batch 1 (validate & csv)" if layout == "batches" else top
    for split, rows in lines.items():
        order = rng.permutation(len(rows)).tolist()
        write_sheet(sheets / f"{split}.csv", [rows[i] for i in order])
    # Labels of other programs: to be left alone.
    write_sheet(sheets / "train_cheXbert.csv", [[*row[:5], *["0.0"] * len(OBSERVATIONS)] for row in lines["train"]])
    return Made(expected)


def write_film(file: Path, rng: np.random.Generator) -> None:
    """A grey JPEG, 40 pixels high and 48 wide."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 200, (40, 48), dtype=np.uint8)).save(file, quality=90)


def write_sheet(file: Path, rows: list[list[str]]) -> None:
    """A CSV file with the columns of train.csv."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS])
        writer.writerows(rows)


def _place(source: str, layout: Layout) -> str:
    """Where a film lies below the folder of the download."""
    split, patient, rest = source.split("/", 2)
    if layout != "batches":
        return source
    if split == "valid":
        return f"CheXpert-v1.0 batch 1 (validate & csv)/{source}"
    batch = int(patient[-5:]) % 3
    return f"CheXpert-v1.0 batch {batch + 2} (train {batch + 1})/{patient}/{rest}"
