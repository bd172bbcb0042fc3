"""MNIST and Fashion-MNIST: idx files, as they are or compressed with gzip."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.preparation.archives import naming, read_range
from datamodules.preparation.downloads import Remote, fetch
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Piece, Recipe
from metrics import InputError

_SPLITS = {"train": "train", "t10k": "test"}
_SIDE = 28  # pixels
_IMAGES, _LABELS = 0x0803, 0x0801  # first number of an idx file: unsigned bytes, and how many axes
_HEADERS = {_IMAGES: ">4I", _LABELS: ">2I"}
_AT_ONCE = 1000  # images
_MOST = 1 << 20  # images in a file: more than any has, and less than fills the memory
_SETS = ("mnist", "fashionmnist", "kmnist", "qmnist", "emnist")  # their files have the same names


@dataclass(frozen=True)
class Block:
    """Some images of a file that follow one another.

    Attributes:
        part: train or t10k.
        first: Number of the first.
        labels: One byte per image.
    """

    part: str
    first: int
    labels: bytes


@dataclass(frozen=True, kw_only=True)
class MNISTRecipe(Recipe[Block]):
    """MNIST: 70,000 handwritten digits, 28×28, grey, pixels as they are.

    A row holds ``label`` (the digit), ``group`` (the image itself: the writers are not recorded), ``split`` (train or
    test) and ``source``, e.g. ``train-images-idx3-ubyte#12``.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges.
    """

    name = "mnist"
    title = "MNIST (handwritten digits)"
    access = (
        "Four files, train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte, as they are or as .gz; torchvision.datasets.MNIST fetches the same ones. "
        "No registration."
    )
    downloads = True

    origin: ClassVar[str] = "MNIST"
    """The class in torchvision.datasets that knows where the files can be had, and the folder that it keeps them in."""
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def pieces(self, raw: Raw) -> list[Piece[Block]]:
        """A thousand images each, training images first."""
        place = self._place(raw)
        return [] if place is None else [piece for part in _SPLITS for piece in self._part(raw, place, part)]

    def decode(self, folder: Path, piece: Piece[Block]) -> Iterator[Found]:
        """The images as they are stored."""
        block, size = piece.facts, _SIDE * _SIDE
        start = struct.calcsize(_HEADERS[_IMAGES]) + block.first * size
        content = read_range(folder / piece.files[0], start, len(block.labels) * size)
        images = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1, _SIDE, _SIDE)
        for number, (image, label) in enumerate(zip(images, block.labels, strict=True), start=block.first):
            source = f"{block.part}-images-idx3-ubyte#{number}"
            yield image, {"label": label, "group": source, "split": _SPLITS[block.part], "source": source}

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the ten classes show."""
        return {"label": dict(enumerate(self.class_names))}

    def download(self, folder: Path) -> None:
        """Fetch the four files, as .gz."""
        from torchvision import datasets

        known = getattr(datasets, self.origin)
        remotes = [Remote(name, [f"{mirror}{name}" for mirror in known.mirrors], md5) for name, md5 in known.resources]
        fetch(remotes, folder, self.access)

    def _place(self, raw: Raw) -> str | None:
        """The folder of the four files; other data sets have files of the same names."""
        found = {file.rpartition("/")[0]: None for file in raw.files if _is(file, "train-images-idx3-ubyte")}
        ours = [place for place in found if _set_of(raw.folder.name, place) in (None, self.origin.lower())]
        if len(ours) > 1:
            raise InputError(
                f"{raw.folder} holds {len(ours)} sets of idx files ({ours[0] or '.'}, {ours[1]}"
                f"{', …' if len(ours) > 2 else ''}): give the folder of one of them with --raw"
            )
        return ours[0] if ours else None

    def _part(self, raw: Raw, place: str, part: str) -> Iterator[Piece[Block]]:
        images = _file(raw, place, f"{part}-images-idx3-ubyte")
        labels = _file(raw, place, f"{part}-labels-idx1-ubyte")
        count, *shape = _header(raw.folder / images, _IMAGES)
        (label_count,) = _header(raw.folder / labels, _LABELS)
        if shape != [_SIDE, _SIDE]:
            raise InputError(f"{raw.folder / images} holds images of {shape[0]}×{shape[1]}: expected {_SIDE}×{_SIDE}")
        if count > _MOST:
            raise InputError(f"{raw.folder / images} says that it holds {count} images: expected at most {_MOST}")
        if label_count != count:
            raise InputError(f"{raw.folder / labels} has {label_count} labels for the {count} images of {images}")
        raw.identify(labels)
        with naming(raw.folder / labels):
            values = read_range(raw.folder / labels, struct.calcsize(_HEADERS[_LABELS]), count)
        for i, value in enumerate(values):
            if value >= len(self.class_names):
                raise InputError(f"{raw.folder / labels} has the label {value} at {i}: expected 0 … 9")
        for first in range(0, count, _AT_ONCE):
            block = Block(part, first, values[first : first + _AT_ONCE])
            yield Piece(f"{images}#{first}…{first + len(block.labels) - 1}", (images, labels), block)


@dataclass(frozen=True, kw_only=True)
class FashionMNISTRecipe(MNISTRecipe):
    """Fashion-MNIST: 70,000 photographs of clothes in ten classes, 28×28, grey; the files are those of MNIST.

    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747.
    """

    name = "fashionmnist"
    title = "Fashion-MNIST (clothes)"
    access = (
        "Four files, train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte, as they are or as .gz, from github.com/zalandoresearch/fashion-mnist; Debian's "
        "package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist. MIT licence, no registration."
    )
    origin = "FashionMNIST"
    class_names = (
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    )


def _is(file: str, name: str) -> bool:
    return file.rpartition("/")[2] in (name, f"{name}.gz")


def _set_of(*place: str) -> str | None:
    """The data set that the innermost folder is named after."""
    parts = "/".join(place).lower().replace("-", "").replace("_", "").split("/")
    return next((part for part in reversed(parts) if part in _SETS), None)


def _file(raw: Raw, place: str, name: str) -> str:
    """A file as it is, else as .gz."""
    for file in (f"{place}/{name}".lstrip("/"), f"{place}/{name}.gz".lstrip("/")):
        if (raw.folder / file).is_file():
            return file
    raise InputError(f"{raw.folder / place} holds no {name} or {name}.gz: all four idx files belong there")


def _header(file: Path, magic: int) -> list[int]:
    """The sizes of the axes."""
    layout = _HEADERS[magic]
    with naming(file):
        first, *sizes = struct.unpack(layout, read_range(file, 0, struct.calcsize(layout)))
    if first != magic:
        what = "images" if magic == _IMAGES else "labels"
        raise InputError(f"{file} is no idx file of {what}: it begins with {first:#010x}, not {magic:#010x}")
    return sizes
