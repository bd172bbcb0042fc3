"""Split audit: what lies on both sides of a split, so that a test says less than it seems to."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.errors import InputError
from metrics.neighbors import nearest_enemies
from metrics.points import Points, as_points
from metrics.ranks import Progress

_VALUES_AT_ONCE = 2**22  # pixel values held as float64 at a time: 32 MB


@dataclass(frozen=True)
class GroupLeak:
    """A group (patient, volume, lesion) with images on more than one side.

    Attributes:
        group: Its number.
        splits: The splits that it occurs in, ascending; at least two.
        n_images: How many images it has, on all sides together.
    """

    group: int
    splits: tuple[int, ...]
    n_images: int


@dataclass(frozen=True)
class TwinLeak:
    r"""Two images in different splits that are the same, or nearly.

    Attributes:
        i: Index of one.
        j: Index of the other, i < j.
        distance: Root-mean-square difference per value, in units of the full pixel range, in [0, 1]; 0 for
            identical images.
        relative: :math:`\lVert x_i - x_j \rVert` as a fraction of the contrast of the image whose nearest the other
            one is; the smaller fraction where each is the other's nearest. 0 for identical images.
    """

    i: int
    j: int
    distance: float
    relative: float = 0.0


@dataclass(frozen=True)
class SplitAudit:
    """What lies on both sides of a split.

    Attributes:
        n_images: How many images were compared.
        n_groups: How many groups they belong to, or None where none were given.
        groups: Every group on more than one side, ascending.
        exact: Identical images in different splits, by (i, j): each image with the first that is identical.
        near: Nearly identical images in different splits, the most alike first: each image with its nearest.
    """

    n_images: int
    n_groups: int | None
    groups: tuple[GroupLeak, ...] = ()
    exact: tuple[TwinLeak, ...] = ()
    near: tuple[TwinLeak, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """How much was found, by kind.

        Example:
            >>> SplitAudit(9, None, exact=(TwinLeak(0, 7, 0.0),)).counts
            {'groups': 0, 'exact': 1, 'near': 0}
        """
        return {"groups": len(self.groups), "exact": len(self.exact), "near": len(self.near)}


def audit_split(
    images: Points,
    splits: Points,
    groups: Points | None = None,
    *,
    near: float = 0.1,
    progress: Progress | None = None,
) -> SplitAudit:
    r"""Look for groups and images that lie on more than one side of a split.

    Image i has a near duplicate where the nearest image j of all *other* splits satisfies

    .. math:: 0 < \lVert x_i - x_j \rVert_2 \le \mathrm{near} \cdot c_i, \qquad
              c_i = \lVert x_i - \bar x_i \rVert_2

    with :math:`\bar x_i` the mean over all values of the image and :math:`c_i` its contrast. For two images of equal
    mean and contrast this is a correlation of at least :math:`1 - \mathrm{near}^2 / 2`: 0.995 for near = 0.1. Measured
    by the contrast, the limit means the same for bold and for faint images, for every resolution and for any number of
    channels.

    Saving an image as JPEG once more or rescaling its intensities by two or three per cent keeps the difference below
    0.1 (quality 75 at 224×224: 0.03 for slices of a brain, 0.08 for photographs), and so do most neighbouring slices,
    1 mm apart, of a volume. An image moved by a pixel, mirrored or cropped is beyond it (photographs moved by one pixel
    of 224: 0.2), and so are different images: no two of 5,000 MNIST digits are nearer than 0.19. A constant image has
    no contrast: only identical ones count for it.

    Each image is compared with its own nearest only: one that has an identical image in another split is not searched
    for near duplicates as well. In a ``torch.distributed`` run the processes share the work: call it on every one.

    Args:
        images: ``(n, ...)`` uint8 (taken as 0…255, distances exact), or floating point in [0, 1].
        splits: ``(n,)`` integers: the side that each image is on (training, validation, test).
        groups: ``(n,)`` integers: the patient, volume or lesion of each image; None where unknown.
        near: How large a difference, as a fraction of contrast, is still a near duplicate; 0 finds identical images
            only.
        progress: Told after every part of the work.

    Returns:
        What was found. With a single split nothing can leak, and nothing is compared.

    Raises:
        InputError: near below 0, pixels outside [0, 1], no images, or splits or groups that are not one integer per
            image.

    Example:
        >>> images = torch.tensor([[0, 200], [90, 90], [0, 201], [90, 90], [7, 0]], dtype=torch.uint8)
        >>> audit = audit_split(images, torch.tensor([0, 0, 1, 1, 1]), torch.tensor([4, 5, 6, 7, 5]))
        >>> audit.groups
        (GroupLeak(group=5, splits=(0, 1), n_images=2),)
        >>> [(twin.i, twin.j) for twin in audit.exact], [(twin.i, twin.j) for twin in audit.near]
        ([(1, 3)], [(0, 2)])
    """
    check_near(near)
    rows = as_points(images)
    if rows.dtype != torch.uint8 and (rows.min() < 0 or rows.max() > 1):
        raise InputError(
            f"pixels lie in [{float(rows.min()):g}, {float(rows.max()):g}]: give uint8 images, or floats in [0, 1]"
        )
    sides = _numbers("splits", splits, len(rows))
    n_groups: int | None = None
    shared: tuple[GroupLeak, ...] = ()
    if groups is not None:
        n_groups, shared = _shared_groups(_numbers("groups", groups, len(rows)), sides)
    if (sides == sides[0]).all():
        return SplitAudit(len(rows), n_groups)
    exact, alike = _twins(rows, sides, near, progress)
    return SplitAudit(len(rows), n_groups, shared, exact, alike)


def check_near(near: float) -> None:
    """Refuse a limit for near duplicates that none can be.

    Raises:
        InputError: Below 0, or no number.

    Example:
        >>> check_near(-0.1)
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: near=-0.1 is out of range: choose 0 (identical images only) or more, for instance 0.1
    """
    if not near >= 0:
        raise InputError(f"near={near:g} is out of range: choose 0 (identical images only) or more, for instance 0.1")


def _numbers(name: str, values: Points, n: int) -> NDArray[np.int64]:
    given = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if given.shape != (n,) or given.dtype.kind not in "biu":
        raise InputError(f"{n} images but {name} of shape {given.shape}, {given.dtype}: give one integer per image")
    return given.astype(np.int64)


def _shared_groups(groups: NDArray[np.int64], sides: NDArray[np.int64]) -> tuple[int, tuple[GroupLeak, ...]]:
    """How many groups there are, and those on several sides."""
    numbers, counts = np.unique(groups, return_counts=True)
    occurrences = np.unique(np.stack([groups, sides], axis=1), axis=0)  # in order of groups, then of sides
    by_group = np.split(occurrences[:, 1], np.searchsorted(occurrences[:, 0], numbers[1:]))
    shared = (
        GroupLeak(int(group), tuple(present.tolist()), int(count))
        for group, present, count in zip(numbers, by_group, counts, strict=True)
        if len(present) > 1
    )
    return len(numbers), tuple(shared)


def _twins(
    rows: Tensor, sides: NDArray[np.int64], near: float, progress: Progress | None
) -> tuple[tuple[TwinLeak, ...], tuple[TwinLeak, ...]]:
    """Identical and nearly identical images in different splits, each pair once."""
    found, nearest = nearest_enemies(rows, torch.from_numpy(sides), progress=progress)
    distances, others, contrasts = found.cpu().numpy(), nearest.cpu().numpy(), _contrasts(rows)
    with np.errstate(divide="ignore"):
        relative = np.divide(distances, contrasts, out=np.zeros_like(distances), where=distances > 0)
    to_rms = (255.0 if rows.dtype == torch.uint8 else 1.0) * rows.shape[1] ** 0.5
    exact: set[TwinLeak] = set()
    alike: dict[tuple[int, int], TwinLeak] = {}
    for one in np.flatnonzero((relative <= near) & np.isfinite(relative)).tolist():
        i, j = sorted((one, int(others[one])))
        twin = TwinLeak(i, j, float(distances[one] / to_rms), float(relative[one]))
        if twin.distance == 0:
            exact.add(twin)
        else:
            alike[i, j] = min(twin, alike.get((i, j), twin), key=lambda leak: leak.relative)
    return (
        tuple(sorted(exact, key=lambda leak: (leak.i, leak.j))),
        tuple(sorted(alike.values(), key=lambda leak: (leak.relative, leak.i, leak.j))),
    )


def _contrasts(rows: Tensor) -> NDArray[np.float64]:
    """Distance of every image from its own mean, in the units of its values, ``(n,)``."""
    parts = []
    for part in torch.split(rows, max(1, _VALUES_AT_ONCE // rows.shape[1])):
        # About its first value the sums of an 8-bit image are exact integers, and a constant image has exactly 0.
        values = part.to(torch.float64)
        values = values - values[:, :1]
        squares = values.square().sum(dim=1) - values.sum(dim=1).square() / values.shape[1]
        parts.append(squares.clamp(min=0).sqrt())
    return torch.cat(parts).cpu().numpy()
