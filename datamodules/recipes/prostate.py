"""Prostate-MRI-US-Biopsy: frames of prostate ultrasound, or slices of MR, and the highest score of a target."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.levels import Window
from datamodules.pictures import UnreadableError
from datamodules.preparation.dicom import (
    NO_SPACING,
    Stored,
    grey_levels,
    grey_values,
    pixel_spacing,
    stated_window,
    stored_values,
)
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, PictureRecipe, Piece, Skip
from datamodules.preparation.tcia import NOT_ON_DISK, by_number, by_position, find_series, read_series, series_window
from datamodules.tables import Cell
from metrics import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

_TARGETS = "Target Data*.xlsx"
_SCORE = "UCLA Score (Similar to PIRADS v2)"
_SERIES = {"us": "seriesInstanceUID_US", "mr": "seriesInstanceUID_MR"}
_NO_SCORE = ("", "nan", "na", "n/a", "none")
_HIGHEST = 5
_DEFAULT_FROM, _HARD_FROM = 2, 3  # least score that is positive
_LEVELS: Window = (0, 255)


@dataclass(frozen=True)
class Gland:
    """A series of a prostate.

    Attributes:
        patient: e.g. Prostate-MRI-US-Biopsy-0001.
        score: Highest UCLA score of the targets in it, 0 to 5.
    """

    patient: str
    score: int


@dataclass(frozen=True, kw_only=True)
class ProstateRecipe(PictureRecipe[Gland]):
    """Prostate-MRI-US-Biopsy: the middle half of each series of transrectal ultrasound, or of T2 MR, in grey.

    A row holds ``default``: 1 for a UCLA score of 2 to 5, 0 for 0 or 1; ``hard``: 1 for 3 to 5, 0 for 2, else blank;
    ``score``, 0 to 5; ``slice``, the frame of the ultrasound or the slice of the MR by position, from 0; ``group``, the
    patient; ``split``, blank; and ``source``: patient, SeriesInstanceUID and slice. A series is taken once, with the
    highest score of its targets, and of its n slices those from n // 4 to 3 · n // 4 − 1.

    Ultrasound of 8 bits stays as it is (colour becomes ITU-R 601 luma), of more is scaled by the range it states. Grey
    levels of MR span the 0.1 to the 99.9 percentile of the series. MONOCHROME1 is inverted after that. Under the
    reference protocol each slice is scaled by its own maximum.

    Args:
        modality: us (ultrasound, on which arXiv 2401.08865 reports under the name of MRI) or mr.

    Source: S. Natarajan et al., The Cancer Imaging Archive, 10.7937/TCIA.2020.A61IOC1A.
    """

    name = "prostate"
    title = "Prostate-MRI-US-Biopsy"
    access = (
        "Get Prostate-MRI-US-Biopsy, all or a part of it, from The Cancer Imaging Archive (cancerimagingarchive.net) "
        "with the NBIA Data Retriever, and from the same page Target Data_2019-12-05.xlsx. No registration; CC BY 4.0."
    )
    variants = ("modality", "protocol")

    modality: Literal["us", "mr"] = "us"

    def pieces(self, raw: Raw) -> list[Piece[Gland]]:
        """One piece per series of the modality that has a score and is on disk, by patient and identifier.

        Raises:
            InputError: The spreadsheet is missing, or contradicts itself; names file and row.
        """
        targets = raw.require(_TARGETS, "the targets, from the collection's page at TCIA")
        glands = read_targets(raw, targets, self.modality)
        series = find_series(raw)
        pieces = []
        for uid, gland in sorted(glands.items(), key=lambda item: (item[1].patient, item[0])):
            source = f"{gland.patient}/{uid}"
            if uid in series:
                pieces.append(Piece(source, series[uid].files, gland))
            else:
                raw.skip(source, NOT_ON_DISK)
        return pieces

    def decode(self, folder: Path, piece: Piece[Gland]) -> Iterator[Found]:
        """The middle half of the series."""
        slices = self._slices(folder, piece)
        middle = range(len(slices) // 4, 3 * len(slices) // 4)
        if not middle:
            yield Skip(piece.source, "has a single slice")
        window = series_window(slices) if self.modality == "mr" else None
        for i in middle:
            data, values = slices[i]
            spacing = pixel_spacing(data)
            if spacing is None:
                yield Note(NO_SPACING)
            yield (
                self.square(self._levels(data, values, window)[None], spacing),
                {
                    **_labels(piece.facts.score),
                    "slice": i,
                    "group": piece.facts.patient,
                    "split": "",
                    "source": f"{piece.source}#{i}",
                },
            )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the labels mean."""
        return {
            "default": {0: "UCLA score 0 or 1", 1: "UCLA score 2 to 5"},
            "hard": {0: "UCLA score 2", 1: "UCLA score 3 to 5"},
            "score": {score: f"UCLA score {score}" for score in range(_HIGHEST + 1)},
        }

    def _slices(self, folder: Path, piece: Piece[Gland]) -> list[tuple["Dataset", Stored]]:
        if self.modality == "mr":
            return by_position(read_series(folder, piece.files, decode=_one_slice))
        files = by_number(read_series(folder, piece.files, decode=_frames))
        return [(data, frame) for data, frames in files for frame in frames]

    def _levels(self, data: "Dataset", values: Stored, window: Window | None) -> NDArray[np.uint8]:
        if self.protocol == "reference":
            return grey_levels(data, values, None)
        if window is None and values.dtype == np.uint8:
            return grey_levels(data, values, _LEVELS, units=_as_stored)
        return grey_levels(data, values, window or stated_window(data))


