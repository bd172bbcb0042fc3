"""Squares: resampling against torch's antialiased interpolation, borders and cuts where geometry puts them."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from datamodules.preparation.geometry import Fit, to_square

Pixels = NDArray[np.uint8]
FITS: tuple[Fit, ...] = ("pad", "crop", "stretch")


def _noise(channels: int, height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(1, 256, (channels, height, width), dtype=np.uint8)


def _resampled(image: Pixels, height: int, width: int) -> NDArray[np.float32]:
    values = torch.from_numpy(image)[None].float()
    resampled: NDArray[np.float32] = F.interpolate(values, (height, width), mode="bilinear", antialias=True)[0].numpy()
    return resampled


def _assert_within_a_level(image: Pixels, expected: NDArray[np.float32]) -> None:
    """Pillow rounds to whole levels after each of its two passes."""
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 1.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(40, 24), (24, 40), (17, 90), (5, 3), (16, 7), (1, 30)])
def test_stretching_fits_height_and_width_one_by_one(channels: int, height: int, width: int) -> None:
    image = _noise(channels, height, width)
    _assert_within_a_level(to_square(image, 16, "stretch"), _resampled(image, 16, 16))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(40, 30, slice(0, 16), slice(2, 14)), (30, 40, slice(2, 14), slice(0, 16)), (4, 8, slice(4, 12), slice(0, 16))],
)
def test_padding_keeps_the_shape_between_even_borders(
    channels: int, height: int, width: int, rows: slice, columns: slice
) -> None:
    image = _noise(channels, height, width)
    padded = to_square(image, 16, "pad")
    inside = np.zeros((16, 16), dtype=bool)
    inside[rows, columns] = True
    assert not padded[:, ~inside].any()
    expected = _resampled(image, rows.stop - rows.start, columns.stop - columns.start)
    _assert_within_a_level(padded[:, rows, columns], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_cropping_takes_the_middle(channels: int) -> None:
    wide, tall = _noise(channels, 20, 50), _noise(channels, 50, 20)
    _assert_within_a_level(to_square(wide, 16, "crop"), _resampled(wide, 16, 40)[:, :, 12:28])
    _assert_within_a_level(to_square(tall, 16, "crop"), _resampled(tall, 40, 16)[:, 12:28])


@pytest.mark.parametrize("fit", FITS)
def test_a_square_of_the_right_size_stays_as_it_is(fit: Fit) -> None:
    image = _noise(3, 12, 12)
    np.testing.assert_array_equal(to_square(image, 12, fit), image)


@pytest.mark.parametrize("fit", FITS)
def test_a_larger_square_is_only_resampled(fit: Fit) -> None:
    image = _noise(1, 33, 33)
    _assert_within_a_level(to_square(image, 16, fit), _resampled(image, 16, 16))


def test_pixels_that_are_not_square_are_made_so() -> None:
    image = _noise(1, 20, 40)  # pixels of 0.8 x 0.4 mm: a square of 16 mm
    for fit in FITS:
        squared = to_square(image, 16, fit, spacing=(0.8, 0.4))
        _assert_within_a_level(squared, _resampled(image, 16, 16))
    tall = to_square(image, 16, "pad", spacing=(1.6, 0.4))  # 32 x 16 mm
    assert not tall[:, :, :4].any()
    assert not tall[:, :, 12:].any()
    _assert_within_a_level(tall[:, :, 4:12], _resampled(image, 16, 8))
    middle = to_square(image, 16, "crop", spacing=(1.6, 0.4))  # the middle 16 mm: 10 of 20 rows
    _assert_within_a_level(middle, _resampled(image, 32, 16)[:, 8:24])


@pytest.mark.parametrize("scale", [1e-3, 0.7, 12.5])
def test_only_the_ratio_of_spacings_matters(scale: float) -> None:
    image = _noise(1, 21, 34)
    np.testing.assert_array_equal(
        to_square(image, 16, "pad", spacing=(2 * scale, 3 * scale)), to_square(image, 16, "pad", spacing=(2, 3))
    )


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0.05, 3),
    st.floats(0.05, 3),
    st.sampled_from(FITS),
)
def test_every_shape_and_spacing_gives_a_square(height: int, width: int, tall: float, wide: float, fit: Fit) -> None:
    image = np.full((1, height, width), 200, dtype=np.uint8)
    squared = to_square(image, 16, fit, spacing=(tall, wide))
    assert squared.shape == (1, 16, 16)
    ratio = Fraction(tall) * height / (Fraction(wide) * width)
    covered = max(1, round(16 * min(ratio, 1 / ratio))) if fit == "pad" else 16
    # Rounding of the covered side may go either way where it is a half.
    assert abs(int((squared == 200).sum()) - 16 * covered) in (0, 16 if fit == "pad" else 0)


def test_a_line_of_pixels_is_not_lost() -> None:
    padded = to_square(np.full((1, 1, 1000), 9, dtype=np.uint8), 16, "pad")
    assert (padded == 9).sum() == 16
