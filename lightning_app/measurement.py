"""Every property of a collection of images that needs no training."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules import Collection
from lightning_app.measure_options import Options
from metrics import (
    Estimate,
    ImageSharpness,
    InputError,
    LabelSharpness,
    Progress,
    SharpPair,
    SplitAudit,
    audit_split,
    balanced_sample,
    check_estimator,
    class_pair_sharpness,
    image_sharpness,
    intrinsic_dimension,
    label_sharpness,
    nearest_friends,
    neighborhoods,
    require_at_least,
    sharpest_pairs,
    sharpness_curve,
)

Stage = Callable[[str], Progress]
"""Announces a part of the work and returns what is told of its progress."""

QUANTILES = (0.5, 0.9, 0.99, 1.0)
_KS = (5, 10, 20, 30, 50)
_MOST_CLASSES = 12  # whose pairs are listed one by one
_SMALLEST = 50  # images for which a dimension is worth a point on the curve over N


@dataclass(frozen=True, eq=False)
class Dimensions:
    """Intrinsic dimension of the images.

    Attributes:
        values: By estimator, where the estimator gives one.
        over_k: Over the number of neighbours, by estimator: (k, estimate).
        over_n: Over the number of images, by estimator: (n, estimate).
        n_duplicates: Exact duplicates, left out.
        missing: Which estimators give no value, and why.
    """

    values: dict[str, Estimate]
    over_k: dict[str, list[tuple[int, Estimate]]]
    over_n: dict[str, list[tuple[int, Estimate]]]
    n_duplicates: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Sharpness:
    """Label sharpness of the images.

    Attributes:
        of_samples: Over samples of M images: the paper's quantity.
        of_all: Over all images.
        over_m: Over sample sizes.
        of_images: Of single images.
        friends: ``(n,)`` distance of each image to the nearest of the same label, in units of the full pixel range.
        of_class_pairs: Between every two classes, where there are 3 to 12.
        pairs: The most alike pairs of images with different labels.
    """

    of_samples: LabelSharpness
    of_all: LabelSharpness
    over_m: list[LabelSharpness]
    of_images: ImageSharpness
    friends: NDArray[np.float64]
    of_class_pairs: dict[tuple[int, int], LabelSharpness]
    pairs: list[SharpPair]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured; what could not be is None, and ``missing`` says why.

    Attributes:
        collection: The images that were used.
        options: How they were measured.
        dimensions: Intrinsic dimension.
        sharpness: Label sharpness.
        audit: What lies on both sides of a split; None where there is no split.
        group_names: Names of the groups, by the numbers in ``audit``.
        missing: What could not be measured, and why.
    """

    collection: Collection
    options: Options
    dimensions: Dimensions | None
    sharpness: Sharpness | None
    audit: SplitAudit | None
    group_names: tuple[str, ...]
    missing: tuple[str, ...]


def check(options: Options) -> None:
    """Refuse options before anything is read.

    Raises:
        InputError: An estimator that does not exist, or a number out of range.
    """
    for estimator in options.estimators:
        check_estimator(estimator)
    require_at_least(3, k=options.k)
    require_at_least(2, samples=options.samples, max_images=options.max_images)
    require_at_least(1, trials=options.trials, pairs=options.pairs)
    require_at_least(0, seed=options.seed)
    if not 0 <= options.near < math.inf:  # JSON knows no infinity
        raise InputError(f"near={options.near} is out of range: choose 0 or more, for instance 0.1")


def measure(collection: Collection, options: Options, stage: Stage) -> Measurement:
    """Measure a collection.

    Args:
        collection: Images with labels.
        options: How.
        stage: Announces each part of the work.

    Raises:
        InputError: Fewer images asked for than there are classes.
    """
    n_classes = len(collection.class_names)
    for option, value in (("max_images", options.max_images), ("samples", options.samples)):
        if value is not None and value < n_classes:
            raise InputError(f"{option}={value} is less than the {n_classes} classes: choose {n_classes} or more")
    collection = _chosen(collection, options)
    missing: list[str] = []
    dimensions = sharpness = None
    try:
        dimensions = _dimensions(collection, options, stage)
        missing += dimensions.missing
    except InputError as error:
        missing.append(f"intrinsic dimension: {error}")
    try:
        sharpness = _sharpness(collection, options, stage)
    except InputError as error:
        missing.append(f"label sharpness: {error}")
    audit, group_names = _audit(collection, options, stage)
    return Measurement(collection, options, dimensions, sharpness, audit, group_names, tuple(missing))


def _chosen(collection: Collection, options: Options) -> Collection:
    n = len(collection)
    if options.max_images is None or options.max_images >= n:
        return collection
    rows = balanced_sample(collection.labels, options.max_images, np.random.default_rng(options.seed))
    return replace(
        collection,
        images=collection.images[torch.from_numpy(rows)],
        labels=collection.labels[rows],
        groups=None if collection.groups is None else collection.groups[rows],
        splits=None if collection.splits is None else collection.splits[rows],
        sources=tuple(collection.sources[row] for row in rows),
        notes=(*collection.notes, f"{len(rows)} of {n} images, class-balanced, drawn with seed {options.seed}"),
    )


