"""Samples are seeded, balanced and nested."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import InputError, balanced_sample
from metrics.sampling import random_sample


@given(n=st.integers(1, 60), max_samples=st.one_of(st.none(), st.integers(1, 80)), seed=st.integers(0, 9))
def test_random_samples(n: int, max_samples: int | None, seed: int) -> None:
    sample = random_sample(n, max_samples, seed)
    assert len(sample) == min(n, max_samples or n)
    assert sample.tolist() == sorted({*sample.tolist()})
    assert {*sample.tolist()} <= {*range(n)}
    np.testing.assert_array_equal(sample, random_sample(n, max_samples, seed))


def test_every_point_is_drawn_equally_often() -> None:
    counts = np.bincount(np.concatenate([random_sample(10, 3, seed) for seed in range(1000)]))
    assert abs(counts - 300).max() < 5 * np.sqrt(1000 * 0.3 * 0.7)


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    more=st.integers(0, 80),
    seed=st.integers(0, 9),
    names=st.permutations([-7, 0, 1, 2**60, 5, 3]),
)
def test_balanced_samples(sizes: list[int], more: int, seed: int, names: list[int]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(names[: len(sizes)], sizes))
    max_samples = len(sizes) + more
    sample = balanced_sample(labels, max_samples, np.random.default_rng(seed))
    assert sample.tolist() == sorted({*sample.tolist()})
    # As many of every class as of every other, or all there are.
    for name, size in zip(names, sizes, strict=False):
        assert (labels[sample] == name).sum() == min(size, max_samples // len(sizes))
    # A smaller sample lies inside a larger one.
    smaller = balanced_sample(labels, len(sizes) + more // 2, np.random.default_rng(seed))
    assert {*smaller.tolist()} <= {*sample.tolist()}
    everyone = balanced_sample(labels, None, np.random.default_rng(seed))
    assert everyone.tolist() == [*range(len(labels))]


def test_every_point_of_a_class_is_drawn_equally_often() -> None:
    labels, rng = np.repeat([0, 1], [5, 20]), np.random.default_rng(0)
    counts = np.bincount(np.concatenate([balanced_sample(labels, 4, rng) for _ in range(1000)]), minlength=25)
    assert abs(counts[:5] - 400).max() < 5 * np.sqrt(1000 * 0.4 * 0.6)
    assert abs(counts[5:] - 100).max() < 5 * np.sqrt(1000 * 0.1 * 0.9)


def test_fewer_samples_than_classes_are_refused() -> None:
    with pytest.raises(InputError, match="max_samples=2 is less than the 3 classes"):
        balanced_sample(np.arange(3), 2, np.random.default_rng(0))
