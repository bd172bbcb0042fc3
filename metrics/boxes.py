"""Boxes: everything that a network may compute from the images of a box, by interval arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class UnboundedError(TypeError):
    """An operation that is not known for boxes."""


class Box:
    r"""A tensor of which is only known that it lies in ``centre ± radius``, elementwise.

    A network takes it in place of a tensor, and returns the box of everything that it may compute (interval bound
    propagation; Gowal et al., ICCV 2019): an affine map :math:`W x + b` takes the radius to :math:`|W| r`, ReLU and
    maxima act on both ends. In-place operations change the box that they are called on.

    Args:
        centre: float64, of any shape.
        radius: The same, ≥ 0.

    Example:
        >>> box = torch.relu(Box(torch.tensor([1.0, -3.0]).double(), torch.tensor([2.0, 1.0]).double()))
        >>> box.ends[0].tolist(), box.ends[1].tolist()
        ([0.0, 0.0], [3.0, 0.0])
    """

    def __init__(self, centre: Tensor, radius: Tensor) -> None:
        self.centre, self.radius = centre, radius
        self.source: tuple[Tensor, Tensor] | None = None
        """Radius of the input, and weight, where a linear map made the box."""

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The lower and the upper one."""
        return self.centre - self.radius, self.centre + self.radius

    def least_margins(self, labels: Tensor) -> Tensor:
        r"""The least that :math:`z_y - \max_{j ≠ y} z_j` can be, where the box holds logits z ``(n, classes)``.

        If a linear map made them, its rows are subtracted before absolute values are taken, so that what two logits
        have in common does not widen their difference.

        Args:
            labels: y, ``(n,)``.

        Returns:
            ``(n,)``.
        """
        own = labels[:, None]
        if self.source is None:
            spread = self.radius.gather(1, own) + self.radius
        else:
            radius, weight = self.source
            spread = torch.empty_like(self.centre)
            for label in set(labels.tolist()):
                spread[labels == label] = radius[labels == label] @ (weight[label] - weight).abs().T
        margins = self.centre.gather(1, own) - self.centre - spread
        return margins.scatter(1, own, torch.inf).amin(1)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> "Box":
        """Functions of boxes."""
        return _call(func, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        """Methods are functions, too; shape and the like are the centre's."""
        if name in ("shape", "ndim", "dtype", "device", "size", "dim"):
            return getattr(self.centre, name)
        if name.startswith("__"):
            raise AttributeError(name)  # protocols that Python asks for
        method = getattr(torch.Tensor, name, None)
        if not callable(method):
            raise UnboundedError(name)
        return lambda *args, **kwargs: _call(method, self, *args, **kwargs)

    def __add__(self, other: Any) -> "Box":
        return _call(torch.Tensor.add, self, other)

    def __iadd__(self, other: Any) -> "Box":
        return _call(torch.Tensor.add_, self, other)

    def __sub__(self, other: Any) -> "Box":
        return _call(torch.Tensor.sub, self, other)

    def __mul__(self, other: Any) -> "Box":
        return _call(torch.Tensor.mul, self, other)

    def __truediv__(self, other: Any) -> "Box":
        return _call(torch.Tensor.div, self, other)

    __radd__, __rmul__ = __add__, __mul__


def _call(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Box:
    name = func.__name__.strip("_")
    if name not in _RULES:
        raise UnboundedError(f"{name} of a box")
    box: Box = _RULES[name](func, *args, **kwargs)
    if box.centre.dtype != torch.float64:
        raise UnboundedError(f"{name} to {box.centre.dtype}")
    in_place = func.__name__.endswith("_") and not func.__name__.endswith("__")
    if in_place or kwargs.get("inplace"):
        first = args[0]
        # Into the same memory: others may hold views of it.
        first.centre.copy_(box.centre)
        first.radius.copy_(box.radius)
        first.source = None
        return first  # type: ignore[no-any-return]  # a box, or there would have been no rule for it
    return box


def _parts(value: Any, like: Any) -> tuple[Tensor, Tensor]:
    """Centre and radius of a box, or of a constant."""
    if isinstance(value, Box):
        return value.centre, value.radius
    centre = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    return centre, torch.zeros_like(centre)


def _sum(func: Callable[..., Any], a: Any, b: Any) -> Box:
    (centre, radius), (other, its) = _parts(a, b), _parts(b, a)
    name = func.__name__.strip("_")
    return Box(centre + other if name == "add" else centre - other, radius + its)


def _scaled(func: Callable[..., Any], a: Any, b: Any) -> Box:
    name = func.__name__.strip("_")
    if name == "mul" and isinstance(b, Box):
        a, b = b, a
    if not isinstance(a, Box) or isinstance(b, Box):
        raise UnboundedError(f"{name} by a box")
    factor, _ = _parts(b, a)
    return Box(func(a.centre.clone(), factor), func(a.radius.clone(), factor.abs()))


def _affine(func: Callable[..., Any], box: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Box:
    if not isinstance(weight, Tensor):
        raise UnboundedError("a map that is a box")
    made = Box(func(box.centre, weight, bias, *args, **kwargs), func(box.radius, weight.abs(), None, *args, **kwargs))
    if func.__name__ == "linear":
        made.source = box.radius.clone(), weight
    return made


def _batch_norm(
    func: Callable[..., Any],
    box: Any,
    mean: Any,
    variance: Any,
    *,
    weight: Any,
    bias: Any,
    training: bool,
    **kwargs: Any,
) -> Box:
    if training:
        raise UnboundedError("batch norm over the batch itself")
    size = weight if weight is None else weight.abs()
    return Box(
        func(box.centre, mean, variance, weight=weight, bias=bias, **kwargs),
        func(box.radius, torch.zeros_like(mean), variance, weight=size, bias=None, **kwargs),
    )


def _averaging(func: Callable[..., Any], box: Any, *args: Any, **kwargs: Any) -> Box:
    """What moves or averages values does the same with centre and radius."""
    return Box(func(box.centre, *args, **kwargs), func(box.radius, *args, **kwargs))


def _rising(func: Callable[..., Any], box: Any, *args: Any, **kwargs: Any) -> Box:
    """Where no value falls when another rises, the ends go to the ends."""
    low, high = (func(end, *args, **kwargs) for end in box.ends)
    return Box((low + high) / 2, (high - low) / 2)


def _dropout(func: Callable[..., Any], box: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Box:
    if training:
        raise UnboundedError("dropout in training")
    return box  # type: ignore[no-any-return]  # a box, or there would be no call


_RULES: dict[str, Callable[..., Box]] = {
    **dict.fromkeys(("add", "sub"), _sum),
    **dict.fromkeys(("mul", "div"), _scaled),
    **dict.fromkeys(("conv2d", "linear"), _affine),
    "batch_norm": _batch_norm,
    **dict.fromkeys(("avg_pool2d", "adaptive_avg_pool2d", "mean"), _averaging),
    **dict.fromkeys(("flatten", "reshape", "view", "squeeze", "permute", "contiguous", "to"), _averaging),
    **dict.fromkeys(("relu", "relu6", "hardtanh", "tanh", "sigmoid", "max_pool2d"), _rising),
    "dropout": _dropout,
}
