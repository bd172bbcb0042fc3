"""Certified radius: how large a change of an image is proven not to fool a network."""

import torch
from torch import Tensor, nn

from metrics.boxes import Box
from metrics.crossings import crossings
from metrics.frozen import frozen_copy

_TINY = 1e-10  # a radius at which the bound on the margin has not bent yet
_BEYOND = 1.25  # a step slightly beyond where it is expected to reach zero brackets that


def certified_radius(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor | None:
    r"""A radius within which no image fools the model, for every image.

    .. math:: r(x) = 255 \cdot \max \{ε : \min_{j ≠ y} \underline{z_y - z_j}(B_ε) > 0\}, \qquad
              B_ε = \{x' \in [0, 1]^d : \lVert x' - x \rVert_\infty \le ε\}

    where the underlined margin is a lower bound over all of the box by interval arithmetic, the last linear map taken
    together with the difference of logits (Gowal et al., ICCV 2019). It holds in L2, too, where no distance is smaller
    than in L∞. It is about the network in eval mode, computed in float64, whose rounding is not bounded.

    On a linear model it is the minimal radius. With every layer it loses, and for networks of many layers, if not
    trained for it, it says nearly nothing: on digits of 32×32 pixels its median was 6.0 grey levels where PGD found
    9.4 for a perceptron with one hidden layer, 1.3 of 16.9 for two convolutions, and 0.0005 of 4.9 for a ResNet-18.

    Args:
        model: Maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits; convolutions, linear maps, batch norm,
            ReLU and the like, max and average pooling, sums and constant factors.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)`` integers.

    Returns:
        ``(n,)`` float64 in grey levels of 255, 0 where the model is wrong already, infinite where nothing in [0, 1]
        fools it; None for a model with an operation that is not known.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Identity())  # logits are the two pixels
        >>> certified_radius(model, torch.tensor([[[[0.4, 0.6]]]]), torch.tensor([1])).round(decimals=2).tolist()
        [25.5]
        >>> certified_radius(nn.Sequential(nn.GELU(), *model), torch.zeros(1, 1, 1, 2), torch.tensor([0])) is None
        True
    """
    network = frozen_copy(model).network.double()
    pixels = images.double()

    def least_margins(radius: Tensor, which: Tensor) -> Tensor:
        reach = radius[:, None, None, None]
        low, high = (pixels[which] - reach).clamp_min(0), (pixels[which] + reach).clamp_max(1)
        box: Box = network(Box((low + high) / 2, (high - low) / 2))
        return box.least_margins(labels[which])

    def evaluate(radius: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        margins = least_margins(radius, right[which])
        return margins, margins > 0

    radii = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    with torch.no_grad():
        try:
            margins = least_margins(radii, torch.arange(len(images), device=images.device))
        except TypeError:  # what is not known for boxes, and what Python does not find in them
            return None
        right = (margins > 0).nonzero().flatten()
        ones = torch.ones_like(radii[right])
        fall = margins[right] - least_margins(_TINY * ones, right)
        start = (_BEYOND * _TINY * margins[right] / fall).nan_to_num(1, 1).clamp(_TINY, 1)
        low, _ = crossings(evaluate, margins[right], start, ones)
    radii[right] = torch.where(low < 1, 255 * low, torch.inf)
    return radii
