"""Label sharpness K_F: how alike two images with different labels can be."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.distances import Distances
from metrics.errors import InputError, require_at_least
from metrics.estimate import Estimate
from metrics.neighbors import neighbors_within
from metrics.pairs import closest_pairs
from metrics.points import Points, as_labels, as_points
from metrics.ranks import Progress
from metrics.sampling import balanced_sample

Space = Literal["pixels", "features"]


@dataclass(frozen=True)
class LabelSharpness(Estimate):
    """Label sharpness and the pair of images that decides it.

    Attributes:
        per_pixel: ``value · √(values per image)``: the inverse of the smallest root-mean-square
            difference per pixel value. Unlike ``value`` it can be compared between resolutions and
            channel counts.
        pair: Indices (i, j), i < j, of the two images, in the order given.
        n_conflicts: Images whose exact pixels also occur under another label. For them K_F is
            infinite; they are left out and counted here and in ``n_dropped``.
    """

    per_pixel: float = math.nan
    pair: tuple[int, int] = (-1, -1)
    n_conflicts: int = 0


@dataclass(frozen=True)
class SharpPair:
    """Two images with different labels.

    Attributes:
        i: Index of one.
        j: Index of the other, i < j.
        distance: Between them, in units of the full pixel range (features: as they are); 0 for a conflict.
    """

    i: int
    j: int
    distance: float

    @property
    def sharpness(self) -> float:
        """1 / distance, infinite for a conflict."""
        return 1 / self.distance if self.distance else math.inf


@dataclass(frozen=True, eq=False)
class ImageSharpness:
    """Label sharpness of single images.

    Attributes:
        values: ``(n,)`` float64: 1 / distance to the nearest image with another label; infinite where the two
            are identical (a conflict).
        enemies: ``(n,)`` int64: which image that is.
    """

    values: NDArray[np.float64]
    enemies: NDArray[np.int64]

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Quantiles over the images without conflict; that of level 1 is label sharpness itself.

        Example:
            >>> ImageSharpness(np.array([1.0, 3.0, np.inf]), np.array([1, 0, 0])).quantiles([0.5, 1])
            [2.0, 3.0]
        """
        finite = self.values[np.isfinite(self.values)]
        if not len(finite):
            raise InputError("every image has a twin with another label: no quantile is finite")
        return [float(value) for value in np.quantile(finite, levels)]


def label_sharpness(
    images: Points,
    labels: Points,
    *,
    max_samples: int | None = 1000,
    trials: int = 1,
    seed: int = 0,
    space: Space = "pixels",
    progress: Progress | None = None,
) -> LabelSharpness:
    r"""Measure the label sharpness of a labelled set of images.

    .. math:: \hat K_F = \max_{j,k} \frac{\mathbb 1[y_j \ne y_k]}{\lVert x_j - x_k \rVert_2}
              = \Bigl[ \min_{y_j \ne y_k} \lVert x_j - x_k \rVert_2 \Bigr]^{-1}

    over *every* pair of images with different labels in a class-balanced random sample of M images
    (Konz & Mazurowski, ICLR 2024, eq. 2, for any number of classes). Pixels count in [0, 1]: for
    pixels in 0…255 divide by 255. As an extreme value it grows with M: compare equal M only, or look at
    :func:`sharpness_curve`. In a ``torch.distributed`` run the processes share the work: call it on every one.

    Args:
        images: ``(n, ...)`` uint8 (taken as 0…255, distances exact), or floating point in [0, 1].
        labels: ``(n,)`` integers, at least two different ones.
        max_samples: M; None takes every image, as does an M that is no less than their number.
        trials: Independent samples; the value is the mean over them. One where every sample would be the whole set.
        seed: Seed of the sampling.
        space: ``features`` takes points of any range (a network's representation) in place of pixels; the value
            is then in 1 / (their unit).
        progress: Told after every part of a trial's work.

    Returns:
        ``value`` in 1 / (distance in units of the full pixel range), > 0; ``stderr``, None for one trial; ``n_used``
        images per trial; the pair of the sharpest trial.

        With s the standard deviation over T trials, and r the part of all pairs with different labels that a sample
        holds, :math:`\mathrm{SE}^2 = s^2 \bigl( \tfrac1T + \tfrac{r}{1 - r} \bigr)`: the variance of one sample of M
        fresh images is :math:`s^2 / (1 - r)`, as the pair that decides is in a given sample with probability r, and a
        part r of it is common to all samples of one set. r/(1 − r) vanishes where the set is much larger than M.

    Raises:
        InputError: Fewer than two classes (also after conflicts are left out), lengths that differ,
            pixels outside [0, 1], M too small for the number of classes, or trials < 1.

    Example:
        >>> images = torch.tensor([[0, 0], [30, 40], [255, 255]], dtype=torch.uint8)
        >>> sharpness = label_sharpness(images, torch.tensor([0, 1, 1]))
        >>> round(sharpness.value * 50 / 255, 12), sharpness.pair
        (1.0, (0, 1))
    """
    return _Labelled(images, labels, space).sharpness(max_samples, trials, seed, progress)


