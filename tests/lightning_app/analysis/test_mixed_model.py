"""Random-intercept fits: against lme4, statsmodels, the analysis of variance, and in any units."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from lightning_app.analysis.mixed_model import fit_random_intercept
from tests.lightning_app.analysis.grouped_data import DATA

# fixef(fit); sqrt(diag(vcov(fit))); VarCorr(fit) (variances of groups, residuals); logLik(fit)
LME4 = {
    ("balanced", True): (
        [0.9937632158, 0.9482072007, -0.8581023123],
        [0.4332313361, 0.152021296, 0.7046652521],
        (1.050294919, 0.3340122871, -33.38720519),
    ),
    ("balanced", False): (
        [0.9937321812, 0.9461679359, -0.8581032789],
        [0.3523839057, 0.1479342281, 0.5731606798],
        (0.6749529196, 0.3205217677, -32.83566911),
    ),
    ("unbalanced", True): (
        [0.8127045471, 0.9465615401, -0.05597718279],
        [0.4693534462, 0.1429010999, 0.6710969161],
        (0.7782191814, 0.2980854978, -33.2558028),
    ),
    ("unbalanced", False): (
        [0.8311125576, 0.942990159, -0.08184983194],
        [0.3991890402, 0.1397970457, 0.5730889401],
        (0.5414084866, 0.2872440014, -32.39985022),
    ),
    ("alone in its domain", True): (
        [0.7602285665, 0.8977794299, 0.7236870951, 0.3022738052],
        [0.5285349364, 0.1451077217, 1.384152564, 0.211896743],
        (1.562866964, 0.2936189358, -33.29526663),
    ),
    ("alone in its domain", False): (
        [0.7588192535, 0.8976261913, 0.7252041356, 0.3021203044],
        [0.4473072587, 0.1382831161, 1.16818442, 0.2025153697],
        (1.097311899, 0.2682624158, -32.86021062),
    ),
    ("like the law", True): (
        [0.829938095, 1.086678048, -0.8876619728, 0.1253574841, 0.2790793856],
        [0.2474520207, 0.06985147329, 0.3441356627, 0.3337116627, 0.1056195805],
        (0.2712083727, 0.283417424, -105.4328241),
    ),
    ("like the law", False): (
        [0.8287945683, 1.08957496, -0.8815830863, 0.1206833498, 0.2781648039],
        [0.2092180063, 0.06897660323, 0.289689106, 0.2813538492, 0.1047005087],
        (0.1847193294, 0.278522166, -100.8696752),
    ),
    ("no variance between groups", True): (
        [0.7770731257, 0.9391793231, -0.8354965906],
        [0.113714974, 0.1475599386, 0.1804889629],
        (0.0, 0.2913234658, -20.83256534),
    ),
    ("no variance between groups", False): (
        [0.7770731257, 0.9391793231, -0.8354965906],
        [0.1063706182, 0.1380296836, 0.1688319653],
        (0.0, 0.2549080326, -17.65229533),
    ),
    ("four groups", True): (
        [0.7817470234, -0.7849221142],
        [0.7812898901, 1.102059807],
        (2.25182369, 0.6132183769, -21.42622292),
    ),
    ("four groups", False): (
        [0.8036025771, -0.7725133297],
        [0.535068935, 0.754350573],
        (0.95986271, 0.6224748834, -22.69645839),
    ),
}


@pytest.mark.parametrize(("name", "reml"), LME4)
def test_the_fit_is_that_of_lme4(name: str, reml: bool) -> None:
    data = DATA[name]
    beta, stderr, (var_group, var_residual, log_likelihood) = LME4[name, reml]
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names, reml=reml)
    assert fit.beta == pytest.approx(beta, rel=1e-6)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(stderr, rel=1e-6)
    assert (fit.var_group, fit.var_residual) == pytest.approx((var_group, var_residual), rel=1e-6)
    assert fit.log_likelihood == pytest.approx(log_likelihood, rel=1e-8)


def test_a_variance_of_zero_between_groups_is_exactly_zero() -> None:
    data = DATA["no variance between groups"]
    assert fit_random_intercept(data.x, data.y, data.groups, data.names).var_group == 0


@pytest.mark.parametrize("name", ["balanced", "like the law"])
@pytest.mark.parametrize("reml", [True, False])
def test_the_fit_is_that_of_statsmodels(name: str, reml: bool) -> None:
    data = DATA[name]
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names, reml=reml)
    theirs = sm.MixedLM(data.y, data.x, data.groups).fit(reml=reml)
    # Its search stops early: variances agree less well than their likelihood.
    assert fit.beta == pytest.approx(theirs.fe_params, rel=1e-4)
    assert fit.var_group == pytest.approx(theirs.cov_re[0, 0], rel=1e-3)
    assert fit.var_residual == pytest.approx(theirs.scale, rel=1e-4)
    assert fit.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)
    assert fit.log_likelihood >= theirs.llf - 1e-10


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(2, 30), st.sampled_from([0, 0.3, 3, 1e4]))
def test_balanced_groups_give_the_analysis_of_variance(seed: int, size: int, n_groups: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    table = spread * rng.normal(size=(n_groups, 1)) + rng.normal(size=(n_groups, size))
    between = size * table.mean(axis=1).var(ddof=1)
    inside = table.var(axis=1, ddof=1).mean()
    pooled = table.var()
    x, groups = np.ones((table.size, 1)), np.repeat(np.arange(n_groups), size)
    for reml, corrected in ((True, between), (False, between * (1 - 1 / n_groups))):
        fit = fit_random_intercept(x, table.ravel(), groups, ["mean"], reml=reml)
        if corrected > inside:
            assert fit.var_residual == pytest.approx(inside, rel=1e-9)
            assert fit.var_group == pytest.approx((corrected - inside) / size, rel=1e-8, abs=1e-10)
        else:
            assert fit.var_group == 0
            assert fit.var_residual == pytest.approx(pooled * table.size / (table.size - reml), rel=1e-9)


@given(st.sampled_from(sorted(DATA)), st.booleans(), st.floats(1e-6, 1e6), st.floats(-10, 10), st.floats(1e-6, 1e6))
def test_units_do_not_matter(name: str, reml: bool, scale: float, shift: float, unit: float) -> None:
    data = DATA[name]
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names, reml=reml)
    units = np.array([1.0, unit, *[1.0] * (data.x.shape[1] - 2)])
    other = fit_random_intercept(data.x * units, scale * (data.y + shift), data.groups, data.names, reml=reml)
    moved = fit.beta + shift * (np.arange(len(units)) == 0)
    assert other.beta * units / scale == pytest.approx(moved, rel=1e-7, abs=1e-9)
    assert other.var_group / scale**2 == pytest.approx(fit.var_group, rel=1e-7)
    assert other.var_residual / scale**2 == pytest.approx(fit.var_residual, rel=1e-7)
    assert other.covariance * np.outer(units, units) / scale**2 == pytest.approx(fit.covariance, rel=1e-6, abs=1e-12)
    free = len(data.y) - len(units) * reml
    determinant = math.log(unit) * reml
    assert other.log_likelihood == pytest.approx(fit.log_likelihood - free * math.log(scale) - determinant, abs=1e-6)


def test_groups_may_have_any_labels_in_any_order() -> None:
    data = DATA["unbalanced"]
    order = np.random.default_rng(0).permutation(len(data.y))
    labels = np.array(["h", "a", "zz", "b", "q", "c", "x", "d"])
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names)
    other = fit_random_intercept(data.x[order], data.y[order], labels[data.groups[order]], data.names)
    assert other.n_groups == fit.n_groups == 8
    assert other.beta == pytest.approx(fit.beta, rel=1e-9)
    assert other.var_group == pytest.approx(fit.var_group, rel=1e-9)
    assert other.residuals == pytest.approx(fit.residuals[order], abs=1e-9)


def test_rows_that_are_groups_of_their_own_are_ordinary_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(11), rng.normal(size=11)], axis=1)
    y = rng.normal(size=11)
    fit = fit_random_intercept(x, y, np.arange(11), ["1", "x"])
    theirs = sm.OLS(y, x).fit()
    assert fit.var_group == 0
    assert fit.beta == pytest.approx(theirs.params)
    assert fit.var_residual == pytest.approx(theirs.scale)
    assert fit.covariance == pytest.approx(theirs.cov_params())
    assert fit_random_intercept(x, y, np.arange(11), ["1", "x"], reml=False).log_likelihood == pytest.approx(theirs.llf)


def test_groups_that_the_design_tells_apart_have_no_variance_left() -> None:
    data = DATA["balanced"]
    x = np.column_stack([np.eye(6)[data.groups], data.x[:, 1]])
    fit = fit_random_intercept(x, data.y, data.groups, [*"abcdef", "t"])
    theirs = sm.OLS(data.y, x).fit()
    assert fit.var_group == 0
    assert fit.beta == pytest.approx(theirs.params)
    assert fit.covariance == pytest.approx(theirs.cov_params(), abs=1e-12)


def test_a_large_mean_costs_no_digits() -> None:
    data = DATA["unbalanced"]
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names)
    other = fit_random_intercept(data.x, data.y + 1e6, data.groups, data.names)
    assert other.var_group == pytest.approx(fit.var_group, rel=1e-6)
    assert other.beta[1:] == pytest.approx(fit.beta[1:], rel=1e-6)


def test_what_cannot_be_fitted_says_why() -> None:
    x, y, groups = np.ones((6, 1)), np.arange(6.0), np.array([0, 0, 1, 1, 2, 2])
    with pytest.raises(ValueError, match="no residual variance"):
        fit_random_intercept(x, groups.astype(float), groups, ["mean"])
    with pytest.raises(ValueError, match="no residual variance"):
        fit_random_intercept(x, np.full(6, 0.1), np.arange(6), ["mean"])
    with pytest.raises(ValueError, match="4 rows in 3 groups leave no residuals within groups: add rows of the same"):
        fit_random_intercept(np.c_[x, y][:4], np.sin(y)[:4], np.array([0, 0, 1, 2]), ["mean", "slope"])
    with pytest.raises(ValueError, match="not finite: leave those rows out"):
        fit_random_intercept(x, np.where(y == 3, np.nan, y), groups, ["mean"])
    with pytest.raises(ValueError, match="not finite: leave those rows out"):
        fit_random_intercept(np.where(y == 3, np.inf, y)[:, None], y, groups, ["slope"])
