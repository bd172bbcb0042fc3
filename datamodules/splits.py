"""Who is trained on and who is tested on: by group, balanced, nested, the same every time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics import InputError

Rows = NDArray[np.int64]

# One stream of random numbers per purpose, so that changing one part leaves the others alone.
_TEST, _VAL, _TRAIN, _REFERENCE = range(4)


@dataclass(frozen=True)
class Split:
    """Rows of a table, no group on two sides.

    Attributes:
        train: The training pool, in table order.
        val: The validation images.
        test: The test images.
    """

    train: Rows
    val: Rows
    test: Rows


def split_by_group(labels: Rows, groups: Rows, *, n_val: int, n_test: int, seed: int) -> Split:
    """Take class-balanced test and validation sets, whole groups at a time.

    Groups are visited in one seeded order. A group that still has images of a class in need is taken
    out of the training pool, all of it; what the set does not need of it stays unused, so that no group is
    ever on two sides. The test set is taken first: it depends on the seed and ``n_test`` only.

    Args:
        labels: Label of each image, −1 where it takes no part, ``(N,)``.
        groups: Group of each image, ``(N,)``.
        n_val: Validation images; classes differ by at most one.
        n_test: Test images, likewise.
        seed: Seed of the order.

    Raises:
        InputError: A negative size, or more images than there are, with the counts.

    Example:
        >>> labels, groups = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
        >>> split = split_by_group(labels, groups, n_val=2, n_test=2, seed=0)
        >>> [len(split.train), len(split.val), len(split.test)]
        [2, 2, 2]
    """
    pool = np.flatnonzero(labels >= 0)
    test, pool = _take(pool, labels, groups, n_test, np.random.default_rng([seed, _TEST]), "n_test")
    val, pool = _take(pool, labels, groups, n_val, np.random.default_rng([seed, _VAL]), "n_val")
    return Split(train=pool, val=val, test=test)


def training_subset(pool: Rows, labels: Rows, n: int | None, *, seed: int) -> Rows:
    """The first n images of one seeded, class-balanced order, so that smaller subsets lie in larger ones.

    Args:
        pool: Rows to choose from.
        labels: Label of each image of the table.
        n: How many; None takes as many as can be balanced. Classes differ by at most one.
        seed: Seed of the order.

    Raises:
        InputError: Fewer than one image per class, or more than can be balanced, with the counts.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 1])
        >>> small, large = (training_subset(np.arange(6), labels, n, seed=0) for n in (2, 4))
        >>> large[:2].tolist() == small.tolist()
        True
    """
    return _prefix(pool, labels, n, np.random.default_rng([seed, _TRAIN]), "n_train")


def reference_sample(pool: Rows, labels: Rows, n: int | None, *, seed: int) -> Rows:
    """The sample that represents the data set: drawn like a training subset, but apart from it."""
    return _prefix(pool, labels, n, np.random.default_rng([seed, _REFERENCE]), "n_reference")


def class_counts(labels: Rows) -> str:
    """Images per class, for messages.

    Example:
        >>> class_counts(np.array([0, 1, 1]))
        'class 0: 1, class 1: 2'
    """
    values, counts = np.unique(labels, return_counts=True)
    return ", ".join(f"class {value}: {count}" for value, count in zip(values, counts, strict=True))


def _take(pool: Rows, labels: Rows, groups: Rows, n: int, rng: np.random.Generator, option: str) -> tuple[Rows, Rows]:
    """Take n balanced images out of a pool together with their groups; return them and what is left."""
    classes = np.unique(labels[labels >= 0])
    if n < 0 or 0 < n < len(classes):
        raise InputError(
            f"{option}={n} is too small: choose 0, or at least one image for each of {len(classes)} classes"
        )
    present = {int(c): int((labels[pool] == c).sum()) for c in classes}
    commonest = sorted(present, key=lambda c: (-present[c], c))  # they give the images that do not divide evenly
    needed = {c: n // len(classes) + (i < n % len(classes)) for i, c in enumerate(commonest)}
    by_group = pool[np.argsort(groups[pool], kind="stable")]
    bounds = np.flatnonzero(np.diff(groups[by_group])) + 1
    members = np.split(by_group, bounds)
    taken: list[int] = []
    held: list[Rows] = []
    for g in rng.permutation(len(members)):
        if not any(needed.values()):
            break
        chosen = []
        for row in rng.permutation(members[g]):
            label = int(labels[row])
            if needed[label]:
                needed[label] -= 1
                chosen.append(int(row))
        if chosen:
            taken += chosen
            held.append(members[g])
    if any(needed.values()):
        raise InputError(
            f"{option}={n} is more than can be balanced from the {len(pool)} images that are left "
            f"({class_counts(labels[pool])}): lower {option}"
        )
    rest = np.setdiff1d(pool, np.concatenate(held)) if held else pool
    return np.sort(np.array(taken, dtype=np.int64)), rest


def _prefix(pool: Rows, labels: Rows, n: int | None, rng: np.random.Generator, option: str) -> Rows:
    classes = np.unique(labels[labels >= 0])
    shuffled = [rng.permutation(pool[labels[pool] == c]) for c in classes]
    rarest = min(len(rows) for rows in shuffled)
    order = np.stack([rows[:rarest] for rows in shuffled], axis=1).reshape(-1)
    if not len(order):
        raise InputError(
            f"no images can be balanced for {option}: {len(pool)} are left for training "
            f"({class_counts(labels[pool])}); lower n_val and n_test"
        )
    if n is None:
        n = len(order)
    if n < len(classes):
        raise InputError(f"{option}={n} is too small: at least one image for each of {len(classes)} classes is needed")
    if n > len(order):
        raise InputError(
            f"{option}={n} is more than the {len(order)} images that can be balanced: {len(pool)} are left for "
            f"training ({class_counts(labels[pool])}); lower {option}, or n_val and n_test"
        )
    return order[:n].astype(np.int64)