def sharpness_curve(
    images: Points,
    labels: Points,
    sizes: Sequence[int],
    *,
    trials: int = 10,
    seed: int = 0,
    space: Space = "pixels",
    progress: Progress | None = None,
) -> list[LabelSharpness]:
    """Label sharpness as a function of the sample size M.

    Args:
        images: As for :func:`label_sharpness`.
        labels: As there.
        sizes: The sample sizes M. In each trial the smaller samples lie inside the larger ones, so that a trial's
            curve never falls.
        trials: Samples per size.
        seed: Seed of the sampling.
        space: As there.
        progress: Told after every size.

    Returns:
        One estimate per size.

    Raises:
        InputError: As there.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
        >>> curve = sharpness_curve(noise, np.arange(60) % 2, [10, 60])
        >>> curve[0].value < curve[1].value
        True
    """
    labelled = _Labelled(images, labels, space)
    curve = []
    for done, size in enumerate(sizes, start=1):
        curve.append(labelled.sharpness(size, trials, seed))
        if progress is not None:
            progress(done, len(sizes))
    return curve


def image_sharpness(
    images: Points, labels: Points, *, space: Space = "pixels", progress: Progress | None = None
) -> ImageSharpness:
    r"""Label sharpness of every image by itself.

    .. math:: K_i = \Bigl[ \min_{j:\, y_j \ne y_i} \lVert x_i - x_j \rVert_2 \Bigr]^{-1}

    Its maximum is label sharpness over all images; its quantiles are no extreme values and scatter less.

    Args:
        images: As for :func:`label_sharpness`.
        labels: As there.
        space: As there.
        progress: Told after every part of the work.

    Raises:
        InputError: As there.

    Example:
        >>> images = torch.tensor([[0], [51], [255]], dtype=torch.uint8)
        >>> image_sharpness(images, torch.tensor([0, 1, 1])).values.round(6).tolist()
        [5.0, 5.0, 1.0]
    """
    labelled = _Labelled(images, labels, space)
    rows = labelled.distances.rows
    y = torch.from_numpy(labelled.y).to(rows.device)
    distances, enemies = neighbors_within(
        labelled.distances,
        torch.arange(len(rows), device=rows.device),
        1,
        barred=lambda i, j: y[i][:, None] == y[j],
        progress=progress,
    )
    with np.errstate(divide="ignore"):
        values = labelled.scale / distances[:, 0].cpu().numpy()
    return ImageSharpness(values, enemies[:, 0].cpu().numpy())


def class_pair_sharpness(
    images: Points, labels: Points, *, space: Space = "pixels", progress: Progress | None = None
) -> dict[tuple[int, int], LabelSharpness]:
    """Label sharpness between every two classes: which of them look alike.

    Args:
        images: As for :func:`label_sharpness`.
        labels: As there.
        space: As there.
        progress: Told after every pair of classes.

    Returns:
        For every pair of labels a < b, label sharpness over all their images. Images that conflict within the pair
        are left out; a pair that consists of nothing else is missing.

    Raises:
        InputError: As there.

    Example:
        >>> images = torch.tensor([[0], [51], [255]], dtype=torch.uint8)
        >>> found = class_pair_sharpness(images, torch.tensor([0, 1, 2]))
        >>> {pair: round(sharpness.value, 6) for pair, sharpness in found.items()}
        {(0, 1): 5.0, (0, 2): 1.0, (1, 2): 1.25}
    """
    labelled = _Labelled(images, labels, space)
    class_pairs = list(itertools.combinations(np.unique(labelled.y).tolist(), 2))
    found = {}
    for done, (a, b) in enumerate(class_pairs, start=1):
        sharpness = labelled.sharpness_within(np.flatnonzero((labelled.y == a) | (labelled.y == b)))
        if sharpness is not None:
            found[a, b] = sharpness
        if progress is not None:
            progress(done, len(class_pairs))
    return found


def sharpest_pairs(
    images: Points,
    labels: Points,
    count: int = 20,
    *,
    space: Space = "pixels",
    progress: Progress | None = None,
) -> list[SharpPair]:
    """The most alike pairs of images with different labels: where label errors and duplicates show.

    Args:
        images: As for :func:`label_sharpness`.
        labels: As there.
        count: How many pairs.
        space: As there.
        progress: Told after every part of the work.

    Returns:
        At most ``count`` pairs out of all, the most alike first; conflicts (distance 0) are among them.

    Raises:
        InputError: As there.

    Example:
        >>> images = torch.tensor([[0], [51], [255], [51]], dtype=torch.uint8)
        >>> [(pair.i, pair.j, pair.distance) for pair in sharpest_pairs(images, torch.tensor([0, 1, 1, 0]), 2)]
        [(1, 3, 0.0), (0, 1, 0.2)]
    """
    require_at_least(1, count=count)
    labelled = _Labelled(images, labels, space)
    squared, pairs = closest_pairs(labelled.distances, np.arange(len(labelled.y)), labelled.y, count, progress=progress)
    return [
        SharpPair(i, j, math.sqrt(d) / labelled.scale)
        for d, (i, j) in zip(squared.tolist(), pairs.tolist(), strict=True)
    ]


