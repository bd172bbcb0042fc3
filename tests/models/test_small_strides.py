"""Gradients of convolutions whose stride is larger than their map, which oneDNN gets wrong in bfloat16."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import Backbone
from models.small_strides import WholePrecisionConv2d, compute_whole


def whole(backbone: Backbone) -> list[str]:
    return [name for name, part in backbone.network.named_modules() if isinstance(part, WholePrecisionConv2d)]


@pytest.mark.parametrize(("side", "expected"), [(16, ["layer4.0.conv1", "layer4.0.downsample.0"]), (17, []), (32, [])])
def test_they_are_found(side: int, expected: list[str]) -> None:
    assert whole(Backbone("resnet18", num_classes=2, input_shape=(1, side, side))) == expected


def test_the_network_stays_what_it_was() -> None:
    backbone = Backbone("resnet18", num_classes=2, input_shape=(1, 16, 16))
    plain = copy.deepcopy(backbone)
    for part in plain.modules():
        if isinstance(part, WholePrecisionConv2d):
            part.__class__ = nn.Conv2d
    assert list(plain.state_dict()) == list(backbone.state_dict())
    images = torch.rand(3, 1, 16, 16)
    assert torch.equal(plain.eval()(images), backbone.eval()(images))


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 1), (3, 4, 3), (7, 4, 2)])
def test_gradients_under_autocast_are_those_of_float32(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 32, kernel, stride, kernel // 2))
    compute_whole(model, ["0"])
    maps = torch.randn(8, 64, side, side)
    for _ in range(5):  # whatever happens to be in memory
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(maps)
        upon = torch.randn_like(found)
        (gradient,) = torch.autograd.grad(found, model[0].weight, upon)
        weight = model[0].weight.detach().double().requires_grad_()
        exact = F.conv2d(maps.double(), weight, model[0].bias.detach().double(), stride, kernel // 2)
        (expected,) = torch.autograd.grad(exact, weight, upon.double())
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-4)
