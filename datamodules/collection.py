"""Anybody's labelled images, whatever they were read from, ready to be measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metrics import InputError

Labels = NDArray[np.int64]
Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Collection:
    """Labelled 8-bit images and what is known of each.

    Attributes:
        name: Short, for titles.
        images: ``(n, C, H, W)`` uint8.
        labels: ``(n,)`` 0 … classes − 1; every class has at least one image.
        class_names: The name of each label.
        groups: ``(n,)`` patient, volume or lesion; None where that is unknown.
        splits: ``(n,)`` e.g. "train", "val" or "test", blank for an image that is in none; None where that is unknown.
        sources: ``(n,)`` where each image came from.
        skipped: Files that could not be read: "path: reason".
        notes: What was done to the images and which were left out, for a reader of their numbers.
    """

    name: str
    images: Tensor
    labels: Labels
    class_names: tuple[str, ...]
    groups: Names | None
    splits: Names | None
    sources: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def split_names(self) -> list[str]:
        """The splits that there are, in order."""
        return [] if self.splits is None else sorted(set(self.splits.tolist()) - {""})


def in_classes(names: Sequence[str], classes: Sequence[str] | None, where: str) -> list[int]:
    """Positions of the images that take part.

    Args:
        names: Class of each image; blank where it has none.
        classes: Names of those to keep; None keeps all.
        where: What the names are called in messages.

    Raises:
        InputError: A class that does not exist, with those that do, one that is named twice, or no image left.

    Example:
        >>> in_classes(["cat", "", "dog", "cow"], ["cow", "cat"], "animals.csv")
        [0, 3]
    """
    present = ordered(names)
    if not present:
        raise InputError(f"{where} has no image with a label: nothing can be measured")
    if classes is None:
        return [i for i, name in enumerate(names) if name]
    if not classes:
        raise InputError(f"classes=[] of {where} keeps no image: choose from {', '.join(present)}")
    for name in classes:
        if name not in present:
            raise InputError(f"class {name!r} does not exist in {where}: choose from {', '.join(present)}")
        if list(classes).count(name) > 1:
            raise InputError(f"class {name!r} of {where} is named twice in classes={list(classes)}: name it once")
    return [i for i, name in enumerate(names) if name in classes]


def numbered(names: Sequence[str], classes: Sequence[str] | None) -> tuple[Labels, tuple[str, ...]]:
    """Labels 0, 1, 2, … and the class that each stands for.

    Args:
        names: Class of each image, none blank.
        classes: The order of the classes; None orders them by value if all are whole numbers, else by name. Classes
            without an image get no number.

    Example:
        >>> labels, class_names = numbered(["10", "9", "10"], None)
        >>> labels.tolist(), class_names
        ([1, 0, 1], ('9', '10'))
    """
    present = ordered(names)
    kept = present if classes is None else [name for name in classes if name in present]
    number = {name: i for i, name in enumerate(kept)}
    return np.array([number[name] for name in names], dtype=np.int64), tuple(kept)


def ordered(names: Sequence[str]) -> list[str]:
    """Every name once, blank left out: by value if all are whole numbers, else by name.

    Example:
        >>> ordered(["10", "9", "", "10"]), ordered(["b", "9", "10"])
        (['9', '10'], ['10', '9', 'b'])
    """
    present = sorted({name for name in names if name})
    if all(name.removeprefix("-").isdecimal() for name in present):
        present.sort(key=int)
    return present


def own_groups(groups: Sequence[str], sources: Sequence[str]) -> Names:
    """Groups, where an image without one is a group of its own.

    Example:
        >>> own_groups(["ann", "", "ann"], ["1.png", "2.png", "3.png"]).tolist()
        ['ann', '2.png', 'ann']
    """
    return np.array([group or source for group, source in zip(groups, sources, strict=True)], dtype=np.str_)
