"""A collection of pictures that lie in one folder per class."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.collection import Collection, in_classes, numbered, ordered
from datamodules.levels import Window
from datamodules.picture_stack import Channels, read_stack
from datamodules.pictures import EXTENSIONS
from metrics import InputError, Progress

# Nobody calls a class by these names: a folder that holds nothing else is split.
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_class_folders(
    folder: str | Path,
    *,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    channels: Channels = "keep",
    window: Window | None = None,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Collection:
    """Read ``folder/<class>/**/*.png``, or ``folder/<split>/<class>/**/*.png``.

    The second layout is taken where the pictures lie in folders called train, val (valid, validation) and test only,
    in any case of letters. Pictures are known by their extension (:data:`datamodules.pictures.EXTENSIONS`), hidden
    files and folders are passed over. The images are in the order of their paths.

    Args:
        folder: The folder that holds the classes or the splits.
        classes: Names of the class folders to keep, in that order; default all, in order.
        image_size: See :func:`datamodules.picture_stack.read_stack`, as for the options below.
        channels: keep, 1 (grey) or 3 (colour).
        window: Values of 16- and 32-bit pictures that become 0 and 255.
        skip_unreadable: Leave unreadable files out and list them, rather than stop.
        progress: Called with the number of pictures that are done, and of all.

    Returns:
        Groups are unknown. Sources are paths relative to the folder.

    Raises:
        InputError: Fewer than two classes with pictures, an unknown class, unreadable files, a folder that cannot be
            listed.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for name in ("cat", "dog"):
        ...         (Path(place) / name).mkdir()
        ...         Image.new("RGB", (4, 4), "red").save(f"{place}/{name}/1.png")
        ...     pets = read_class_folders(place)
        >>> pets.labels.tolist(), pets.class_names, pets.sources, tuple(pets.images.shape)
        ([0, 1], ('cat', 'dog'), ('cat/1.png', 'dog/1.png'), (2, 3, 4, 4))
    """
    folder = Path(folder)
    found = list_class_folders(folder)
    chosen = in_classes(found.names, classes, str(folder))
    stack = read_stack(
        folder,
        [found.sources[i] for i in chosen],
        image_size=image_size,
        channels=channels,
        window=window,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    kept = [chosen[i] for i in stack.kept]
    labels, class_names = numbered([found.names[i] for i in kept], classes)
    return Collection(
        name=folder.resolve().name,
        images=stack.images,
        labels=labels,
        class_names=class_names,
        groups=None,
        splits=None if found.splits is None else np.array([found.splits[i] for i in kept], dtype=np.str_),
        sources=tuple(found.sources[i] for i in kept),
        skipped=stack.skipped,
        notes=(*stack.notes, *found.notes),
    )


@dataclass(frozen=True)
class ClassFolders:
    """The pictures that lie in one folder per class.

    Attributes:
        sources: Their paths relative to the folder, in order.
        names: The class of each.
        splits: train, val or test for each; None where the folder is not split.
        notes: What was left out.
    """

    sources: tuple[str, ...]
    names: tuple[str, ...]
    splits: tuple[str, ...] | None
    notes: tuple[str, ...]


def list_class_folders(folder: Path) -> ClassFolders:
    """Find the pictures that :func:`read_class_folders` reads, without opening them.

    Raises:
        InputError: Fewer than two classes with pictures, a folder that cannot be listed.
    """
    pictures, others = _listed(folder)
    parts = {name: PurePosixPath(name).parts for name in pictures}
    tops = {part[0].lower() for part in parts.values() if len(part) > 1}
    depth = 1 if tops and tops <= _SPLITS.keys() else 0
    inside = [name for name in pictures if len(parts[name]) > depth + 1]
    names = [parts[name][depth] for name in inside]
    classes = ordered(names)
    if len(classes) < 2:
        raise InputError(_layout_problem(folder, classes, len(pictures), others))
    notes = []
    if len(inside) < len(pictures):
        notes.append(f"{len(pictures) - len(inside)} pictures lie in no class folder: left out")
    if others:
        notes.append(f"{sum(others.values())} files are no pictures by their extension: left out ({_shown(others)})")
    splits = tuple(_SPLITS[parts[name][0].lower()] for name in inside) if depth else None
    return ClassFolders(tuple(inside), tuple(names), splits, tuple(notes))


def _listed(folder: Path) -> tuple[list[str], Counter[str]]:
    """Paths of the pictures in a folder, relative and in order, and how many other files have which extension."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: expected a folder per class in it")

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed: {error.strerror}") from error

    pictures: list[str] = []
    others: Counter[str] = Counter()
    # Links are followed, since class folders often are links.
    for place, inner, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        above = {os.path.realpath(parent) for parent in (here, *here.parents)}  # a link to one of them is a circle
        inner[:] = [name for name in inner if not name.startswith(".") and os.path.realpath(here / name) not in above]
        for name in files:
            extension = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            if extension in EXTENSIONS:
                pictures.append((here / name).relative_to(folder).as_posix())
            else:
                others[extension or "no extension"] += 1
    return sorted(pictures), others


def _layout_problem(folder: Path, classes: list[str], pictures: int, others: Counter[str]) -> str:
    there = f"{pictures} pictures" if pictures else "no pictures"
    there += f", {sum(others.values())} other files ({_shown(others)})" if others else ""
    named = ", ".join(classes) or "none"
    return (
        f"{folder} has fewer than two class folders with pictures (classes: {named}; {there}): expected "
        f"{folder}/<class>/ for two classes or more, or {folder}/<split>/<class>/ with the splits train, val, test"
    )


def _shown(others: Counter[str]) -> str:
    return ", ".join(f"{count} {extension}" for extension, count in sorted(others.items()))
