"""Anybody's own pictures, in one folder per class."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datamodules.base import TableDataModule
from datamodules.preparation.geometry import Fit
from datamodules.preparation.prepare import prepare
from datamodules.recipes.imagefolder import ImageFolderRecipe
from datamodules.tables import exists
from metrics import InputError


@dataclass(eq=False, repr=False)
class ImageFolder(TableDataModule):
    r"""Pictures in ``folder/<class>/**``, or ``folder/<split>/<class>/**`` with the splits train, val and test.

    Its image table is made on first use, and made anew, beside the old one, where ``group_pattern``, ``fit``,
    ``image_size``, ``channels`` or ``protocol`` change. One that was made with ``lightning prepare imagefolder`` is
    used by giving ``table`` instead of ``folder``.

    Other options are those of :class:`TableDataModule`.

    Args:
        folder: The folder that holds the classes or the splits.
        group_pattern: A regular expression that finds the patient, volume or lesion in the path of a picture, relative
            to the folder, e.g. ``patient\d+``: its first group, or else all that it matches. Default: every picture is
            a group of its own, which is wrong where one patient has several.
        fit: How pictures that are not square become so: pad (black borders; the default), crop (the middle) or stretch.
        channels: 1 (grey) or 3 (colour); keep makes the table in colour.

    Raises:
        InputError: Neither a folder nor a table, or pictures in the folder that have changed since the table was made.
    """

    recipe = "imagefolder"

    folder: str | None = None
    group_pattern: str | None = None
    fit: Fit | None = None

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.folder is None and (self.group_pattern is not None or self.fit is not None):
            raise InputError("group_pattern and fit decide how a folder is read: give the folder")
        if self.folder is None and self.table is None:
            raise InputError("no folder: give the folder that holds a folder per class, or a prepared table")
        if self.folder is not None and self.table is None:
            place = Path(self.folder).resolve()
            options = hashlib.blake2b(f"{place}\0{self._recipe()}".encode(errors="surrogateescape"), digest_size=4)
            self.table = f"data/imagefolder/{place.name}-{options.hexdigest()}"
        super().__post_init__()
        self.name = f"ImageFolder {Path(self.folder or self.table_folder).resolve().name}"

    def has_table(self) -> bool:
        """Whether the table is there; where it is missing, the folder that it is made from is there.

        Raises:
            InputError: It is not.
        """
        if self.folder is None:
            return super().has_table()
        if not Path(self.folder).is_dir():
            raise InputError(f"folder={self.folder} is no folder: give the folder that holds a folder per class")
        return exists(self.table_folder)

    def prepare_data(self) -> None:
        """Makes the table where it is missing; where it is not, checks that the pictures are still the same.

        Raises:
            InputError: They are not, or one cannot be read.
        """
        self.has_table()
        if self.folder is not None:
            prepare(self._recipe(), Path(self.folder), self.table_folder, wait=True)

    def _recipe(self) -> ImageFolderRecipe:
        return ImageFolderRecipe(
            protocol=self.protocol,
            image_size=self.image_size,
            fit=self.fit,
            group_pattern=self.group_pattern,
            channels=1 if self.channels == 1 else 3,
        )
