"""SVHN as it is downloaded, in small."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.raw.made import Made

_COUNTS = {"test": 40, "extra": 30, "train": 120}
_SPLITS = {"test": "test", "extra": "", "train": "train"}


def make_svhn(root: Path, seed: int = 0, *, extra: bool = False) -> Made:
    """Write three files; the extra one is expected only if it is asked for. The digit 0 has the label 10."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    expected: dict[str, dict[str, str]] = {}
    for part, count in _COUNTS.items():
        labels = rng.permutation(np.arange(count) % 10 + 1).astype(np.uint8)
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": images, "y": labels[:, None]}, do_compression=True)
        if part == "extra" and not extra:
            continue
        for i, label in enumerate(labels.tolist()):
            source = f"{part}_32x32#{i}"
            expected[source] = {"label": str(0 if label == 10 else label), "group": source, "split": _SPLITS[part]}
    return Made(expected)
