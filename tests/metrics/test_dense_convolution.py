"""Convolutions as matrix products: the same maps and gradients, and only where that takes fewer products."""

from typing import Any

import pytest
import torch
from torch import nn

from metrics.dense_convolution import DenseConvolution, is_mostly_padding


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, 1, (2, 2)),
        (3, 1, 1, (1, 1)),
        (3, 2, 1, (2, 1)),
        (5, 1, 2, (3, 4)),
        (7, 2, 3, (4, 6)),
        ((1, 7), (1, 2), (0, 3), (1, 3)),
        ((5, 3), (3, 1), (2, 1), (2, 3)),
        (4, 2, 3, (2, 3)),
    ],
)
def test_it_is_the_convolution(kernel: Any, stride: Any, padding: Any, size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double()
    assert is_mostly_padding(convolution, *size)
    dense = DenseConvolution(convolution, *size)
    maps = torch.rand(4, 3, *size).double().requires_grad_()
    upon = torch.rand_like(convolution(maps))
    one, other = dense(maps), convolution(maps)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    (a,), (b,) = (torch.autograd.grad(found, maps, upon) for found in (one, other))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    another = torch.rand(2, 3, size[0] + 5, size[1] + 5).double()
    assert torch.equal(dense(another), convolution(another))


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"padding": "same"},
        {"kernel_size": 1, "padding": 0},
    ],
)
def test_others_are_left(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1}
    assert is_mostly_padding(nn.Conv2d(**given), 2, 2)
    assert not is_mostly_padding(nn.Conv2d(**given | options), 2, 2)
