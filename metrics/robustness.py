"""Adversarial evaluation: what an attack does to accuracy and loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.attacks import AttackName, adversarial_images
from metrics.errors import InputError
from metrics.estimate import Estimate, mean_estimate


@dataclass(frozen=True)
class Outcomes:
    """What a model makes of each image, before any averaging.

    Attributes:
        loss: Cross-entropy per image, ``(n,)``, float64, in nats.
        correct: Whether the image is classified right, ``(n,)``, bool.
    """

    loss: Tensor
    correct: Tensor


@dataclass(frozen=True)
class Robustness:
    r"""How a model stands up to one attack at one strength.

    Attributes:
        acc: Accuracy on the attacked images, in [0, 1].
        loss: Mean cross-entropy on the attacked images, in nats.
        loss_increase: Mean over images of :math:`L(x', y) - L(x, y)`, the paper's quantity, in nats;
            its standard error is that of the paired differences.
    """

    acc: Estimate
    loss: Estimate
    loss_increase: Estimate


def outcomes(model: nn.Module, images: Tensor, labels: Tensor) -> Outcomes:
    """Loss and correctness of every image.

    Args:
        model: Maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits; used in the mode it is in.
        images: ``(n, c, h, w)``, floating point.
        labels: ``(n,)`` integers in 0 … classes − 1.

    Returns:
        One loss and one verdict per image. Logits are taken to float64 before the loss, so mixed
        precision does not round it.

    Raises:
        InputError: A label that the model has no logit for.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Identity())
        >>> result = outcomes(model, torch.tensor([[[[0.2, 0.8]]]]), torch.tensor([1]))
        >>> result.correct.tolist()
        [True]
    """
    with torch.no_grad():
        logits = model(images).double()
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(
            f"labels lie in {int(labels.min())} … {int(labels.max())}, but the model has {logits.shape[1]} classes"
        )
    return Outcomes(
        loss=F.cross_entropy(logits, labels, reduction="none"),
        correct=logits.argmax(dim=1) == labels,
    )


def attacked_outcomes(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: AttackName,
    eps: float,
    steps: int = 10,
    seeds: Sequence[int] | None = None,
) -> Outcomes:
    """Loss and correctness of every image after an attack.

    Arguments, conditions and errors are those of :func:`metrics.attacks.adversarial_images`. Labels must be
    ones that the model has a logit for, as :func:`outcomes` on the original images makes sure.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
        >>> _ = model[1].load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
        >>> x, y = torch.tensor([[[[0.45, 0.55]]]]), torch.tensor([1])
        >>> attacked_outcomes(model, x, y, attack="fgsm", eps=51).correct.tolist()
        [False]
    """
    moved = adversarial_images(model, images, labels, attack=attack, eps=eps, steps=steps, seeds=seeds)
    return outcomes(model, moved, labels)


def robustness(clean: Outcomes, attacked: Outcomes) -> Robustness:
    """Average what an attack did over the images.

    Args:
        clean: Outcomes on the original images, ``(n,)``.
        attacked: Outcomes on the same images, attacked, in the same order.

    Returns:
        Means over images with their standard errors.

    Example:
        >>> clean = Outcomes(torch.tensor([0.1, 0.3]), torch.tensor([True, True]))
        >>> attacked = Outcomes(torch.tensor([0.3, 0.9]), torch.tensor([True, False]))
        >>> result = robustness(clean, attacked)
        >>> result.acc.value, round(result.loss_increase.value, 6)
        (0.5, 0.4)
    """
    return Robustness(
        acc=mean_estimate(attacked.correct),
        loss=mean_estimate(attacked.loss),
        loss_increase=mean_estimate(attacked.loss - clean.loss),
    )
