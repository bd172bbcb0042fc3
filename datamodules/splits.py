"""Who is trained on and who is tested on: by group, balanced, nested, the same every time."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from metrics import InputError

Rows = NDArray[np.int64]
Names = NDArray[np.str_]

TRAIN, VALID, TEST = "train", "valid", "test"
"""Official splits, as tables name them."""

_REFERENCE_SEED = 1337

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


def split_by_group(
    labels: Rows, groups: Rows, *, n_val: int, n_test: int, seed: int, official: Names | None = None
) -> Split:
    """Take class-balanced test and validation sets, whole groups at a time.

    Groups are visited in one seeded order. A group that still has images of a class in need is taken
    out of the training pool, all of it; what the set does not need of it stays unused, so that no group is
    ever on two sides. The test set is taken first: it depends on the seed and ``n_test`` only.

    Where there are official splits, the test set is taken from the first of ``test``, ``valid`` and ``train`` that has
    enough images of every class, and the validation set from ``valid``, unless the test set came from there, or
    ``train``. Only the images of ``train``, and those in no split, are trained on.

    Args:
        labels: Label of each image, −1 where it takes no part, ``(N,)``.
        groups: Group of each image, ``(N,)``.
        n_val: Validation images; classes differ by at most one.
        n_test: Test images, likewise.
        seed: Seed of the order.
        official: Official split of each image, ``(N,)``: train, valid, test or blank; None where there are none.

    Raises:
        InputError: A negative size, or more images than there are, with the counts.

    Example:
        >>> labels, groups = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
        >>> split = split_by_group(labels, groups, n_val=2, n_test=2, seed=0)
        >>> [len(split.train), len(split.val), len(split.test)]
        [2, 2, 2]
    """
    pools = _official_pools(labels, official)
    from_test = _first_with_enough([TEST, VALID], pools, labels, n_test)
    from_val = _first_with_enough([part for part in [VALID] if part != from_test], pools, labels, n_val)
    test = _take(pools[from_test], labels, groups, n_test, np.random.default_rng([seed, _TEST]), "n_test")
    val_pool = _without_groups_of(test, pools[from_val], groups)
    val = _take(val_pool, labels, groups, n_val, np.random.default_rng([seed, _VAL]), "n_val")
    held = np.concatenate([test, val])
    return Split(train=_without_groups_of(held, pools[TRAIN], groups), val=val, test=test)


def split_as_reference(
    labels: Rows, *, n_train: int | None, n_val: int, n_test: int, official: Names | None = None
) -> Split:
    """Split as the code that was released with arXiv 2401.08865 does, where groups leak.

    The first images of each class, in the order of the table, are shuffled image by image with the seed 1337 and cut
    into training, test and validation images. The classes are balanced in all three together only, and all three
    change with every one of the sizes. Of official splits only ``train`` is used.

    Args:
        labels: Label of each image, −1 where it takes no part, ``(N,)``.
        n_train: Training images; None takes all that can be balanced.
        n_val: Validation images.
        n_test: Test images.
        official: Official split of each image, ``(N,)``; None where there are none.

    Raises:
        InputError: More images than there are, with the counts.

    Example:
        >>> split = split_as_reference(np.array([0, 0, 0, 1, 1, 1, 1]), n_train=2, n_val=0, n_test=2)
        >>> sorted(split.train.tolist() + split.test.tolist())
        [0, 1, 3, 4]
    """
    pool = _official_pools(labels, official)[TRAIN]
    classes = np.unique(labels[labels >= 0])
    most = len(classes) * min(int((labels[pool] == c).sum()) for c in classes)
    total = most if n_train is None else n_train + n_val + n_test
    if total > most or (n_train is None and n_val + n_test >= most) or min(n_val, n_test) < 0 or n_train == 0:
        raise InputError(
            f"n_train={n_train}, n_val={n_val} and n_test={n_test} cannot be taken from the {most} images that can be "
            f"balanced ({class_counts(labels[pool])}): choose other sizes"
        )
    share = [total // len(classes) + (i < total % len(classes)) for i in range(len(classes))]
    first = np.sort(np.concatenate([pool[labels[pool] == c][:n] for c, n in zip(classes, share, strict=True)]))
    shuffled = first[torch.randperm(total, generator=torch.Generator().manual_seed(_REFERENCE_SEED)).numpy()]
    train, test, val = np.split(shuffled, [total - n_test - n_val, total - n_val])
    return Split(train=train, val=val, test=test)


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


def _official_pools(labels: Rows, official: Names | None) -> dict[str, Rows]:
    """The images that take part, by the official split that they may be taken from."""
    rows = np.flatnonzero(labels >= 0)
    if official is None:
        return {TRAIN: rows, VALID: rows[:0], TEST: rows[:0]}
    parts = official[rows]
    return {TRAIN: rows[(parts == TRAIN) | (parts == "")], VALID: rows[parts == VALID], TEST: rows[parts == TEST]}


def _first_with_enough(parts: list[str], pools: dict[str, Rows], labels: Rows, n: int) -> str:
    """The first official split that can give n balanced images, else the training split."""
    classes = np.unique(labels[labels >= 0])
    for part in parts:
        found = sorted((int((labels[pools[part]] == c).sum()) for c in classes), reverse=True)
        if all(have >= n // len(classes) + (i < n % len(classes)) for i, have in enumerate(found)):
            return part
    return TRAIN


def _without_groups_of(rows: Rows, pool: Rows, groups: Rows) -> Rows:
    return pool[~np.isin(groups[pool], groups[rows])]


def _take(pool: Rows, labels: Rows, groups: Rows, n: int, rng: np.random.Generator, option: str) -> Rows:
    """Take n balanced images out of a pool, group after group."""
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
    for g in rng.permutation(len(members)):
        if not any(needed.values()):
            break
        for row in rng.permutation(members[g]):
            label = int(labels[row])
            if needed[label]:
                needed[label] -= 1
                taken.append(int(row))
    if any(needed.values()):
        raise InputError(
            f"{option}={n} is more than can be balanced from the {len(pool)} images that are left "
            f"({class_counts(labels[pool])}): lower {option}"
        )
    return np.sort(np.array(taken, dtype=np.int64))


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
