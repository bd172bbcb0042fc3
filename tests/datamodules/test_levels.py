"""Grey levels: the stated rule in exact arithmetic, and the reference's truncation."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from datamodules.levels import by_maximum, percentile_window, to_levels


def _exact(value: int, low: int, high: int) -> int:
    """The rule in fractions; Python's round takes halves to the even number too."""
    level = Fraction(255 * (value - low), high - low)
    return round(min(max(level, Fraction(0)), Fraction(255)))


@given(st.integers(-3000, 3000), st.integers(1, 4000), st.integers(0, 10_000))
def test_a_window_spans_the_grey_levels(low: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-5000, 5000, (3, 4))
    expected = [[_exact(value, low, low + width) for value in line] for line in values.tolist()]
    assert to_levels(values, (low, low + width)).tolist() == expected


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_no_type_wraps_round(kind: DTypeLike) -> None:
    values = np.array([0, 1, 63, 64, 126, 127], dtype=kind)
    assert to_levels(values, (-1000, 1000)).tolist() == [_exact(v, -1000, 1000) for v in (0, 1, 63, 64, 126, 127)]
    assert by_maximum(values).tolist() == [v * 255 // 127 for v in (0, 1, 63, 64, 126, 127)]


def test_every_grey_level_is_met_exactly_by_sixteen_bits() -> None:
    assert to_levels(np.arange(256, dtype=np.uint16) * 257, (0, 65535)).tolist() == list(range(256))


def test_halves_go_to_the_even_number() -> None:
    assert to_levels(np.array([1, 3, 5, 7]), (0, 510)).tolist() == [0, 2, 2, 4]


def test_what_lies_outside_a_window_is_black_or_white() -> None:
    values = np.array([-np.inf, -2000, -0.01, 80.01, 3000, np.inf])
    assert to_levels(values, (0, 80)).tolist() == [0, 0, 0, 255, 255, 255]


def test_a_window_without_width_is_black() -> None:
    assert to_levels(np.array([[1, 5], [7, 5]]), (5, 5)).tolist() == [[0, 0], [0, 0]]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_an_image_is_truncated_after_scaling_by_its_maximum(values: list[int]) -> None:
    highest = max(values)
    expected = [value * 255 // highest if highest else 0 for value in values]
    assert by_maximum(np.array(values, dtype=np.uint16)).tolist() == expected


def test_negative_values_become_black_and_a_black_image_stays_so() -> None:
    assert by_maximum(np.array([-2000, -1, 0, 100], dtype=np.int16)).tolist() == [0, 0, 0, 255]
    assert by_maximum(np.array([-5, -1, 0])).tolist() == [0, 0, 0]


@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.sampled_from([(0.0, 100.0), (0.1, 99.9), (25, 60)])
)
def test_percentiles_lie_between_the_two_nearest_values(values: list[int], percents: tuple[float, float]) -> None:
    ranked = sorted(values)

    def percentile(percent: float) -> float:
        place = Fraction(percent) / 100 * (len(ranked) - 1)
        below = min(int(place), len(ranked) - 2)
        return float(ranked[below] + (place - below) * (ranked[below + 1] - ranked[below]))

    window = percentile_window(np.array(values, dtype=np.int16).reshape(1, -1), *percents)
    assert window == pytest.approx([percentile(percent) for percent in percents], abs=1e-9)


def test_the_usual_percentiles_leave_one_in_a_thousand_out_at_either_end() -> None:
    assert percentile_window(np.arange(1001)) == pytest.approx((1, 999))
