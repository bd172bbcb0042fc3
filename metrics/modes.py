"""Eval mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module has its own mode back, also when an exception passes through.

    Example:
        >>> network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3).eval())
        >>> with eval_mode(network):
        ...     print([part.training for part in network])
        [False, False]
        >>> [part.training for part in network]
        [True, False]
    """
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
