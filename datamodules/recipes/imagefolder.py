"""Anybody's own pictures, in one folder per class."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece
from metrics import InputError

_SPLITS = {"train": "train", "val": "valid", "test": "test"}  # ours: as tables name them


@dataclass(frozen=True)
class Picture:
    """What the path of a picture says.

    Attributes:
        label: Number of its class.
        class_name: Its class.
        group: What may not be split.
        split: train, valid, test or blank.
    """

    label: int
    class_name: str
    group: str
    split: str


@dataclass(frozen=True, kw_only=True)
class ImageFolderRecipe(PictureRecipe[Picture]):
    r"""Pictures in ``<class>/**/*.png``, or in ``<split>/<class>/**/*.png`` with the splits train, val and test.

    A row holds ``label`` (0, 1, 2, … in the order of the classes: by value if all are whole numbers, else by name),
    ``class`` (its name), ``group``, ``split`` (train, valid, test; blank without splits) and ``source`` (the path).

    Pictures of 16 bits keep their full range, 0 … 65535; those of 32 bits cannot be read, since they have none.

    Args:
        group_pattern: A regular expression that finds the patient, volume or lesion in the path of a picture, relative
            to the folder, e.g. ``patient\d+`` or ``/(\w+)_slice``: its first group, or else all that it matches.
            Default: every picture is a group of its own, which is wrong where one patient has several.
        channels: 1 (grey) or 3 (colour).
    """

    name = "imagefolder"
    title = "pictures in one folder per class"
    access = "Put the pictures of each class into a folder of its own, with no other folders beside these."

    group_pattern: str | None = None
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        try:
            re.compile(self.group_pattern or "")
        except re.error as error:
            raise InputError(f"group_pattern={self.group_pattern!r} is no regular expression: {error}") from None

    def pieces(self, raw: Raw) -> list[Piece[Picture]]:
        """Every picture in a class folder, by the same rule as ``lightning measure``.

        Raises:
            InputError: Fewer than two classes with pictures, or a path in which ``group_pattern`` finds nothing.
        """
        # Here, since it brings torch along, which the processes that decode can do without.
        from datamodules.class_folders import list_class_folders
        from datamodules.collection import numbered

        found = list_class_folders(raw.folder)
        for note in found.notes:
            raw.note(note)
        labels = numbered(found.names, None)[0].tolist()
        splits = found.splits or [""] * len(labels)
        pieces = []
        for source, label, class_name, split in zip(found.sources, labels, found.names, splits, strict=True):
            _check_text(raw.folder / source)
            picture = Picture(label, class_name, self._group(source), _SPLITS.get(split, ""))
            pieces.append(Piece(source, (source,), picture))
        return pieces

    def decode(self, folder: Path, piece: Piece[Picture]) -> Iterator[Found]:
        """The picture."""
        picture = piece.facts
        yield (
            self.picture(folder / piece.source, self.channels),
            {
                "label": picture.label,
                "class": picture.class_name,
                "group": picture.group,
                "split": picture.split,
                "source": piece.source,
            },
        )

    def _group(self, source: str) -> str:
        if self.group_pattern is None:
            return source
        match = re.search(self.group_pattern, source)
        group = match and match[1 if match.re.groups else 0]
        if not group:
            raise InputError(f"group_pattern={self.group_pattern!r} finds no group in the path {source}")
        return group


def _check_text(file: Path) -> None:
    """Refuse a name that the manifest cannot hold."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(file)!r} is no name in UTF-8: rename it") from None
