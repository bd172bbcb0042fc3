"""Kenward and Roger's method: against pbkrtest, and closed forms."""

import numpy as np
import pytest

from lightning_app.analysis.kenward_roger import kenward_roger
from lightning_app.analysis.mixed_model import fit_random_intercept
from tests.lightning_app.analysis.grouped_data import DATA

# sqrt(diag(vcovAdj(fit))); sapply(1:p, function(k) get_Lb_ddf(fit, as.numeric(1:p == k))); then, with L <- 1 / 1:p,
# sqrt(t(L) %*% vcovAdj(fit) %*% L) and get_Lb_ddf(fit, L)
PBKRTEST = {
    "balanced": (
        [0.433231548, 0.1546064859, 0.7046652522],
        [3.941717186, 24.30712465, 3.941498849],
        (0.4806290607, 4.152873902),
    ),
    "unbalanced": (
        [0.4715399936, 0.1441719591, 0.6736213398],
        [5.577759114, 23.00382722, 5.856270908],
        (0.3561096871, 5.951584553),
    ),
    "alone in its domain": (
        [0.5286892364, 0.146596526, 1.384267273, 0.2119876272],
        [5.163226345, 21.89467382, 4.961093253, 21.04046454],
        (0.5540481024, 5.045730922),
    ),
    "like the law": (
        [0.2475138587, 0.07023156394, 0.3442240598, 0.3338727183, 0.1056235829],
        [8.161497057, 105.7371698, 7.793748884, 7.926509342, 102.0439165],
        (0.2269157794, 8.164040637),
    ),
    "no variance between groups": (
        [0.1198969833, 0.1620068171, 0.1866651309],
        [3.361176461, 20.94354683, 3.294283963],
        (0.1385496346, 4.567016243),
    ),
    "four groups": ([0.7815739776, 1.102422501], [1.977465195, 1.97376881], (0.9370620993, 2.084825927)),
}


@pytest.mark.parametrize("name", PBKRTEST)
def test_the_result_is_that_of_pbkrtest(name: str) -> None:
    data = DATA[name]
    stderr, df, (contrast_stderr, contrast_df) = PBKRTEST[name]
    fit = fit_random_intercept(data.x, data.y, data.groups, data.names)
    found = kenward_roger(fit)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(stderr, rel=1e-6)
    assert found.df == pytest.approx(df, rel=1e-6)
    contrast = kenward_roger(fit, 1 / np.arange(1, len(stderr) + 1)[None])
    assert np.sqrt(contrast.covariance) == pytest.approx(np.array([[contrast_stderr]]), rel=1e-6)
    assert contrast.df == pytest.approx([contrast_df], rel=1e-6)


def test_a_regression_on_means_of_balanced_groups() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=8)
    means = z + rng.normal(size=8)
    noise = rng.normal(size=(8, 5))
    y = means[:, None] + noise - noise.mean(axis=1, keepdims=True)
    x = np.repeat(np.stack([np.ones(8), z], axis=1), 5, axis=0)
    found = kenward_roger(fit_random_intercept(x, y.ravel(), np.repeat(np.arange(8), 5), ["1", "z"]))
    residuals = np.polynomial.Polynomial.fit(z, means, 1)(z) - means
    assert found.covariance[1, 1] == pytest.approx((residuals @ residuals) / 6 / (8 * z.var()))
    assert found.df == pytest.approx([6, 6])


def test_groups_of_one_row_are_ordinary_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(12), rng.normal(size=12)], axis=1)
    y = rng.normal(size=12)
    fit = fit_random_intercept(x, y, np.arange(12), ["1", "x"])
    found = kenward_roger(fit)
    assert found.covariance == pytest.approx(fit.residuals @ fit.residuals / 10 * np.linalg.inv(x.T @ x))
    assert found.df == pytest.approx([10, 10])


def test_units_do_not_matter() -> None:
    data = DATA["unbalanced"]
    found = kenward_roger(fit_random_intercept(data.x, data.y, data.groups, data.names))
    units = np.array([1, 1e4, 1e-5])
    other = kenward_roger(fit_random_intercept(data.x * units, 1e-4 * data.y, data.groups, data.names))
    assert other.df == pytest.approx(found.df, rel=1e-6)
    assert other.covariance * np.outer(units, units) * 1e8 == pytest.approx(found.covariance, rel=1e-6)


def test_a_fit_by_maximum_likelihood_is_refused() -> None:
    data = DATA["balanced"]
    with pytest.raises(ValueError, match="fit with reml=True"):
        kenward_roger(fit_random_intercept(data.x, data.y, data.groups, data.names, reml=False))
