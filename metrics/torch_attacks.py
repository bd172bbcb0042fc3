"""The only file that knows torchattacks: APGD, FAB and Square without its traps.

The traps, and what is done here: attacks reseed the global generator and draw from it (their draws are answered from
each image's own seed); they switch modes and leave gradients in parameters (they get a frozen copy); they take the
device of the first parameter (it is set); the DLR loss needs three logits (the margin takes its place); FAB's result
may lie outside the ball (it does not count then).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torchattacks
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metrics.attacks import Norm
from metrics.frozen import Frozen

_STEPS = 100
_QUERIES = 5000
_LEAST_SIDE = 5  # that Square in L2 can lay out
_OUTSIDE = 1 + 1e-5  # of the radius: what rounding may add

Stage = Callable[[Frozen, Tensor, Tensor, float, Norm, Sequence[int]], Tensor]


def apgd_cross_entropy(
    network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int]
) -> Tensor:
    """APGD on the cross-entropy; ``radius`` in units of pixel values in [0, 1]."""
    return _apgd(network, images, labels, radius, norm, seeds, "ce")


def apgd_margin(
    network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int]
) -> Tensor:
    """APGD on the margin, which any number of classes has."""
    return _apgd(network, images, labels, radius, norm, seeds, "dlr")


def fab(network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int]) -> Tensor:
    """FAB: the nearest adversarial image, where that lies in the ball; nothing in it is random."""
    method = torchattacks.FAB(network, norm=_NORMS[norm], eps=radius, steps=_STEPS)
    method.set_device(images.device)
    moved = method.attack_single_run(images, labels).to(images)
    length = torch.linalg.vector_norm((moved - images).flatten(1), ord=_ORDERS[norm], dim=1)
    inside = (length <= radius * _OUTSIDE)[:, None, None, None]
    return torch.where(inside, moved, images)


def square(network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int]) -> Tensor:
    """Square: random squares that raise the loss, without gradients. In L2 torchattacks' takes square images only."""
    method = torchattacks.Square(network, norm=_NORMS[norm], eps=radius, n_queries=_QUERIES)
    method.set_device(images.device)
    method.init_hyperparam(images)
    height, width = images.shape[2:]
    if norm == "l2" and (height != width or height < _LEAST_SIDE):
        return images
    if norm == "linf":  # one sequence of squares for all images, the first pattern of each image its own
        with _Drawn(images.device, seeds):
            moved: Tensor = method.attack_single_run(images, labels)[1]
            return moved
    parts = []
    for i, seed in enumerate(seeds):
        with _Drawn(images.device, [seed]):  # images draw at every step, and fooled ones drop out
            parts.append(method.attack_single_run(images[i : i + 1], labels[i : i + 1])[1])
    return torch.cat(parts)


STAGES: tuple[Stage, ...] = (apgd_cross_entropy, apgd_margin, fab, square)
_NORMS = {"linf": "Linf", "l2": "L2"}
_ORDERS = {"linf": torch.inf, "l2": 2}


def _apgd(
    network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int], loss: str
) -> Tensor:
    method = _MarginAPGD(network, norm=_NORMS[norm], eps=radius, steps=_STEPS, loss=loss)
    method.set_device(images.device)
    with _Drawn(images.device, seeds):
        fooling: Tensor = method.attack_single_run(images, labels)[3]
    return fooling.detach()


class _MarginAPGD(torchattacks.APGD):  # type: ignore[misc]  # torchattacks has no types
    """torchattacks' APGD with the margin in place of the DLR loss."""

    def dlr_loss(self, x: Tensor, y: Tensor) -> Tensor:
        own = x.gather(1, y[:, None])[:, 0]
        others: Tensor = x.scatter(1, y[:, None], -torch.inf).amax(1)
        return others - own


class _Drawn(TorchFunctionMode):
    """Answers ``torch.rand`` and ``torch.randn`` from seeds; the global generator is not asked.

    What has four dimensions has a row per image, from that image's seed; everything else comes from one sequence, that
    of seed 0, the same whatever images there are.
    """

    def __init__(self, device: torch.device, seeds: Sequence[int]) -> None:
        super().__init__()
        self.device = device
        self.images = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shared = torch.Generator().manual_seed(0)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in (torch.rand, torch.randn):
            return func(*args, **(kwargs or {}))
        shape = tuple(args[0])
        if len(shape) == 4:
            return torch.stack([func(shape[1:], generator=generator) for generator in self._of(shape[0])])
        return func(shape, generator=self.shared)

    def _of(self, n: int) -> Iterator[torch.Generator]:
        assert n == len(self.images), f"{n} draws for {len(self.images)} images"
        return iter(self.images)
