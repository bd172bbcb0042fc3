"""Label sharpness against brute force over every pair of images with different labels, in NumPy float64."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metrics import InputError, label_sharpness

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def _noise(n: int, classes: int, seed: int = 0) -> tuple[Images, Labels]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8), rng.permutation(np.arange(n) % classes)


def _brute_force(images: Images, labels: Labels) -> tuple[float, set[tuple[int, int]]]:
    """K_F and every pair that attains it."""
    pixels = images.reshape(len(images), -1).astype(np.float64) / 255
    distance = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(axis=2))
    distance[labels[:, None] == labels[None]] = np.inf
    nearest = np.isclose(distance, distance.min(), rtol=1e-12)
    return 1 / distance.min(), {(int(i), int(j)) for i, j in np.argwhere(nearest)}


@pytest.mark.parametrize("chunk_bytes", [1, 8 * 31 * 4, 64 * 2**20])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_value_and_pair_are_those_of_brute_force(
    classes: int, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.distances._CHUNK_BYTES", chunk_bytes)
    for seed in range(5):
        images, labels = _noise(62, classes, seed)
        expected, pairs = _brute_force(images, labels)
        sharpness = label_sharpness(images, labels, max_samples=None)
        assert sharpness.value == pytest.approx(expected, rel=1e-12)
        assert sharpness.pair in pairs
        assert sharpness.per_pixel == pytest.approx(expected * 4, rel=1e-12)
        assert (sharpness.stderr, sharpness.n_used, sharpness.n_dropped) == (None, 62, 0)


@pytest.mark.parametrize("names", [(0, 1, 2), (5, -3, 1000)])
def test_only_whether_labels_differ_matters(names: tuple[int, ...]) -> None:
    images, labels = _noise(40, 3)
    expected, _ = _brute_force(images, labels)
    renamed = torch.tensor(names)[torch.from_numpy(labels)]
    assert label_sharpness(torch.from_numpy(images), renamed).value == pytest.approx(expected, rel=1e-12)


def test_floats_in_0_1_give_what_8_bit_images_give() -> None:
    images, labels = _noise(60, 2)
    eight_bit, floats = label_sharpness(images, labels), label_sharpness(images / 255, labels)
    assert floats.value == pytest.approx(eight_bit.value, rel=1e-12)
    assert floats.pair == eight_bit.pair


def test_grey_images_as_three_channels_change_the_value_but_not_that_per_pixel() -> None:
    images, labels = _noise(40, 2)
    grey, colour = label_sharpness(images, labels), label_sharpness(images.repeat(3, axis=1), labels)
    assert colour.value == pytest.approx(grey.value / math.sqrt(3), rel=1e-12)
    assert colour.per_pixel == pytest.approx(grey.per_pixel, rel=1e-12)


def test_conflicts_are_left_out_and_counted() -> None:
    images, labels = _noise(40, 3)
    images[1] = images[2] = images[0]  # under two labels: three conflicts
    labels[:3] = 0, 1, 0
    images[4], labels[4] = images[3], labels[3]  # under one label: a duplicate, no conflict
    rest = np.arange(3, 40)
    sharpness = label_sharpness(images, labels, max_samples=None)
    expected, pairs = _brute_force(images[rest], labels[rest])
    assert sharpness.value == pytest.approx(expected, rel=1e-12)
    assert sharpness.pair in {(i + 3, j + 3) for i, j in pairs}
    assert (sharpness.n_conflicts, sharpness.n_dropped, sharpness.n_used) == (3, 3, 37)


@pytest.mark.parametrize("trials", [1, 5])
def test_a_sample_of_every_image_is_one_draw(trials: int) -> None:
    images, labels = _noise(40, 2)
    sharpness = label_sharpness(images, labels, max_samples=40, trials=trials)
    assert sharpness.value == pytest.approx(_brute_force(images, labels)[0], rel=1e-12)
    assert (sharpness.stderr, sharpness.n_used) == (None, 40)


def test_samples_are_balanced_over_classes() -> None:
    # Ten images against 990: a balanced sample of twenty holds all ten, among them the only one that is near.
    images = np.full((1000, 2), 100, dtype=np.uint8)
    images[1:10] = 255
    images[10:, 1] = 101
    sharpness = label_sharpness(images, np.arange(1000) >= 10, max_samples=20, trials=30)
    assert (sharpness.value, sharpness.stderr, sharpness.n_used) == (255.0, 0.0, 20)


@pytest.mark.parametrize(("classes", "max_samples", "used"), [(2, 11, 10), (3, 11, 9), (3, 3, 3)])
def test_samples_hold_equally_many_images_per_class(classes: int, max_samples: int, used: int) -> None:
    assert label_sharpness(*_noise(60, classes), max_samples=max_samples).n_used == used


def test_samples_are_seeded() -> None:
    images, labels = _noise(200, 2)
    zero, again, one = (label_sharpness(images, labels, max_samples=20, trials=3, seed=seed) for seed in (0, 0, 1))
    assert zero == again
    assert zero.value != one.value


def test_mean_and_standard_error_are_those_of_independent_draws() -> None:
    # One image against two, one of each per draw: every draw gives 1/0.5 or 1/0.25, so the mean says how often.
    images, trials = np.array([[0.0], [0.5], [0.25]]), 400
    sharpness = label_sharpness(images, np.array([0, 1, 1]), max_samples=2, trials=trials)
    near = (sharpness.value - 2) / 2 * trials
    assert near == pytest.approx(round(near), abs=1e-9)
    assert abs(near - trials / 2) < 5 * math.sqrt(trials / 4)
    values = np.repeat([4.0, 2.0], [round(near), trials - round(near)])
    assert sharpness.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(trials), rel=1e-12)
    assert (sharpness.pair, sharpness.n_used) == ((0, 2), 2)


@pytest.mark.parametrize("labels", [np.zeros(5), np.zeros((6, 1)), np.zeros(7)])
def test_labels_of_another_shape_are_refused(labels: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match=rf"6 images but labels of shape \({labels.shape[0]},"):
        label_sharpness(_noise(6, 2)[0], labels.astype(np.int64))


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="6 usable images have 1"):
        label_sharpness(_noise(6, 2)[0], np.ones(6, dtype=np.int64))


def test_one_class_beside_conflicts_is_refused() -> None:
    with pytest.raises(InputError, match=r"1 usable images have 1 .*2 left out"):
        label_sharpness(np.array([[1], [1], [2]], dtype=np.uint8), np.array([0, 1, 1]))


@pytest.mark.parametrize(("low", "high", "shown"), [(-0.1, 1.0, "-0.1, 1"), (0.0, 1.5, "0, 1.5"), (0, 255, "0, 255")])
def test_pixels_outside_0_1_are_refused(low: float, high: float, shown: str) -> None:
    with pytest.raises(InputError, match=rf"pixels lie in \[{shown}\]"):
        label_sharpness(np.array([[low], [high]]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("max_samples", "trials", "message"), [(2, 1, "max_samples=2 is less than the 3 classes"), (9, 0, "trials=0")]
)
def test_impossible_samples_are_refused(max_samples: int, trials: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_sharpness(*_noise(60, 3), max_samples=max_samples, trials=trials)
