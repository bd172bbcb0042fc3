"""Adversarial evaluation: what an attack does to accuracy and loss, at many strengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metrics.adversarial import Assault
from metrics.attacks import Attack, check_eps
from metrics.estimate import Estimate, mean_estimate
from metrics.frozen import Frozen
from metrics.outcomes import Outcomes


@dataclass(frozen=True)
class Robustness:
    r"""How a model stands up to one attack at one strength.

    Attributes:
        acc: Accuracy on the attacked images, in [0, 1].
        acc_of_correct: The same among images that the model had right before; None where it had none right. One minus
            it is the attack's success rate.
        loss: Mean cross-entropy on the attacked images, in nats.
        loss_increase: Mean over images of :math:`L(x', y) - L(x, y)`, the paper's quantity, in nats;
            its standard error is that of the paired differences.
    """

    acc: Estimate
    acc_of_correct: Estimate | None
    loss: Estimate
    loss_increase: Estimate


def attacked_outcomes(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    clean: Outcomes,
    *,
    attack: Attack,
    eps: Sequence[float],
    seeds: Sequence[int] | None = None,
    network: Frozen | None = None,
    with_loss: bool = True,
) -> dict[float, Outcomes]:
    """Loss and correctness of every image after an attack, at every strength.

    Verdicts are nested: an image that is fooled at one ε, or wrong without any attack, stays fooled at every larger ε.
    The loss is that of the attack at this very ε, as the paper's. ``auto`` attacks only images that still stand: the
    loss of the others stays what it was when they fell.

    Args:
        model: The judge; maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits. In eval mode.
        images: ``(n, c, h, w)``, floating point in [0, 1], on the model's device.
        labels: ``(n,)`` integers.
        clean: What the model makes of the images as they are.
        attack: The attack.
        eps: Radii in grey levels of 255, in any order.
        seeds: One per image; by default 0, 1, 2, ….
        network: What gradients are taken from; default a frozen copy of the model.
        with_loss: If False, images that are wrong already are not attacked, and losses mean nothing.

    Raises:
        InputError: As :func:`metrics.adversarial_images`.

    Example:
        >>> from metrics import outcomes
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
        >>> _ = model[1].load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
        >>> x, y = torch.tensor([[[[0.45, 0.55]]]]), torch.tensor([1])
        >>> after = attacked_outcomes(model, x, y, outcomes(model, x, y), attack=Attack("fgsm"), eps=[2, 51])
        >>> {radius: found.correct.tolist() for radius, found in after.items()}
        {2: [True], 51: [False]}
    """
    for radius in eps:
        check_eps(radius, attack.norm)
    assault = Assault(attack, model, images, labels, seeds=seeds, network=network)
    after: dict[float, Outcomes] = {}
    last = clean
    for radius in sorted(set(eps)):
        every = with_loss and attack.name != "auto"
        which = torch.arange(len(images), device=images.device) if every else last.correct.nonzero().flatten()
        loss, correct = last.loss.clone(), last.correct.clone()
        if len(which):
            found = assault.at(torch.full((len(which),), radius / 255, dtype=torch.float64), which).outcomes
            loss[which], correct[which] = found.loss, correct[which] & found.correct
        after[radius] = last = Outcomes(loss, correct)
    return after


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
        acc_of_correct=mean_estimate(attacked.correct[clean.correct]) if clean.correct.any() else None,
        loss=mean_estimate(attacked.loss),
        loss_increase=mean_estimate(attacked.loss - clean.loss),
    )
