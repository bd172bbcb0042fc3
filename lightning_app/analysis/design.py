"""The columns of the joint law, for records and for any other point."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

INTERCEPT, SIZE, SHARPNESS = "intercept", "log N / d", "log K_F"
DOMAIN, BACKBONE = "domain: ", "backbone: "


def columns(domains: Sequence[str], backbones: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns.

    Args:
        domains: Levels of the domain factor, the baseline first.
        backbones: Levels of the backbone factor. The last has no column: their effects add up to 0.

    Example:
        >>> columns(["medical", "natural"], ["resnet18", "vgg13", "vgg16"])[2:]
        ('log K_F', 'domain: natural', 'backbone: resnet18', 'backbone: vgg13')
    """
    return (
        *(INTERCEPT, SIZE, SHARPNESS),
        *(DOMAIN + level for level in domains[1:]),
        *(BACKBONE + level for level in backbones[:-1]),
    )


def design(
    domains: Sequence[str],
    backbones: Sequence[str],
    *,
    n_train: ArrayLike,
    d: ArrayLike,
    k_f: ArrayLike,
    domain: Sequence[str | None],
    backbone: Sequence[str | None],
) -> NDArray[np.float64]:
    """Rows of the design, ``(n, p)``, with :func:`columns` as columns.

    Args:
        domains: Levels of the domain factor, the baseline first; with one, the law has no such factor.
        backbones: Levels of the backbone factor; with one, the law has no such factor.
        n_train: Training images, ``(n,)`` or one number for all.
        d: Intrinsic dimension, the same.
        k_f: Label sharpness, the same.
        domain: A level for every row; None, or a level that is none of them, is the baseline.
        backbone: A level for every row; None, or a level that is none of them, is the average over all levels.

    Example:
        >>> given = {"n_train": 1, "d": 10, "k_f": 1, "domain": ["b", None, "a"], "backbone": ["x", "z", None]}
        >>> design(["a", "b"], ["x", "y", "z"], **given)
        array([[ 1.,  0.,  0.,  1.,  1.,  0.],
               [ 1.,  0.,  0.,  0., -1., -1.],
               [ 1.,  0.,  0.,  0.,  0.,  0.]])
    """
    log_n, dimension, log_k = (np.broadcast_to(np.asarray(x, np.float64), len(domain)) for x in (n_train, d, k_f))
    log_n, log_k = np.log(log_n), np.log(log_k)
    of_domain = [np.array([float(own == level) for own in domain]) for level in domains[1:]]
    of_backbone = [
        np.array([float(own == level) - float(own == backbones[-1]) for own in backbone]) for level in backbones[:-1]
    ]
    return np.column_stack([np.ones(len(domain)), log_n / dimension, log_k, *of_domain, *of_backbone])
