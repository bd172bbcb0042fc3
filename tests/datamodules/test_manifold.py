"""The manifold: its images against SciPy's cosine transform, its ground truth against what is measured on them."""

import inspect
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.spatial.distance import cdist, pdist
from scipy.stats import kstest

from datamodules import ImageSet, ImageTable, Manifold, TableDataModule
from metrics import InputError, intrinsic_dimension, label_sharpness

Array = NDArray[np.float64]

# What shapes the images, each unlike the others.
SHAPES: list[dict[str, Any]] = [
    {"dimension": 1},
    {"dimension": 2, "margin": 1.0},
    {"dimension": 6, "contrast": 0.5},
    {"dimension": 5, "channels": 3},
    {"dimension": 3, "image_size": 9, "margin": 0.0},
    {"dimension": 63, "image_size": 8, "channels": 3},
]


def _manifold(**options: Any) -> Manifold:
    """Sixty images: 40 to train on, 8 to validate, 12 to test."""
    return Manifold(**{"amount": 60, "n_train": 40, "n_val": 8, "n_test": 12} | options)


def _table(data: Manifold) -> ImageTable:
    data.prepare_data()
    return ImageTable.open(data.table_folder)


def _whole(data: Manifold) -> ImageSet:
    """Every image of the table."""
    table = _table(data)
    labels = torch.from_numpy(table.labels("label"))
    rows = torch.arange(len(labels))
    return ImageSet(torch.from_numpy(table.images.copy()), labels, rows, rows)


