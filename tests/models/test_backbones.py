import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metrics import InputError
from models import BACKBONES, Backbone, default_batch_size

WIDTHS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "vgg13": 4096, "vgg16": 4096, "vgg19": 4096}


def build(
    name: str, channels: int = 1, side: int = 32, num_classes: int = 2, drop_rate: float | None = None
) -> Backbone:
    return Backbone(name, num_classes=num_classes, input_shape=(channels, side, side), drop_rate=drop_rate)


def on_meta(name: str, side: int = 32) -> Backbone:
    """A backbone to ask about its structure; it holds no numbers."""
    with torch.device("meta"):
        return build(name, side=side)


def last_linear(backbone: Backbone) -> nn.Linear:
    return [module for module in backbone.modules() if isinstance(module, nn.Linear)][-1]


def check_penultimate(backbone: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
    """The features named penultimate are what the last linear layer reads, and decide the logits."""
    received: list[Tensor] = []
    handle = last_linear(backbone).register_forward_pre_hook(lambda module, inputs: received.append(inputs[0].clone()))
    with torch.no_grad():
        logits = backbone(images)
        handle.remove()
        features = backbone.features(images)["penultimate"]
        assert torch.equal(features, received[0])
        torch.testing.assert_close(last_linear(backbone)(features), logits)
    return features, logits


def in_order(depths: list[float]) -> bool:
    return all(0 < a <= b <= 1 for a, b in itertools.pairwise(depths))


def count_hooks(backbone: Backbone) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in backbone.modules())


def test_the_papers_names_are_covered() -> None:
    assert tuple(WIDTHS) == BACKBONES


@pytest.mark.parametrize(("channels", "num_classes"), [(1, 2), (3, 5)])
@pytest.mark.parametrize("name", BACKBONES)
def test_papers_networks(name: str, channels: int, num_classes: int, rng: torch.Generator) -> None:
    backbone = build(name, channels, num_classes=num_classes)
    images = torch.rand(2, channels, 32, 32, generator=rng)
    features, logits = check_penultimate(backbone.eval(), images)
    assert logits.shape == (2, num_classes)
    assert features.shape == (2, WIDTHS[name])
    assert features.dtype == torch.float32
    rates = [module.p for module in backbone.modules() if isinstance(module, nn.Dropout)]
    if name.startswith("vgg"):
        assert rates == [0.5, 0.5]
        assert features.min() == 0  # after the ReLU
        assert features.max() > 0
    else:
        assert rates == []
        assert backbone.network.drop_rate == 0


@pytest.mark.parametrize(
    ("name", "channels", "side", "width"),
    [
        ("test_resnet", 1, 16, 96),
        ("test_resnet", 3, 32, 96),
        ("test_vit", 1, 32, 64),
        ("test_vit", 3, 48, 64),
        ("test_convnext", 3, 32, 64),
        ("test_byobnet", 1, 32, 256),
        ("vgg13", 1, 64, 4096),
        pytest.param("vgg13", 1, 224, 4096, marks=pytest.mark.slow),
    ],
)
def test_other_networks_and_sizes(name: str, channels: int, side: int, width: int, rng: torch.Generator) -> None:
    backbone = build(name, channels, side, num_classes=3).eval()
    images = torch.rand(2, channels, side, side, generator=rng)
    features, logits = check_penultimate(backbone, images)
    assert logits.shape == (2, 3)
    assert features.shape == (2, width)


