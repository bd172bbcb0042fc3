"""CIFAR-10: five training batches and a test batch, pickled by Python 2."""

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures import UnreadableError
from datamodules.preparation.archives import read_member
from datamodules.preparation.downloads import Remote, fetch
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Piece, Recipe
from metrics import InputError

_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_ARCHIVE = "cifar-10-python.tar.gz"
_SHAPE = (3, 32, 32)
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_LARGEST = 1 << 26  # bytes of a batch; the official ones have 31 million


@dataclass(frozen=True, kw_only=True)
class CIFAR10Recipe(Recipe[str]):
    """CIFAR-10: 60,000 photographs in ten classes, 32×32, colour, pixels as they are.

    A row holds ``label``, ``group`` (the image itself), ``split`` (train or test) and ``source``, e.g.
    ``data_batch_1#12``. Pickles can run programs: these are read by a reader that makes nothing but arrays of bytes.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    name = "cifar10"
    title = "CIFAR-10 (photographs of ten kinds)"
    access = (
        f"{_ARCHIVE} from www.cs.toronto.edu/~kriz/cifar.html, as it is or extracted "
        "(cifar-10-batches-py/data_batch_1 … data_batch_5, test_batch). No registration."
    )
    downloads = True

    def pieces(self, raw: Raw) -> list[Piece[str]]:
        """The batches, training first; the facts are their names."""
        place = raw.root(_BATCHES[0])
        if place is not None:
            for batch in _BATCHES:
                if not (raw.folder / place / batch).is_file():
                    raise InputError(f"{raw.folder / place} holds no {batch}: expected {', '.join(_BATCHES)}")
                raw.identify(f"{place}/{batch}".lstrip("/"))
            return [Piece(batch, (f"{place}/{batch}".lstrip("/"),), batch) for batch in _BATCHES]
        place = raw.root(_ARCHIVE)
        if place is not None:
            return [Piece(batch, (f"{place}/{_ARCHIVE}".lstrip("/"),), batch) for batch in _BATCHES]
        return []

    def decode(self, folder: Path, piece: Piece[str]) -> Iterator[Found]:
        """The images of a batch as they are stored: rows of red, then green, then blue."""
        file, batch = folder / piece.files[0], piece.facts
        content = read_member(file, batch, at_most=_LARGEST) if file.name == _ARCHIVE else _read(file)
        images, labels = _unpickled(batch, content)
        split = "test" if batch == "test_batch" else "train"
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            source = f"{batch}#{i}"
            yield image, {"label": label, "group": source, "split": split, "source": source}

    def label_names(self) -> dict[str, dict[int, str]]:
        """What the ten classes show."""
        return {"label": dict(enumerate(_CLASSES))}

    def download(self, folder: Path) -> None:
        """Fetch the archive."""
        from torchvision.datasets import CIFAR10

        fetch([Remote(_ARCHIVE, [CIFAR10.url], CIFAR10.tgz_md5)], folder, self.access)


def _read(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > _LARGEST:
            raise UnreadableError(f"has {size} bytes: expected at most {_LARGEST}")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def _unpickled(batch: str, content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    """Images ``(n, 3, 32, 32)`` and labels."""
    try:
        found = _BytesOnly(io.BytesIO(content), encoding="latin1").load()
    except UnreadableError:
        raise
    except Exception as error:  # a damaged pickle makes Python raise anything
        raise UnreadableError(f"{batch} is no whole pickle: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not {"data", "labels"} <= found.keys():
        raise UnreadableError(f"{batch} holds no dictionary with data and labels")
    data, labels = found["data"], found["labels"]
    size = np.prod(_SHAPE)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != size:
        shown = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UnreadableError(f"data in {batch} is {shown}: expected uint8 (n, {size})")
    if not isinstance(labels, list) or len(labels) != len(data):
        shown = f"{len(labels)} labels" if isinstance(labels, list) else type(labels).__name__
        raise UnreadableError(f"{batch} holds {shown} for {len(data)} images")
    for i, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < len(_CLASSES):
            raise InputError(f"{batch} has the label {label!r} at {i}: expected 0 … {len(_CLASSES) - 1}")
    return data.reshape(-1, *_SHAPE), labels


def _byte_type(code: str, *_: object) -> np.dtype[np.uint8]:
    """Stands for ``numpy.dtype``: a new type of bytes, whose byte order the pickle then sets."""
    if code != "u1":
        raise UnreadableError(f"holds an array of {code}: expected u1")
    return np.dtype("u1", copy=True)


# What a pickle of arrays of bytes calls by name, in the releases of Python and NumPy that may have written it.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _byte_type,
    ("_codecs", "encode"): str.encode,
}


class _BytesOnly(pickle.Unpickler):
    """Makes Python's own simple types and arrays of bytes, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """What a name in the pickle stands for."""
        if (module, name) not in _ALLOWED:
            raise UnreadableError(f"asks for {module}.{name}, which no batch of CIFAR-10 needs: it is not safe to read")
        return _ALLOWED[module, name]