def _patterns(data: Manifold) -> Array:
    """ψ, (d, H, W): SciPy's inverse cosine transform of one coefficient each."""
    side = data.image_size
    pairs = sorted(itertools.product(range(side), repeat=2), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    psi = np.zeros((data.dimension, side, side))
    for i, (u, v) in enumerate(pairs[1 : data.dimension + 1]):
        psi[i, u, v] = 1
    return np.array([idctn(coefficient, norm="ortho") for coefficient in psi])


def _images(data: Manifold) -> Array:
    """What the images are before rounding, (n, C, H, W), by the formula."""
    psi = _patterns(data)
    amplitude = 127.5 * data.contrast / np.abs(psi).sum(axis=0).max()
    grey = 127.5 + amplitude * np.einsum("ni,ihw->nhw", data.latents.numpy(), psi)
    return np.repeat(grey[:, None], data.input_shape[0], axis=1)


def _brute_force(images: ImageSet, data: Manifold) -> float:
    """Label sharpness of latents by SciPy."""
    z, labels = data.latents.numpy()[images.rows.numpy()], images.labels.numpy()
    return 255 / (data.scale * float(cdist(z[labels == 0], z[labels == 1]).min()))


def _rounding(data: Manifold) -> float:
    """How far 8 bits can move the distance of two images: half a grey level in every value of either."""
    return math.sqrt(math.prod(data.input_shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_the_formula_rounded(shape: dict[str, Any]) -> None:
    data = _manifold(**shape)
    expected = _images(data)
    np.testing.assert_allclose(data.render(data.latents), expected, rtol=0, atol=1e-9)
    assert np.abs(_table(data).images - expected).max() <= 0.5 + 1e-8
    assert data.input_shape == (shape.get("channels", 1), data.image_size, data.image_size)


@pytest.mark.parametrize("side", [8, 9, 32, 224])
@pytest.mark.parametrize(("channels", "contrast"), [(1, 1.0), (3, 0.25)])
def test_scale_is_the_closed_form(side: int, channels: int, contrast: float) -> None:
    # One pattern is √2/P · cos(π(2p + 1)/2P), largest at the edge; two add up in the corner.
    one = 127.5 * contrast * side / (math.sqrt(2) * math.cos(math.pi / (2 * side)))
    for dimension in (1, 2):
        data = _manifold(dimension=dimension, image_size=side, channels=channels, contrast=contrast)
        assert data.scale == pytest.approx(one / dimension * math.sqrt(channels), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_of_images_are_those_of_latents_times_the_scale(shape: dict[str, Any]) -> None:
    data = _manifold(**shape)
    expected = data.scale * pdist(data.latents.numpy())
    np.testing.assert_allclose(pdist(data.render(data.latents).flatten(1).numpy()), expected, rtol=1e-9)
    rounded = pdist(_table(data).images.reshape(60, -1).astype(np.float64))
    assert np.abs(rounded - expected).max() <= _rounding(data)


@pytest.mark.parametrize("shape", SHAPES)
def test_full_contrast_reaches_black_and_white_and_nothing_is_clipped(shape: dict[str, Any]) -> None:
    data = _manifold(**shape)
    # For each pixel, the corner of the cube that makes it brightest, and the opposite one.
    corners = np.sign(_patterns(data).reshape(data.dimension, -1)).T
    reach = 127.5 * data.contrast
    for sign in (1, -1):
        images = data.render(torch.from_numpy(sign * corners)) - 127.5
        assert float((sign * images).max()) == pytest.approx(reach, rel=1e-12)
        assert float(images.abs().max()) == pytest.approx(reach, rel=1e-12)


def test_every_corner_of_the_cube_is_an_image() -> None:
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6)))
    images = _manifold(dimension=6).render(corners)
    assert float(images.min()) >= -1e-9
    assert float(images.max()) <= 255 + 1e-9


@pytest.mark.parametrize("shape", SHAPES)
def test_latents_can_be_read_off_the_images(shape: dict[str, Any]) -> None:
    data = _manifold(**shape)
    amplitude = data.scale / math.sqrt(data.input_shape[0])
    spectra = dctn(data.render(data.latents)[:, 0].numpy(), axes=(1, 2), norm="ortho") / amplitude
    psi = dctn(_patterns(data), axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(np.einsum("nuv,iuv->ni", spectra, psi), data.latents, rtol=0, atol=1e-9)
    # The mean and the patterns in use are all there is.
    energy = (spectra[:, 1:] ** 2).sum(axis=(1, 2)) + (spectra[:, 0, 1:] ** 2).sum(axis=1)
    np.testing.assert_allclose(energy, data.latents.square().sum(1), rtol=1e-9)


def test_pixels_where_every_pattern_vanishes_are_rounded_alike() -> None:
    # With an odd side the middle column of the first pattern is zero: exactly 127.5, whatever float error says.
    middle = _table(_manifold(dimension=1, image_size=9)).images[:, 0, :, 4]
    assert np.unique(middle).tolist() == [128]


def test_latents_are_uniform_in_the_cube_and_alternate_in_the_first() -> None:
    data = _manifold(dimension=4, margin=0.0, amount=2000)
    for column in data.latents.numpy().T:
        assert kstest(column, "uniform", args=(-1, 2)).pvalue > 0.01
    assert (data.latents.dtype, tuple(data.latents.shape)) == (torch.float64, (2000, 4))
    assert (data.latents[:, 0] > 0).tolist() == [False, True] * 1000


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0, 1.99])
def test_margin_moves_the_classes_apart_and_nothing_else(margin: float) -> None:
    plain, moved = _manifold(margin=0.0), _manifold(margin=margin)
    z, apart = plain.latents.numpy(), moved.latents.numpy()
    np.testing.assert_array_equal(z[:, 1:], apart[:, 1:])
    np.testing.assert_allclose(apart[:, 0], np.sign(z[:, 0]) * (margin / 2 + (1 - margin / 2) * np.abs(z[:, 0])))
    assert np.abs(apart[:, 0]).min() >= margin / 2
    assert np.abs(apart).max() <= 1
    np.testing.assert_array_equal(_table(plain).labels("label"), _table(moved).labels("label"))
    assert torch.equal(plain.test_set.rows, moved.test_set.rows)


@pytest.mark.parametrize(
    "dial", [{"label_noise": 0.3}, {"contrast": 0.5}, {"image_size": 16}, {"channels": 3}, {"amount": 90}]
)
def test_other_dials_keep_the_sample(dial: dict[str, Any]) -> None:
    assert torch.equal(_manifold(**dial).latents[:60], _manifold().latents)