@pytest.mark.parametrize(("name", "rate"), [("vgg11", 0.0), ("vgg11", 0.25), ("resnet18", 0.25)])
def test_given_drop_rate_wins(name: str, rate: float) -> None:
    with torch.device("meta"):
        backbone = build(name, drop_rate=rate)
    rates = [module.p for module in backbone.modules() if isinstance(module, nn.Dropout)]
    assert backbone.network.drop_rate == rate
    assert rates == ([rate, rate] if name.startswith("vgg") else [])


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("test_resnet", ["layer2", "bn1", "act1", "layer1.0.conv1", "fc"]),
        ("test_vit", ["patch_embed", "blocks.2", "norm"]),
    ],
)
def test_features_are_the_layers_outputs(name: str, layers: list[str], rng: torch.Generator) -> None:
    backbone = build(name).eval()
    images = torch.rand(3, 1, 32, 32, generator=rng)
    seen: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[layer] = output.clone().reshape(len(output), -1)

        return hook

    modules = dict(backbone.network.named_modules())
    handles = [modules[layer].register_forward_hook(keep(layer)) for layer in layers]
    with torch.no_grad():
        backbone(images)
    for handle in handles:
        handle.remove()

    together = backbone.features(images, layers)
    assert list(together) == layers
    for layer in layers:
        assert torch.equal(together[layer], seen[layer])
        assert torch.equal(backbone.features(images, [layer])[layer], seen[layer])
        assert not together[layer].requires_grad
    assert count_hooks(backbone) == 0


@pytest.mark.parametrize(
    ("name", "layers"), [("vgg11", ["features.0", "pre_logits.fc1"]), ("test_resnet", ["bn1", "layer2.0.bn1"])]
)
def test_features_before_an_inplace_relu(name: str, layers: list[str], rng: torch.Generator) -> None:
    backbone = build(name).eval()
    images = torch.rand(2, 1, 32, 32, generator=rng)
    modules = dict(backbone.network.named_modules())
    for layer in layers:
        later = list(modules)[list(modules).index(layer) + 1 :]
        relu = next(name for name in later if isinstance(modules[name], nn.ReLU))
        assert modules[relu].inplace
        found = backbone.features(images, [layer, relu])
        assert found[layer].min() < 0
        assert torch.equal(F.relu(found[layer]), found[relu])
    if name == "vgg11":
        conv = modules["features.0"]
        expected = F.conv2d(images, conv.weight, conv.bias, padding=1).flatten(1)
        torch.testing.assert_close(backbone.features(images, ["features.0"])["features.0"], expected)


def test_hooks_are_removed_after_an_exception() -> None:
    backbone = build("test_resnet")
    with pytest.raises(RuntimeError, match="channels"):
        backbone.features(torch.zeros(2, 3, 32, 32), ["layer1", "layer4"])
    assert count_hooks(backbone) == 0


def test_features_follow_the_mode() -> None:
    backbone = build("test_resnet", drop_rate=0.5)
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    training = backbone.features(images)["penultimate"]
    assert not torch.allclose(training, backbone.eval().features(images)["penultimate"])
    assert (training == 0).float().mean() > 0.25  # half of them dropped, where the layer before has few zeros


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        # 1 stem, 4 stages of 2 blocks with 2 convolutions, 1 linear
        ("resnet18", {"act1": 1, "layer1": 5, "layer2": 9, "layer3": 13, "layer4": 17, "penultimate": 17, None: 18}),
        # 1 stem; 3, 4, 6, 3 blocks with 2 convolutions; 1 linear
        ("resnet34", {"act1": 1, "layer1": 7, "layer2": 15, "layer3": 27, "layer4": 33, "penultimate": 33, None: 34}),
        # the same blocks with 3 convolutions
        ("resnet50", {"act1": 1, "layer1": 10, "layer2": 22, "layer3": 40, "layer4": 49, "penultimate": 49, None: 50}),
        # 5 groups of 2 convolutions, each ended by a ReLU that timm lists, the last pooling, 2 + 1 linear
        (
            "vgg13",
            {
                "features.3": 2,
                "features.8": 4,
                "features.13": 6,
                "features.18": 8,
                "features.23": 10,
                "features.24": 10,
                "penultimate": 12,
                None: 13,
            },
        ),
    ],
)
def test_depths_by_hand(name: str, profile: dict[str | None, int]) -> None:
    backbone = on_meta(name)
    layers = profile.pop(None)
    assert backbone.depth_profile() == list(profile)
    assert [backbone.depths[layer] * layers for layer in profile] == pytest.approx(list(profile.values()))


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "test_vit", "test_convnext", "test_efficientnet", "densenet121"])
def test_depths_increase(name: str) -> None:
    backbone = on_meta(name, side=64)
    assert in_order([backbone.depths[layer] for layer in backbone.depth_profile()])
    order = [depth for layer, depth in backbone.depths.items() if layer != "penultimate"]
    assert in_order(order)
    assert order[-1] == 1
    backbone.check_layers(backbone.depths)
    assert backbone.depths["penultimate"] == max(depth for depth in order if depth < 1)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ("layer5", r"test_resnet.*'layer5'.*layer\d"),
        ("zzz", "'zzz'.*act1, layer1, layer2, layer3, layer4, penultimate"),
    ],
)
def test_unknown_layers(layer: str, match: str) -> None:
    backbone = build("test_resnet")
    for call in (backbone.check_layers, lambda layers: backbone.features(torch.zeros(1, 1, 32, 32), layers)):
        with pytest.raises(InputError, match=match):
            call(["penultimate", layer])


