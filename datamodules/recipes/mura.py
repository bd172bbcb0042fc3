"""MURA: radiographs of the upper limb, normal or abnormal."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece
from metrics import InputError

_SPLITS = ("train", "valid")
_LABELS = {"negative": 0, "positive": 1}
_STUDY = r"(train|valid)/(XR_[A-Z]+)/(patient\d+)/study\d+_(negative|positive)"
_STUDIES = re.compile(rf"(?:.*/)?{_STUDY}/?")
_IMAGES = re.compile(rf"(?:.*/)?({_STUDY}/[^/]+)")
_MACOS = "._"  # how the files that macOS puts beside others are called; they hold no picture


@dataclass(frozen=True)
class View:
    """What the path of an image says.

    Attributes:
        label: 1 if a radiologist called the study abnormal, else 0.
        region: XR_ELBOW, XR_FINGER, XR_FOREARM, XR_HAND, XR_HUMERUS, XR_SHOULDER or XR_WRIST.
        group: The patient.
        split: train or valid.
    """

    label: int
    region: str
    group: str
    split: str


@dataclass(frozen=True, kw_only=True)
class MURARecipe(PictureRecipe[View]):
    """MURA 1.1: 40,005 radiographs of seven regions of the upper limb, in grey.

    A row holds ``label`` (1 abnormal, 0 normal: what the radiologist said of the whole study, from the name of its
    folder), ``region`` (e.g. XR_SHOULDER), ``group`` (the patient, who may have several studies and regions), ``split``
    (train or valid) and ``source``, e.g. ``train/XR_HAND/patient00018/study1_positive/image1.png``.

    Images are those that train_image_paths.csv and valid_image_paths.csv list, found by their path from the split on.

    Source: P. Rajpurkar et al., arXiv 1712.06957.
    """

    name = "mura"
    title = "MURA 1.1 (radiographs of the upper limb)"
    access = (
        "MURA-v1.1, with train_image_paths.csv and valid_image_paths.csv in it, from the Stanford AIMI Center "
        "(aimi.stanford.edu, shared datasets), after registration and under its research-use agreement."
    )

    def pieces(self, raw: Raw) -> list[Piece[View]]:
        """Every image that the two lists name.

        Raises:
            InputError: A path of another form, or a study whose label in train_labeled_studies.csv or
                valid_labeled_studies.csv is not that of its folder; names file and line. Two copies of the images.
        """
        views: dict[str, View] = {}
        for split in _SPLITS:
            if file := raw.find(f"{split}_image_paths.csv"):
                views |= _views(raw, file, split)
            if file := raw.find(f"{split}_labeled_studies.csv"):
                _check_studies(raw, file)
        if not views:
            return []
        places = raw.index(".png", _source)
        return [Piece(source, (places.get(source, source),), views[source]) for source in sorted(views)]

    def decode(self, folder: Path, piece: Piece[View]) -> Iterator[Found]:
        """The image."""
        view = piece.facts
        yield (
            self.picture(folder / piece.files[0], 1),
            {
                "label": view.label,
                "region": view.region,
                "group": view.group,
                "split": view.split,
                "source": piece.source,
            },
        )

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the labels mean."""
        return {"label": {0: "normal", 1: "abnormal"}}


def _views(raw: Raw, file: str, split: str) -> dict[str, View]:
    views: dict[str, View] = {}
    for number, line in raw.lines(file):
        match = _IMAGES.fullmatch(line)
        if match is None or match[2] != split:
            raise InputError(
                f"{raw.folder / file}, line {number}: expected a path like "
                f"MURA-v1.1/{split}/XR_HAND/patient00018/study1_positive/image1.png, got {line!r}"
            )
        source = match[1]
        raw.listed[source] = f"{raw.folder / file}, line {number}"
        if source.rpartition("/")[2].startswith(_MACOS):
            raw.skip(source, "a file of macOS, no picture")
        elif source in views:
            raw.skip(source, "listed a second time")
        else:
            views[source] = View(_LABELS[match[5]], match[3], match[4], split)
    return views


def _check_studies(raw: Raw, file: str) -> None:
    for number, line in raw.lines(file):
        path, _, label = line.rpartition(",")
        match = _STUDIES.fullmatch(path)
        if match is None or label.strip() != str(_LABELS[match[4]]):
            raise InputError(
                f"{raw.folder / file}, line {number}: expected the path of a study and its label, "
                f"1 for study…_positive and 0 for study…_negative, got {line!r}"
            )


def _source(file: str) -> str | None:
    match = _IMAGES.fullmatch(file)
    return match and match[1]