def _wrong(data: Manifold, images: ImageSet) -> NDArray[np.bool_]:
    """Which images have another label than the side that they are on."""
    wrong: NDArray[np.bool_] = images.labels.numpy() != (data.latents[images.rows, 0] > 0).numpy()
    return wrong


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1, 0.123, 0.29, 0.49])
@pytest.mark.parametrize("n_train", [2, 17, 40, 1000])
def test_training_subsets_have_their_share_of_wrong_labels_and_stay_balanced(noise: float, n_train: int) -> None:
    data = _manifold(amount=1020, n_train=n_train, label_noise=noise)
    wrong, labels = _wrong(data, data.train_set), data.train_set.labels
    assert -2 < wrong.sum() - noise * n_train <= 1
    assert abs(int(wrong[labels == 0].sum()) - int(wrong[labels == 1].sum())) <= n_train % 2
    assert sorted(labels.bincount().tolist()) == [n_train // 2, n_train - n_train // 2]


@pytest.mark.parametrize(("noise", "n_train", "expected"), [(0.29, 200, 58), (0.1, 1000, 100), (0.05, 40, 2)])
def test_a_share_that_is_a_number_of_pairs_is_met_exactly(noise: float, n_train: int, expected: int) -> None:
    data = _manifold(amount=1020, n_train=n_train, label_noise=noise)
    assert int(_wrong(data, data.train_set).sum()) == expected


def test_an_image_has_the_same_label_in_every_subset_and_in_the_reference_sample() -> None:
    largest = _manifold(label_noise=0.2)
    label_of = dict(zip(largest.train_set.rows.tolist(), largest.train_set.labels.tolist(), strict=True))
    for n in (2, 17, 30, None):
        data = _manifold(label_noise=0.2, n_train=n)
        for images in (data.train_set, data.reference_set):
            assert images.labels.tolist() == [label_of[row] for row in images.rows.tolist()]
    assert len(largest.reference_set) == len(label_of) == 40
    assert int(_wrong(largest, largest.reference_set).sum()) == 8


def test_noise_leaves_images_and_the_labels_of_evaluation_alone() -> None:
    clean, noisy = (_manifold(label_noise=noise) for noise in (0.0, 0.4))
    parts = ("train_set", "val_set", "test_set", "reference_set")
    for part in parts:
        ours, theirs = getattr(clean, part), getattr(noisy, part)
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels) == (part in ("val_set", "test_set"))
        # By this, what was measured on other labels is found in no cache.
        assert (ours.fingerprint == theirs.fingerprint) == (part in ("val_set", "test_set"))
    assert clean.table_folder == noisy.table_folder


def test_noise_depends_on_the_order_of_training_images_and_on_nothing_else() -> None:
    def wrong_rows(**options: Any) -> list[int]:
        data = _manifold(label_noise=0.2, **options)
        return sorted(data.train_set.rows[torch.from_numpy(_wrong(data, data.train_set))].tolist())

    first = wrong_rows()
    assert wrong_rows(margin=0.9, contrast=0.5) == wrong_rows(batch_size=8, classes=[0, 1]) == wrong_rows(pair=0)
    assert wrong_rows() == first
    assert wrong_rows(subset_seed=1) != first
    assert wrong_rows(split_seed=1) != first


def test_noise_follows_the_classes_of_the_task() -> None:
    data, turned = (_manifold(label_noise=0.2, classes=classes) for classes in ([0, 1], [1, 0]))
    assert torch.equal(data.train_set.rows.sort().values, turned.train_set.rows.sort().values)
    assert [int(_wrong(one, one.train_set).sum()) for one in (data, turned)] == [8, 40 - 8]


def test_sets_can_be_planned_again_after_they_were_made() -> None:
    data = _manifold(label_noise=0.2, pair=0)
    images = data.train_set
    plan = data.plan()
    np.testing.assert_array_equal(plan.labels[plan.rows["train"]], images.labels)


