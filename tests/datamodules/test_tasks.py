"""Tasks: which label becomes which class, and which combinations are refused."""

import numpy as np
import pytest

from datamodules.tasks import Classes, class_pair, task_labels
from metrics import InputError

LABELS = np.array([0, 4, -1, 9, 4, 7])


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([4, 9], [-1, 0, -1, 1, 0, -1]),
        ([9, 4], [-1, 1, -1, 0, 1, -1]),
        ((7, 0, 4), [1, 2, -1, -1, 2, 0]),
        ([[0, 9], [4]], [0, 1, -1, 0, 1, -1]),
        ([7, [4, 0]], [1, 1, -1, -1, 1, 0]),
        (None, [0, 1, -1, 3, 1, 2]),
    ],
)
def test_entry_i_of_the_classes_becomes_label_i(classes: Classes | None, expected: list[int]) -> None:
    before = LABELS.copy()
    task = task_labels(LABELS, classes, "digits")
    assert task.tolist() == expected
    assert task.dtype == np.int64
    np.testing.assert_array_equal(LABELS, before)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([4, 5], r"class 5 does not exist in digits: choose from \[0, 4, 7, 9\]"),
        ([[4, 5], 0], "class 5 does not exist"),
        ([4, -1], "class -1 does not exist"),
        ([4, 4], "class 4 is named twice"),
        ([[0, 4], [4, 9]], "class 4 is named twice"),
        ([[4, 4], 9], "class 4 is named twice"),
        ([4], r"classes=\[4\] of digits: .* at least two"),
        ([], r"classes=\[\] of digits: .* at least two"),
        ([[0, 4, 7, 9]], "at least two"),
        ([4, []], r"classes=\[4, \[\]\]"),
    ],
)
def test_classes_that_make_no_task_are_refused(classes: Classes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_labels(LABELS, classes, "digits")


def test_a_table_of_one_class_makes_no_task() -> None:
    with pytest.raises(InputError, match=r"there are \[3\]"):
        task_labels(np.array([3, 3, -1]), None, "digits")


@pytest.mark.parametrize("seed", range(5))
def test_class_pairs_share_no_class_and_depend_on_the_seed_only(seed: int) -> None:
    few, many = np.arange(10), np.repeat(np.arange(-1, 10), 7)
    pairs = [class_pair(few, i, "digits", seed=seed) for i in range(5)]
    assert sorted(label for pair in pairs for label in pair) == list(range(10))
    assert pairs == [class_pair(many, i, "digits", seed=seed) for i in range(5)]


def test_class_pairs_differ_between_seeds() -> None:
    assert len({class_pair(np.arange(10), 0, "digits", seed=seed) for seed in range(20)}) > 10


def test_with_an_odd_number_of_classes_one_is_left_over() -> None:
    pairs = [class_pair(np.array([2, 3, 5, 7, 11]), i, "primes", seed=0) for i in range(2)]
    assert len({label for pair in pairs for label in pair} & {2, 3, 5, 7, 11}) == 4


def test_a_pair_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="pair=5 does not exist: the 10 classes of digits give 5 pairs, 0 first"):
        class_pair(np.arange(10), 5, "digits", seed=0)
