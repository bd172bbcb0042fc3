"""Splits over random tables with groups of several images and mixed labels: disjoint, balanced, nested, repeatable."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datamodules.splits import class_counts, reference_sample, split_as_reference, split_by_group, training_subset
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


def _official(seed: int, groups: Rows, shares: tuple[float, ...]) -> NDArray[np.str_]:
    """The official split of every group, so that no group is in two."""
    rng = np.random.default_rng([seed, 1])
    parts = rng.choice(["train", "", "valid", "test"], size=groups.max() + 1, p=shares)
    return np.array(parts[groups], dtype=np.str_)


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_sets_come_from_the_official_splits_that_have_enough(seed: int) -> None:
    labels, groups = _table(seed)
    official = _official(seed, groups, (0.4, 0.2, 0.2, 0.2))
    split = split_by_group(labels, groups, n_val=6, n_test=7, seed=seed, official=official)
    assert set(official[split.test]) == {"test"}
    assert set(official[split.val]) == {"valid"}
    held = np.isin(groups, groups[np.concatenate([split.val, split.test])])
    trained = np.isin(official, ["train", ""]) & (labels >= 0)
    np.testing.assert_array_equal(split.train, np.flatnonzero(trained & ~held))
    assert _balanced(labels[split.test])
    assert _balanced(labels[split.val])


@pytest.mark.parametrize(
    ("shares", "test_part", "val_part"),
    [
        ((0.7, 0.0, 0.28, 0.02), {"valid"}, {"train"}),
        ((0.96, 0.0, 0.02, 0.02), {"train"}, {"train"}),
        ((0.7, 0.0, 0.02, 0.28), {"test"}, {"train"}),
        ((0.0, 1.0, 0.0, 0.0), {""}, {""}),
    ],
)
def test_what_official_splits_lack_is_taken_from_elsewhere(
    shares: tuple[float, ...], test_part: set[str], val_part: set[str]
) -> None:
    labels, groups = _table(3)
    official = _official(3, groups, shares)
    split = split_by_group(labels, groups, n_val=30, n_test=33, seed=0, official=official)
    assert set(official[split.test]) == test_part
    assert set(official[split.val]) == val_part
    assert set(official[split.train]) <= {"train", ""}
    sides = [set(groups[rows]) for rows in (split.train, split.val, split.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_a_group_in_two_official_splits_is_not_trained_on_when_it_is_tested_on() -> None:
    labels, groups = np.array([0, 1] * 4), np.array([0, 1, 2, 3, 4, 5, 0, 1])
    official = np.array(["train"] * 6 + ["test"] * 2)
    split = split_by_group(labels, groups, n_val=0, n_test=2, seed=0, official=official)
    assert split.test.tolist() == [6, 7]
    assert split.train.tolist() == [2, 3, 4, 5]


def test_a_test_set_from_an_official_split_does_not_depend_on_the_validation_set() -> None:
    labels, groups = _table(5)
    official = _official(5, groups, (0.6, 0.0, 0.38, 0.02))
    tests = [split_by_group(labels, groups, n_val=n, n_test=30, seed=0, official=official).test for n in (0, 9, 30)]
    assert all(rows.tolist() == tests[0].tolist() for rows in tests)


def test_the_reference_takes_the_first_images_of_each_class_and_shuffles_them_with_its_seed() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, -1, 0, 0, 1, 0, 1])
    split = split_as_reference(labels, n_train=4, n_val=1, n_test=1)
    first = np.array([0, 1, 2, 4, 5, 7])  # three of each, in the order of the table
    order = first[torch.randperm(6, generator=torch.Generator().manual_seed(1337)).numpy()]
    assert split.train.tolist() == order[:4].tolist()
    assert split.test.tolist() == order[4:5].tolist()
    assert split.val.tolist() == order[5:].tolist()


def test_the_reference_splits_image_by_image_and_its_test_set_changes_with_the_size() -> None:
    labels, groups = _table(1)
    splits = [split_as_reference(labels, n_train=n, n_val=0, n_test=60) for n in (60, 90)]
    assert set(groups[splits[0].train]) & set(groups[splits[0].test])
    assert splits[0].test.tolist() != splits[1].test.tolist()
    assert all(_balanced(labels[np.concatenate([split.train, split.test])]) for split in splits)


def test_the_reference_uses_official_training_images_only() -> None:
    labels = np.array([0, 1] * 10)
    official = np.array(["test", "test"] * 5 + ["train", "train"] * 5)
    split = split_as_reference(labels, n_train=None, n_val=2, n_test=2, official=official)
    assert sorted(np.concatenate([split.train, split.val, split.test]).tolist()) == list(range(10, 20))
    assert len(split.train) == 6


@pytest.mark.parametrize("sizes", [(9, 0, 2), (0, 0, 2), (None, 5, 5), (None, -1, 2), (4, 0, 7)])
def test_the_reference_refuses_more_than_there_is(sizes: tuple[int | None, int, int]) -> None:
    labels = np.array([0, 1, 1] * 5)
    with pytest.raises(InputError, match=r"cannot be taken from the 10 images that can be balanced \(class 0: 5"):
        split_as_reference(labels, n_train=sizes[0], n_val=sizes[1], n_test=sizes[2])
