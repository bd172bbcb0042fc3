"""Attacks: what they are called, and what can be set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from metrics.errors import InputError, require_at_least

AttackName = Literal["fgsm", "pgd", "auto"]
ATTACKS: tuple[AttackName, ...] = get_args(AttackName)

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)


@dataclass(frozen=True)
class Attack:
    r"""An attack and its settings; its strength ε is given where it is used.

    - ``fgsm`` (Goodfellow et al., ICLR 2015): one step,
      :math:`x' = \mathrm{clip}_{[0,1]}\,(x + \epsilon\,\mathrm{sign}\,\nabla_x L(x, y))`; in L2 the gradient over its
      norm takes the place of its sign.
    - ``pgd`` (Madry et al., ICLR 2018): ``steps`` such steps from a random start in the ball, projected back onto the
      ball after each.
    - ``auto`` (AutoAttack, Croce & Hein, ICML 2020, in a form that is valid for any number of classes): ``pgd``, then
      on those images that still stand APGD on the cross-entropy, APGD on the margin :math:`\max_{j≠y} z_j - z_y`, FAB,
      and Square with 5,000 queries. So it is never weaker than ``pgd`` with the same settings. (AutoAttack's own DLR
      loss needs three logits.)

    Attributes:
        name: fgsm, pgd or auto.
        norm: linf or l2; both in units of pixel values in [0, 1].
        steps: Steps of PGD.
        step_size: Size of one such step in units of ε; default 2.5 / steps.
        restarts: Random starts of PGD; the worst of them counts, for each image.

    Raises:
        InputError: A name that is unknown, or a number out of range.

    Example:
        >>> Attack("pgd", norm="l2", steps=20).label
        'pgd_l2'
    """

    name: AttackName = "pgd"
    norm: Norm = "linf"
    steps: int = 10
    step_size: float | None = None
    restarts: int = 1

    def __post_init__(self) -> None:
        """Refuse what no attack can do."""
        if self.name not in ATTACKS:
            raise InputError(f"unknown attack {self.name!r}: choose from {', '.join(ATTACKS)}")
        if self.norm not in NORMS:
            raise InputError(f"unknown norm {self.norm!r}: choose from {', '.join(NORMS)}")
        require_at_least(1, steps=self.steps, restarts=self.restarts)
        if self.step_size is not None and not 0 < self.step_size <= 2:
            raise InputError(
                f"step_size={self.step_size:g} is out of range: choose 0 < step_size <= 2 (in units of eps)"
            )

    @property
    def label(self) -> str:
        """Its name in what is logged: ``pgd``, ``pgd_l2``."""
        return self.name if self.norm == "linf" else f"{self.name}_{self.norm}"

    @property
    def step(self) -> float:
        """Size of one step of PGD, in units of ε."""
        return 2.5 / self.steps if self.step_size is None else self.step_size


def check_eps(eps: float, norm: Norm = "linf") -> None:
    """Refuse a strength that means nothing.

    Raises:
        InputError: ε not above 0, not finite, or for L∞ above 255.

    Example:
        >>> check_eps(300)
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: eps=300 is out of range: choose 0 < eps <= 255 (grey levels of 255)
    """
    if not (0 < eps <= 255 or (norm == "l2" and 255 < eps < math.inf)):
        limit = "<= 255" if norm == "linf" else "< inf"
        raise InputError(f"eps={eps:g} is out of range: choose 0 < eps {limit} (grey levels of 255)")


def check_batch(images: Tensor, seeds: Sequence[int] | None) -> list[int]:
    """Refuse images that attacks would silently clip, and a wrong number of seeds.

    Returns:
        The seeds; by default 0, 1, 2, ….

    Raises:
        InputError: No images, images that are not floating point in [0, 1], or not one seed per image.
    """
    if not len(images):
        raise InputError("there are no images to attack")
    if not images.is_floating_point() or not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"attacks need floating-point images in [0, 1], got {images.dtype} "
            f"in [{float(images.min()):g}, {float(images.max()):g}]"
        )
    seeds = range(len(images)) if seeds is None else seeds
    if len(seeds) != len(images):
        raise InputError(f"{len(seeds)} seeds for {len(images)} images: give one per image")
    return list(seeds)
