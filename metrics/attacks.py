"""The only file that knows torchattacks: adversarial images without its traps."""

from collections.abc import Sequence
from typing import Literal

import torch
import torchattacks
from torch import Tensor, nn

from metrics.errors import InputError

AttackName = Literal["fgsm", "pgd"]
ATTACKS: tuple[AttackName, ...] = ("fgsm", "pgd")

_MAX_EPS = 255.0


def adversarial_images(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: AttackName,
    eps: float,
    steps: int = 10,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    r"""Perturb images within an L∞ ball so that the model's loss rises.

    - ``fgsm`` (Goodfellow et al., ICLR 2015):
      :math:`x' = \mathrm{clip}_{[0,1]}\,(x + \epsilon\,\mathrm{sign}\,\nabla_x L(x, y))`
    - ``pgd`` (Madry et al., ICLR 2018): ``steps`` such steps of size
      :math:`2.5\,\epsilon / \mathrm{steps}` from a random start in the ball, projected back onto the
      ball after each.

    The model is used as it is: the caller puts it in eval mode. Its parameters, their gradients, its
    modes and the global random state stay as they are. Gradients must be enabled.

    Args:
        model: Maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits.
        images: ``(n, c, h, w)``, floating point in [0, 1], on the model's device.
        labels: ``(n,)`` integers.
        attack: ``fgsm`` or ``pgd``.
        eps: Radius ε in grey levels of 255, 0 < ε ≤ 255.
        steps: Steps of ``pgd``, at least 1.
        seeds: One seed per image for the random start of ``pgd``, so that the start does not depend on
            batches, order or the number of processes; by default 0, 1, 2, ….

    Returns:
        Images of the same shape in [0, 1], no further than ε/255 from the original in any value.

    Raises:
        InputError: Unknown attack, ε or steps out of range, images outside [0, 1], or a wrong number of seeds.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x = torch.full((1, 1, 2, 2), 0.5)
        >>> moved = adversarial_images(model.eval(), x, torch.tensor([0]), attack="fgsm", eps=51)
        >>> bool(((moved - x).abs() <= 0.2 + 1e-6).all())
        True
    """
    check_attack(attack, eps, steps)
    if not torch.is_floating_point(images) or not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"attacks need floating-point images in [0, 1], got {images.dtype} "
            f"in [{float(images.min()):g}, {float(images.max()):g}]"
        )
    radius = eps / 255
    method: torchattacks.Attack
    if attack == "fgsm":
        method = torchattacks.FGSM(model, eps=radius)
    else:
        seeds = range(len(images)) if seeds is None else seeds
        if len(seeds) != len(images):
            raise InputError(f"{len(seeds)} seeds for {len(images)} images: give one per image")
        start = _random_start(images, radius, seeds)
        method = _PGDFrom(start, model, eps=radius, alpha=2.5 * radius / steps, steps=steps)
    # torchattacks takes the device of the first parameter, which a model may not have.
    method.set_device(images.device)
    # Calling the attack instead of its forward() would switch the modes of the model's modules.
    perturbed: Tensor = method.forward(images, labels)
    return perturbed


def check_attack(attack: str, eps: float, steps: int = 1) -> None:
    """Refuse what no attack can do.

    Raises:
        InputError: Unknown attack, or ε or the number of steps out of range.

    Example:
        >>> check_attack("fgsm", 300)
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: eps=300 is out of range: choose 0 < eps <= 255 (grey levels of 255)
    """
    if attack not in ATTACKS:
        raise InputError(f"unknown attack {attack!r}: choose from {', '.join(ATTACKS)}")
    if not 0 < eps <= _MAX_EPS:
        raise InputError(f"eps={eps:g} is out of range: choose 0 < eps <= 255 (grey levels of 255)")
    if steps < 1:
        raise InputError(f"steps={steps} is out of range: PGD takes at least one step")


def _random_start(images: Tensor, radius: float, seeds: Sequence[int]) -> Tensor:
    """Uniform points of the ball around each image, drawn on the CPU from that image's own seed."""
    generator = torch.Generator()
    noise = [torch.rand(images.shape[1:], generator=generator.manual_seed(seed)) for seed in seeds]
    offset = (2 * torch.stack(noise) - 1) * radius
    return (images + offset.to(images)).clamp(0, 1).detach()


class _PGDFrom(torchattacks.PGD):  # type: ignore[misc]  # torchattacks has no types
    """torchattacks' PGD, but from a given start: its own draws from the global generator."""

    def __init__(self, start: Tensor, model: nn.Module, *, eps: float, alpha: float, steps: int) -> None:
        super().__init__(model, eps=eps, alpha=alpha, steps=steps, random_start=False)
        self.start = start

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = nn.CrossEntropyLoss()
        adversarial = self.start
        for _ in range(self.steps):
            adversarial = adversarial.detach().requires_grad_()
            cost = loss(self.get_logits(adversarial), labels)
            gradient = torch.autograd.grad(cost, adversarial)[0]
            moved = adversarial.detach() + self.alpha * gradient.sign()
            adversarial = (images + (moved - images).clamp(-self.eps, self.eps)).clamp(0, 1)
        return adversarial
