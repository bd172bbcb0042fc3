"""A network for attacks: nothing of it can change, and it runs faster than the one it was made from."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from metrics.dense_convolution import DenseConvolution, is_mostly_padding

Precision = Literal["auto", "float32", "bf16"]


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16: always, never, or where the hardware multiplies it (``auto``).

    Example:
        >>> computes_in_bf16("float32", torch.device("cpu"))
        False
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # No public function says so.
    on_cpu = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return device.type == "cpu" and bool(on_cpu)


class Frozen(nn.Module):
    """A network in eval mode whose parameters take no gradients.

    Args:
        network: The network.
        bf16: Compute in bfloat16, as autocast does.
    """

    def __init__(self, network: nn.Module, *, bf16: bool = False) -> None:
        super().__init__()
        self.network = network
        self.bf16 = bf16
        self.anchor = nn.Parameter(torch.empty(0), requires_grad=False)  # torchattacks asks for a first parameter

    def forward(self, images: Tensor) -> Tensor:
        """Logits, in the precision of the images."""
        exact = torch.float64 in {parameter.dtype for parameter in self.network.parameters()}
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.network(images.double() if exact else images)  # FAB makes single precision of all
        return logits.to(images.dtype)


def frozen_copy(model: nn.Module, example: Tensor | None = None, *, bf16: bool = False) -> Frozen:
    """A copy of a model to take gradients with respect to images from.

    It shares the model's weights, so it costs little memory, and is to be used before the model changes again. It is in
    eval mode, and none of its parameters takes a gradient; the model itself is left alone.

    Args:
        model: Maps ``(n, c, h, w)`` images to logits.
        example: Images, of which one is tried. If given, batch norm is folded into the convolutions before it, and
            convolutions over the smallest maps become matrix products, if that leaves the logits as they are; and
            convolutions run channels-last. For images of another size it is right too, and slower.
        bf16: Convolutions and linear maps compute in bfloat16: faster where the processor multiplies it in hardware.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> images = torch.rand(5, 1, 3, 3)
        >>> frozen = frozen_copy(model, images)
        >>> type(frozen.network[1]).__name__, torch.allclose(frozen(images), model(images), atol=1e-5)
        ('Identity', True)
    """
    frozen = _copy(model)
    if example is not None:
        folded = _copy(model)
        with torch.no_grad():
            expected = _fold(folded, example[:1])
            found = folded(example[:1])
        if (found - expected).abs().max() <= 1e-4 * expected.abs().max():  # not where weights are no numbers
            frozen = folded
        frozen = frozen.to(memory_format=torch.channels_last)
    if bf16:
        frozen.bf16 = True
        for part in frozen.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear, DenseConvolution)):
                part.to(torch.bfloat16)  # once, and not at every call
    return frozen


def _copy(model: nn.Module) -> Frozen:
    """Modules of its own, parameters and buffers in the same memory."""
    memo: dict[int, Tensor] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    memo |= {id(b): b.detach() for b in model.buffers()}
    return Frozen(copy.deepcopy(model, memo)).eval()


def _fold(frozen: Frozen, example: Tensor) -> Tensor:
    """Put every batch norm that directly follows a convolution into it, and make small convolutions dense.

    Returns:
        The logits before.
    """
    names = {part: name for name, part in frozen.named_modules()}
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keeps outputs, so that no other tensor can take their place
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    sizes: dict[str, tuple[int, int]] = {}

    def convolved(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(part, nn.Conv2d)
        made[id(output)] = (part, output)
        height, width = inputs[0].shape[2:]
        if is_mostly_padding(part, height, width):
            sizes[names[part]] = (height, width)

    def normalized(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(part, nn.BatchNorm2d)
        if id(inputs[0]) in made and part.running_mean is not None:
            pairs.append((made[id(inputs[0])][0], part))

    handles = [part.register_forward_hook(convolved) for part in names if type(part) is nn.Conv2d]
    handles += [part.register_forward_pre_hook(normalized) for part in names if type(part) is nn.BatchNorm2d]
    try:
        logits: Tensor = frozen(example)
    finally:
        for handle in handles:
            handle.remove()
    for convolution, norm in pairs:
        _replace(frozen, names[convolution], fuse_conv_bn_eval(convolution, norm))
        _replace(frozen, names[norm], nn.Identity().eval())
    for name, size in sizes.items():
        small = frozen.get_submodule(name)
        assert isinstance(small, nn.Conv2d)
        _replace(frozen, name, DenseConvolution(small, *size).eval())
    return logits


def _replace(whole: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(whole.get_submodule(parent), own, part)
