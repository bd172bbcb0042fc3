"""Frozen copies: the same logits, nothing shared that could change, batch norm folded only where that is right."""

import pytest
import timm
import torch
from torch import Tensor, nn

from metrics import Precision, computes_in_bf16, frozen_copy
from metrics.dense_convolution import DenseConvolution


def _with_statistics(model: nn.Module) -> nn.Module:
    """Batch norm as after training."""
    generator = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(part.weight, 1, 0.2, generator=generator)
            nn.init.normal_(part.bias, 0, 0.2, generator=generator)
    return model.eval()


def _images(n: int, channels: int = 3, side: int = 32) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1))


def _norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())


@pytest.mark.parametrize("name", ["resnet18", "vgg13_bn", "test_resnet", "densenet121"])
def test_logits_and_gradients_are_those_of_the_model(name: str) -> None:
    torch.manual_seed(0)
    model = _with_statistics(timm.create_model(name, num_classes=3)).double()
    images = _images(3).double()
    frozen = frozen_copy(model, images)
    torch.testing.assert_close(frozen(images), model(images), rtol=1e-8, atol=1e-10)
    gradients = []
    for network in (frozen, model):
        leaf = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(network(leaf)[:, 0].sum(), leaf)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet18", "vgg13_bn"])
def test_every_batch_norm_behind_a_convolution_is_folded(name: str) -> None:
    model = _with_statistics(timm.create_model(name, num_classes=2))
    assert _norms(model) > 0
    assert _norms(frozen_copy(model, _images(2))) == 0
    assert _norms(frozen_copy(model)) == _norms(model)


@pytest.mark.parametrize("side", [64, 48, 96])
def test_convolutions_that_mostly_multiply_padding_are_dense(side: int) -> None:
    model = _with_statistics(timm.create_model("resnet18", num_classes=2)).double()
    frozen = frozen_copy(model, _images(1, side=64).double())
    dense = [name for name, part in frozen.named_modules() if isinstance(part, DenseConvolution)]
    assert dense == [f"network.layer4.{name}" for name in ("0.conv2", "1.conv1", "1.conv2")]  # on 2x2 pixels
    images = _images(2, side=side).double()
    torch.testing.assert_close(frozen(images), model(images), rtol=1e-8, atol=1e-10)


class _Branches(nn.Module):
    """A convolution that batch norm is not alone in reading."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        convolved = self.convolution(images)
        logits: Tensor = (self.norm(convolved) + convolved).mean((2, 3))
        return logits


def test_what_cannot_be_folded_is_left_as_it_is() -> None:
    model, images = _with_statistics(_Branches()), _images(2)
    frozen = frozen_copy(model, images)
    assert _norms(frozen) == 1
    torch.testing.assert_close(frozen(images), model(images))


def test_the_model_is_left_alone() -> None:
    model = timm.create_model("test_resnet", num_classes=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = frozen_copy(model, _images(2), bf16=True)
    frozen(_images(2))
    assert all(part.training for part in model.modules())
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert not any(part.training for part in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_weights_are_shared() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    frozen, images = frozen_copy(model), _images(1, 3, 2)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.fill_(7)
    assert frozen(images).tolist() == [[7, 7]]


def test_bf16_computes_in_bf16_and_answers_in_single_precision() -> None:
    model, images = _with_statistics(timm.create_model("test_resnet", num_classes=2)), _images(8)
    seen: set[torch.dtype] = set()
    frozen = frozen_copy(model, images, bf16=True)
    for part in frozen.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    logits, exact = frozen(images), model(images)
    assert seen == {torch.bfloat16}
    assert logits.dtype == torch.float32
    assert 0 < (logits - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize(("precision", "expected"), [("float32", False), ("bf16", True)])
def test_precision_is_what_was_asked_for(precision: Precision, expected: bool) -> None:
    assert computes_in_bf16(precision, torch.device("cpu")) is expected
