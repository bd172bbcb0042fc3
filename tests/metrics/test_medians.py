"""The median's standard error: every bootstrap sample of a small set, and the scatter of fresh samples."""

import itertools

import numpy as np
import pytest
import torch

from metrics import median_estimate


@pytest.mark.parametrize("samples", [[3.0, 1.0, 2.0], [0.0, 10.0, 0.5, 7.0, 7.0], [5.0, 5.0, 5.0]])
def test_it_is_the_scatter_over_all_bootstrap_samples(samples: list[float]) -> None:
    medians = [np.median(drawn) for drawn in itertools.product(samples, repeat=len(samples))]
    estimate = median_estimate(torch.tensor(samples))
    assert estimate.value == np.median(samples)
    assert estimate.stderr == pytest.approx(np.std(medians), rel=1e-12, abs=1e-12)
    assert estimate.n_used == len(samples)


@pytest.mark.parametrize("n", [50, 51])
def test_it_is_the_scatter_of_medians_of_fresh_samples(n: int) -> None:
    drawn = np.random.default_rng(0).exponential(size=(4000, n))
    estimates = [median_estimate(torch.from_numpy(sample)) for sample in drawn]
    assert [estimate.value for estimate in estimates] == pytest.approx(np.median(drawn, axis=1))
    scatter = np.median(drawn, axis=1).std()
    # Asymptotically 1 / (2 f √n) with density f = 1/2 at the median.
    assert scatter == pytest.approx(1 / n**0.5, rel=0.05)
    assert np.mean([estimate.stderr for estimate in estimates]) == pytest.approx(scatter, rel=0.1)


def test_a_single_sample_has_no_error() -> None:
    assert median_estimate(torch.tensor([4])).value == 4
    assert median_estimate(torch.tensor([4])).stderr is None