def test_noise_raises_the_sharpness_of_what_is_trained_on() -> None:
    clean, noisy = (_manifold(margin=1.0, dimension=2, n_train=30, label_noise=noise) for noise in (0.0, 0.2))
    for part in ("train_set", "reference_set"):
        measured = [label_sharpness(getattr(data, part).images, getattr(data, part).labels) for data in (clean, noisy)]
        # 8 bits move no distance by more than they can, see below: the bound of a noiseless set is well behind.
        assert measured[0].value < 1.05 * clean.max_label_sharpness
        assert measured[1].value > 2 * clean.max_label_sharpness
        truth = noisy.true_label_sharpness(getattr(noisy, part))
        assert 255 / measured[1].value == pytest.approx(255 / truth, abs=_rounding(noisy))


def test_noise_is_refused_where_subsets_are_not_nested() -> None:
    with pytest.raises(InputError, match=r"^label_noise=0.1 does not go with protocol=reference"):
        _manifold(label_noise=0.1, protocol="reference")
    assert len(_manifold(protocol="reference").train_set) == 40


@pytest.mark.parametrize("shape", [*SHAPES, {"dimension": 4, "label_noise": 0.3}, {"margin": 0.0}])
def test_true_label_sharpness_is_that_of_latents_and_of_images_but_for_rounding(shape: dict[str, Any]) -> None:
    data = _manifold(**shape)
    images = data.train_set
    truth = data.true_label_sharpness(images)
    assert truth == pytest.approx(_brute_force(images, data), rel=1e-12)
    measured = label_sharpness(images.images, images.labels, max_samples=None)
    assert measured.n_conflicts == 0
    # No distance moves by more than rounding can, so the smallest does not either.
    assert 255 / measured.value == pytest.approx(255 / truth, abs=_rounding(data))


def test_true_label_sharpness_is_close_where_images_are_far_apart() -> None:
    data = _manifold(dimension=2, margin=1.0)
    images = data.train_set
    # Distances are at least scale · margin = 1,444 grey levels, which 32 can change by 2.3 %.
    assert 32 / data.scale < 0.023
    measured = label_sharpness(images.images, images.labels, max_samples=None).value
    assert measured == pytest.approx(data.true_label_sharpness(images), rel=0.023)


def test_chunks_do_not_change_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _manifold(label_noise=0.2)
    whole = data.true_label_sharpness(data.train_set)
    monkeypatch.setattr("datamodules.manifold._CHUNK", 7)
    assert data.true_label_sharpness(data.train_set) == whole


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.5])
def test_margin_bounds_the_sharpness_unless_labels_are_noisy(margin: float) -> None:
    # On a line the bound is nearly reached: in one dimension the two classes face each other.
    data = _manifold(dimension=1, margin=margin, amount=1000)
    truth = data.true_label_sharpness(_whole(data))
    assert data.max_label_sharpness == pytest.approx(255 / (data.scale * margin), rel=1e-12)
    assert 0.8 * data.max_label_sharpness < truth <= data.max_label_sharpness
    noisy = _manifold(dimension=1, margin=margin, amount=1000, n_train=None, label_noise=0.1)
    assert noisy.true_label_sharpness(noisy.train_set) > data.max_label_sharpness


def test_without_margin_nothing_bounds_the_sharpness() -> None:
    assert _manifold(margin=0.0).max_label_sharpness == math.inf


def test_colour_is_grey_three_times_and_less_sharp_by_its_root() -> None:
    grey, colour = _manifold(), _manifold(channels=3)
    np.testing.assert_array_equal(np.repeat(_table(grey).images, 3, axis=1), _table(colour).images)
    ratio = grey.true_label_sharpness(grey.train_set) / colour.true_label_sharpness(colour.train_set)
    assert ratio == pytest.approx(math.sqrt(3), rel=1e-12)


