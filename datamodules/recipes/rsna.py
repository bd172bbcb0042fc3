"""RSNA Intracranial Hemorrhage: slices of head CT in Hounsfield units, windowed."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.levels import Window
from datamodules.preparation.dicom import (
    NO_SPACING,
    ShortPixelsError,
    Stored,
    Values,
    grey_levels,
    number,
    pixel_spacing,
    read_dicom,
    rescaled,
    stored_values,
)
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, PictureRecipe, Piece, Skip
from metrics import InputError, require_at_least

if TYPE_CHECKING:
    from pydicom import Dataset

LABELLINGS = ("any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
"""Any hemorrhage, and its five kinds."""

WINDOWS: dict[str, Window] = {"brain": (0, 80), "subdural": (-20, 180), "bone": (-800, 2000)}
"""In Hounsfield units: level 40 and width 80, level 80 and width 200, level 600 and width 2800."""

_IMAGES, _CSV = "stage_2_train", "stage_2_train.csv"
_BITS = {name: bit for bit, name in enumerate(LABELLINGS)}
_COMPLETE = 2 ** len(LABELLINGS) - 1
# The repair that is widely used for this data set: stored values of 12 bits that wrapped round.
_WRAPS_AT, _SHIFT, _LEAST_INTERCEPT = 4096, 1000, -100


@dataclass(frozen=True, kw_only=True)
class RSNARecipe(PictureRecipe[tuple[int, ...]]):
    """RSNA Intracranial Hemorrhage Detection (2019): a seeded choice of its 752,803 labelled slices of head CT.

    A row holds six labellings, 1 for a hemorrhage of that kind in the slice: ``any``, ``epidural``,
    ``intraparenchymal``, ``intraventricular``, ``subarachnoid``, ``subdural``. Then ``group``, the patient (PatientID,
    which only the image knows; the slice itself where it is blank), ``split``, blank, and ``source``, e.g.
    ``stage_2_train/ID_000012eaf.dcm``. The slices of stage_2_test have no labels and are not read.

    Stored values become Hounsfield units, the window is cut out and scaled. Files that say that their values are
    unsigned and need no intercept (≥ −100) hold values that wrapped round at 4096: these are mended and counted.
    Under the reference protocol stored values are scaled by their own maximum; negative ones become black.

    Args:
        window: brain (level 40, width 80), subdural (80, 200), bone (600, 2800), or stack: three channels with these.
        per_class: Slices with a hemorrhage, and as many without; fewer where there are fewer. A smaller choice is part
            of a larger one.
        seed: Seed of the choice.

    Source: A. E. Flanders et al., Radiology: Artificial Intelligence 2(3), 2020.
    """

    name = "rsna"
    title = "RSNA Intracranial Hemorrhage Detection (head CT)"
    access = (
        "Join the competition rsna-intracranial-hemorrhage-detection at Kaggle, which needs an account and consent to "
        "its rules (research only), and download stage_2_train.csv and the folder stage_2_train."
    )
    variants = ("window", "protocol")

    window: Literal["brain", "subdural", "bone", "stack"] = "brain"
    per_class: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        require_at_least(1, per_class=self.per_class)
        require_at_least(0, seed=self.seed)
        if self.protocol == "reference" and self.window != "brain":
            raise InputError(
                f"window={self.window} has no effect with protocol=reference, which has none: leave it out"
            )

    def pieces(self, raw: Raw) -> list[Piece[tuple[int, ...]]]:
        """One piece per slice that was chosen, by its id; the facts are its six labels.

        Raises:
            InputError: No folder stage_2_train; an unknown label or finding, a slice with contradicting labels or
                without some; names file and line.
        """
        root = raw.root(_IMAGES)
        if root is None:
            raise InputError(f"{raw.folder} holds no folder {_IMAGES}. {self.access}")
        labels = read_labels(raw, raw.require(_CSV, "the labels"))
        chosen = [
            *self._drawn([name for name, bits in labels.items() if bits & 1]),
            *self._drawn([name for name, bits in labels.items() if not bits & 1]),
        ]
        return [
            Piece(
                f"{_IMAGES}/{name}.dcm",
                (f"{root}/{_IMAGES}/{name}.dcm".lstrip("/"),),
                tuple(labels[name] >> bit & 1 for bit in _BITS.values()),
            )
            for name in sorted(chosen)
        ]

    def decode(self, folder: Path, piece: Piece[tuple[int, ...]]) -> Iterator[Found]:
        """The slice; one whose pixels are cut short (as those of ID_6431af929) is skipped."""
        data = read_dicom(folder / piece.files[0])
        try:
            values = stored_values(data)
        except ShortPixelsError as error:
            yield Skip(piece.source, str(error))
            return
        spacing = pixel_spacing(data)
        if spacing is None:
            yield Note(NO_SPACING)
        if self.protocol == "standard" and _has_wrapped(data):
            yield Note("unsigned values without an intercept: mended where they had wrapped round")
        yield (
            self.square(self._levels(data, values), spacing),
            {
                **dict(zip(LABELLINGS, piece.facts, strict=True)),
                "group": str(data.get("PatientID") or "").strip() or Path(piece.source).stem,
                "split": "",
                "source": piece.source,
            },
        )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the labels mean."""
        return {name: {0: f"no {_called(name)} hemorrhage", 1: f"{_called(name)} hemorrhage"} for name in LABELLINGS}

    def _drawn(self, names: list[str]) -> list[str]:
        """As many as wanted, in an order that the seed and the names decide."""

        def place(name: str) -> bytes:
            return hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=16).digest()

        return sorted(names, key=place)[: self.per_class]

    def _levels(self, data: "Dataset", values: Stored) -> NDArray[np.uint8]:
        if self.protocol == "reference":
            return grey_levels(data, values, None)[None]
        windows = WINDOWS.values() if self.window == "stack" else [WINDOWS[self.window]]
        return np.stack([grey_levels(data, values, window, units=hounsfield) for window in windows])


