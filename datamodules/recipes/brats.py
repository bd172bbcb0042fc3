"""BraTS 2018: FLAIR slices of brains with a glioma, from NIfTI volumes."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.levels import by_maximum, percentile_window, to_levels
from datamodules.pictures import UnreadableError
from datamodules.preparation.brains import shows_brain
from datamodules.preparation.optional import need
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece, Skip
from datamodules.tables import Cell
from metrics import InputError, require_at_least

_KINDS = ("flair", "t2", "seg")
_FILE = re.compile(rf"((?:.*/)?([^/]+))/\2_({'|'.join(_KINDS)})\.nii(?:\.gz)?", re.IGNORECASE)
_GRADES = ("HGG", "LGG")
_TISSUES = (1, 2, 4)  # of a segmentation: necrosis, oedema, enhancing tumour
_MARGIN = 5  # slices
_RUN = 10  # slices
_MOST_VOXELS = 1 << 28


@dataclass(frozen=True, kw_only=True)
class BraTSRecipe(PictureRecipe[str]):
    """BraTS 2018, training part: axial FLAIR slices that show enough of the brain.

    A row holds ``label``: 1 for a slice with tumour, 0 for one more than 5 slices from any, else blank;
    ``reference``: the same by the rule of arXiv 2401.08865, whose slice k is used if slices k to k + 9 are alike, and
    the last 10 of the volume always; ``slice`` (from 0); ``distance`` (slices to the nearest with tumour, 0 in it; the
    number of slices where there is none); ``grade`` (HGG, LGG, or blank); ``group``, the subject; ``split``, blank; and
    ``source``, e.g. ``HGG/Brats18_2013_10_1#12``.

    Grey levels span the 0.1 to the 99.9 percentile of the volume; under the reference protocol each slice is then
    scaled by its own maximum. Slice k is ``volume[:, :, k]`` transposed, as SimpleITK reads it: with the orientation of
    BraTS front is up and the patient's right on the left. All volumes have voxels of 1 mm.

    Args:
        min_area: Least area of the brain in a slice, in pixels, by T2 (see ``preparation/brains.py``).

    Source: B. H. Menze et al., The Multimodal Brain Tumor Image Segmentation Benchmark (BRATS), IEEE TMI 2015.
    """

    name = "brats"
    title = "BraTS 2018 (brain MR: gliomas)"
    access = (
        "Register at the CBICA Image Processing Portal (ipp.cbica.upenn.edu) for BraTS 2018 and extract "
        "MICCAI_BraTS_2018_Data_Training.zip: HGG/Brats18_*/ and LGG/Brats18_*/ with *_flair, *_t2 and *_seg .nii.gz. "
        "Free for research, with the organisers' papers cited; not to be passed on."
    )

    min_area: int = 7000

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        require_at_least(1, min_area=self.min_area)

    def pieces(self, raw: Raw) -> list[Piece[str]]:
        """One piece per subject that has all three volumes, by grade and name; the fact is its grade.

        Files belong together by the name of the subject, which its folder and each of its files bear.

        Raises:
            InputError: A subject lies in two places.
        """
        subjects: dict[str, tuple[str, dict[str, str]]] = {}
        for file in raw.files:
            match = _FILE.fullmatch(file)
            if match is None:
                continue
            place, subject, kind = match.groups()
            known, files = subjects.setdefault(subject, (place, {}))
            if known != place:
                raise InputError(f"{raw.folder} holds {subject} twice ({known}, {place}): keep one of them")
            files.setdefault(kind.lower(), file)
        pieces = []
        for subject, (place, files) in subjects.items():
            grade = _grade(f"{raw.folder.resolve().name}/{place}")
            source = f"{grade}/{subject}".lstrip("/")
            missing = [kind for kind in _KINDS if kind not in files]
            if missing:
                raw.skip(source, f"has no {', '.join(missing)}")
            else:
                pieces.append(Piece(source, tuple(files[kind] for kind in _KINDS), grade))
        return sorted(pieces, key=lambda piece: piece.source)

    def decode(self, folder: Path, piece: Piece[str]) -> Iterator[Found]:
        """The slices of a subject that show enough of its brain.

        Raises:
            UnreadableError: A volume is damaged, their shapes differ, or a segmentation holds an unknown value.
        """
        flair_file, t2_file, seg_file = (folder / file for file in piece.files)
        t2 = _slices(t2_file)
        shape = t2.shape
        kept = np.flatnonzero(shows_brain(t2, self.min_area))
        del t2  # one volume at a time
        if not len(kept):
            yield Skip(piece.source, f"no slice shows a brain of {self.min_area} pixels")
            return
        tumour = _has_tumour(seg_file, shape)
        distance, reference = _distance(tumour), _reference(tumour)
        flair = _slices(flair_file, shape)
        window = percentile_window(flair)
        for k in kept.tolist():
            levels = to_levels(flair[k], window)
            if self.protocol == "reference":
                levels = by_maximum(levels)
            near = 0 < distance[k] <= _MARGIN
            yield (
                self.square(levels[None]),
                {
                    "label": "" if near else int(distance[k] == 0),
                    "reference": reference[k],
                    "slice": k,
                    "distance": distance[k],
                    "grade": piece.facts,
                    "group": piece.source.rpartition("/")[2],
                    "split": "",
                    "source": f"{piece.source}#{k}",
                },
            )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the two labels mean."""
        names = {0: "no tumour in the slice", 1: "tumour in the slice"}
        return {"label": names, "reference": names}


