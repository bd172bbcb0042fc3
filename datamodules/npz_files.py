"""A collection of the images in a NumPy archive."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from datamodules.collection import Collection, in_classes, numbered
from metrics import InputError

_IMAGES = ("images", "x", "X", "data", "arr_0")
_LABELS = ("labels", "y", "Y", "label", "target", "arr_1")
_SPLITS = ("train", "val", "test")
_SPLIT_KEYS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))  # MedMNIST's, Keras'
_CHUNK = 256  # images held as float64 at a time
# RuntimeError: encrypted, or compressed in a way that Python does not know.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Part:
    """Images and the names of their classes, under one pair of keys."""

    split: str
    images: NDArray[np.uint8]
    names: list[str]
    from_floats: bool


def read_npz(
    file: str | Path,
    *,
    images_key: str | None = None,
    labels_key: str | None = None,
    classes: Sequence[str] | None = None,
) -> Collection:
    """Read the images of an ``.npz`` file; nothing in it is executed.

    Images are uint8, or floats in [0, 1] (taken times 255 and rounded), of shape ``(n, H, W)``, ``(n, H, W, C)`` or
    ``(n, C, H, W)`` with C = 1 or 3. Labels are whole numbers or text of shape ``(n,)`` or ``(n, 1)``; images with
    blank text are left out.

    Args:
        file: The archive.
        images_key: Name of the images in it; default the first of images, x, X, data, arr_0 that is there.
        labels_key: Name of the labels; default the first of labels, y, Y, label, target, arr_1. Where neither is there
            and no key is given, ``train_images``, ``train_labels``, ``val_images``, … (MedMNIST) or ``x_train``,
            ``y_train``, … (Keras) are read, and give the splits.
        classes: Labels to keep, in that order; default all, in order.

    Returns:
        Groups are unknown. Sources are e.g. ``digits.npz[12]`` or ``digits.npz[train 12]``.

    Raises:
        InputError: No archive, keys that are not there (with those that are), arrays of another type or shape, several
            labels per image, an unknown class.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     np.savez(place + "/digits.npz", x=np.zeros((2, 8, 8), dtype=np.uint8), y=[[3], [8]])
        ...     digits = read_npz(place + "/digits.npz")
        >>> tuple(digits.images.shape), digits.labels.tolist(), digits.class_names, digits.sources
        ((2, 1, 8, 8), [0, 1], ('3', '8'), ('digits.npz[0]', 'digits.npz[1]'))
    """
    file = Path(file)
    with _opened(file) as archive:
        pairs = _pairs(file, archive.files, images_key, labels_key)
        parts = [_part(file, archive, split, *keys) for split, keys in pairs.items()]
    shapes = [part.images.shape[1:] for part in parts]
    if len(set(shapes)) > 1:
        shown = ", ".join(f"{part.split} {shape}" for part, shape in zip(parts, shapes, strict=True))
        raise InputError(f"{file} holds images of several shapes ({shown}): save them in one")
    names = [name for part in parts for name in part.names]
    chosen = in_classes(names, classes, str(file))
    labels, class_names = numbered([names[i] for i in chosen], classes)
    sources = [f"{file.name}[{f'{part.split} {i}'.lstrip()}]" for part in parts for i in range(len(part.names))]
    pixels = [image for part in parts for image in part.images]
    images = np.empty((len(chosen), *shapes[0]), dtype=np.uint8)
    for row, i in enumerate(chosen):
        images[row] = pixels[i]
    splits = np.repeat([part.split for part in parts], [len(part.names) for part in parts])
    notes = []
    if any(part.from_floats for part in parts):
        notes.append("images are floats in [0, 1]: taken times 255 and rounded")
    if "" in names:
        notes.append(f"{names.count('')} of {len(names)} images have no label: left out")
    return Collection(
        name=file.stem,
        images=torch.from_numpy(images),
        labels=labels,
        class_names=class_names,
        groups=None,
        splits=splits[chosen] if splits[0] else None,
        sources=tuple(sources[i] for i in chosen),
        notes=tuple(notes),
    )


def _opened(file: Path) -> NpzFile:
    if not file.is_file():
        raise InputError(f"no file at {file}: give a .npz archive")
    if not zipfile.is_zipfile(file):
        raise InputError(f"{file} is no .npz archive: write one with np.savez('{file.stem}.npz', images=…, labels=…)")
    try:
        archive: NpzFile = np.load(file, allow_pickle=False)
    except _DAMAGE as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    return archive


def _array(archive: NpzFile, key: str, where: str) -> Array:
    try:
        array = archive[key]
    except _DAMAGE as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{where} is no array: save it with np.savez")
    return array


def _pairs(file: Path, keys: list[str], images_key: str | None, labels_key: str | None) -> dict[str, tuple[str, str]]:
    """The keys of images and labels of each split; the split is blank where there is but one pair."""
    for option, key in (("images_key", images_key), ("labels_key", labels_key)):
        if key is not None and key not in keys:
            raise InputError(f"{option}={key!r} is not in {file}: choose from {', '.join(keys) or '(nothing)'}")
    images = images_key or next((key for key in _IMAGES if key in keys), None)
    labels = labels_key or next((key for key in _LABELS if key in keys), None)
    if images is not None and labels is not None:
        return {"": (images, labels)}
    if images_key is None and labels_key is None:
        for patterns in _SPLIT_KEYS:
            pairs = {split: (patterns[0].format(split), patterns[1].format(split)) for split in _SPLITS}
            found = {split: pair for split, pair in pairs.items() if pair[0] in keys}
            for pair in found.values():
                if pair[1] not in keys:
                    raise InputError(f"{file} holds {pair[0]} but no {pair[1]}: every image needs a label")
            if found:
                return found
    option = "images_key" if images is None else "labels_key"
    raise InputError(f"{file} holds {', '.join(keys) or 'nothing'}: name one of them with {option}")


def _part(file: Path, archive: NpzFile, split: str, images_key: str, labels_key: str) -> _Part:
    where, where_labels = f"{images_key!r} in {file}", f"{labels_key!r} in {file}"
    images = _channels_first(_array(archive, images_key, where), where)
    names = _names(_array(archive, labels_key, where_labels), where_labels)
    if len(names) != len(images):
        raise InputError(f"{file} holds {len(images)} images but {len(names)} labels: every image needs one")
    if images.dtype == np.uint8:
        return _Part(split, images, names, from_floats=False)
    if images.dtype.kind != "f":
        raise InputError(f"{where} holds {images.dtype}: expected uint8, or floats in [0, 1]")
    if not (images.min() >= 0 and images.max() <= 1):  # also not a number
        found_range = f"{images.dtype} from {images.min():g} to {images.max():g}"
        raise InputError(f"{where} holds {found_range}: expected uint8, or floats in [0, 1]")
    levels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        levels[chunk] = np.rint(images[chunk].astype(np.float64) * 255)
    return _Part(split, levels, names, from_floats=True)


def _channels_first(images: Array, where: str) -> Array:
    """``(n, C, H, W)``."""
    shape = images.shape
    if 0 in shape:
        raise InputError(f"{where} has the shape {shape}: there is no pixel in it")
    if len(shape) == 3:
        return images[:, None]
    if len(shape) != 4 or not {shape[1], shape[3]} & {1, 3}:
        raise InputError(
            f"{where} has the shape {shape}: expected (n, H, W), (n, H, W, C) or (n, C, H, W) with C = 1 or 3"
        )
    if {shape[1], shape[3]} <= {1, 3}:
        raise InputError(f"{where} has the shape {shape}: either side of it could be the channels; save larger images")
    return images if shape[1] in (1, 3) else images.transpose(0, 3, 1, 2)


def _names(labels: Array, where: str) -> list[str]:
    """The class of each image; blank where it has none."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{where} has the shape {labels.shape}: expected (n,) or (n, 1), one label per image")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "U":
        return [name.strip() for name in labels.tolist()]
    if labels.dtype.kind not in "iubf" or not all(float(label).is_integer() for label in labels.tolist()):
        raise InputError(f"{where} holds {labels.dtype} that are no classes: expected whole numbers or text")
    return [str(int(label)) for label in labels.tolist()]
