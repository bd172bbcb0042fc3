"""Means and standard errors, against NumPy."""

import numpy as np
import pytest
import torch

from metrics import mean_estimate


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32", "float64"])
def test_mean_and_standard_error_are_those_of_numpy(dtype: str) -> None:
    samples = (np.random.default_rng(0).normal(5, 3, 101) * 2).astype(dtype)
    samples[:7] = 0
    estimate = mean_estimate(torch.from_numpy(samples))
    assert estimate.value == pytest.approx(samples.astype(np.float64).mean(), rel=1e-12)
    assert estimate.stderr == pytest.approx(samples.astype(np.float64).std(ddof=1) / np.sqrt(101), rel=1e-12)
    assert (estimate.n_used, estimate.n_dropped) == (101, 0)


def test_one_sample_has_no_standard_error() -> None:
    estimate = mean_estimate(torch.tensor([3.5]))
    assert (estimate.value, estimate.stderr, estimate.n_used) == (3.5, None, 1)
