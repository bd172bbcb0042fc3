"""Which class of other images is which class of the network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules import Collection
from datamodules.class_names import Names
from lightning_app.plain import listed
from metrics import InputError


def numbered_as(
    collection: Collection, chosen: Sequence[str] | None, num_classes: int, known: Sequence[Names]
) -> tuple[NDArray[np.int64], Names]:
    """The labels of a collection as a network numbers its classes, and what these are called.

    Args:
        collection: The images.
        chosen: Its classes in the network's order, where the user has said so.
        num_classes: How many the network tells apart.
        known: What the network's own data set calls them; empty where that is unknown.

    Raises:
        InputError: Classes that the network does not know, or too many or too few of them.
    """
    names = collection.class_names
    if chosen is None:
        for theirs in known:
            if set(names) <= set(theirs):
                return np.array([theirs.index(name) for name in names])[collection.labels], theirs
    mend = "name them in its order with --classes"
    if len(names) != num_classes:
        raise InputError(
            f"{collection.name} has {len(names)} classes ({listed(names)}), the network tells {num_classes} apart"
            f"{f' ({listed(known[0])})' if known else ''}: {mend}"
        )
    if known and chosen is None:
        raise InputError(
            f"the classes of {collection.name} ({listed(names)}) are not those of the network "
            f"({listed(known[0])}): {mend}"
        )
    return collection.labels, names
