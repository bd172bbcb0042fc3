"""MNIST and Fashion-MNIST as they are downloaded, in small."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.raw.made import Made

_PER_CLASS = {"t10k": 4, "train": 12}
_SPLITS = {"t10k": "test", "train": "train"}


def make_mnist(root: Path, seed: int = 0, *, origin: str = "MNIST", compressed: bool = False) -> Made:
    """Write the four files of MNIST or FashionMNIST where torchvision keeps them, extracted or not."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    for part, per_class in _PER_CLASS.items():
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
        images = rng.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        write_part(root / origin / "raw", part, images, labels, compressed=compressed)
        for i, label in enumerate(labels.tolist()):
            source = f"{part}-images-idx3-ubyte#{i}"
            expected[source] = {"label": str(label), "group": source, "split": _SPLITS[part]}
    return Made(expected)


def write_part(
    folder: Path, part: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], *, compressed: bool = False
) -> None:
    """Write images and labels, train or t10k, as idx files."""
    _write(folder / f"{part}-labels-idx1-ubyte", labels, compressed)
    _write(folder / f"{part}-images-idx3-ubyte", images, compressed)


def _write(file: Path, values: NDArray[np.uint8], compressed: bool) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    if compressed:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content))
    else:
        file.write_bytes(content)
