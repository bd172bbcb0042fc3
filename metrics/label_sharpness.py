"""Label sharpness K_F: how alike two images with different labels can be."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.distances import Points, as_points, row_chunks, row_keys, squared_distances
from metrics.errors import InputError
from metrics.estimate import Estimate


@dataclass(frozen=True)
class LabelSharpness(Estimate):
    """Label sharpness and the pair of images that decides it.

    Attributes:
        per_pixel: ``value · √(values per image)``: the inverse of the smallest root-mean-square
            difference per pixel value. Unlike ``value`` it can be compared between resolutions and
            channel counts.
        pair: Indices of the two images, in the order given to :func:`label_sharpness`.
        n_conflicts: Images whose exact pixels also occur under another label. For them K_F is
            infinite; they are left out and counted here and in ``n_dropped``.
    """

    per_pixel: float = math.nan
    pair: tuple[int, int] = (-1, -1)
    n_conflicts: int = 0


def label_sharpness(
    images: Points,
    labels: Points,
    *,
    max_samples: int | None = 1000,
    trials: int = 1,
    seed: int = 0,
) -> LabelSharpness:
    r"""Measure the label sharpness of a labelled set of images.

    .. math:: \hat K_F = \max_{j,k} \frac{\mathbb 1[y_j \ne y_k]}{\lVert x_j - x_k \rVert_2}
              = \Bigl[ \min_{y_j \ne y_k} \lVert x_j - x_k \rVert_2 \Bigr]^{-1}

    over *every* pair of images with different labels in a class-balanced random sample of M images
    (Konz & Mazurowski, ICLR 2024, eq. 2, for any number of classes). Pixels count in [0, 1]: for
    pixels in 0…255 divide by 255. As an extreme value it grows with M: compare equal M only.

    Args:
        images: ``(n, ...)`` uint8 (taken as 0…255, distances exact), or floating point in [0, 1].
        labels: ``(n,)`` integers, at least two different ones.
        max_samples: M; None takes every image.
        trials: Independent samples; the value is the mean over them. One where every sample would be the whole set.
        seed: Seed of the sampling.

    Returns:
        ``value`` in 1 / (distance in units of the full pixel range), > 0; ``stderr`` over trials, None
        for one trial; ``n_used`` images per trial.

    Raises:
        InputError: Fewer than two classes (also after conflicts are left out), lengths that differ,
            pixels outside [0, 1], M too small for the number of classes, or trials < 1.

    Example:
        >>> images = torch.tensor([[0, 0], [30, 40], [255, 255]], dtype=torch.uint8)
        >>> sharpness = label_sharpness(images, torch.tensor([0, 1, 1]))
        >>> round(sharpness.value * 50 / 255, 12), sharpness.pair
        (1.0, (0, 1))
    """
    rows = as_points(images)
    given = torch.as_tensor(labels).cpu()
    if given.shape != (len(rows),) or given.is_floating_point():
        raise InputError(
            f"{len(rows)} images but labels of shape {tuple(given.shape)}, {given.dtype}: "
            "give one integer label per image"
        )
    y = given.numpy().astype(np.int64)
    if trials < 1:
        raise InputError(f"trials={trials}: at least one is needed")
    if rows.dtype != torch.uint8 and (rows.min() < 0 or rows.max() > 1):
        raise InputError(
            f"pixels lie in [{float(rows.min()):g}, {float(rows.max()):g}]: give uint8 images, or floats in [0, 1]"
        )
    conflicts = _conflicting(rows, y)
    usable = np.flatnonzero(~conflicts)
    if len(np.unique(y[usable])) < 2:
        raise InputError(
            f"label sharpness needs images of at least two classes, but the {len(usable)} usable images have "
            f"{len(np.unique(y[usable]))} ({int(conflicts.sum())} left out: same pixels under several labels)"
        )
    scale = 255.0 if rows.dtype == torch.uint8 else 1.0
    classes, sizes = np.unique(y[usable], return_counts=True)
    if max_samples is None or max_samples // len(classes) >= sizes.max():
        trials, max_samples = 1, None  # every sample would be the whole set: nothing varies
    draws = []
    for trial in range(trials):
        sample = usable[_balanced_sample(y[usable], max_samples, np.random.default_rng([seed, trial]))]
        squared, pair = _sharpest_pair(rows, y, sample)
        if squared == 0:
            raise InputError(f"images {pair[0]} and {pair[1]} differ by less than float64 can tell: rescale them")
        draws.append((scale / math.sqrt(squared), pair, len(sample)))
    values = np.array([value for value, _, _ in draws])
    value = float(values.mean())
    return LabelSharpness(
        value=value,
        stderr=float(values.std(ddof=1) / math.sqrt(trials)) if trials > 1 else None,
        n_used=draws[0][2],
        n_dropped=int(conflicts.sum()),
        per_pixel=value * math.sqrt(rows.shape[1]),
        pair=max(draws)[1],
        n_conflicts=int(conflicts.sum()),
    )


def _conflicting(rows: Tensor, y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the images whose pixels occur under more than one label."""
    labels_of: dict[bytes, set[int]] = {}
    keys = row_keys(rows)
    for key, label in zip(keys, y.tolist(), strict=True):
        labels_of.setdefault(key, set()).add(label)
    return np.array([len(labels_of[key]) > 1 for key in keys])


def _balanced_sample(y: NDArray[np.int64], max_samples: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of at most ``max_samples`` images, equally many per class where the classes allow it."""
    classes = np.unique(y)
    if max_samples is None:
        return np.arange(len(y))
    if max_samples < len(classes):
        raise InputError(f"max_samples={max_samples} is less than the {len(classes)} classes: one image each is needed")
    quota = max_samples // len(classes)
    chosen = [rng.permutation(np.flatnonzero(y == label))[:quota] for label in classes]
    return np.sort(np.concatenate(chosen))


def _sharpest_pair(rows: Tensor, y: NDArray[np.int64], sample: NDArray[np.int64]) -> tuple[float, tuple[int, int]]:
    """The smallest squared distance across labels, and the first pair that has it."""
    best, pair = math.inf, (-1, -1)
    for label in np.unique(y[sample])[:-1]:
        ours, others = sample[y[sample] == label], sample[y[sample] > label]
        points = rows[torch.from_numpy(others)]
        for chunk in row_chunks(len(ours), len(others)):
            squared = squared_distances(rows[torch.from_numpy(ours[chunk])], points)
            at = int(squared.argmin())
            if float(squared.flatten()[at]) < best:
                best = float(squared.flatten()[at])
                i, j = divmod(at, len(others))
                pair = (int(ours[chunk][i]), int(others[j]))
    return best, pair
