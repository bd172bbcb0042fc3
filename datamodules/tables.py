"""The image table: what every data set becomes, whatever its raw form."""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from metrics import InputError

IMAGES = "images.npy"
MANIFEST = "manifest.csv"
FACTS = ("group", "split", "source", "slice", "distance")
"""Columns that hold no labels, even if they hold whole numbers."""
SPLITS = {"train", "valid", "test", ""}
"""Official splits."""
UNUSED = -1
"""The label of an image that is not used."""

_MAX_DIGITS = 9  # of a label
Cell = str | int
Row = Mapping[str, Cell]
Line = str | list[str]
Sample = tuple[NDArray[np.uint8], Row]
"""An image ``(C, H, W)`` and its row of the manifest."""


@dataclass(frozen=True)
class ImageTable:
    """Images of one size and a row of facts about each, on disk.

    ``images.npy`` holds uint8 ``(N, C, H, W)`` and is memory-mapped. ``manifest.csv`` has one row per image: a
    column per labelling (an integer, or −1 or blank where the image is not used under it), ``group`` (patient,
    volume or lesion; unique where there is none), ``source`` (where in the raw data it came from) and perhaps ``split``
    (the official one: train, valid, test or blank).

    Attributes:
        folder: Where the two files lie.
        images: ``(N, C, H, W)`` uint8, read-only.
        columns: Every column of the manifest, ``(N,)`` strings.
    """

    folder: Path
    images: NDArray[np.uint8]
    columns: Mapping[str, NDArray[np.str_]]

    @classmethod
    def open(cls, folder: str | Path) -> "ImageTable":
        """Map a table that was written by :func:`write_table`.

        Raises:
            InputError: No table there, or its two files contradict each other.
        """
        folder = Path(folder)
        if not exists(folder):
            raise InputError(f"no image table at {folder}: expected {IMAGES} and {MANIFEST} there")
        try:
            images = open_images(folder)
            with (folder / MANIFEST).open(newline="", encoding="utf-8-sig") as file:  # spreadsheets add a mark
                names, rows = _lines(file.read())
        except (OSError, ValueError, EOFError, csv.Error) as error:
            raise InputError(f"the image table at {folder} cannot be read: {error}") from error
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(f"{folder / IMAGES} holds {images.dtype} {images.shape}: expected uint8 (N, C, H, W)")
        if 0 in images.shape[1:]:
            raise InputError(f"{folder / IMAGES} holds empty images of shape {images.shape[1:]}: write the table anew")
        if len(rows) != len(images) or not len(rows):
            raise InputError(f"{folder} has {len(images)} images but {len(rows)} manifest rows: write the table anew")
        if "group" not in names:
            raise InputError(f"{folder / MANIFEST} has no column 'group': it decides which images may be split")
        return cls(folder, images, _Columns(names, rows))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    @cached_property
    def labellings(self) -> list[str]:
        """Names of the columns that hold labels: integers or blanks, and at least one integer."""
        return [
            name
            for name, cells in self.columns.items()
            if name not in FACTS and any(cells) and all(not c or _is_integer(c) for c in cells)
        ]

    def column(self, name: str) -> NDArray[np.str_]:
        """The cells of a column, ``(N,)``.

        Raises:
            InputError: There is no such column; names those that there are.
        """
        if name not in self.columns:
            raise InputError(f"{self.folder} has no column {name!r}: its columns are {', '.join(self.columns)}")
        return self.columns[name]

    def integers(self, name: str) -> NDArray[np.int64]:
        """A column that holds a whole number for every image, ``(N,)``.

        Raises:
            InputError: There is no such column, or a cell holds something else.
        """
        cells = self.column(name)
        odd = [str(cell) for cell in np.unique(cells) if not _is_integer(cell)]
        if odd:
            raise InputError(f"the column {name!r} of {self.folder} holds {odd[0]!r}: expected whole numbers")
        return cells.astype(np.int64)

    def labels(self, labelling: str) -> NDArray[np.int64]:
        """Labels of all images under one labelling, ``(N,)``; −1 where the cell is −1 or blank.

        Raises:
            InputError: Unknown labelling, with those that there are, or a label below −1.
        """
        if labelling not in self._labels:  # many plans are made for one table
            self._labels[labelling] = self._read_labels(labelling)
        return self._labels[labelling].copy()

    @cached_property
    def _labels(self) -> dict[str, NDArray[np.int64]]:
        return {}

    def _read_labels(self, labelling: str) -> NDArray[np.int64]:
        cells, inverse = np.unique(self.columns.get(labelling, np.array([""])), return_inverse=True)
        odd = [str(cell) for cell in cells if cell and not _is_integer(cell)]
        if labelling in FACTS or odd or not cells.any():
            choices = ", ".join(self.labellings) or "(no column holds whole numbers)"
            why = f"; {labelling!r} holds {odd[0]!r}, and labels are whole numbers 0, 1, 2, …" if odd else ""
            raise InputError(f"{self.folder} has no labelling {labelling!r}: choose from {choices}{why}")
        labels = np.array([int(cell) if cell else UNUSED for cell in cells], dtype=np.int64)[inverse]
        negative = int((labels < UNUSED).sum())
        if negative:
            raise InputError(
                f"{negative} labels of {labelling!r} in {self.folder} are below −1: "
                "labels are 0, 1, 2, …; −1 or a blank cell stands for an image that is not used"
            )
        return labels

    @cached_property
    def splits(self) -> NDArray[np.str_] | None:
        """The official split of each image, ``(N,)``: train, valid, test or blank; None where there are none.

        Raises:
            InputError: Another name.
        """
        splits = self.columns.get("split")
        if splits is None or not splits.any():
            return None
        unknown = sorted(set(splits.tolist()) - SPLITS)
        if unknown:
            raise InputError(
                f"the column 'split' of {self.folder / MANIFEST} holds {unknown[0]!r}, not train, valid, test or blank"
            )
        return splits

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """A number for the group of each image, ``(N,)``."""
        return np.unique(self.columns["group"], return_inverse=True)[1].astype(np.int64)


