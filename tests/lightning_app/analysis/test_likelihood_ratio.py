"""The bootstrapped likelihood ratio: against R, exact tests, and a bootstrap that draws every row."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import f

from lightning_app.analysis import likelihood_ratio
from lightning_app.analysis.likelihood_ratio import bootstrap_test
from lightning_app.analysis.mixed_model import fit_random_intercept
from tests.lightning_app.analysis.grouped_data import DATA, Array, GroupedData


@pytest.mark.parametrize(
    ("name", "drop", "statistic", "p_chi2", "aic_reduced", "aic_full"),
    # With both fits by maximum likelihood, a <- anova(full, reduced): a$Chisq[2], a[["Pr(>Chisq)"]][2], a$AIC
    [
        ("unbalanced", "a", 0.0199905134335, 0.8875635820197, 72.8196909612746, 74.7997004478412),
        ("like the law", "z", 6.72891987064, 9.48620263357e-3, 220.468270351, 215.739350480),
    ],
)
def test_the_ratio_is_that_of_lme4(
    name: str, drop: str, statistic: float, p_chi2: float, aic_reduced: float, aic_full: float
) -> None:
    data = DATA[name]
    test = bootstrap_test(data.x, data.y, data.groups, data.names, [drop], draws=1)
    assert test.statistic == pytest.approx(statistic, abs=1e-7)
    assert test.df == 1
    assert test.p_chi2 == pytest.approx(p_chi2, rel=1e-5)
    assert (test.aic_reduced, test.aic_full) == pytest.approx((aic_reduced, aic_full), abs=1e-7)


@pytest.mark.parametrize(
    ("name", "drop", "p"),
    # PBmodcomp(full, reduced, nsim = 5000)
    [("unbalanced", "a", 0.9078), ("like the law", "z", 0.030594)],
)
def test_the_bootstrap_is_that_of_pbkrtest(name: str, drop: str, p: float) -> None:
    data = DATA[name]
    test = bootstrap_test(data.x, data.y, data.groups, data.names, [drop], draws=20_000)
    assert test.p == pytest.approx(p, abs=4 * (p * (1 - p) * (1 / 5000 + 1 / 20_000)) ** 0.5)


def _close(test: likelihood_ratio.LikelihoodRatio, p: float) -> None:
    assert test.p == pytest.approx(p, abs=4 * (p * (1 - p) / test.draws) ** 0.5)


@pytest.mark.parametrize("drop", [["x"], ["x", "z"], ["1", "x", "z"]])
def test_groups_of_one_row_give_the_f_test(drop: list[str]) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(14), rng.normal(size=14), rng.normal(size=14)], axis=1)
    y = 0.2 + 0.5 * x[:, 1] + rng.normal(size=14)
    names = ("1", "x", "z")
    full = sm.OLS(y, x).fit()
    left = x[:, [i for i, name in enumerate(names) if name not in drop]]
    reduced = y @ y if not left.size else sm.OLS(y, left).fit().ssr
    ratio = (reduced - full.ssr) / len(drop) / (full.ssr / 11)
    _close(bootstrap_test(x, y, np.arange(14), names, drop, draws=10_000), float(f.sf(ratio, len(drop), 11)))


def test_a_slope_beside_a_factor_for_the_groups_gives_the_f_test() -> None:
    data = DATA["balanced"]
    x = np.column_stack([np.eye(6)[data.groups], data.x[:, 1]])
    y = data.y - 0.8 * data.x[:, 1]
    full = sm.OLS(y, x).fit()
    _close(bootstrap_test(x, y, data.groups, [*"abcdef", "t"], ["t"], draws=10_000), float(full.pvalues[6]))


def _row_by_row(data: GroupedData, keep: Array, draws: int) -> float:
    """The bootstrap as it is defined: every row is drawn, with effects and units, and fitted twice."""
    fits = [
        fit_random_intercept(x, data.y, data.groups, ["?"] * x.shape[1], reml=False) for x in (data.x, data.x[:, keep])
    ]
    statistic = 2 * (fits[0].log_likelihood - fits[1].log_likelihood)
    reduced, rng, larger = fits[1], np.random.default_rng(1), 0
    for _ in range(draws):
        u = reduced.var_group**0.5 * rng.normal(size=reduced.n_groups)
        e = reduced.var_residual**0.5 * rng.normal(size=len(data.y))
        y = reduced.x @ reduced.beta + u[data.groups] + e
        full, less = (
            fit_random_intercept(x, y, data.groups, ["?"] * x.shape[1], reml=False) for x in (data.x, reduced.x)
        )
        larger += 2 * (full.log_likelihood - less.log_likelihood) >= statistic
    return (1 + larger) / (draws + 1)


@pytest.mark.parametrize(("name", "drop"), [("unbalanced", "a"), ("four groups", "z"), ("alone in its domain", "b")])
def test_drawing_sums_is_drawing_rows(name: str, drop: str) -> None:
    data = DATA[name]
    keep = np.array([column != drop for column in data.names])
    p = _row_by_row(data, keep, 400)
    test = bootstrap_test(data.x, data.y, data.groups, data.names, [drop], draws=10_000)
    assert test.p == pytest.approx(p, abs=4 * (p * (1 - p) * (1 / 400 + 1 / 10_000)) ** 0.5)


def test_the_seed_is_all_that_decides() -> None:
    data = DATA["four groups"]

    def p(seed: int) -> float:
        return bootstrap_test(data.x, data.y, data.groups, data.names, ["z"], draws=200, seed=seed).p

    state = str(np.random.get_state())  # noqa: NPY002  # the global generator is what must not move
    first = [p(seed) for seed in range(5)]
    assert str(np.random.get_state()) == state  # noqa: NPY002
    np.random.random()  # noqa: NPY002
    assert [p(seed) for seed in range(5)] == first
    assert len(set(first)) > 1


def test_draws_may_be_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = DATA["like the law"]
    whole = bootstrap_test(data.x, data.y, data.groups, data.names, ["b"], draws=3000)
    monkeypatch.setattr(likelihood_ratio, "_NUMBERS_AT_ONCE", 100_000)
    parts = bootstrap_test(data.x, data.y, data.groups, data.names, ["b"], draws=3000)
    assert parts.p == pytest.approx(whole.p, abs=4 * (whole.p * (1 - whole.p) * 2 / 3000) ** 0.5)
    assert round(parts.p * 3001, 6) % 1 == 0


def test_a_strong_effect_has_the_smallest_p() -> None:
    data = DATA["like the law"]
    test = bootstrap_test(data.x, data.y, data.groups, data.names, ["t"], draws=199)
    assert test.p == 1 / 200
    assert test.aic_full < test.aic_reduced


def test_a_column_that_is_not_there() -> None:
    data = DATA["four groups"]
    with pytest.raises(ValueError, match=r"there is no column 'log K_F': choose of 1, z"):
        bootstrap_test(data.x, data.y, data.groups, data.names, ["log K_F"])
