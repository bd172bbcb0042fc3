"""Images in memory: fingerprints, resampling against a closed form, channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from datamodules.images import PADDING, ImageSet, resize, set_channels


def _set(n: int, side: int = 2) -> ImageSet:
    rng = np.random.default_rng(n)
    images = torch.from_numpy(rng.integers(0, 256, (n, 1, side, side), dtype=np.uint8))
    return ImageSet(images, torch.arange(n) % 2, torch.arange(n) * 10, torch.arange(n) // 3)


def test_a_list_of_indices_is_a_whole_batch() -> None:
    images = _set(10)
    batch = images[[7, 0, 3]]
    assert sorted(batch) == ["image", "index", "label"]
    assert torch.equal(batch["image"], torch.stack([images.images[i] for i in (7, 0, 3)]))
    assert (batch["label"].tolist(), batch["index"].tolist()) == ([1, 0, 1], [7, 0, 3])
    assert (batch["image"].dtype, batch["label"].dtype) == (torch.uint8, torch.int64)


def test_padding_is_a_real_image_that_can_be_told_apart() -> None:
    batch = _set(10)[[2, PADDING]]
    assert len(batch["image"]) == 2
    assert batch["index"].tolist() == [2, PADDING]


def test_fingerprints_are_equal_for_equal_content_only() -> None:
    original = _set(6)
    pixel, label = original.images.clone(), original.labels.clone()
    pixel[5, 0, 1, 1] ^= 1
    label[5] ^= 1
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    others = [
        replace(original, images=pixel),
        replace(original, labels=label),
        replace(original, images=original.images[order], labels=original.labels[order]),
        replace(original, images=original.images.reshape(6, 2, 1, 2)),
        replace(original, images=original.images[:5], labels=original.labels[:5]),
    ]
    assert len({images.fingerprint for images in [original, *others]}) == 6
    strided = original.images.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    same = replace(original, images=strided, rows=original.rows + 1, groups=original.groups + 1)
    assert not same.images.is_contiguous()
    assert same.fingerprint == _set(6).fingerprint == original.fingerprint


def _bilinear(source: int, side: int, *, antialias: bool) -> NDArray[np.float64]:
    """Weights of a triangle filter around half-pixel centres, as wide as a source pixel or, averaging, a new one."""
    scale = source / side
    width = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(side) + 0.5) * scale - 0.5
    if not antialias:
        centre = centre.clip(0, source - 1)
    weights = (1 - np.abs(np.arange(source)[None] - centre[:, None]) / width).clip(0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("height", "width", "side"), [(28, 28, 224), (13, 7, 8), (64, 48, 9), (8, 40, 20)])
def test_resampling_is_bilinear_rounded_to_the_nearest_grey_level(
    height: int, width: int, side: int, antialias: bool
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 2, height, width), dtype=np.uint8)
    rows, columns = (_bilinear(n, side, antialias=antialias) for n in (height, width))
    closed_form = rows @ images.astype(np.float64) @ columns.T
    resized = resize(torch.from_numpy(images), side, antialias=antialias)
    assert (resized.dtype, tuple(resized.shape)) == (torch.uint8, (70, 2, side, side))
    assert np.abs(resized.numpy() - closed_form).max() <= 0.5 + 1e-3
    double = F.interpolate(torch.from_numpy(images).double(), (side, side), mode="bilinear", antialias=antialias)
    assert (resized - double).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("antialias", [True, False])
def test_the_same_size_is_the_same_image_in_other_memory(antialias: bool) -> None:
    images = _set(5, side=9).images
    resized = resize(images, 9, antialias=antialias)
    assert torch.equal(resized, images)
    resized[0] = 0
    assert images[0].any()


def test_one_pixel_becomes_a_plain_image() -> None:
    images = torch.tensor([0, 77, 255], dtype=torch.uint8).reshape(3, 1, 1, 1)
    assert torch.equal(resize(images, 8, antialias=True), images.expand(3, 1, 8, 8))


def test_grey_becomes_three_equal_channels_and_back() -> None:
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    colour = set_channels(grey, 3)
    assert torch.equal(colour, torch.cat([grey] * 3, dim=1))
    assert torch.equal(set_channels(colour, 1), grey)


def test_colour_becomes_its_luma() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    luma = 0.299 * colour[:, :1] + 0.587 * colour[:, 1:2] + 0.114 * colour[:, 2:]
    grey = set_channels(torch.from_numpy(colour), 1)
    assert (grey.dtype, tuple(grey.shape)) == (torch.uint8, (50, 1, 4, 4))
    assert np.abs(grey.numpy() - luma).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_that_are_right_stay(channels: int) -> None:
    images = torch.randint(256, (4, channels, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(set_channels(images, channels), images)
