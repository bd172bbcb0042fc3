"""BraTS 2018 as it is downloaded, in small."""

from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from tests.raw.made import Made

TRAINING = "MICCAI_BraTS_2018_Data_Training"
VALIDATION = "MICCAI_BraTS_2018_Data_Validation"
SIDE = 120  # pixels
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # as in BraTS
_FIRST_BRAIN, _LAST_BRAIN = 2, 23  # slices; outside them pictures are black


@dataclass(frozen=True)
class Subject:
    """One folder of the download.

    Attributes:
        name: Of the folder, with its grade.
        tumour: Slices with tumour.
        depth: Number of slices.
        lacks: A volume that was not downloaded.
        small: Slices with too little brain.
        split: Slices with enough brain, in two pieces.
        ending: Of the files.
    """

    name: str
    tumour: tuple[int, ...]
    depth: int = 26
    lacks: str = ""
    small: tuple[int, ...] = ()
    split: tuple[int, ...] = ()
    ending: str = ".nii.gz"
    kept: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        brain = set(range(_FIRST_BRAIN, self.depth - 2))
        object.__setattr__(self, "kept", frozenset(brain - set(self.small) - set(self.split)))


# Not sorted: neither in this list nor on disk.
SUBJECTS = (
    Subject("LGG/Brats18_TCIA09_141_1", (10, 11), lacks="flair"),
    Subject("HGG/Brats18_CBICA_AAB_1", tuple(range(10, 28)), depth=40),
    Subject("HGG/Brats18_2013_10_1", tuple(range(14, 20)), split=(5,)),
    Subject("HGG/Brats18_2013_1_1", (8, 9, 10), small=(2, 20)),  # its name begins another's
    Subject("LGG/Brats18_2013_0_1", (12,), ending=".nii"),
    Subject("LGG/Brats18_TCIA10_103_1", ()),  # no tumour at all
    Subject("LGG/Brats18_TCIA12_249_1", (4, 5, 21, 22, 23, 24, 25)),  # two, one of which reaches the last slice
    *(Subject(f"HGG/Brats18_TCIA02_{i}_1", tuple(range(7 + i % 4, 13))) for i in (322, 171, 608, 135, 206, 118)),
)


def make_brats(root: Path, seed: int = 0) -> Made:
    """Write the training part and a subject of the validation part, which has no segmentations."""
    rng = np.random.default_rng(seed)
    expected: dict[str, dict[str, str]] = {}
    skipped = {"Brats18_CBICA_AAM_1": "seg"}
    for subject in SUBJECTS:
        _write(root / TRAINING / subject.name, subject, rng)
        if subject.lacks:
            skipped[subject.name] = subject.lacks
        else:
            expected |= {f"{subject.name}#{k}": _row(subject, k) for k in sorted(subject.kept)}
    _write(root / VALIDATION / "Brats18_CBICA_AAM_1", Subject("Brats18_CBICA_AAM_1", (9,), lacks="seg"), rng)
    (root / TRAINING / "survival_data.csv").write_text("Brats18ID,Age,Survival\nBrats18_2013_10_1,60,300\n")
    (root / TRAINING / "HGG" / "._Brats18_2013_10_1").write_bytes(b"left by a Mac")
    return Made(expected, skipped)


def write_volume(file: Path, values: NDArray[np.int16]) -> None:
    """Write slices ``(S, H, W)`` as the volume ``(x, y, z)`` that NIfTI has."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values.T, AFFINE).to_filename(file)  # type: ignore[no-untyped-call]  # nibabel types it not


def _write(folder: Path, subject: Subject, rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    radius = np.hypot(rows, columns)
    brain = np.zeros((subject.depth, SIDE, SIDE), dtype=bool)
    brain[_FIRST_BRAIN : subject.depth - 2] = radius < 52  # 8,500 pixels, 7,850 when eroded
    brain[list(subject.small)] = radius < 40
    brain[list(subject.split)] = (radius < 58) & (np.abs(columns) > 4)  # 9,600 in halves
    lesion = np.zeros_like(brain)
    lesion[list(subject.tumour)] = np.hypot(rows + 15, columns - 10) < 12
    noise = rng.integers(0, 200, brain.shape)
    volumes = {
        "flair": brain * (300 + noise + 400 * lesion),
        "t1": brain * 100,
        "t2": brain * (500 + 100 * lesion),
        "seg": lesion * np.where(columns < 10, 4, np.where(rows < -15, 2, 1)),
    }
    for kind in ("t2", "flair", "seg", "t1"):
        if kind != subject.lacks:
            write_volume(folder / f"{folder.name}_{kind}{subject.ending}", volumes[kind].astype(np.int16))


def _row(subject: Subject, k: int) -> dict[str, str]:
    grade, _, name = subject.name.rpartition("/")
    distance = min((abs(k - tumour) for tumour in subject.tumour), default=subject.depth)
    has = k in subject.tumour
    run = {slice_ in subject.tumour for slice_ in range(k, k + 10)}
    filtered = k <= subject.depth - 11 and len(run) == 2
    return {
        "label": "1" if has else "0" if distance >= 6 else "",
        "reference": "" if filtered else str(int(has)),
        "slice": str(k),
        "distance": str(distance),
        "grade": grade,
        "group": name,
        "split": "",
    }
