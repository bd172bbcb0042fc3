"""timm networks behind one interface: logits, pooled features, named layers with relative depth."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn

from metrics import InputError
from models.small_strides import compute_whole, outstrided

BACKBONES: Final = ("resnet18", "resnet34", "resnet50", "vgg13", "vgg16", "vgg19")
"""The six networks of the paper. Every other name that timm knows is accepted too."""

PENULTIMATE: Final = "penultimate"
"""Name of the features that the last linear layer reads."""

_VGG_DROPOUT = 0.5  # torchvision's and the paper's; timm's default is none
_MAX_SIDE = 512
_SHORTCUTS = {"downsample", "shortcut"}  # beside the main path, not part of its depth


class Backbone(nn.Module):
    """A timm network, trained from scratch, that also shows what it computes on the way.

    Args:
        name: A timm model name, for example one of :data:`BACKBONES`.
        num_classes: Number of logits, at least 2.
        input_shape: ``(channels, height, width)`` of the images, height = width.
        drop_rate: Dropout before the classifier, 0 ≤ p < 1; None takes 0.5 for VGG (as the paper's
            networks have) and 0 for all others.

    Raises:
        InputError: Unknown name (with near matches), or images too small for the network.

    Example:
        >>> backbone = Backbone("test_resnet", num_classes=2, input_shape=(1, 32, 32)).eval()
        >>> images = torch.zeros(3, 1, 32, 32)
        >>> backbone(images).shape, backbone.features(images, ["penultimate"])["penultimate"].shape
        (torch.Size([3, 2]), torch.Size([3, 96]))
    """

    def __init__(
        self, name: str, *, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None = None
    ) -> None:
        super().__init__()
        _check(name, num_classes, input_shape, drop_rate)
        self.name = name
        self.input_shape = input_shape
        probe = _on_meta(name, num_classes, input_shape, drop_rate)
        if probe is None or not _fits(probe, input_shape):
            raise InputError(_too_small(name, num_classes, input_shape, drop_rate))
        self._depths = _relative_depths(probe, input_shape)
        self.network = _create(name, num_classes, input_shape, drop_rate).to(memory_format=torch.channels_last)
        compute_whole(self.network, outstrided(probe, input_shape))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, num_classes)`` of images ``(n, c, h, w)``."""
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    @property
    def depths(self) -> Mapping[str, float]:
        """Relative depth of every layer that can be read, in the order of computation.

        The relative depth of a module is the share of the network's weight layers (convolutions and
        linear maps, shortcut projections aside) that have run when it returns: in (0, 1], and 1 only for
        the logits. ``penultimate`` has run all but the classifier.
        """
        return self._depths

    def depth_profile(self) -> list[str]:
        """Layers for a profile over depth: the network's stages, as timm lists them, and ``penultimate``.

        Example:
            >>> Backbone("resnet18", num_classes=2, input_shape=(1, 32, 32)).depth_profile()
            ['act1', 'layer1', 'layer2', 'layer3', 'layer4', 'penultimate']
        """
        return [*(name for name in _stages(self.network) if name in self._depths), PENULTIMATE]

    def check_layers(self, layers: Iterable[str]) -> None:
        """Refuse names that are no layer of this network.

        Raises:
            InputError: Unknown layer, with near matches.
        """
        for layer in layers:
            if layer not in self._depths:
                near = difflib.get_close_matches(layer, self._depths, n=3) or self.depth_profile()
                raise InputError(f"{self.name} has no layer {layer!r}: near matches are {', '.join(near)}")

    def features(self, images: Tensor, layers: Iterable[str] = (PENULTIMATE,)) -> dict[str, Tensor]:
        """What the network computes for a batch of images, in the mode that it is in.

        Args:
            images: ``(n, c, h, w)``.
            layers: Names from :attr:`depths`.

        Returns:
            One float32 matrix ``(n, d)`` per layer. ``penultimate`` is pooled over space (for VGG: after
            the last ReLU); other layers are flattened, nothing pooled.

        Raises:
            InputError: Unknown layer.
        """
        wanted = list(layers)
        self.check_layers(wanted)
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                # A later in-place ReLU may overwrite the output, so it is copied.
                found[name] = output.detach().float().flatten(1).clone()

            return hook

        modules = dict(self.network.named_modules())
        handles = [modules[name].register_forward_hook(keep(name)) for name in wanted if name != PENULTIMATE]
        network: Any = self.network
        try:
            maps = network.forward_features(images.contiguous(memory_format=torch.channels_last))
            if PENULTIMATE in wanted:
                pooled = network.forward_head(maps, pre_logits=True)
                found[PENULTIMATE] = pooled.detach().float().flatten(1)
            if len(found) < len(wanted):  # a layer of the classifier
                network.forward_head(maps)
        finally:
            for handle in handles:
                handle.remove()
        return {name: found[name] for name in wanted}


