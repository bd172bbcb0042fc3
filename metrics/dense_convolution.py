"""Convolutions over maps so small that they mostly multiply their own padding."""

from itertools import product

from torch import Tensor, nn
from torch.nn import functional as F


class DenseConvolution(nn.Module):
    r"""A convolution over maps of one small size, as one matrix product.

    A convolution with a kernel of :math:`k^2` pixels takes :math:`k^2` products per pixel of its output and pair of
    channels, and most of them are with padding where the map has fewer than :math:`k^2 / 2` pixels. The matrix has a
    row per pixel and channel of the output and a column per pixel and channel of the input, and leaves these out.
    Deep layers are such where images are small: 512 channels on 2×2 pixels, in a ResNet at 64×64.

    Args:
        convolution: One that :func:`is_mostly_padding`.
        height: Of the maps that it gets.
        width: Of the maps that it gets. Maps of another size go through the convolution itself.

    Example:
        >>> import torch
        >>> convolution = nn.Conv2d(3, 5, 3, padding=1)
        >>> dense = DenseConvolution(convolution, 2, 2)
        >>> maps = torch.rand(4, 3, 2, 2)
        >>> tuple(dense.weight.shape), torch.allclose(dense(maps), convolution(maps), atol=1e-6)
        ((20, 12), True)
    """

    def __init__(self, convolution: nn.Conv2d, height: int, width: int) -> None:
        super().__init__()
        self.convolution = convolution
        self.size = (height, width)
        kernel, steps = convolution.weight.detach(), convolution.stride
        before = [int(pad) for pad in convolution.padding]
        out = [(self.size[i] + 2 * before[i] - kernel.shape[2 + i]) // steps[i] + 1 for i in range(2)]
        self.shape = (*out, len(kernel))
        weight = kernel.new_zeros(*self.shape, *self.size, kernel.shape[1])
        for y, x, row, column in product(*map(range, (*out, *self.size))):
            down, across = row + before[0] - y * steps[0], column + before[1] - x * steps[1]
            if 0 <= down < kernel.shape[2] and 0 <= across < kernel.shape[3]:
                weight[y, x, :, row, column] = kernel[:, :, down, across]
        self.weight = nn.Parameter(weight.flatten(3).flatten(0, 2), requires_grad=False)
        bias = None if convolution.bias is None else convolution.bias.detach().repeat(out[0] * out[1])
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, maps: Tensor) -> Tensor:
        """What the convolution gives."""
        if maps.shape[2:] != self.size:
            convolved: Tensor = self.convolution(maps)
            return convolved
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # a view of maps that are channels-last
        return F.linear(flat, self.weight, self.bias).reshape(-1, *self.shape).permute(0, 3, 1, 2)


def is_mostly_padding(convolution: nn.Conv2d, height: int, width: int) -> bool:
    """Whether most products of a convolution over maps of this size are with its padding, which is zero.

    Example:
        >>> convolution = nn.Conv2d(3, 5, 3, padding=1)
        >>> is_mostly_padding(convolution, 2, 2), is_mostly_padding(convolution, 3, 3)
        (True, False)
    """
    plain = convolution.groups == 1 and convolution.padding_mode == "zeros" and convolution.dilation == (1, 1)
    across = convolution.kernel_size[0] * convolution.kernel_size[1]
    return plain and not isinstance(convolution.padding, str) and 2 * height * width < across
