"""Splits over random tables with groups of several images and mixed labels: disjoint, balanced, nested, repeatable."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.splits import class_counts, reference_sample, split_by_group, training_subset
from metrics import InputError

Rows = NDArray[np.int64]
SEEDS = range(25)
CLASSES = 3


def _table(seed: int) -> tuple[Rows, Rows]:
    """Labels (some images unused) and groups (one to about eight images, any mixture of labels) of 400 images."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 0, 1, 2], size=400, p=[0.1, 0.4, 0.3, 0.2])
    return labels, rng.integers(0, 150, 400) * 7


def _counts(labels: Rows) -> Rows:
    return np.bincount(labels, minlength=CLASSES)


def _balanced(labels: Rows) -> bool:
    return bool(np.ptp(_counts(labels)) <= 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_is_on_two_sides(seed: int) -> None:
    labels, groups = _table(seed)
    split = split_by_group(labels, groups, n_val=20, n_test=31, seed=seed)
    train, val, test = (set(groups[rows]) for rows in (split.train, split.val, split.test))
    assert not train & val
    assert not train & test
    assert not val & test


@pytest.mark.parametrize("seed", SEEDS)
def test_no_image_is_taken_from_the_pool_without_need(seed: int) -> None:
    labels, groups = _table(seed)
    split = split_by_group(labels, groups, n_val=20, n_test=31, seed=seed)
    held = np.isin(groups, groups[np.concatenate([split.val, split.test])])
    np.testing.assert_array_equal(split.train, np.flatnonzero((labels >= 0) & ~held))


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_sets_are_balanced_and_of_the_size_asked_for(seed: int) -> None:
    labels, groups = _table(seed)
    split = split_by_group(labels, groups, n_val=20, n_test=31, seed=seed)
    for rows, n in ((split.val, 20), (split.test, 31)):
        assert len(set(rows.tolist())) == len(rows) == n
        assert _balanced(labels[rows])
        assert (labels[rows] >= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_test_set_does_not_depend_on_the_validation_set(seed: int) -> None:
    labels, groups = _table(seed)
    tests = [split_by_group(labels, groups, n_val=n, n_test=31, seed=seed).test for n in (0, 3, 20)]
    np.testing.assert_array_equal(tests[0], tests[1])
    np.testing.assert_array_equal(tests[0], tests[2])


@pytest.mark.parametrize("seed", SEEDS)
def test_splits_are_the_same_for_one_seed_and_different_for_the_next(seed: int) -> None:
    labels, groups = _table(0)
    one, again, other = (split_by_group(labels, groups, n_val=20, n_test=31, seed=s) for s in (seed, seed, seed + 1))
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(one, part), getattr(again, part))
        assert set(getattr(one, part)) != set(getattr(other, part))


def test_empty_held_out_sets_leave_everything_to_train_on() -> None:
    labels, groups = _table(0)
    split = split_by_group(labels, groups, n_val=0, n_test=0, seed=0)
    assert (len(split.val), len(split.test)) == (0, 0)
    np.testing.assert_array_equal(split.train, np.flatnonzero(labels >= 0))


def test_everything_can_be_held_out() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array([5, 5, 6, 6])
    split = split_by_group(labels, groups, n_val=0, n_test=4, seed=0)
    assert (split.test.tolist(), split.train.tolist()) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("draw", [training_subset, reference_sample])
@pytest.mark.parametrize("seed", SEEDS)
def test_subsets_are_nested_balanced_and_from_the_pool(draw: Callable[..., Rows], seed: int) -> None:
    labels, groups = _table(seed)
    pool = split_by_group(labels, groups, n_val=20, n_test=31, seed=0).train
    everything = draw(pool, labels, None, seed=seed)
    assert len(everything) == CLASSES * _counts(labels[pool]).min()
    assert len(set(everything.tolist())) == len(everything)
    assert set(everything.tolist()) <= set(pool.tolist())
    for n in range(CLASSES, len(everything) + 1):
        subset = draw(pool, labels, n, seed=seed)
        np.testing.assert_array_equal(subset, everything[:n])
        assert _balanced(labels[subset])


@pytest.mark.parametrize("draw", [training_subset, reference_sample])
def test_subsets_are_the_same_for_one_seed_and_different_for_the_next(draw: Callable[..., Rows]) -> None:
    labels, _ = _table(0)
    pool = np.flatnonzero(labels >= 0)
    for seed in SEEDS:
        one, again, other = (draw(pool, labels, 30, seed=s) for s in (seed, seed, seed + 1))
        np.testing.assert_array_equal(one, again)
        assert set(one) != set(other)


def test_the_reference_sample_is_no_training_subset() -> None:
    labels, _ = _table(0)
    pool = np.flatnonzero(labels >= 0)
    for seed in SEEDS:
        assert set(reference_sample(pool, labels, 30, seed=seed)) != set(training_subset(pool, labels, 30, seed=seed))


@pytest.mark.parametrize(
    ("n_val", "n_test", "message"),
    [
        (0, 8, r"n_test=8 is more than .* the 10 images that are left \(class 0: 7, class 1: 3\): lower n_test"),
        (4, 4, r"n_val=4 is more than .* the 6 images that are left \(class 0: 5, class 1: 1\): lower n_val"),
        (0, 1, "n_test=1 is too small: choose 0, or at least one image for each of 2 classes"),
        (-2, 4, "n_val=-2 is too small"),
    ],
)
def test_sizes_that_cannot_be_held_out_are_refused_with_counts(n_val: int, n_test: int, message: str) -> None:
    labels = np.array([0] * 7 + [1] * 3 + [-1] * 5)
    with pytest.raises(InputError, match=message):
        split_by_group(labels, np.arange(15), n_val=n_val, n_test=n_test, seed=0)


def test_a_group_that_was_held_out_is_missing_from_the_counts() -> None:
    labels, groups = np.array([0, 1, 0, 1, 0, 1]), np.array([1, 1, 1, 1, 2, 2])
    with pytest.raises(InputError, match=r"n_val=4 .* the (2|4) images that are left"):
        split_by_group(labels, groups, n_val=4, n_test=2, seed=0)


@pytest.mark.parametrize(
    ("draw", "n", "message"),
    [
        (training_subset, 7, r"n_train=7 is more than the 6 .*: 10 are left for training \(class 0: 7, class 1: 3\)"),
        (reference_sample, 7, r"n_reference=7 is more than the 6 images .*lower n_reference"),
        (training_subset, 1, "n_train=1 is too small: at least one image for each of 2 classes"),
        (reference_sample, 0, "n_reference=0 is too small"),
        (training_subset, -4, "n_train=-4 is too small"),
    ],
)
def test_subsets_that_cannot_be_had_are_refused_with_counts(draw: Callable[..., Rows], n: int, message: str) -> None:
    labels = np.array([0] * 7 + [1] * 3 + [-1] * 5)
    with pytest.raises(InputError, match=message):
        draw(np.arange(10), labels, n, seed=0)


def test_class_counts_name_every_class() -> None:
    assert class_counts(np.array([2, 0, 2, 5])) == "class 0: 1, class 2: 2, class 5: 1"
