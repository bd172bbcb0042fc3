"""Correlation over data sets, against scipy, and within levels against a regression with dummies."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from lightning_app.analysis.correlation import correlate

# K_F and loss increase of the paper's figures: seven medical sets, then four natural ones.
K_F = [2.0, 3.1, 3.4, 1.35, 2.8, 2.1, 1.8, 1.6, 0.62, 1.0, 0.59]
INCREASE = [14.5, 31.5, 24, 8.5, 22, 6, 21.5, 0, 4.9, 2.7, 0.8]
DOMAIN = ["medical"] * 7 + ["natural"] * 4


@pytest.mark.parametrize("rows", [slice(None), slice(7), slice(7, None)], ids=["all", "medical", "natural"])
def test_pearson_and_spearman_as_scipy_has_them(rows: slice) -> None:
    x, y = K_F[rows], INCREASE[rows]
    found, expected = correlate(x, y), stats.pearsonr(x, y)
    ends = expected.confidence_interval(0.95)
    assert (found.r, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert (found.n, found.reason) == (len(x), "")


def test_within_levels_is_the_test_of_a_regression_with_dummies() -> None:
    found = correlate(K_F, INCREASE, within=DOMAIN)
    medical = np.array(DOMAIN) == "medical"
    fit = OLS(INCREASE, np.column_stack([K_F, medical, ~medical])).fit()
    t = fit.tvalues[0]
    r = t / math.sqrt(t * t + 8)  # 11 points − 3 coefficients
    assert found.r is not None
    assert (found.r, found.p) == pytest.approx((r, fit.pvalues[0]))
    half = stats.norm.ppf(0.975) / math.sqrt(11 - 1 - 3)
    assert (found.low, found.high) == pytest.approx((math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)))
    assert (found.n, found.spearman) == (11, None)


def test_a_level_with_one_point_says_nothing_within() -> None:
    alone = correlate([*K_F[:7], 100], [*INCREASE[:7], -50], within=["a"] * 7 + ["b"])
    assert alone.r == pytest.approx(correlate(K_F[:7], INCREASE[:7]).r)
    assert alone.p == pytest.approx(correlate(K_F[:7], INCREASE[:7]).p)


def test_a_data_set_is_one_point() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(11), 6)
    x, y = np.repeat(K_F, 6), np.repeat(INCREASE, 6) + rng.normal(size=66)
    means = [y[groups == group].mean() for group in range(11)]
    names = [f"set {group}" for group in groups]
    found, expected = correlate(x, y, names), correlate(K_F, means)
    assert (found.r, found.p, found.low) == pytest.approx((expected.r, expected.p, expected.low))
    assert found.n == 11
    order = rng.permutation(66)
    shuffled = correlate(x[order], y[order], [names[i] for i in order])
    assert shuffled.r == pytest.approx(expected.r)


def test_rows_that_are_not_finite_do_not_count() -> None:
    x, y = [*K_F, math.nan, 1, math.inf], [*INCREASE, 1, math.nan, 2]
    assert correlate(x, y) == correlate(K_F, INCREASE)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_units_do_not_matter(scale: float) -> None:
    assert correlate(np.array(K_F) * scale, np.array(INCREASE) / scale).r == pytest.approx(correlate(K_F, INCREASE).r)


@pytest.mark.parametrize(
    ("x", "y", "options", "reason"),
    [
        ([], [], {}, "0 points are too few for a correlation"),
        ([1], [2], {}, "1 point is too few for a correlation"),
        ([1, 2], [2, 1], {}, "2 points are too few for a correlation"),
        ([1, 2, 3], [2, 1, 4], {"groups": ["a", "a", "b"]}, "2 points are too few for a correlation"),
        ([1, 2, 3], [2, 1, 4], {"within": ["a", "a", "b"]}, "3 points in 2 levels are too few for a correlation"),
        ([0.1 + 0.2, 0.3, 0.3, 0.3], [1, 2, 3, 4], {}, "x is the same everywhere"),
        ([1, 2, 3], [0, 0, 0], {}, "y is the same everywhere"),
        ([1, 1, 2, 2, 2], [1, 2, 3, 4, 6], {"within": list("aabbb")}, "x is the same everywhere inside the levels"),
    ],
)
def test_why_there_is_none(x: list[float], y: list[float], options: dict[str, Any], reason: str) -> None:
    found = correlate(x, y, **options)
    assert (found.r, found.low, found.high, found.p, found.spearman) == (None,) * 5
    assert found.reason == reason


def test_three_points_have_no_interval() -> None:
    found = correlate([1, 2, 4], [1, 3, 2])
    assert (found.r, found.p) == pytest.approx(tuple(stats.pearsonr([1, 2, 4], [1, 3, 2])))
    assert (found.low, found.high, found.reason) == (None, None, "3 points are too few for an interval")


@pytest.mark.parametrize(("slope", "n"), [(2.0, 3), (-0.1, 4), (1e9, 30)])
def test_points_on_a_line(slope: float, n: int) -> None:
    x = np.arange(n) ** 2 / 7
    found = correlate(x, slope * x + 3)
    assert found.r == pytest.approx(math.copysign(1, slope), abs=1e-12)
    assert found.p == pytest.approx(0, abs=1e-6)
    assert found.low is None if n == 3 else found.low == pytest.approx(math.copysign(1, slope), abs=1e-5)