def _dimensions(collection: Collection, options: Options, stage: Stage) -> Dimensions:
    images, n, seed = collection.images, len(collection), options.seed
    # At least four fifths of the images are distinct, or they are refused: those have that many neighbours.
    ks = sorted({k for k in _KS if k < 0.8 * n} | {options.k})
    # GeoMLE takes several times k neighbours: the curve over k is not to ask for more of them than its value does.
    most = options.k if "geomle" in options.estimators else ks[-1]
    values: dict[str, Estimate] = {}
    missing = []
    estimators = list(options.estimators)
    try:
        near = neighborhoods(images, estimators=estimators, k=most, progress=stage("neighbours"))
    except InputError as error:
        if "geomle" not in estimators or len(estimators) == 1:
            raise
        missing.append(f"d_geomle: {error}")  # which needs more images than the others
        estimators.remove("geomle")
        near = neighborhoods(images, estimators=estimators, k=ks[-1], progress=stage("neighbours"))
    for estimator in estimators:
        stage(f"dimension by {estimator}")
        try:
            values[estimator] = intrinsic_dimension(near, estimator=estimator, k=options.k, seed=seed)
        except InputError as error:
            missing.append(f"d_{estimator}: {error}")
    over_k: dict[str, list[tuple[int, Estimate]]] = {"mle": []} if "mle" in values else {}
    for k in ks if over_k else ():
        with suppress(InputError):  # equally far neighbours at this scale, or more than were looked for
            over_k["mle"].append((k, intrinsic_dimension(near, k=k, seed=seed)))
    quick = [estimator for estimator in values if estimator in ("mle", "twonn")]
    over_n: dict[str, list[tuple[int, Estimate]]] = {estimator: [] for estimator in quick}
    progress = stage("dimension over the number of images")
    sizes = [n // part for part in (16, 8, 4, 2) if quick and n // part >= max(_SMALLEST, 2 * options.k + 2)]
    for done, size in enumerate(sizes, start=1):
        with suppress(InputError):  # so few have no dimension: the curve begins later
            fewer = neighborhoods(images, estimators=quick, k=options.k, max_samples=size, seed=seed)
            for estimator in quick:
                found = intrinsic_dimension(fewer, estimator=estimator, k=options.k, seed=seed)
                over_n[estimator].append((size, found))
        progress(done, len(sizes))
    for estimator in quick:
        over_n[estimator].append((n, values[estimator]))
    return Dimensions(values, over_k, over_n, near.n_dropped, tuple(missing))


def _sharpness(collection: Collection, options: Options, stage: Stage) -> Sharpness:
    images, labels = collection.images, collection.labels
    n_classes = len(collection.class_names)
    of_all = label_sharpness(images, labels, max_samples=None, progress=stage("label sharpness of all images"))
    sizes = _sizes(max(2 * n_classes, _SMALLEST), min(options.samples, len(labels)))
    over_m = sharpness_curve(
        images, labels, sizes, trials=options.trials, seed=options.seed, progress=stage("label sharpness over M")
    )
    of_images = image_sharpness(images, labels, progress=stage("sharpness of single images"))
    friends, _ = nearest_friends(images, labels, progress=stage("nearest images of the same class"))
    of_class_pairs = {}
    if 2 < n_classes <= _MOST_CLASSES:
        of_class_pairs = class_pair_sharpness(images, labels, progress=stage("label sharpness between classes"))
    pairs = sharpest_pairs(images, labels, options.pairs, progress=stage("sharpest pairs"))
    return Sharpness(over_m[-1], of_all, over_m, of_images, friends.cpu().numpy() / 255, of_class_pairs, pairs)


def _sizes(smallest: int, largest: int) -> list[int]:
    """Sample sizes that double, up to the largest."""
    sizes = [largest]
    while sizes[0] // 2 >= smallest:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def _audit(collection: Collection, options: Options, stage: Stage) -> tuple[SplitAudit | None, tuple[str, ...]]:
    splits = collection.splits
    if splits is None or not collection.split_names:
        return None, ()
    used = np.flatnonzero(splits != "")
    names, groups = np.empty(0, dtype=np.str_), None
    if collection.groups is not None:
        names, groups = np.unique(collection.groups[used], return_inverse=True)
    everyone = len(used) == len(splits)
    audit = audit_split(
        collection.images if everyone else collection.images[torch.from_numpy(used)],
        np.unique(splits[used], return_inverse=True)[1],
        groups,
        near=options.near,
        progress=stage("split audit"),
    )
    exact, near = (
        tuple(replace(twin, i=int(used[twin.i]), j=int(used[twin.j])) for twin in twins)
        for twins in (audit.exact, audit.near)
    )
    return replace(audit, exact=exact, near=near), tuple(names.tolist())