def test_sharpness_falls_with_resolution_as_the_scale_rises() -> None:
    small, large = _manifold(dimension=1, image_size=16), _manifold(dimension=1, image_size=64)
    ratio = small.true_label_sharpness(small.test_set) / large.true_label_sharpness(large.test_set)
    assert ratio == pytest.approx(4 * math.cos(math.pi / 32) / math.cos(math.pi / 128), rel=1e-12)


# Figures of a uniform cube, measured apart from this class at contrast 30/255 and 500 to 1,750 images.
@pytest.mark.parametrize(("dimension", "known"), [(2, 2.0), (6, 5.7), (12, 10.8)])
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_dimension_is_recovered_from_the_images(dimension: int, known: float, margin: float) -> None:
    images = _whole(_manifold(dimension=dimension, margin=margin, amount=1000)).images
    assert intrinsic_dimension(images, estimator="twonn").value == pytest.approx(known, rel=0.1)


def test_same_dials_make_the_same_bytes(tmp_path: Path) -> None:
    state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  # it must be left alone
    folders = [_table(_manifold(table=str(tmp_path / name))).folder for name in ("a", "b")]
    for file in ("images.npy", "manifest.csv"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002  # so it was
    assert torch.equal(torch.get_rng_state(), state[1])


def test_seeds_differ_and_zero_is_one_of_them() -> None:
    tables = [_table(_manifold(latent_seed=seed)) for seed in (0, 1)]
    assert not np.array_equal(tables[0].images, tables[1].images)


def test_every_image_is_its_own_group_and_says_what_it_is() -> None:
    table = _table(_manifold(dimension=4))
    assert len(set(table.groups)) == len(np.unique(table.images, axis=0)) == 60
    first = _manifold(dimension=4).latents[0]
    expected = f"d4-m0.2-32px-1ch-c1-N60-s0 z=({first[0]:.2f}, {first[1]:.2f}, {first[2]:.2f}, …)"
    assert table.columns["source"][0] == expected


def test_training_sets_are_nested_and_balanced() -> None:
    largest = _manifold(label_noise=0.2, n_train=40).train_set
    for n in (2, 17, 30):
        assert torch.equal(_manifold(label_noise=0.2, n_train=n).train_set.rows, largest.rows[:n])
    assert largest.labels.bincount().tolist() == [20, 20]


def test_default_images_are_3000_of_which_2600_can_be_trained_on() -> None:
    data = Manifold(n_train=None)
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (2600, 100, 300)
    assert (data.name, data.domain) == ("Manifold d6 m0.2", "natural")
    assert (data.num_classes, data.input_shape) == (2, (1, 32, 32))
    assert data.table_folder == Path("data/manifold/d6-m0.2-32px-1ch-c1-N3000-s0")


def test_dials_that_change_the_table_change_its_folder_and_others_do_not() -> None:
    dials: list[dict[str, Any]] = [
        {"dimension": 7},
        *({"margin": margin} for margin in (0.0, 0.20000000000000004, 1e-7, 0.02)),
        *({"image_size": 64}, {"channels": 3}, {"contrast": 0.5}, {"amount": 61}, {"latent_seed": 1}),
    ]
    folders = {_manifold(**dial).table_folder for dial in dials} | {_manifold().table_folder}
    assert len(folders) == len(dials) + 1
    others: list[dict[str, Any]] = [{"n_train": 2}, {"label_noise": 0.1}, {"split_seed": 1}, {"classes": [1, 0]}]
    for dial in (*others, {"batch_size": 4}, {"contrast": 1}):
        assert _manifold(**dial).table_folder == _manifold().table_folder


def test_each_setting_of_the_dials_is_a_data_set_of_its_own_name() -> None:
    dials = {"dimension": 12, "margin": 0.05, "label_noise": 0.1, "contrast": 0.5, "amount": 61, "latent_seed": 1}
    names = {Manifold(**{dial: value}).name for dial, value in dials.items()}  # type: ignore[arg-type]  # each its own
    alone = {"d12 m0.2", "d6 m0.05", "d6 m0.2 n0.1", "d6 m0.2 c0.5", "d6 m0.2 N61", "d6 m0.2 s1"}
    assert names == {f"Manifold {name}" for name in alone}
    # What a record has columns for, whatever the data, is not said again.
    for other in ({"image_size": 64}, {"channels": 3}, {"n_train": 2}, {"subset_seed": 1}, {"contrast": 1}):
        assert Manifold(**other).name == "Manifold d6 m0.2"  # type: ignore[arg-type]


def test_a_table_of_other_dials_is_refused(tiny_table: ImageTable) -> None:
    _manifold(table="mine").prepare_data()
    assert len(_manifold(table="mine").train_set) == 40
    for folder, dial in (("mine", {"margin": 0.3}), ("mine", {"amount": 61}), (str(tiny_table.folder), {})):
        options: dict[str, Any] = {"table": folder} | dial
        with pytest.raises(InputError, match=f"table at {folder} was not made with the dials d6-m0"):
            _manifold(**options).setup()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("dimension", 0, r"1 … 1023"),
        ("dimension", 1024, r"32x32 pixels have 1 … 1023 dimensions"),
        ("margin", -0.1, "at least 0 and less than 2"),
        ("margin", 2.0, "at least 0 and less than 2"),
        ("margin", math.nan, "at least 0 and less than 2"),
        ("label_noise", -0.1, "at least 0 and less than 0.5"),
        ("label_noise", 0.5, "at least 0 and less than 0.5"),
        ("label_noise", math.nan, "at least 0 and less than 0.5"),
        ("amount", 1, "at least 2"),
        ("contrast", 0.0, "more than 0 and at most 1"),
        ("contrast", 1.01, "more than 0 and at most 1"),
        ("latent_seed", -1, "0 or more"),
        ("channels", "keep", "1 .grey. or 3"),
        ("image_size", 7, "at least 8"),
        ("split_seed", -1, "0 or more"),
    ],
)
def test_dials_out_of_range_are_refused(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(InputError, match=rf"^{option}={value} .*{allowed}"):
        _manifold(**{option: value})
    assert not Path("data").exists()


def test_sets_of_one_label_or_of_another_table_have_no_truth() -> None:
    data = _manifold()
    images = data.train_set
    ones = images.labels == 1
    with pytest.raises(InputError, match=r"at least two classes, but the 20 images have the labels \[1\]"):
        data.true_label_sharpness(
            replace(images, images=images.images[ones], labels=images.labels[ones], rows=images.rows[ones])
        )
    with pytest.raises(InputError, match="another table than the 60 of shape"):
        data.true_label_sharpness(replace(images, rows=images.rows + 60))
    with pytest.raises(InputError, match=r"shape \(3, 32, 32\) and are of another table"):
        data.true_label_sharpness(_manifold(channels=3).train_set)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(2, 5), r"shape \(2, 5\): give \(n, 6\)"),
        (torch.zeros(6), r"shape \(6,\): give \(n, 6\)"),
        (torch.full((1, 6), 1.5), r"latents lie in \[1.5, 1.5\]"),
        (torch.full((1, 6), math.nan), r"latents lie in \[nan, nan\]"),
    ],
)
def test_points_outside_the_cube_have_no_image(latents: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _manifold().render(latents)


def test_options_are_those_of_every_table_and_the_dials() -> None:
    shared, own = (inspect.signature(kind).parameters for kind in (TableDataModule, Manifold))
    dials = ["dimension", "margin", "label_noise", "amount", "contrast", "latent_seed"]
    assert list(own) == [*shared, *dials]
    changed = [name for name, option in shared.items() if own[name].default != option.default]
    assert changed == ["image_size", "channels"]


def test_a_configuration_can_name_it() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TableDataModule, "data")
    options = parser.parse_args(["--data", "Manifold", "--data.margin", "0.5", "--data.channels", "3"])
    data = parser.instantiate_classes(options).data
    assert isinstance(data, Manifold)
    assert (data.margin, data.dimension, data.channels) == (0.5, 6, 3)
