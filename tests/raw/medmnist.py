"""A set of MedMNIST as it is downloaded, in small."""

from pathlib import Path

import numpy as np

from tests.raw.made import Made

_CLASSES = {
    **{"pathmnist": 9, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5, "breastmnist": 2},
    **{"bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11},
}
_COLOUR = ("pathmnist", "dermamnist", "retinamnist", "bloodmnist")
# In the order of the archive; the table has the default one first.
FINDINGS = (
    *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"),
    *("consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
)
_PER_CLASS = {"test": 6, "val": 6, "train": 12}
_SPLITS = {"test": "test", "val": "valid", "train": "train"}


def make_medmnist(root: Path, seed: int = 0, *, flag: str = "pneumoniamnist", size: int = 28) -> Made:
    """Write the archive of one set at one size."""
    rng = np.random.default_rng(seed)
    channels = (3,) if flag in _COLOUR else ()
    arrays = {}
    expected: dict[str, dict[str, str]] = {}
    for part, per_class in _PER_CLASS.items():
        if flag == "chestmnist":
            labels = rng.permuted(np.arange(2 * per_class)[:, None] % 2 * np.ones(14, dtype=np.uint8), axis=0)
        else:
            labels = rng.permutation(np.repeat(np.arange(_CLASSES[flag]), per_class))[:, None]
        arrays[f"{part}_labels"] = labels = labels.astype(np.uint8)
        arrays[f"{part}_images"] = rng.integers(0, 256, (len(labels), size, size, *channels), dtype=np.uint8)
        for i, row in enumerate(labels.tolist()):
            source = f"{part}_images#{i}"
            names = FINDINGS if flag == "chestmnist" else ("label",)
            cells = {name: str(label) for name, label in zip(names, row, strict=True)}
            expected[source] = {**cells, "group": source, "split": _SPLITS[part]}
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"), allow_pickle=False, **arrays)
    return Made(expected)
