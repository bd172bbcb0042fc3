"""Convolutions that oneDNN gives wrong gradients for in bfloat16, computed in the precision of their weights."""

from typing import cast

import torch
from torch import Tensor, nn


class WholePrecisionConv2d(nn.Conv2d):
    """A convolution that autocast leaves alone."""

    def forward(self, input: Tensor) -> Tensor:
        """As of any convolution, in the precision of the weights."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


def outstrided(network: nn.Module, input_shape: tuple[int, int, int]) -> list[str]:
    """Names of the convolutions whose stride is larger than the map that they get.

    On processors oneDNN (seen in torch 2.14) fills the bfloat16 gradient of their weights with whatever is in memory.
    Such are the last ones of networks on images of 16×16 and less.

    Args:
        network: A network on the meta device; nothing is computed.
        input_shape: ``(channels, height, width)`` of the images.
    """
    found: list[str] = []

    def look(name: str, convolution: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        stride = cast(tuple[int, int], convolution.stride)
        if any(size < step for size, step in zip(inputs[0].shape[2:], stride, strict=True)):
            found.append(name)

    handles = [
        part.register_forward_pre_hook(lambda part, inputs, name=name: look(name, part, inputs))
        for name, part in network.named_modules()
        if type(part) is nn.Conv2d
    ]
    network.eval()(torch.zeros(1, *input_shape, device="meta"))
    for handle in handles:
        handle.remove()
    return found


def compute_whole(network: nn.Module, names: list[str]) -> None:
    """Make these convolutions of a network :class:`WholePrecisionConv2d`; weights and their names stay."""
    for name in names:
        network.get_submodule(name).__class__ = WholePrecisionConv2d
