"""SVHN: house numbers as MATLAB files."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.preparation.downloads import Remote, fetch
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Piece, Recipe
from datamodules.tables import write_header
from metrics import InputError

_SPLITS = {"train": "train", "test": "test", "extra": ""}
_SHAPE = (32, 32, 3)
_TEN = 10  # the label of the digit 0
_NUMBERS = ("int", "uint", "single", "double")  # how the names of MATLAB's types of numbers begin
_AT_ONCE = 1000  # images
_MOST = 1 << 20  # images in a file: more than any has, and less than fills the memory


@dataclass(frozen=True)
class Block:
    """Some images of a file that follow one another.

    Attributes:
        part: train, test or extra.
        pixels: Where all images of the file lie unpacked, ``(n, 3, 32, 32)``.
        first: Number of the first.
        labels: One byte per image.
    """

    part: str
    pixels: Path
    first: int
    labels: bytes


@dataclass(frozen=True, kw_only=True)
class SVHNRecipe(Recipe[Block]):
    """Street View House Numbers, cropped digits: 99,289 images, 32×32, colour, pixels as they are.

    A row holds ``label`` (the digit; the files have 10 for 0), ``group`` (the image itself: which digits come from one
    house is not recorded), ``split`` (train or test; blank for the extra images) and ``source``, e.g.
    ``train_32x32#12``.

    Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011.

    Args:
        extra: Add the 531,131 easier images of extra_32x32.mat, after the others. They belong to neither official
            split, so that they can be told apart, and are trained on. Unpacking them takes 2 GB of memory.
    """

    name = "svhn"
    title = "SVHN (Street View House Numbers, cropped digits)"
    access = (
        "train_32x32.mat and test_32x32.mat (and extra_32x32.mat for --extra) from "
        "ufldl.stanford.edu/housenumbers. For non-commercial use, no registration."
    )
    downloads = True

    extra: bool = False

    @property
    def _parts(self) -> list[str]:
        return ["train", "test", *(["extra"] if self.extra else [])]

    def pieces(self, raw: Raw) -> list[Piece[Block]]:
        """A thousand images each: training, test, extra. A file can only be read whole, so it is unpacked once."""
        place = raw.root("train_32x32.mat")
        if place is None:
            return []
        for part in self._parts:
            if not (raw.folder / place / f"{part}_32x32.mat").is_file():
                raise InputError(f"{raw.folder / place} holds no {part}_32x32.mat: it belongs beside train_32x32.mat")
        return [piece for part in self._parts for piece in _pieces(raw, f"{place}/{part}_32x32.mat".lstrip("/"), part)]

    def decode(self, folder: Path, piece: Piece[Block]) -> Iterator[Found]:
        """The images as they are stored."""
        block = piece.facts
        images = np.load(block.pixels, mmap_mode="r")[block.first : block.first + len(block.labels)]
        for number, (image, label) in enumerate(zip(images, block.labels, strict=True), start=block.first):
            source = f"{block.part}_32x32#{number}"
            yield image, {"label": label, "group": source, "split": _SPLITS[block.part], "source": source}

    def label_names(self) -> dict[str, dict[int, str]]:
        """The digits."""
        return {"label": {digit: str(digit) for digit in range(10)}}

    def download(self, folder: Path) -> None:
        """Fetch the files that are used."""
        from torchvision.datasets import SVHN

        known = [SVHN.split_list[part] for part in self._parts]
        fetch([Remote(name, [url], md5) for url, name, md5 in known], folder, self.access)


def _pieces(raw: Raw, file: str, part: str) -> Iterator[Piece[Block]]:
    where = raw.folder / file
    count = _count(where)
    values = _read(where, "y").ravel()
    if len(values) != count:
        raise InputError(f"{where} has {len(values)} labels for {count} images")
    for i, value in enumerate(values.tolist()):
        if value not in range(1, _TEN + 1):
            raise InputError(f"{where} has the label {value} at {i}: expected 1 … {_TEN}")
    labels = (values.astype(np.uint8) % _TEN).tobytes()
    status = where.stat()
    unpacked = raw.scratch / f"{part}-{status.st_size}-{status.st_mtime_ns}.npy"
    if not unpacked.is_file():
        _unpack(where, unpacked)
    for first in range(0, count, _AT_ONCE):
        block = Block(part, unpacked, first, labels[first : first + _AT_ONCE])
        yield Piece(f"{file}#{first}…{first + len(block.labels) - 1}", (file,), block)


def _count(file: Path) -> int:
    """How many images a file holds, if it is one of this data set; reads no more than what it says of itself."""
    from scipy.io import whosmat

    with _named(file):
        held = {name: (shape, kind) for name, shape, kind in whosmat(str(file))}
    for name in ("X", "y"):
        if name not in held:
            raise InputError(
                f"{file} holds no {name}, but {', '.join(held) or 'nothing'}: it is cut off, or another file"
            )
    shape, kind = held["X"]
    if kind != "uint8" or len(shape) != 4 or shape[:3] != _SHAPE:
        raise InputError(f"X in {file} is {kind} {shape}: expected uint8 {(*_SHAPE, 'n')}")
    if shape[3] > _MOST:
        raise InputError(f"{file} says that it holds {shape[3]} images: expected at most {_MOST}")
    if not held["y"][1].startswith(_NUMBERS):
        raise InputError(f"y in {file} is {held['y'][1]}: expected numbers")
    if math.prod(held["y"][0]) != shape[3]:
        raise InputError(f"{file} has {math.prod(held['y'][0])} labels for {shape[3]} images")
    return int(shape[3])


def _read(file: Path, name: str) -> NDArray[Any]:
    from scipy.io import loadmat

    with _named(file):
        array: NDArray[Any] = loadmat(str(file), variable_names=[name])[name]
        return array


def _unpack(file: Path, unpacked: Path) -> None:
    """Write the images ``(n, 3, 32, 32)`` to where any of them can be read."""
    images = _read(file, "X").transpose(3, 2, 0, 1)
    half = unpacked.with_suffix(".part")
    with half.open("wb") as copy:  # no memory map: a full disk would end the process
        write_header(copy, len(images), images.shape[1:])
        for first in range(0, len(images), _AT_ONCE):
            copy.write(np.ascontiguousarray(images[first : first + _AT_ONCE]).tobytes())
    os.replace(half, unpacked)


@contextmanager
def _named(file: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged file makes SciPy raise anything
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error
