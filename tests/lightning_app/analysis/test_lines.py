"""Lines against closed forms, scipy and R."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lightning_app.analysis.law import NotIdentified
from lightning_app.analysis.lines import Line, Slope, fit_line, mean_curve, parallel_slopes

Array = NDArray[np.float64]

X = np.array([1.0, 2, 4, 5, 7, 8.5])
Y = np.array([2.0, 1.5, 3, 5, 4.5, 6])

# Eight data sets by formulas, written for R (4.2; lme4 1.1-31, clubSandwich 0.5.8) with 17 digits:
#   fit <- lmer(y ~ x + (1 | set), d, control = control)  # control as in grouped_data.py; y ~ x + level + (1 | set)
#   V <- vcovCR(fit, type = "CR2", cluster = d$set)
#   conf_int(fit, vcov = V, test = "Satterthwaite"); coef_test(fit, vcov = V, test = "Satterthwaite")
#   linear_contrast(fit, vcov = V, contrasts = matrix(c(1, 10, 1, 16), 2, byrow = TRUE), test = "Satterthwaite")
SET = np.repeat(np.arange(8), [4, 6, 5, 3, 6, 2, 4, 5])
ROW = np.arange(len(SET))
OF_SETS = 8 + 1.3 * SET + 0.4 * np.cos(3.0 * ROW)
LEVEL = ["ab"[s % 2] for s in SET]
RESPONSE = 0.2 * OF_SETS - 0.9 * (SET % 3 == 1) + 0.5 * np.sin(4.0 * SET) + 0.15 * np.sin(11 * ROW**1.5)


def numbers(slope: Slope) -> tuple[Any, ...]:
    return slope.value, slope.low, slope.high, slope.df, slope.p


def of_sets(**options: Any) -> Line:
    return fit_line(OF_SETS, RESPONSE, [f"set {s}" for s in SET], **options)


def test_least_squares_as_scipy_has_it() -> None:
    line, expected = fit_line(X, Y), stats.linregress(X, Y)
    half = stats.t.ppf(0.975, 4) * expected.stderr
    ends = expected.slope - half, expected.slope + half
    assert numbers(line.slope) == pytest.approx((expected.slope, *ends, 4, expected.pvalue))
    assert (line.n, line.groups, line.offsets, line.note) == (6, 6, {}, "")


def test_band_of_least_squares_is_the_closed_form() -> None:
    at = np.array([-3.0, 4.0, 20.0])
    expected = stats.linregress(X, Y)
    value = expected.intercept + expected.slope * at
    error = np.sqrt(np.square(Y - expected.intercept - expected.slope * X).sum() / 4)
    half = stats.t.ppf(0.975, 4) * error * np.sqrt(1 / 6 + (at - X.mean()) ** 2 / np.square(X - X.mean()).sum())
    for found, right in zip(fit_line(X, Y).band(at), (value, value - half, value + half), strict=True):
        np.testing.assert_allclose(found, right)


def test_clusters_as_r_has_them() -> None:
    line = of_sets()
    expected = (0.209275430570, 0.0925571579174, 0.325993703223, 5.11031437232, 0.00563935017934)
    assert numbers(line.slope) == pytest.approx(expected, rel=1e-5)
    value, low, high = line.band([10, 16])
    np.testing.assert_allclose(value, [1.57853445639, 2.83418703981], rtol=1e-6)
    np.testing.assert_allclose(low, [0.821700808416, 2.246434027093], rtol=1e-6)
    np.testing.assert_allclose(high, [2.33536810435, 3.42194005252], rtol=1e-6)
    assert (line.n, line.groups, line.note) == (35, 8, "")


def test_levels_as_r_has_them() -> None:
    line = of_sets(factor=LEVEL)
    expected = (0.214439890289, 0.097994485345, 0.330885295233, 4.96339535347, 0.00522840514314)
    assert numbers(line.slope) == pytest.approx(expected, rel=1e-5)
    expected = (-0.277577135970, -1.443683883043, 0.888529611103, 5.75423453202, 0.57852046683080)
    assert numbers(line.offsets["b"]) == pytest.approx(expected, rel=1e-5)


def test_the_first_level_is_the_baseline() -> None:
    back = slice(None, None, -1)
    line = fit_line(OF_SETS[back], RESPONSE[back], list(SET[back]), LEVEL[back])
    assert LEVEL[-1] == "b"
    assert list(line.offsets) == ["a"]
    assert line.offsets["a"].value == pytest.approx(0.277577135970, rel=1e-5)


def test_levels_are_offsets_at_equal_x() -> None:
    x, level = np.array([1.0, 2, 3, 4, 6, 9]), list("aabbcc")
    y = 2 + 3 * x + np.array([0, 0, 5, 5, -1, -1])
    line = fit_line(x, y, factor=level)
    assert line.slope.value == pytest.approx(3)
    assert {name: offset.value for name, offset in line.offsets.items()} == pytest.approx({"b": 5, "c": -1})
    assert line.band([0.0])[0] == pytest.approx(2 + (5 - 1) / 3)  # two points of each level


@pytest.mark.parametrize("repeats", [1, 3])
def test_one_point_per_data_set_needs_no_clusters(repeats: int) -> None:
    line = fit_line(np.repeat(X, repeats), np.repeat(Y, repeats), list(np.repeat(np.arange(6), repeats)))
    assert numbers(line.slope) == pytest.approx(numbers(fit_line(X, Y).slope))
    assert (line.n, line.groups) == (6 * repeats, 6)


@pytest.mark.parametrize("sets", [1, 2])
def test_few_data_sets_give_a_line_without_an_interval(sets: int) -> None:
    chosen = sets > SET
    line = fit_line(OF_SETS[chosen], RESPONSE[chosen], list(SET[chosen]))
    value = stats.linregress(OF_SETS[chosen], RESPONSE[chosen]).slope
    assert line.slope == Slope(pytest.approx(value))
    assert line.note == f"points of one data set are not independent, and data sets are too few: {sets}"
    assert np.isnan(line.band([10])[1:]).all()


def test_as_many_levels_as_data_sets_give_no_interval() -> None:
    chosen = SET < 3
    line = fit_line(OF_SETS[chosen], RESPONSE[chosen], list(SET[chosen]), [f"level {s}" for s in SET[chosen]])
    assert line.slope.low is None
    assert line.note.endswith("too few: 3")


def test_two_points_have_a_line_and_no_interval() -> None:
    line = fit_line([1, 3], [5, 1])
    assert line.slope == Slope(pytest.approx(-2))
    assert line.note == "2 points are too few for an interval"


@pytest.mark.parametrize(
    ("x", "factor", "reason"),
    [
        ([], None, "there are no points"),
        ([math.nan, math.inf], None, "there are no points"),
        ([1], None, "there is one point only"),
        ([0.3, 0.1 + 0.2, 0.3], None, "x is the same everywhere"),
        ([0, 0], None, "x is the same everywhere"),
        ([1, 1, 2, 2], list("aabb"), "x is the same inside every level"),
    ],
)
def test_why_there_is_no_line(x: list[float], factor: list[str] | None, reason: str) -> None:
    with pytest.raises(NotIdentified, match=reason):
        fit_line(x, np.arange(len(x)), factor=factor)


def test_a_constant_response_has_the_slope_zero() -> None:
    y = math.log(0.3) + 1e-16 * np.sin(ROW)
    line = fit_line(OF_SETS, y)
    assert numbers(line.slope) == (0, 0, 0, 33, 1)
    assert line.band([10])[0] == pytest.approx(math.log(0.3))
    assert fit_line(OF_SETS, y, list(SET)).slope == Slope(0)


def test_an_exact_line_is_found() -> None:
    line = fit_line(OF_SETS, 3 * OF_SETS - 1, list(SET))
    assert line.slope.value == pytest.approx(3)
    assert line.band([100.0])[0] == pytest.approx(299)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 1e9), (1.0, -40.0)])
def test_units_do_not_matter(scale: float, shift: float) -> None:
    line = fit_line(scale * OF_SETS + shift, RESPONSE, list(SET))
    expected = of_sets().slope
    assert line.slope.value * scale == pytest.approx(expected.value, rel=1e-5)
    assert (line.slope.p, line.slope.df) == pytest.approx((expected.p, expected.df), rel=1e-4)


def test_rows_that_are_not_finite_do_not_count() -> None:
    x, y = np.append(OF_SETS, [1, math.nan, math.inf]), np.append(RESPONSE, [math.nan, 1, 1])
    line = fit_line(x, y, [*SET, 0, 1, 99])
    assert numbers(line.slope) == pytest.approx(numbers(of_sets().slope))
    assert (line.n, line.groups) == (35, 8)


def test_what_x_is_called() -> None:
    with pytest.raises(NotIdentified, match=r"^d_data is the same everywhere$"):
        fit_line([1, 1], [1, 2], called="d_data")


def test_parallel_slopes_as_r_has_them() -> None:
    # d <- data.frame(x = X, y = Y, g = c("a", "a", "a", "b", "b", "b")); confint(lm(y ~ 0 + g + g:x, d))
    # The same by a design of everything: an intercept and a slope for each.
    curves = [(X[:3], Y[:3]), (X[3:5], Y[3:5]), (X, Y)]
    design = np.zeros((11, 6))
    for i, rows in enumerate((slice(0, 3), slice(3, 5), slice(5, 11))):
        design[rows, i], design[rows, 3 + i] = 1, curves[i][0]
    y = np.concatenate([y for _, y in curves])
    beta, (rest,) = np.linalg.lstsq(design, y, rcond=None)[:2]
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rest / 5)
    for slope, value, error in zip(parallel_slopes(curves), beta[3:], errors[3:], strict=True):
        half = stats.t.ppf(0.975, 5) * error
        p = 2 * stats.t.sf(abs(value) / error, 5)
        assert numbers(slope) == pytest.approx((value, value - half, value + half, 5, p))


def test_parallel_slopes_of_two_points_each_have_no_intervals() -> None:
    assert parallel_slopes([(X[:2], Y[:2]), (X[3:5], Y[3:5])]) == [Slope(-0.5), Slope(-0.25)]
    assert parallel_slopes([]) == []


def test_mean_curve_of_complete_curves_is_their_mean() -> None:
    table = np.array([[3.0, 2, 2.5], [5, 1, 0]])
    at, mean = mean_curve([1, 2, 4] * 2, table.ravel(), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(at, [1, 2, 4])
    np.testing.assert_allclose(mean, table.mean(axis=0))


def test_mean_curve_is_not_bent_by_curves_that_lack_points() -> None:
    rng = np.random.default_rng(0)
    levels = {"a": 3.0, "b": -1.0, "c": 10.0}
    x = {"a": [1, 2, 3, 4], "b": [3, 4], "c": [1, 2]}
    rows = [(at, at**2 + levels[name], name) for name, own in x.items() for at in own]
    order = rng.permutation(len(rows))
    at, mean = mean_curve(*zip(*[rows[i] for i in order], strict=True))
    np.testing.assert_array_equal(at, [1, 2, 3, 4])
    np.testing.assert_allclose(mean, np.array([1, 4, 9, 16]) + 4)


def test_curves_that_share_no_x_have_no_mean() -> None:
    with pytest.raises(NotIdentified, match="share no curve"):
        mean_curve([1, 2, 3, 4], [1, 2, 3, 4], ["a", "a", "b", "b"])
