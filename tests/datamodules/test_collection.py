"""What all collections share: which images take part, and what number a class has."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from datamodules.collection import Collection, in_classes, numbered, ordered, own_groups
from metrics import InputError


def test_its_length_is_the_number_of_images() -> None:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    assert len(Collection("x", images, np.arange(3), ("a", "b", "c"), None, None, ("1", "2", "3"))) == 3


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b", "a", "", "b"], ["a", "b"]),
        (["10", "9", "-1", "0"], ["-1", "0", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1.0", "10.0", "9.0"], ["1.0", "10.0", "9.0"]),
        (["", ""], []),
    ],
)
def test_order_of_classes(names: list[str], expected: list[str]) -> None:
    assert ordered(names) == ordered(names[::-1]) == expected


@pytest.mark.parametrize(
    ("classes", "labels", "class_names"),
    [
        (None, [1, 0, 2, 0], ("cat", "cow", "dog")),
        (["dog", "cat", "cow"], [2, 1, 0, 1], ("dog", "cat", "cow")),
        (["pig", "dog", "cat", "cow"], [2, 1, 0, 1], ("dog", "cat", "cow")),
    ],
)
def test_labels_follow_the_order_of_the_classes(
    classes: Sequence[str] | None, labels: list[int], class_names: tuple[str, ...]
) -> None:
    numbers, named = numbered(["cow", "cat", "dog", "cat"], classes)
    assert (numbers.tolist(), named) == (labels, class_names)
    assert numbers.dtype == np.int64


def test_images_of_other_classes_and_of_none_are_left_out() -> None:
    names = ["b", "", "a", "c", "b"]
    assert in_classes(names, None, "x") == [0, 2, 3, 4]
    assert in_classes(names, ("c", "b"), "x") == [0, 3, 4]


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (["a", "b"], ["a", "z"], "class 'z' does not exist in x.csv: choose from a, b"),
        (["a", "b"], ["a", "a"], "class 'a' of x.csv is named twice"),
        (["a", "b"], [], r"classes=\[\] of x.csv keeps no image: choose from a, b"),
        (["a", "b"], [""], "class '' does not exist"),
        (["", ""], None, "x.csv has no image with a label"),
    ],
)
def test_classes_that_cannot_be_had_are_refused(names: list[str], classes: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_classes(names, classes, "x.csv")


def test_an_image_without_a_group_is_one() -> None:
    groups = own_groups(["p", "", "p", ""], ["1", "2", "3", "4"])
    assert groups.dtype.kind == "U"
    assert groups.tolist() == ["p", "2", "p", "4"]
