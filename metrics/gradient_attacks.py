"""Attacks that follow the gradient: FGSM and PGD, in L∞ and L2, with a strength of its own for every image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metrics.attacks import Norm

_TINY = 1e-30  # in place of a norm of zero


def ascent(network: nn.Module, images: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    r"""The direction in which the cross-entropy of each image rises fastest, of length 1 in the norm.

    The gradient is that of :math:`\log \sum_{j≠y} e^{z_j} - z_y`. It is the gradient of the cross-entropy divided by
    :math:`1 - p_y`, so it has the same direction, but where a network is sure of itself it does not vanish in rounding.

    Args:
        network: Maps images to logits.
        images: ``(n, c, h, w)``.
        labels: ``(n,)``.
        norm: linf takes signs, l2 divides by the Euclidean norm.

    Returns:
        ``(n, c, h, w)``; zero where the network does not depend on the image.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Identity())
        >>> ascent(network, torch.tensor([[[[0.2, 0.8]]]]), torch.tensor([1]), "linf").flatten().tolist()
        [1.0, -1.0]
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        logits = network(leaf)
        own = logits.gather(1, labels[:, None])
        others = logits.scatter(1, labels[:, None], -torch.inf)
        (gradient,) = torch.autograd.grad((others.logsumexp(1) - own[:, 0]).sum(), leaf)
    if norm == "linf":
        return gradient.sign()
    return gradient / _lengths(gradient).clamp_min(_TINY)


def fgsm(images: Tensor, direction: Tensor, radius: Tensor) -> Tensor:
    """One step of the whole radius.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        direction: What :func:`ascent` gives for them, whatever the radius.
        radius: ``(n,)``, in units of pixel values in [0, 1].
    """
    return (images + _each(radius, images) * direction).clamp(0, 1)


def pgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    radius: Tensor,
    *,
    start: Tensor,
    norm: Norm,
    steps: int,
    step: float,
) -> Tensor:
    """Steps uphill, each projected back onto the ball around the image.

    Args:
        network: Maps images to logits.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)``.
        radius: ``(n,)``, in units of pixel values in [0, 1].
        start: Points of the unit ball, of the shape of images.
        norm: Of the ball.
        steps: How many.
        step: Size of a step, in units of the radius.
    """
    reach = _each(radius, images)
    moved = (images + start * reach).clamp(0, 1)
    for _ in range(steps):
        offset = moved + step * reach * ascent(network, moved, labels, norm) - images
        if norm == "linf":
            offset = offset.clamp(-reach, reach)
        else:
            offset = offset * (reach / _lengths(offset).clamp_min(_TINY)).clamp_max(1)
        moved = (images + offset).clamp(0, 1)
    return moved


def starts(images: Tensor, seeds: Sequence[int], norm: Norm, restarts: int) -> list[Tensor]:
    """Random points of the unit ball, drawn on the CPU from each image's own seed.

    In L∞ they are uniform; in L2 the direction is uniform and so is the length. The first one does not depend on how
    many there are.

    Returns:
        One tensor of the shape of images per restart.
    """
    generator = torch.Generator()
    drawn = []
    for seed in seeds:
        generator.manual_seed(seed)
        drawn.append(torch.stack([_point(images.shape[1:], norm, generator) for _ in range(restarts)]))
    return [each.to(images) for each in torch.stack(drawn, dim=1)]


def _point(shape: Sequence[int], norm: Norm, generator: torch.Generator) -> Tensor:
    if norm == "linf":
        return 2 * torch.rand(tuple(shape), generator=generator) - 1
    direction = torch.randn(tuple(shape), generator=generator)
    point: Tensor = direction / torch.linalg.vector_norm(direction) * torch.rand((), generator=generator)
    return point


def _each(values: Tensor, images: Tensor) -> Tensor:
    """One value per image, to be multiplied with images."""
    return values.to(images)[:, None, None, None]


def _lengths(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=(1, 2, 3), keepdim=True)
    return lengths
