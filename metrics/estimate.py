"""What a measurement returns: never a bare float."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A number, how sure it is, and what it was computed from.

    Attributes:
        value: The estimate itself.
        stderr: Its standard error, or None where none is known.
        n_used: How many samples it was computed from.
        n_dropped: How many of the samples given were left out (duplicates, conflicts).
    """

    value: float
    stderr: float | None
    n_used: int
    n_dropped: int = 0


def mean_estimate(samples: Tensor) -> Estimate:
    r"""Mean of independent samples with its standard error.

    .. math:: \bar x = \frac1n \sum_i x_i, \qquad
              \mathrm{SE} = \sqrt{\frac{1}{n(n-1)} \sum_i (x_i - \bar x)^2}

    Args:
        samples: Values, shape ``(n,)``, any real or boolean dtype, n ≥ 1.

    Returns:
        The mean in float64; the standard error is None for a single sample.

    Example:
        >>> mean_estimate(torch.tensor([1.0, 2.0, 3.0]))
        Estimate(value=2.0, stderr=0.5773502691896258, n_used=3, n_dropped=0)
    """
    x = samples.to(torch.float64)
    stderr = float(x.std(correction=1)) / math.sqrt(len(x)) if len(x) > 1 else None
    return Estimate(value=float(x.mean()), stderr=stderr, n_used=len(x))