def read_labels(raw: Raw, file: str) -> dict[str, int]:
    """The labels in stage_2_train.csv, six lines per slice, by the slice's id: bit i is the i-th of ``LABELLINGS``.

    Some slices are listed twice, which is counted.

    Raises:
        InputError: A missing column, an unknown finding or label, contradicting lines, a slice that lacks some.
    """
    read: dict[str, int] = {}  # in twelve bits: the labels, and above them which of them are known
    for line, (name, cell) in raw.rows(file, ["ID", "Label"]):
        slice_, _, finding = name.rpartition("_")
        bit = _BITS.get(finding)
        if bit is None or not slice_:
            raise InputError(
                f"{raw.folder / file}, line {line}: ID is {name!r}, expected a slice and one of {', '.join(LABELLINGS)}"
            )
        if cell not in ("0", "1"):
            raise InputError(f"{raw.folder / file}, line {line}: Label is {cell!r}, expected 0 or 1")
        known = read.get(slice_, 0)
        stated = (1 << bit + len(LABELLINGS)) | (cell == "1") << bit
        if known >> bit + len(LABELLINGS) & 1:
            if (known ^ stated) >> bit & 1:
                raise InputError(f"{raw.folder / file}, line {line}: {name} has had another label: keep the right line")
            if bit == 0:
                raw.skip(f"{_IMAGES}/{slice_}.dcm", "listed a second time")
        read[slice_] = known | stated
    for slice_, bits in read.items():
        if bits >> len(LABELLINGS) != _COMPLETE:
            lacking = [name for name, bit in _BITS.items() if not bits >> bit + len(LABELLINGS) & 1]
            raise InputError(f"{raw.folder / file} has no line for {slice_}_{lacking[0]}: download it again")
    return {slice_: bits & _COMPLETE for slice_, bits in read.items()}


def hounsfield(data: "Dataset", values: NDArray[np.integer[Any]]) -> Values:
    """Stored values in Hounsfield units: ``slope · v + intercept``, with the known repair of this data set.

    Where values are unsigned and the intercept is at least −100: add 1000, take 4096 from what then reaches 4096, and
    the intercept is −1000.
    """
    if not _has_wrapped(data):
        return rescaled(data, values)
    shifted = values.astype(np.float64) + _SHIFT
    shifted[shifted >= _WRAPS_AT] -= _WRAPS_AT
    return (number(data, "RescaleSlope") or 1) * shifted - _SHIFT


def _has_wrapped(data: "Dataset") -> bool:
    unsigned = data.get("PixelRepresentation", 0) == 0
    return unsigned and (number(data, "RescaleIntercept") or 0) >= _LEAST_INTERCEPT


def _called(finding: str) -> str:
    return "intracranial" if finding == "any" else finding
