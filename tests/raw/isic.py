"""ISIC 2019 as it is downloaded, in small."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.raw.made import Made

DIAGNOSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
"""In the order of the CSV file."""

IMAGES = "ISIC_2019_Training_Input/ISIC_2019_Training_Input"  # the archive unpacks into a folder of its own name
TRUTH = "ISIC_2019_Training_GroundTruth.csv"
METADATA = "ISIC_2019_Training_Metadata.csv"
_CYCLE = ("NV", "MEL", "NV", "BCC", "NV", "AK", "NV", "BKL", "NV", "DF", "NV", "VASC", "NV", "SCC")
_COUNT = 30


def make_isic(root: Path, seed: int = 0) -> Made:
    """Write 30 photographs.

    Two and two follow one another in most lesions, every fifth image has no lesion, the last no metadata, and every
    fourth was made smaller by the organisers, as its id says.

    Args:
        root: Receives the spreadsheets and the folder of images.
        seed: Seed of the pixels.
    """
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    truth, metadata = [], []
    for i in range(_COUNT):
        image = f"ISIC_{i:07d}" + ("_downsampled" if i % 4 == 2 else "")
        lesion = "" if i % 5 == 0 else f"HAM_{(i // 2) * 37 % 1000:07d}"
        diagnosis = _CYCLE[i // 2 % len(_CYCLE)]  # that of the lesion
        truth.append([image, *("1.0" if name == diagnosis else "0.0" for name in DIAGNOSES)])
        if i < _COUNT - 1:
            metadata.append([image, "55.0", "anterior torso", lesion, "female"])
        expected[image] = {name: str(int(name == diagnosis)) for name in DIAGNOSES}
        expected[image] |= {"group": lesion if lesion and i < _COUNT - 1 else image, "split": ""}
    for image in rng.permutation(list(expected)).tolist():
        write_photograph(root / IMAGES / f"{image}.jpg", rng)
    write_photograph(root / "ISIC_2019_Test_Input/ISIC_0034321.jpg", rng)  # has no label
    write_sheet(root / TRUTH, ["image", *DIAGNOSES], [truth[i] for i in rng.permutation(len(truth))])
    columns = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    write_sheet(root / METADATA, columns, [metadata[i] for i in rng.permutation(len(metadata))])
    (root / "ISIC_2019_Training_Input/LICENSE.txt").write_text("CC BY-NC 4.0\n", encoding="utf-8")
    return Made(expected)


def write_photograph(file: Path, rng: np.random.Generator) -> None:
    """A JPEG in colour, 24 pixels high and 32 wide."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 200, (24, 32, 3), dtype=np.uint8)).save(file, quality=90)


def write_sheet(file: Path, columns: list[str], rows: list[list[str]]) -> None:
    """A CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened, lineterminator="\n").writerows([columns, *rows])
