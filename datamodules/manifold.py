"""Images whose dimension, label sharpness and label noise are known: ground truth for what is measured."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.base import Plan, TableDataModule
from datamodules.images import ImageSet
from datamodules.splits import Rows
from datamodules.tables import ImageTable, Sample
from metrics import InputError

_MIDDLE = 127.5  # as far from black as from white
_SHOWN = 3  # latents in the manifest
_CHUNK = 256  # points whose distances to all others are held at a time
_IN_NAME = {"label_noise": "n", "contrast": "c", "amount": "N", "latent_seed": "s"}  # where they are not the default


@dataclass(eq=False, repr=False)
class Manifold(TableDataModule):
    r"""Synthetic images rendered from a latent cube: dimension, margin and label noise are dials.

    Latents z are uniform in [−1, 1]^d. The image of z, in grey levels 0 … 255, is

    .. math:: x_p(z) = 127.5 + A \sum_{i=1}^d z_i \psi_i(p), \qquad
              A = \frac{127.5 \cdot \mathrm{contrast}}{\max_p \sum_i |\psi_i(p)|}

    with :math:`\psi_i` the d lowest frequencies (the constant left out) of the orthonormal 2-D DCT-II, the same in
    every channel. With A no pixel leaves [0, 255] anywhere in the cube, so nothing is clipped, and the map is
    injective and isometric but for one factor:

    .. math:: \lVert x(z) - x(z') \rVert_2 = \mathrm{scale} \cdot \lVert z - z' \rVert_2, \qquad
              \mathrm{scale} = A \sqrt C

    Rounding to 8 bits then moves a distance by at most √(C·H·W) grey levels. The label is 1 where z_1 > 0, which is
    every other image. Manifolds that differ only in ``label_noise``, ``contrast``, ``image_size`` or ``channels`` have
    the same latents, and so have those that differ in ``margin`` but for
    z_1 ← sign(z_1) · (margin/2 + (1 − margin/2) · |z_1|).

    Label noise is in what is trained on: the training subset, and the reference sample, which stands for the data that
    subsets are taken from, so that label sharpness is measured on noisy labels. Validation and test labels are true.
    Along the seeded order that training subsets are cut from, two images at a time, one of each class, swap labels, at
    regular places. So every subset is balanced and has its share of wrong labels, an image has the same label in each
    of them and in the reference sample, and the images are those that there would be without noise. Another
    ``subset_seed`` is another draw of the noise, in the reference sample too.

    Each setting of the dials is a data set of its own, and so it is called in records: ``Manifold d6 m0.2``, with
    ``n``, ``c``, ``N`` and ``s`` for noise, contrast, amount and latent seed where they are not the default.

    Other options are those of :class:`TableDataModule`.

    Args:
        image_size: Side in pixels that images are rendered at; nothing is resampled.
        channels: 1 (grey) or 3 (the same grey three times).
        dimension: Latent dimension d, 1 … image_size² − 1.
        margin: Smallest distance in z_1 between the classes before noise, 0 ≤ margin < 2.
        label_noise: Fraction of the training images that have the label of the other class, 0 ≤ label_noise < 0.5; of
            n of them it is this fraction to within two images.
        amount: Images in the table, at least 2; a smaller table holds the first images of a larger one.
        contrast: Part of the grey scale that images may use, 0 < contrast ≤ 1.
        latent_seed: Seed of the latents.

    Raises:
        InputError: A dial out of its range, sizes that cannot be had (with counts), or a table made otherwise.

    Example:
        >>> data = Manifold(dimension=2, margin=0.5, amount=100)
        >>> data.latents.shape, bool((data.latents[:, 0].abs() >= 0.25).all())
        (torch.Size([100, 2]), True)
        >>> noisy = Manifold(label_noise=0.1, n_train=200, amount=700)
        >>> wrong = noisy.train_set.labels != (noisy.latents[noisy.train_set.rows, 0] > 0)
        >>> int(wrong.sum()), noisy.train_set.labels.bincount().tolist()
        (20, [100, 100])
        >>> round(data.max_label_sharpness / Manifold(dimension=2, margin=0.1).max_label_sharpness, 9)
        0.2
    """

    image_size: int = 32
    channels: Literal[1, 3] = 1  # nothing can be kept that is not there yet
    dimension: int = 6
    margin: float = 0.2
    label_noise: float = 0.0
    amount: int = 3000
    contrast: float = 1.0
    latent_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the dials."""
        dials = (
            f"d{self.dimension}-m{_exact(self.margin)}-{self.image_size}px-{self.channels}ch-"
            f"c{_exact(self.contrast)}-N{self.amount}-s{self.latent_seed}"
        )
        self.table = self.table or f"data/manifold/{dials}"
        super().__post_init__()
        if self.channels not in (1, 3):
            raise InputError(f"channels={self.channels} cannot be rendered: choose 1 (grey) or 3 (grey thrice)")
        if not 1 <= self.dimension < self.image_size**2:
            raise InputError(
                f"dimension={self.dimension} is out of range: images of {self.image_size}x{self.image_size} pixels "
                f"have 1 … {self.image_size**2 - 1} dimensions beside their mean; choose fewer, or a larger image_size"
            )
        if not 0 <= self.margin < 2:
            raise InputError(f"margin={self.margin} is out of range: choose at least 0 and less than 2")
        if not 0 <= self.label_noise < 0.5:
            raise InputError(
                f"label_noise={self.label_noise} is out of range: choose at least 0 and less than 0.5, where "
                "labels say nothing"
            )
        if self.label_noise and self.protocol == "reference":
            raise InputError(
                f"label_noise={self.label_noise} does not go with protocol=reference, whose training subsets are not "
                "nested: choose protocol=standard, or no noise"
            )
        if self.amount < 2:
            raise InputError(f"amount={self.amount} is too small: choose at least 2 images, one for each class")
        if not 0 < self.contrast <= 1:
            raise InputError(f"contrast={self.contrast} is out of range: choose more than 0 and at most 1 (full range)")
        if self.latent_seed < 0:
            raise InputError(f"latent_seed={self.latent_seed} is out of range: choose 0 or more")
        self._dials = dials
        # Not side and channels: records have columns for these, of every data set.
        others = [f"{letter}{_exact(getattr(self, dial))}" for dial, letter in _IN_NAME.items() if self._is_set(dial)]
        self.name = " ".join([type(self).__name__, f"d{self.dimension}", f"m{_exact(self.margin)}", *others])
        self._colours: int = self.channels
        self._u, self._v = _lowest_frequencies(self.image_size, self.dimension)
        self._cosines = _cosines(self.image_size, int(torch.maximum(self._u, self._v).max()) + 1)
        # At every pixel some corner of the cube adds up the patterns with all signs alike: the bound is attained.
        used = torch.zeros(len(self._cosines), len(self._cosines), dtype=torch.float64)
        used[self._u, self._v] = 1
        largest = (self._cosines.abs().T @ used @ self._cosines.abs()).max()
        self._amplitude = _MIDDLE * self.contrast / float(largest)

    @property
    def latents(self) -> Tensor:
        """Latents of every image of the table, after the margin, ``(amount, dimension)`` float64 in [−1, 1]."""
        rng = np.random.default_rng([self.latent_seed, 0])
        z = rng.uniform(-1, 1, (self.amount, self.dimension))
        side = np.where(np.arange(self.amount) % 2, 1.0, -1.0)  # alternating: classes are balanced
        z[:, 0] = side * (self.margin / 2 + (1 - self.margin / 2) * np.abs(z[:, 0]))
        return torch.from_numpy(z)

    @property
    def scale(self) -> float:
        """Distance between images, in grey levels 0 … 255, per unit of distance between latents: A·√C."""
        return self._amplitude * math.sqrt(self._colours)

    @property
    def max_label_sharpness(self) -> float:
        """255 / (scale · margin), pixels in [0, 1]: no sample without label noise is sharper; inf for margin 0."""
        return 255 / (self.scale * self.margin) if self.margin else math.inf

    def true_label_sharpness(self, images: ImageSet) -> float:
        r"""Label sharpness of a set of these images, from their latents and labels alone.

        .. math:: K_F = \frac{255}{\mathrm{scale} \cdot \min_{y_j \ne y_k} \lVert z_j - z_k \rVert_2}

        What :func:`metrics.label_sharpness` measures on every pair of the images, had they not been rounded: the two
        inverses, times 255, differ by at most √(C·H·W) grey levels unless rounding made images equal.

        Args:
            images: A set of this manifold, e.g. ``train_set``.

        Returns:
            K_F for pixels in [0, 1], > 0.

        Raises:
            InputError: Images that all have one label, or that are not of this manifold.

        Example:
            >>> data = Manifold(dimension=1, amount=2, margin=1.0)
            >>> pixels = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
            >>> pair = ImageSet(pixels, torch.tensor([0, 1]), torch.arange(2), torch.arange(2))
            >>> apart = data.latents[1, 0] - data.latents[0, 0]
            >>> round(data.true_label_sharpness(pair) * data.scale * float(apart), 9)
            255.0
        """
        shape, own = tuple(images.images.shape[1:]), (self._colours, self.image_size, self.image_size)
        if shape != own or not ((images.rows >= 0) & (images.rows < self.amount)).all():
            raise InputError(
                f"these images have shape {shape} and are of another table than the {self.amount} of shape {own} "
                "of this manifold: give one of its own sets, e.g. its train_set"
            )
        present = sorted(set(images.labels.tolist()))
        if len(present) < 2:
            raise InputError(
                f"label sharpness needs images of at least two classes, but the {len(images)} images have the labels "
                f"{present}: give a larger set"
            )
        z = self.latents[images.rows]
        nearest = math.inf
        for label in present[:-1]:
            ours, others = z[images.labels == label], z[images.labels > label]
            for start in range(0, len(ours), _CHUNK):
                # Differences before squares: as products, near points would cancel.
                apart = torch.cdist(ours[start : start + _CHUNK], others, compute_mode="donot_use_mm_for_euclid_dist")
                nearest = min(nearest, float(apart.min()))
        return 255 / (self.scale * nearest)

    def render(self, latents: Tensor) -> Tensor:
        """The images of any points of the latent cube, before they are rounded to 8 bits.

        Args:
            latents: ``(n, dimension)`` in [−1, 1].

        Returns:
            Grey levels in 0 … 255, ``(n, C, H, W)`` float64.

        Raises:
            InputError: Latents of another dimension, or outside the cube.

        Example:
            >>> Manifold(dimension=3).render(torch.zeros(1, 3)).unique()
            tensor([127.5000], dtype=torch.float64)
        """
        if latents.ndim != 2 or latents.shape[1] != self.dimension:
            raise InputError(f"latents have shape {tuple(latents.shape)}: give (n, {self.dimension})")
        if not (latents.abs() <= 1).all():
            raise InputError(
                f"latents lie in [{float(latents.min()):g}, {float(latents.max()):g}]: "
                "images exist for the cube [-1, 1] only, where no pixel is clipped"
            )
        coefficients = torch.zeros(len(latents), len(self._cosines), len(self._cosines), dtype=torch.float64)
        coefficients[:, self._u, self._v] = latents.double()
        grey = _MIDDLE + self._amplitude * (self._cosines.T @ coefficients @ self._cosines)
        return grey[:, None].repeat(1, self._colours, 1, 1)

    def samples(self) -> Iterator[Sample]:
        """Every image, rounded to 8 bits; each is its own group."""
        for i, z in enumerate(self.latents):
            # Patterns vanish at some pixels but for float error, which must not decide how 127.5 is rounded.
            image = self.render(z[None])[0].round(decimals=9).round().to(torch.uint8).numpy()
            yield image, {"label": i % 2, "group": f"point{i}", "source": self._source(z)}

    def plan(self, table: ImageTable | None = None) -> Plan:
        """Choose the images, without reading one, and which of them have the wrong label.

        Raises:
            InputError: The folder holds a table that was made with other dials, or sizes that cannot be had.
        """
        table = table or ImageTable.open(self.table_folder)
        if table.columns.get("source", np.array([])).tolist() != [self._source(z) for z in self.latents]:
            raise InputError(
                f"the table at {self.table_folder} was not made with the dials {self._dials}: give the folder "
                "of another, or none (the default is named after the dials)"
            )
        plan = super().plan(table)
        if not self.label_noise:
            return plan
        longest = replace(self, classes=plan.classes, pair=None, n_train=None, label_noise=0.0).plan(table)
        return replace(plan, labels=self._swapped(plan.labels, longest.rows["train"]))

    def _swapped(self, labels: Rows, order: Rows) -> Rows:
        """Labels after noise: of the pairs of an order, first and second, third and fourth, …, some swap theirs."""
        pairs = order.reshape(-1, 2)
        # Decimals: 0.29 · 100 is 28.999…, and is to count as 29.
        until = np.floor((self.label_noise * np.arange(len(pairs) + 1)).round(9))
        wrong = pairs[np.diff(until) > 0]
        noisy = labels.copy()
        noisy[wrong] = 1 - labels[wrong]
        return noisy

    def _is_set(self, dial: str) -> bool:
        """Whether a dial is not where it is by default."""
        return bool(getattr(self, dial) != getattr(Manifold, dial))

    def _source(self, z: Tensor) -> str:
        shown = ", ".join(f"{value:.2f}" for value in z[:_SHOWN].tolist())
        return f"{self._dials} z=({shown}{', …' if len(z) > _SHOWN else ''})"


def _exact(value: float) -> str:
    """The shortest text that stands for this number and no other."""
    return repr(float(value)).removesuffix(".0")


def _lowest_frequencies(side: int, count: int) -> tuple[Tensor, Tensor]:
    """Vertical and horizontal frequency of so many patterns, by u² + v², then u; the constant left out."""
    k = torch.arange(side)
    order = (k[:, None] ** 2 + k**2).flatten().argsort(stable=True)[1 : count + 1]
    return order // side, order % side


def _cosines(side: int, count: int) -> Tensor:
    """The first vectors of the orthonormal 1-D DCT-II, ``(count, side)``; patterns are products of two."""
    k, p = torch.arange(count, dtype=torch.float64), torch.arange(side, dtype=torch.float64)
    rows = math.sqrt(2 / side) * torch.cos(math.pi / (2 * side) * k[:, None] * (2 * p + 1))
    rows[0] = 1 / math.sqrt(side)
    return rows
