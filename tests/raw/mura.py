"""MURA as it is downloaded, in small."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.raw.made import Made

ROOT = "MURA-v1.1"
REGIONS = ("XR_SHOULDER", "XR_ELBOW")  # as in the official lists, which begin with shoulders
_PATIENTS = {"train": range(1, 15), "valid": range(11185, 11189)}


def make_mura(root: Path, seed: int = 0) -> Made:
    """Write studies of 14 patients to train on and 4 to validate with, in two regions.

    Every fourth patient has studies of both regions, every third one study of each label.

    Args:
        root: Receives the folder of the download.
        seed: Seed of the pixels.
    """
    rng = np.random.default_rng(seed)
    top = root / ROOT
    expected: dict[str, dict[str, str]] = {}
    for split, numbers in _PATIENTS.items():
        studies: dict[str, int] = {}
        for region in REGIONS:
            for number in numbers:
                if number % 4 and (number % 2 == 0) != (region == "XR_ELBOW"):
                    continue
                labels = (0, 1) if number % 3 == 0 else ((number // 2) % 2,)
                for i, label in enumerate(labels, start=1):
                    study = f"{split}/{region}/patient{number:05d}/study{i}_{('negative', 'positive')[label]}"
                    studies[study] = label
                    for image in range(1, 2 + number % 2):
                        expected[f"{study}/image{image}.png"] = {
                            "label": str(label),
                            "region": region,
                            "group": f"patient{number:05d}",
                            "split": split,
                        }
        paths = [source for source in expected if source.startswith(split)]
        write_lines(top / f"{split}_image_paths.csv", [f"{ROOT}/{path}" for path in paths])
        write_lines(top / f"{split}_labeled_studies.csv", [f"{ROOT}/{study}/,{studies[study]}" for study in studies])
    for i, source in enumerate(rng.permutation(list(expected)).tolist()):
        write_image(top / source, rng, colour=i % 5 == 0)
    first = top / next(iter(expected))
    (first.parent / f"._{first.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")  # as macOS leaves beside files
    write_image(first.parent / "image99.png", rng)  # in no list
    return Made(expected)


def write_image(file: Path, rng: np.random.Generator, *, colour: bool = False) -> None:
    """A PNG, 30 pixels high and 20 wide, in grey, or in colour with equal channels but for a coloured stripe."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 200, (30, 20), dtype=np.uint8)
    if colour:
        pixels = np.stack([pixels] * 3, axis=-1)
        pixels[:5] = (200, 100, 50)
    Image.fromarray(pixels).save(file)


def write_lines(file: Path, lines: list[str]) -> None:
    """A text file without a header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
