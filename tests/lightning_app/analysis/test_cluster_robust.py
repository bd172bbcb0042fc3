"""CR2 and its degrees of freedom: against clubSandwich, the formula with dense matrices, and closed forms."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.linalg import cholesky

from lightning_app.analysis.cluster_robust import cluster_robust
from lightning_app.analysis.grouped_design import Array, group_means
from lightning_app.analysis.mixed_model import MixedFit, fit_random_intercept
from tests.lightning_app.analysis.grouped_data import DATA, GroupedData

# coef_test(fit, vcov = "CR2", test = "Satterthwaite"): SE, df; then the same of
# linear_contrast(fit, vcov = "CR2", contrasts = matrix(1 / 1:p, 1))
CLUB_SANDWICH = {
    "balanced": (
        [0.4243729475, 0.1159317623, 0.6874497824],
        [3.828297974, 4.960777777, 3.157381654],
        (0.4813928095, 2.603647591),
    ),
    "unbalanced": (
        [0.4959041728, 0.1003260756, 0.6657871968],
        [2.956196701, 4.097093802, 5.925778264],
        (0.3593957238, 4.461446679),
    ),
    # Of "s", the dummy of a single group, clubSandwich has 5.000326371 degrees of freedom, and of the contrast
    # 5.003624251. The variance is that of the others' mean alone: 0.55² where the fitted model has 1.38².
    "alone in its domain": (
        [0.5830008125, 0.1602895363, 0.553171577, 0.2552180506],
        [5.014701238, 4.973903055, 0, 5.2485506],
        (0.3706425837, 0),
    ),
    "like the law": (
        [0.2009419418, 0.0653409318, 0.3263118005, 0.3193561512, 0.1013879],
        [4.099282618, 9.355905248, 4.005775873, 7.640801175, 9.226700069],
        (0.1792052203, 5.73215144),
    ),
    "no variance between groups": (
        [0.05040015121, 0.2082662313, 0.05564410608],
        [3.235656169, 4.219199384, 2.875245317],
        (0.08814233445, 2.814563615),
    ),
    "four groups": ([0.7569971909, 1.143137289], [1.973760115, 1.991037401], (1.259732552, 1.117494743)),
}


def _fit(data: GroupedData) -> MixedFit:
    return fit_random_intercept(data.x, data.y, data.groups, data.names)


@pytest.mark.parametrize("name", CLUB_SANDWICH)
def test_the_result_is_that_of_clubsandwich(name: str) -> None:
    fit = _fit(DATA[name])
    stderr, df, (contrast_stderr, contrast_df) = CLUB_SANDWICH[name]
    found = cluster_robust(fit)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(stderr, rel=1e-6)
    assert found.df == pytest.approx(df, rel=1e-6)
    contrast = cluster_robust(fit, 1 / np.arange(1, len(stderr) + 1)[None])
    assert np.sqrt(contrast.covariance) == pytest.approx(np.array([[contrast_stderr]]), rel=1e-6)
    assert contrast.df == pytest.approx([contrast_df], rel=1e-6)


def _dense(fit: MixedFit) -> tuple[Array, Array]:
    """The formulas as they are written, with n × n matrices."""
    n, p = fit.x.shape
    v = fit.var_residual * np.eye(n) + fit.var_group * np.equal.outer(fit.groups, fit.groups)
    weights = np.linalg.inv(v)
    m = np.linalg.inv(fit.x.T @ weights @ fit.x)
    residual_maker = np.eye(n) - fit.x @ m @ fit.x.T @ weights
    meat, loads = np.zeros((p, p)), []
    for g in range(fit.n_groups):
        i = np.flatnonzero(fit.groups == g)
        x, phi = fit.x[i], v[np.ix_(i, i)]
        d = cholesky(phi)  # upper: dᵀd = Φ
        values, vectors = np.linalg.eigh(d @ (phi - x @ m @ x.T) @ d.T)
        roots = np.array([value**-0.5 if value > 1e-10 * values.max() else 0 for value in values])
        adjusted = d.T @ (vectors * roots) @ vectors.T @ d
        score = x.T @ np.linalg.inv(phi) @ adjusted @ fit.residuals[i]
        meat += np.outer(score, score)
        loads.append(m @ x.T @ np.linalg.inv(phi) @ adjusted @ residual_maker[i])
    df = []
    for c in range(p):
        rows = np.stack([load[c] for load in loads])
        products = rows @ v @ rows.T
        unbiased = np.isclose(np.trace(products), m[c, c])
        df.append(np.trace(products) ** 2 / np.square(products).sum() if unbiased else 0)
    return m @ meat @ m, np.array(df)


@pytest.mark.parametrize("seed", range(6))
def test_the_result_is_the_written_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [150, 1, 2, 9, 4, 30, 7]
    groups = rng.permutation(np.repeat(np.arange(7), sizes))
    between = rng.normal(size=(7, 2))[groups]
    n = len(groups)
    x = np.column_stack([np.ones(n), 100 * rng.normal(size=n) + 3, between, rng.random(n) < 0.4, groups == 3])
    # Not 10: what is written loses digits with the square of the variances' ratio, on some processors too many.
    y = rng.normal(size=n) + [0, 1, 4][seed % 3] * rng.normal(size=7)[groups]
    fit = fit_random_intercept(x, y, groups, list("abcdef"))
    covariance, df = _dense(fit)
    assert (df == 0).tolist() == [False, False, False, False, False, True]
    found = cluster_robust(fit)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert found.covariance / scale == pytest.approx(covariance / scale, abs=1e-8)
    assert found.df == pytest.approx(df, rel=1e-8)


def test_the_mean_of_balanced_groups() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(9, 1)) + rng.normal(size=(9, 4))
    fit = fit_random_intercept(np.ones((36, 1)), table.ravel(), np.repeat(np.arange(9), 4), ["mean"])
    found = cluster_robust(fit)
    assert found.covariance[0, 0] == pytest.approx(table.mean(axis=1).var(ddof=1) / 9)
    assert found.df == pytest.approx([8])


def test_two_samples_of_groups_have_welchs_variance() -> None:
    rng = np.random.default_rng(1)
    means = rng.normal(size=10)
    y = (means[:, None] + rng.normal(size=(10, 3))).ravel()
    groups = np.repeat(np.arange(10), 3)
    x = np.stack([groups < 4, groups >= 4], axis=1).astype(float)
    found = cluster_robust(fit_random_intercept(x, y, groups, ["few", "many"]), np.array([[1.0, -1.0]]))
    a, b = y.reshape(10, 3).mean(axis=1)[:4], y.reshape(10, 3).mean(axis=1)[4:]
    assert found.covariance[0, 0] == pytest.approx(a.var(ddof=1) / 4 + b.var(ddof=1) / 6)
    # Welch's degrees of freedom where the variances are equal, as the fitted model has it.
    assert found.df == pytest.approx([(1 / 4 + 1 / 6) ** 2 / (1 / 4**2 / 3 + 1 / 6**2 / 5)])


def test_groups_of_one_row_are_hc2() -> None:
    rng = np.random.default_rng(2)
    x = np.stack([np.ones(15), rng.normal(size=15), rng.exponential(size=15)], axis=1)
    y = rng.normal(size=15) * x[:, 2]
    found = cluster_robust(fit_random_intercept(x, y, np.arange(15), list("abc")))
    assert found.covariance == pytest.approx(sm.OLS(y, x).fit(cov_type="HC2").cov_params())


def test_contrasts_of_all_coefficients_at_once() -> None:
    fit = _fit(DATA["like the law"])
    contrasts = np.random.default_rng(0).normal(size=(30, 5))
    found, coefficients = cluster_robust(fit, contrasts), cluster_robust(fit)
    assert found.covariance == pytest.approx(contrasts @ coefficients.covariance @ contrasts.T)
    for contrast, df in zip(contrasts, found.df, strict=True):
        # A design in which the contrast is the first coefficient.
        to = np.vstack([contrast, np.eye(5)[1:]])
        turned = fit_random_intercept(fit.x @ np.linalg.inv(to), fit.y, fit.groups, list("vwxyz"))
        assert df == pytest.approx(cluster_robust(turned).df[0], rel=1e-6)


def test_units_do_not_matter() -> None:
    data = DATA["like the law"]
    found = cluster_robust(_fit(data))
    units = np.array([1, 1e4, 1e-5, 1, 1e3])
    other = cluster_robust(fit_random_intercept(data.x * units, 1e3 * data.y, data.groups, data.names))
    assert other.df == pytest.approx(found.df, rel=1e-7)
    assert other.covariance * np.outer(units, units) / 1e6 == pytest.approx(found.covariance, rel=1e-6, abs=1e-10)


def test_order_of_rows_does_not_matter() -> None:
    data = DATA["like the law"]
    order = np.random.default_rng(0).permutation(len(data.y))
    found = cluster_robust(_fit(data))
    other = cluster_robust(fit_random_intercept(data.x[order], data.y[order], data.groups[order], data.names))
    assert other.df == pytest.approx(found.df)
    assert other.covariance == pytest.approx(found.covariance)


def test_a_coefficient_that_one_group_decides_has_no_degrees_of_freedom() -> None:
    data = DATA["balanced"]
    x = np.eye(6)[data.groups]
    assert (cluster_robust(fit_random_intercept(x, data.y, data.groups, list("abcdef"))).df == 0).all()


def test_a_slope_beside_a_factor_for_the_groups_is_that_of_deviations_from_means() -> None:
    data = DATA["unbalanced"]
    t = data.x[:, 1] - group_means(data.x, data.groups)[data.groups, 1]
    y = data.y - group_means(data.y[:, None], data.groups)[data.groups, 0]
    x = np.column_stack([np.eye(8)[data.groups], t])
    found = cluster_robust(fit_random_intercept(x, data.y, data.groups, list("abcdefght")))
    # By hand, for least squares with nothing but one regressor.
    leverage = np.bincount(data.groups, t**2) / (t @ t)
    scores = np.bincount(data.groups, t * (y - t * (t @ y) / (t @ t))) / np.sqrt(1 - leverage)
    assert found.covariance[8, 8] == pytest.approx((scores @ scores) / (t @ t) ** 2)
    loads = leverage / np.sqrt(1 - leverage)
    products = np.diag(leverage / (1 - leverage)) - np.outer(loads, loads)
    assert found.df[8] == pytest.approx(np.trace(products) ** 2 / np.square(products).sum())
