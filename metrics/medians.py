"""The median, and how sure it is."""

import numpy as np
import torch
from scipy.special import betainc
from torch import Tensor

from metrics.estimate import Estimate


def median_estimate(samples: Tensor) -> Estimate:
    r"""Median of independent samples with its standard error (Maritz & Jarrett, JASA 1978).

    .. math:: \mathrm{SE}^2 = \sum_i w_i x_{(i)}^2 - \bigl(\sum_i w_i x_{(i)}\bigr)^2, \qquad
              w_i = I_{i/n}(m, m) - I_{(i-1)/n}(m, m), \quad m = \tfrac{n + 1}{2}

    with the regularised incomplete beta function I. For an odd number n it is the standard deviation of the median over
    infinitely many bootstrap samples, without drawing any.

    Args:
        samples: Values, shape ``(n,)``, any real dtype, n ≥ 1.

    Returns:
        The median in float64, of an even number the mean of the two in the middle; the standard error is None for a
        single sample.

    Example:
        >>> estimate = median_estimate(torch.tensor([3.0, 1.0, 2.0]))
        >>> estimate.value, round(estimate.stderr, 4)
        (2.0, 0.7201)
    """
    x = np.sort(samples.to(torch.float64).numpy(force=True))
    n = len(x)
    if n == 1:
        return Estimate(value=float(x[0]), stderr=None, n_used=1)
    weights = np.diff(betainc((n + 1) / 2, (n + 1) / 2, np.arange(n + 1) / n))
    centred = x - weights @ x
    return Estimate(value=float(np.median(x)), stderr=float(np.sqrt(weights @ centred**2)), n_used=n)
