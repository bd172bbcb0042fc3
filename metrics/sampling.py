"""Seeded samples of a set."""

import numpy as np
from numpy.typing import NDArray

from metrics.errors import InputError


def random_sample(n: int, max_samples: int | None, seed: int) -> NDArray[np.int64]:
    """At most ``max_samples`` of n points, drawn without regard to anything, ascending.

    Example:
        >>> random_sample(3, None, seed=0).tolist(), len(random_sample(100, 10, seed=0))
        ([0, 1, 2], 10)
    """
    if max_samples is None or max_samples >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:max_samples])


def balanced_sample(labels: NDArray[np.int64], max_samples: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most ``max_samples`` points, equally many per class where the classes allow it, ascending.

    With generators in one state, smaller samples lie inside larger ones.

    Args:
        labels: ``(n,)``.
        max_samples: Size of the sample, at least one per class; None takes every point.
        rng: What draws them.

    Raises:
        InputError: Fewer samples than classes.

    Example:
        >>> y = np.array([0, 0, 0, 0, 1, 1])
        >>> sample = balanced_sample(y, 4, np.random.default_rng(0))
        >>> y[sample].tolist()
        [0, 0, 1, 1]
    """
    if max_samples is None:
        return np.arange(len(labels))
    classes = np.unique(labels)
    if max_samples < len(classes):
        raise InputError(f"max_samples={max_samples} is less than the {len(classes)} classes: one image each is needed")
    quota = max_samples // len(classes)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:quota] for label in classes]
    return np.sort(np.concatenate(chosen))