class _Columns(Mapping[str, NDArray[np.str_]]):
    """Columns that become arrays when they are asked for: of dozens a run needs three."""

    def __init__(self, names: Sequence[str], lines: Sequence[Line]) -> None:
        self._positions = {name: i for i, name in enumerate(names)}
        self._lines = lines
        self._arrays: dict[str, NDArray[np.str_]] = {}

    def __getitem__(self, name: str) -> NDArray[np.str_]:
        if name not in self._arrays:
            i = self._positions[name]
            rows = (line.split(",") if isinstance(line, str) else line for line in self._lines)
            self._arrays[name] = np.array([row[i] if i < len(row) else "" for row in rows], dtype=np.str_)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


def _lines(text: str) -> tuple[list[str], Sequence[Line]]:
    """The names of the columns, and the lines below: unparsed where that needs no more than to cut at commas."""
    text = text.replace("\r\n", "\n")
    lines: Sequence[Line]
    if '"' in text or "\r" in text:
        lines = [line for line in csv.reader(io.StringIO(text)) if line]
    else:
        lines = [line for line in text.split("\n") if line]
    if not lines:
        return [], []
    first = lines[0]
    return (first.split(",") if isinstance(first, str) else first), lines[1:]


def exists(folder: str | Path) -> bool:
    """Whether a whole table lies in a folder."""
    return (Path(folder) / IMAGES).is_file() and (Path(folder) / MANIFEST).is_file()


def write_table(folder: str | Path, samples: Iterable[tuple[NDArray[np.uint8], Row]]) -> ImageTable:
    """Write an image table, streaming, all or nothing.

    The table is written beside its place and renamed, so it is never seen half-written; if another process
    finishes the same table first, that one stays.

    Args:
        folder: The table's folder; created, must not hold a table yet.
        samples: Pairs of an image ``(C, H, W)`` uint8, all of one shape, and its manifest row, all
            with the same columns, among them ``group``.

    Returns:
        The table, opened.

    Raises:
        InputError: No samples, images of different shapes or of another type, rows with different
            columns, or a folder that cannot be written.

    Example:
        >>> pixels = np.zeros((1, 8, 8), dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     table = write_table(place + "/tiny", [(pixels, {"label": 0, "group": "a"})])
        ...     table.images.shape, table.labels("label").tolist()
        ((1, 1, 8, 8), [0])
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"cannot write an image table at {folder}: {error.strerror}") from error
    try:
        _write_files(beside, samples)
        beside.chmod(0o755)
        try:
            os.rename(beside, folder)
        except OSError:
            if not exists(folder):
                raise InputError(f"{folder} exists and is no image table: move it away first") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return ImageTable.open(folder)


def _write_files(folder: Path, samples: Iterable[tuple[NDArray[np.uint8], Row]]) -> None:
    shape: tuple[int, ...] | None = None
    names: list[str] = []
    count = 0
    with (
        (folder / IMAGES).open("wb") as images,
        (folder / MANIFEST).open("w", newline="", encoding="utf-8") as manifest,
    ):
        writer = csv.writer(manifest)
        for image, row in samples:
            if shape is None:
                if image.dtype != np.uint8 or image.ndim != 3:
                    raise InputError(f"images are {image.dtype} {image.shape}: expected uint8 (C, H, W)")
                if "group" not in row:
                    raise InputError(f"rows have the columns {', '.join(row)}: 'group' is missing")
                shape, names = image.shape, list(row)
                write_header(images, 0, shape)
                writer.writerow(names)
            if image.shape != shape or image.dtype != np.uint8:
                raise InputError(f"image {count} is {image.dtype} {image.shape}, the first was uint8 {shape}")
            if list(row) != names:
                raise InputError(f"row {count} has the columns {', '.join(row)}, the first had {', '.join(names)}")
            images.write(np.ascontiguousarray(image).tobytes())
            writer.writerow(row.values())
            count += 1
        if shape is None:
            raise InputError("no images: an image table needs at least one")
        images.seek(0)
        write_header(images, count, shape)


def open_images(folder: Path) -> NDArray[np.uint8]:
    """Map the images of a table: ``(N, C, H, W)``, read-only."""
    images: NDArray[np.uint8] = np.lib.format.open_memmap(folder / IMAGES, mode="r")
    return images


def write_header(file: BinaryIO, count: int, shape: tuple[int, ...]) -> None:
    """Write the header of ``images.npy``; it has the same length for any number of images."""
    # NumPy pads this header so that the first axis can grow in place.
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _is_integer(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal() and len(cell) <= _MAX_DIGITS
