"""What a model makes of each image, before any averaging."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics.errors import InputError


@dataclass(frozen=True)
class Outcomes:
    """What a model makes of each image.

    Attributes:
        loss: Cross-entropy per image, ``(n,)``, float64, in nats.
        correct: Whether the image is classified right, ``(n,)``, bool.
    """

    loss: Tensor
    correct: Tensor


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
    if len(labels) and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        raise InputError(
            f"labels lie in {int(labels.min())} … {int(labels.max())}, but the model has {logits.shape[1]} classes"
        )
    loss = F.cross_entropy(logits, labels, reduction="none")
    return Outcomes(loss, correct=(logits.argmax(dim=1) == labels) & loss.isfinite())  # NaN is no answer