def _check(name: str, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None) -> None:
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"the paper's are {', '.join(BACKBONES)}"
        raise InputError(f"unknown backbone {name!r}: {hint}")
    if num_classes < 2:
        raise InputError(f"num_classes={num_classes}: at least 2 are needed")
    if len(input_shape) != 3 or min(input_shape) < 1 or input_shape[1] != input_shape[2]:
        raise InputError(f"input_shape={tuple(input_shape)}: expected (channels, side, side), all positive")
    if drop_rate is not None and not 0 <= drop_rate < 1:
        raise InputError(f"drop_rate={drop_rate:g} is out of range: choose 0 <= drop_rate < 1")


def _create(name: str, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None) -> nn.Module:
    if drop_rate is None:
        drop_rate = _VGG_DROPOUT if name.startswith("vgg") else 0.0
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": input_shape[0], "drop_rate": drop_rate}
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        options["img_size"] = input_shape[1]  # transformers lay out their position embedding for it
    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network


def _on_meta(
    name: str, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None
) -> nn.Module | None:
    """The network without memory or arithmetic, to try things on; None where it cannot be built."""
    try:
        with torch.device("meta"):
            return _create(name, num_classes, input_shape, drop_rate)
    except (RuntimeError, ValueError, AssertionError):
        return None


def _stages(network: Any) -> dict[str, int]:
    """Modules that end the network's stages, and how much smaller than the image their maps are."""
    return {stage["module"]: stage["reduction"] for stage in network.feature_info}


def _fits(network: nn.Module, input_shape: tuple[int, int, int]) -> bool:
    """Whether the network can train on such images, tried without computing anything."""
    if 2 * input_shape[1] < max(_stages(network).values(), default=1):
        return False  # maps would shrink to one pixel before the last stage begins
    try:
        network.train()(torch.zeros(2, *input_shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True


def _too_small(name: str, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None) -> str:
    channels, side, _ = input_shape
    for larger in range(side + 1, _MAX_SIDE + 1):
        shape = (channels, larger, larger)
        probe = _on_meta(name, num_classes, shape, drop_rate)
        if probe is not None and _fits(probe, shape):
            return f"images of {side}x{side} do not fit {name}: the smallest larger size that does is {larger}x{larger}"
    return f"images of {side}x{side} do not fit {name}: choose another size or backbone"


def _relative_depths(network: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, float]:
    """Share of the weight layers that have run when each module returns, in order of return."""
    done = 0
    after: dict[str, int] = {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            nonlocal done
            if isinstance(module, nn.Conv2d | nn.Linear) and not _SHORTCUTS.intersection(name.split(".")):
                done += 1
            if isinstance(output, Tensor) and name:
                after[name] = done

        return hook

    handles = [module.register_forward_hook(hook_for(name)) for name, module in network.named_modules()]
    network.eval()(torch.zeros(1, *input_shape, device="meta"))
    for handle in handles:
        handle.remove()
    depths = {name: count / done for name, count in after.items() if count > 0}
    depths[PENULTIMATE] = (done - 1) / done
    return depths


def default_batch_size(backbone: str) -> int:
    """The paper's batch size: 40 / 25 / 12 for ResNet-18 / 34 / 50 and 6 for VGG; 40 for any other.

    Example:
        >>> default_batch_size("resnet50"), default_batch_size("vgg13")
        (12, 6)
    """
    if backbone.startswith("vgg"):
        return 6
    return {"resnet34": 25, "resnet50": 12}.get(backbone, 40)
