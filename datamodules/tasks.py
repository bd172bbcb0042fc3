"""The task: which classes are told apart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metrics import InputError

_PAIRS = 4  # its own stream of random numbers, beside those of splits

Classes = Sequence[int | Sequence[int]]
"""One entry per class of the task: a label of the table, or several that are taken together."""


def class_pair(labels: NDArray[np.int64], pair: int, name: str, *, seed: int) -> tuple[int, int]:
    """One of the class pairs that a seed draws: each class is in at most one, and nothing else decides them.

    Args:
        labels: Labels of all images, −1 where an image is not used.
        pair: Which, 0 … classes // 2 − 1.
        name: What the labels are called in messages.
        seed: Seed of the draw.

    Raises:
        InputError: There are not so many pairs.

    Example:
        >>> digits = np.arange(10)
        >>> sorted(label for pair in range(5) for label in class_pair(digits, pair, "digits", seed=0))
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    present = np.unique(labels[labels >= 0])
    pairs = len(present) // 2
    if pair >= pairs:
        raise InputError(
            f"pair={pair} does not exist: the {len(present)} classes of {name} give {pairs} pairs, 0 first"
        )
    drawn = np.random.default_rng([seed, _PAIRS]).permutation(present)[2 * pair : 2 * pair + 2].tolist()
    return drawn[0], drawn[1]


def task_labels(labels: NDArray[np.int64], classes: Classes | None, name: str) -> NDArray[np.int64]:
    """Turn the labels of a table into those of a task.

    Args:
        labels: Labels of all images, −1 where an image is not used.
        classes: Entry i becomes label i of the task; None keeps every label that occurs, in order.
        name: What the labels are called in messages.

    Returns:
        Label of each image under the task in 0 … len(classes) − 1; −1 where it takes no part.

    Raises:
        InputError: Fewer than two classes, a class that does not exist, or one named twice.

    Example:
        >>> task_labels(np.array([3, 8, 1, 3]), [8, 3], "digits").tolist()
        [1, 0, -1, 1]
        >>> task_labels(np.array([0, 4, 9, 7]), [[0, 4], [7, 9]], "digits").tolist()
        [0, 0, 1, 1]
    """
    present = np.unique(labels[labels >= 0]).tolist()
    members = present if classes is None else list(classes)
    groups = [[int(x) for x in m] if isinstance(m, Sequence) else [int(m)] for m in members]
    if len(groups) < 2 or not all(groups):
        raise InputError(f"classes={members} of {name}: a task needs at least two classes; there are {present}")
    flat = [label for group in groups for label in group]
    for label in flat:
        if label not in present:
            raise InputError(f"class {label} does not exist in {name}: choose from {present}")
        if flat.count(label) > 1:
            raise InputError(f"class {label} is named twice in classes={members}: every class belongs to one side")
    result = np.full(len(labels), -1, dtype=np.int64)
    for i, group in enumerate(groups):
        result[np.isin(labels, group)] = i
    return result