@pytest.mark.parametrize(
    ("name", "num_classes", "input_shape", "drop_rate", "match"),
    [
        ("resnet81", 2, (1, 32, 32), None, "'resnet81'.*resnet18"),
        ("vgg_13", 2, (1, 32, 32), None, "'vgg_13'.*vgg13"),
        ("?", 2, (1, 32, 32), None, "'\\?'.*resnet18, resnet34, resnet50, vgg13, vgg16, vgg19"),
        ("vgg13", 2, (1, 28, 28), None, "28x28.*vgg13.*32x32"),
        ("test_vit", 2, (3, 10, 10), None, "10x10.*test_vit.*16x16"),
        ("resnet18", 2, (1, 8, 8), None, "8x8.*resnet18.*16x16"),
        ("test_resnet", 1, (1, 32, 32), None, "num_classes=1"),
        ("test_resnet", 2, (1, 32, 16), None, r"\(1, 32, 16\)"),
        ("test_resnet", 2, (0, 32, 32), None, r"\(0, 32, 32\)"),
        ("test_resnet", 2, (32, 32), None, r"\(32, 32\)"),
        ("test_resnet", 2, (1, 32, 32), 1.0, "drop_rate=1"),
        ("test_resnet", 2, (1, 32, 32), -0.1, r"drop_rate=-0\.1"),
    ],
)
def test_errors(
    name: str, num_classes: int, input_shape: tuple[int, int, int], drop_rate: float | None, match: str
) -> None:
    with pytest.raises(InputError, match=match):
        Backbone(name, num_classes=num_classes, input_shape=input_shape, drop_rate=drop_rate)


@pytest.mark.parametrize(("name", "side"), [("test_vit", 16), ("resnet18", 16)])
def test_the_smallest_size_that_is_named_trains(name: str, side: int, rng: torch.Generator) -> None:
    with pytest.raises(InputError, match=f"{side}x{side}"):
        build(name, side=side - 1)
    backbone = build(name, side=side)
    backbone(torch.rand(2, 1, side, side, generator=rng)).sum().backward()


@pytest.mark.parametrize(
    ("name", "options"),
    [("test_resnet", {}), ("resnet18", {}), ("test_vit", {"img_size": 32}), ("vgg11", {"drop_rate": 0.5})],
)
def test_construction_draws_the_numbers_that_timm_draws(name: str, options: dict[str, float]) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, pretrained=False, num_classes=3, in_chans=1, **options)
    expected = torch.get_rng_state()
    others = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002  # the global state is the point

    torch.manual_seed(0)
    ours = build(name, num_classes=3).network
    assert torch.equal(torch.get_rng_state(), expected)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == others  # noqa: NPY002
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 40), ("resnet34", 25), ("resnet50", 12), *((f"vgg{n}", 6) for n in (13, 16, 19)), ("test_vit", 40)],
)
def test_default_batch_size(name: str, size: int) -> None:
    assert default_batch_size(name) == size