def _grade(place: str) -> str:
    above = place.rpartition("/")[0].rpartition("/")[2].upper()
    return above if above in _GRADES else ""


def _slices(file: Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """The axial slices of a volume, ``(S, H, W)``; of a given shape."""
    nibabel = need("nibabel")
    try:
        volume = nibabel.load(file, mmap=False)
        if math.prod(volume.shape) > _MOST_VOXELS:
            raise ValueError(f"it says that it holds {math.prod(volume.shape)} voxels")
        values: NDArray[Any] = np.asanyarray(volume.dataobj)
    except Exception as error:  # a damaged file makes nibabel and zlib raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"{file.name} is no whole NIfTI volume: {reason}") from error
    if values.ndim != 3:
        raise UnreadableError(f"{file.name} has the shape {values.shape}: expected a volume (x, y, z)")
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise UnreadableError(f"{file.name} holds values that are no numbers ({values.dtype})")
    if shape is not None and values.T.shape != shape:
        raise UnreadableError(f"{file.name} has the shape {values.shape}, T2 {shape[::-1]}: they must agree")
    return values.T


def _has_tumour(file: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which slices of a segmentation hold tumour, ``(S,)``."""
    tissue = _slices(file, shape)
    tumour = tissue != 0
    unknown = np.setdiff1d(tissue[tumour], _TISSUES)
    if len(unknown):
        shown = ", ".join(str(value) for value in _TISSUES)
        raise UnreadableError(f"{file.name} holds the value {unknown[0]}: a segmentation holds 0, {shown}")
    return np.array([slice_.any() for slice_ in tumour])


def _distance(tumour: NDArray[np.bool_]) -> list[int]:
    """Slices to the nearest one with tumour; where there is none, all of them."""
    where, slices = np.flatnonzero(tumour), np.arange(len(tumour))
    if not len(where):
        return [len(tumour)] * len(tumour)
    nearest: list[int] = np.abs(slices[:, None] - where).min(axis=1).tolist()
    return nearest


def _reference(tumour: NDArray[np.bool_]) -> list[Cell]:
    """Labels by the reference's rule; blank where the slices from one to the ninth after it are mixed."""
    has = tumour.tolist()
    mixed = [k < len(has) - _RUN and len(set(has[k : k + _RUN])) > 1 for k in range(len(has))]
    return ["" if mixed[k] else int(has[k]) for k in range(len(has))]