class _Labelled:
    """Points with labels, checked, and what is the same for every sample of them."""

    def __init__(self, images: Points, labels: Points, space: Space) -> None:
        rows = as_points(images)
        self.y = as_labels(labels, len(rows))
        if space == "pixels" and rows.dtype != torch.uint8 and (rows.min() < 0 or rows.max() > 1):
            raise InputError(
                f"pixels lie in [{float(rows.min()):g}, {float(rows.max()):g}]: give uint8 images, or floats in [0, 1] "
                "(features of any range: space='features')"
            )
        n_classes = len(np.unique(self.y))
        if n_classes < 2:
            raise InputError(
                f"label sharpness needs images of at least two classes, but all {len(rows)} have one label"
            )
        self.scale = 255.0 if rows.dtype == torch.uint8 and space == "pixels" else 1.0
        self.distances = Distances(rows)
        self._twins = self.distances.first_equal().numpy()

    def sharpness(
        self, max_samples: int | None, trials: int, seed: int, progress: Progress | None = None
    ) -> LabelSharpness:
        """The mean over samples without conflicts."""
        require_at_least(1, trials=trials)
        require_at_least(0, seed=seed)
        usable = self._without_conflicts(np.arange(len(self.y)))
        classes, sizes = np.unique(self.y[usable], return_counts=True)
        n_conflicts = len(self.y) - len(usable)
        if len(classes) < 2:
            raise InputError(
                f"label sharpness needs images of at least two classes, but the {len(usable)} usable images have "
                f"{len(classes)} ({n_conflicts} left out: same pixels under several labels)"
            )
        if max_samples is None or max_samples >= len(usable) or max_samples // len(classes) >= sizes.max():
            trials, max_samples = 1, None  # a sample is the whole set, and nothing varies
        samples = [
            usable[balanced_sample(self.y[usable], max_samples, np.random.default_rng([seed, trial]))]
            for trial in range(trials)
        ]
        known = _pairs(self.y[samples[0]]) / _pairs(self.y[usable])
        return self._mean([self._sharpest(sample, progress) for sample in samples], len(samples[0]), n_conflicts, known)

    def sharpness_within(self, subset: NDArray[np.int64]) -> LabelSharpness | None:
        """Over all images of a subset; None where conflicts leave fewer than two classes."""
        usable = self._without_conflicts(subset)
        if len(np.unique(self.y[usable])) < 2:
            return None
        return self._mean([self._sharpest(usable, None)], len(usable), len(subset) - len(usable))

    def _sharpest(self, sample: NDArray[np.int64], progress: Progress | None) -> SharpPair:
        squared, pairs = closest_pairs(self.distances, sample, self.y, progress=progress)
        i, j = pairs[0].tolist()
        if float(squared[0]) == 0:
            raise InputError(f"images {i} and {j} differ by less than float64 can tell: rescale them")
        return SharpPair(i, j, math.sqrt(float(squared[0])) / self.scale)

    def _mean(self, draws: list[SharpPair], n_used: int, n_conflicts: int, known: float = 1.0) -> LabelSharpness:
        """The mean over samples that hold a part ``known`` of all pairs each."""
        values = np.array([draw.sharpness for draw in draws])
        value = float(values.mean())
        stderr = None
        if len(values) > 1:
            stderr = float(values.std(ddof=1)) * math.sqrt(1 / len(values) + known / (1 - known))
        sharpest = min(draws, key=lambda draw: (draw.distance, draw.i, draw.j))
        return LabelSharpness(
            value=value,
            stderr=stderr,
            n_used=n_used,
            n_dropped=n_conflicts,
            per_pixel=value * math.sqrt(self.distances.rows.shape[1]),
            pair=(sharpest.i, sharpest.j),
            n_conflicts=n_conflicts,
        )

    def _without_conflicts(self, subset: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of a subset whose pixels occur there under one label only."""
        twins, y = self._twins[subset], self.y[subset]
        by_twin = np.lexsort((y, twins))
        twins, y = twins[by_twin], y[by_twin]
        clashes = twins[1:][(twins[1:] == twins[:-1]) & (y[1:] != y[:-1])]
        return subset[~np.isin(self._twins[subset], clashes)]


def _pairs(labels: NDArray[np.int64]) -> int:
    """How many pairs have different labels."""
    sizes = np.unique(labels, return_counts=True)[1]
    return int(sizes.sum() ** 2 - (sizes**2).sum()) // 2
