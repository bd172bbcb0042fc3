"""Draws the sample pages of the embedded data sets: python docs/figures/samples.py, from the root of the checkout."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules import BrainSlices, Manifold, MNIST5k, TableDataModule

_PER_CLASS, _SIDE, _GAP = 12, 56, 4


def draw(data: TableDataModule, file: Path) -> None:
    """One row per class of the task, the first training images of each."""
    images = data.train_set
    rows = [images.images[images.labels == label][:_PER_CLASS, 0].numpy() for label in range(data.num_classes)]
    height, width = len(rows) * (_SIDE + _GAP) + _GAP, _PER_CLASS * (_SIDE + _GAP) + _GAP
    page = np.full((height, width), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (_SIDE + _GAP) + _GAP, j * (_SIDE + _GAP) + _GAP
            page[top : top + _SIDE, left : left + _SIDE] = image
    Image.fromarray(page).save(file, optimize=True)


def main() -> None:
    """Draw every page beside this script."""
    place = Path(__file__).parent
    sizes = {"n_train": 200, "n_val": 0, "n_test": 20, "image_size": _SIDE}
    with tempfile.TemporaryDirectory() as temporary:
        digits = [[0], [1], [2], [3], [4], [5], [6], [7], [8], [9]]
        draw(MNIST5k(table=f"{temporary}/mnist5k", classes=digits, **sizes), place / "samples-mnist5k.png")
        draw(BrainSlices(table=f"{temporary}/brain", **sizes), place / "samples-brain-slices.png")
        for d in (2, 12):
            data = Manifold(table=f"{temporary}/manifold{d}", dimension=d, amount=400, **sizes)
            draw(data, place / f"samples-manifold-{d}.png")


if __name__ == "__main__":
    main()