def read_targets(raw: Raw, file: str, modality: Literal["us", "mr"]) -> dict[str, Gland]:
    """The series of a modality, by SeriesInstanceUID, each with the highest score of its targets.

    Targets without a series, and series without any score, are skipped there.

    Raises:
        InputError: A missing column, a score that is no number from 0 to 5, a series of two patients.
    """
    scores: dict[str, list[int]] = {}
    patients: dict[str, str] = {}
    for row, (patient, uid, cell) in raw.sheet(file, ["Patient ID", _SERIES[modality], _SCORE]):
        where = f"{raw.folder / file}, row {row}"
        if not patient:
            raise InputError(f"{where}: Patient ID is blank")
        if uid.casefold() in _NO_SCORE:
            raw.skip(f"{patient} in row {row}", f"no {_SERIES[modality]}")
            continue
        if patients.setdefault(uid, patient) != patient:
            raise InputError(f"{where}: series {uid} is of {patient}, and of {patients[uid]} in an earlier row")
        known = scores.setdefault(uid, [])
        if cell.casefold() not in _NO_SCORE:
            known.append(_score(cell, where))
    for uid in sorted(scores):
        if not scores[uid]:
            raw.skip(f"{patients[uid]}/{uid}", "no target has a score")
    return {uid: Gland(patients[uid], max(known)) for uid, known in scores.items() if known}


def _score(cell: str, where: str) -> int:
    try:
        score = float(cell)
    except ValueError:
        score = -1
    if score not in range(_HIGHEST + 1):
        raise InputError(f"{where}: {_SCORE} is {cell!r}, expected 0 to {_HIGHEST} or blank")
    return int(score)


def _labels(score: int) -> dict[str, Cell]:
    return {
        "default": int(score >= _DEFAULT_FROM),
        "hard": int(score >= _HARD_FROM) if score >= _DEFAULT_FROM else "",
        "score": score,
    }


def _one_slice(data: "Dataset") -> Stored:
    values = stored_values(data)
    if values.ndim != 2:
        raise UnreadableError(f"holds {len(values)} frames: expected one slice per file")
    return values


def _frames(data: "Dataset") -> Stored:
    values = grey_values(data)
    return values if values.ndim == 3 else values[None]


def _as_stored(_: "Dataset", values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)
