"""What a data set says of itself so that its raw files can become an image table."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.levels import by_maximum
from datamodules.pictures import decode_picture
from datamodules.preparation.geometry import Fit, square_picture, to_square
from datamodules.preparation.raw import Raw
from datamodules.tables import Sample
from metrics import InputError

_MIN_SIDE = 8

Facts = TypeVar("Facts")
Protocol = Literal["standard", "reference"]
"""standard: what is right; reference: the choices of the code that was released with arXiv 2401.08865."""


@dataclass(frozen=True)
class Piece(Generic[Facts]):
    """Raw data that is decoded at once: a file, a series, a volume, or a part of a large file.

    Attributes:
        source: What it is called in messages; unique, and the order of the table.
        files: The files that it is read from, relative to the raw folder, with forward slashes.
        facts: What :meth:`Recipe.decode` needs to know of it; sent to other processes, so keep it small.
    """

    source: str
    files: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True)
class Skip:
    """Something that does not become an image, counted and listed: a file, a slice, a row of a spreadsheet.

    Attributes:
        source: Which.
        reason: Why; the same words for the same reason, since skips are counted by it.
    """

    source: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something that was decided about an image and that a reader of its numbers should know; counted by its text."""

    text: str


Found = Sample | Skip | Note
"""What decoding a piece yields: images with their manifest rows, and what is to be said of others."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC, Generic[Facts]):
    """How the raw files of one data set become an image table.

    A subclass is a frozen dataclass whose fields are the options of ``lightning prepare NAME``. It lists pieces of
    work in the order of the table, and decodes one at a time, in any process. Both depend on the raw files and the
    options only, never on the order of a directory, the time or the machine.
    """

    name: ClassVar[str]
    """As on the command line."""
    title: ClassVar[str]
    """In full, one line."""
    access: ClassVar[str]
    """Where to get it, under which names, which registration and licence apply; whole sentences."""
    downloads: ClassVar[bool] = False
    """Whether :meth:`download` can fetch it."""
    variants: ClassVar[tuple[str, ...]] = ()
    """Fields that make a table of its own, in a folder of its own; the data module has options of the same names."""

    @property
    def folder(self) -> str:
        """Where the table is kept when no folder is given: ``data/`` and the name, then variants that are not usual."""
        return f"data/{'-'.join([self.name, *(str(getattr(self, name)) for name in self.unusual_variants)])}"

    @property
    def unusual_variants(self) -> list[str]:
        """The variants that are not as they are by default."""
        usual = {field.name: field.default for field in fields(self)}
        return [name for name in self.variants if getattr(self, name) != usual[name]]

    @abstractmethod
    def pieces(self, raw: Raw) -> list[Piece[Facts]]:
        """The pieces of work, in the order of the table.

        Raises:
            InputError: The raw folder does not hold what it should; says what was looked for and where.
        """

    @abstractmethod
    def decode(self, folder: Path, piece: Piece[Facts]) -> Iterator[Found]:
        """The images of one piece, all ``(C, H, W)`` uint8 of one shape, with rows that have the same columns.

        A row holds, in this order: the labellings (the default one first; a whole number, or blank where the image is
        not used under it), further facts, ``group``, ``split`` (train, valid, test or blank: the official one) and
        ``source``.

        Args:
            folder: The raw folder.
            piece: One of :meth:`pieces`.

        Raises:
            UnreadableError: The piece cannot be read; it stops the preparation unless unreadable files are skipped.
            InputError: The raw data contradicts itself.
        """

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the labels of each labelling mean, as far as it is known; kept in prepare.json."""
        return {}

    def download(self, folder: Path) -> None:
        """Fetch the raw files, verified by their checksums, into a folder.

        Raises:
            InputError: They cannot be fetched.
        """
        raise NotImplementedError(f"{self.name} cannot be downloaded")


@dataclass(frozen=True, kw_only=True)
class PictureRecipe(Recipe[Facts]):
    """A recipe whose pictures have sizes of their own and are resampled.

    Args:
        protocol: standard, or reference: each image scaled by its own maximum and stretched, as in arXiv 2401.08865.
        image_size: Side in pixels of the images in the table.
        fit: How pictures that are not square become so: pad (black borders), crop (the middle) or stretch; default
            pad, or what is usual for the data set, and stretch under the reference protocol.
    """

    usual_fit: ClassVar[Fit] = "pad"
    variants: ClassVar[tuple[str, ...]] = ("protocol",)

    protocol: Protocol = "standard"
    image_size: int = 224
    fit: Fit | None = None

    def __post_init__(self) -> None:
        """Checks the options; a subclass that checks its own calls this too."""
        if self.image_size < _MIN_SIDE:
            raise InputError(f"image_size={self.image_size} is too small: choose at least {_MIN_SIDE} pixels")

    @property
    def fitting(self) -> Fit:
        """How pictures that are not square become so."""
        return self.fit or ("stretch" if self.protocol == "reference" else self.usual_fit)

    def square(self, image: NDArray[np.uint8], spacing: tuple[float, float] | None = None) -> NDArray[np.uint8]:
        """An image ``(C, H, W)`` as the table holds it; ``spacing`` is the height and width of its pixels."""
        return to_square(image, self.image_size, self.fitting, spacing or (1.0, 1.0))

    def picture(self, file: Path, channels: Literal[1, 3]) -> NDArray[np.uint8]:
        """A picture file as the table holds it: in grey or colour, scaled as the protocol says, and square.

        Raises:
            UnreadableError: It cannot be read.
        """
        picture, mode = decode_picture(file)[0], "RGB" if channels == 3 else "L"
        if picture.mode != mode:
            picture = picture.convert(mode)  # grey: ITU-R 601 luma
        if self.protocol == "reference":
            picture = Image.fromarray(by_maximum(np.asarray(picture)))
        return square_picture(picture, self.image_size, self.fitting)
