"""Somebody's own folder of class folders."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.raw.made import Made

ROOT = "scans"
GROUPS = r"(case\d+)_"
"""The pattern that finds the groups."""

_CASES = 16
_ENDINGS = (".png", ".JPG", ".tiff", ".bmp")


def make_imagefolder(root: Path, seed: int = 0, *, splits: bool = False) -> Made:
    """Write two or three pictures of each of 16 cases, ill and well.

    They are of several formats, in grey and in colour, of 8 and of 16 bits; some lie in folders inside those of the
    classes. What is expected is without groups: every picture is one.

    Args:
        root: Receives the folder.
        seed: Seed of the pixels.
        splits: Whether the class folders lie in folders train, Val and test.
    """
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    for case in range(_CASES):
        folder, split = (("train", "train"), ("Val", "valid"), ("test", "test"))[max(0, case - 10) // 2]
        name = ("well", "ill")[case % 2]
        for i in range(2 + case % 3 // 2):
            ending = _ENDINGS[(case + i) % len(_ENDINGS)]
            inside = f"visit{i}/" if case % 5 == 0 else ""
            source = f"{f'{folder}/' if splits else ''}{name}/{inside}case{case:02d}_{i}{ending}"
            expected[source] = {
                "label": str(("ill", "well").index(name)),
                "class": name,
                "group": source,
                "split": split if splits else "",
            }
    for number, source in enumerate(rng.permutation(list(expected)).tolist()):
        write_picture(root / ROOT / source, rng, colour=number % 3 == 0)
    (root / ROOT / "notes.txt").write_text("no picture", encoding="utf-8")
    return Made(expected)


def write_picture(file: Path, rng: np.random.Generator, *, colour: bool = False) -> None:
    """A picture, 20 pixels high and 26 wide, in colour or grey; a grey PNG or TIFF has 16 bits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (20, 26, 3) if colour else (20, 26)
    deep = not colour and file.suffix.lower() in (".png", ".tiff")
    pixels = rng.integers(0, 65536, shape, dtype=np.uint16) if deep else rng.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(file)
