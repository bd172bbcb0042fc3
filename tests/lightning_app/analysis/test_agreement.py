"""Own runs against a law: closed forms, simulations, and intervals that hold the runs."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lightning_app.analysis.agreement import Agreement
from lightning_app.analysis.forecasting import Forecast, forecast
from lightning_app.analysis.law import ScalingLaw
from metrics import InputError
from tests.lightning_app.analysis.made_law import COVARIANCE, made_law

ASKED: dict[str, Any] = {"d_data": 10.0, "k_f": 0.05}
LOWER = np.linalg.cholesky(COVARIANCE)


def runs(n: list[float], loss: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"n_train": n, "test/loss": loss})


def of(law: ScalingLaw, n: list[float], loss: list[float], **asked: Any) -> Agreement:
    found = forecast(law, **ASKED | {"n": 1000} | asked, runs=runs(n, loss)).agreement
    assert found is not None
    return found


def drawn(rng: np.random.Generator, sizes: list[float], df: float = math.inf) -> list[float]:
    """Losses of runs on one new data set of ``made_law``, whose variances between data sets are known with ``df``."""
    log_n = np.log(sizes)
    x = np.column_stack([np.ones_like(log_n), log_n / 10, np.full_like(log_n, math.log(0.05))])
    unknown = x @ (LOWER @ rng.standard_normal(3)) + 0.3 * rng.standard_normal()
    scale = 1 if df == math.inf else math.sqrt(df / rng.chisquare(df))
    logs = x @ [2, -2, 1] + scale * unknown + 0.15 * rng.standard_normal(len(sizes))
    return [float(loss) for loss in np.exp(logs)]


def test_chi2_is_that_of_the_joint_normal_distribution() -> None:
    sizes, losses = [500.0, 900.0, 2000.0], [0.2, 0.3, 0.12]
    log_n = np.log(sizes)
    x = np.column_stack([np.ones(3), log_n / 10, np.full(3, math.log(0.05))])
    per_d, per_log_k = 2 * log_n / 100, np.ones(3)
    v = x @ COVARIANCE @ x.T + 0.09 + 0.25 * np.outer(per_d, per_d) + 0.04 * np.outer(per_log_k, per_log_k)
    v += 0.0225 * np.eye(3)
    r = np.log(losses) - x @ [2, -2, 1]
    found = of(made_law(), sizes, losses, d_data_stderr=0.5, k_f_stderr=0.01)
    assert found.chi2 == pytest.approx(r @ np.linalg.inv(v) @ r, rel=1e-9)
    assert found.runs == 3


@pytest.mark.parametrize("loss", [0.06, 0.1, 0.4, 3.0])
def test_one_run_is_judged_as_by_its_interval(loss: float) -> None:
    alone = forecast(made_law(), **ASKED, n=1000)
    found = of(made_law(), [1000], [loss])
    t = math.log(loss / alone.value) / alone.stderr
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 6), rel=1e-9)
    at_p = forecast(made_law(), **ASKED, n=1000, confidence=1 - found.p)
    assert (at_p.high if loss > alone.value else at_p.low) == pytest.approx(loss, rel=1e-6)


def test_what_nothing_is_unknown_of_is_judged_by_chi2() -> None:
    law = made_law(covariance=np.zeros((3, 3)), var_data_set=0.0)
    losses = [0.1, 0.12, 0.08]
    expected = math.e**2 * 1000**-0.2 * 0.05
    found = of(law, [1000] * 3, losses)
    assert found.chi2 == pytest.approx(sum(math.log(loss / expected) ** 2 for loss in losses) / 0.0225)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 3))


@pytest.mark.parametrize(("sizes", "k"), [([1000.0] * 4, 1), ([500.0, 500.0, 1000.0, 2000.0, 2000.0], 2)])
def test_several_are_judged_by_the_sum_of_an_f_and_a_chi2(sizes: list[float], k: int) -> None:
    rng = np.random.default_rng(0)
    drawn_sums = k * rng.f(k, 6, 400_000) + rng.chisquare(len(sizes) - k, 400_000)
    for factor in (0.7, 1.5, 3.0):
        losses = [factor * 0.0928 * (1 + 0.1 * (-1) ** i) for i in range(len(sizes))]
        found = of(made_law(), sizes, losses)
        assert found.p == pytest.approx(np.mean(drawn_sums > found.chi2), abs=3e-3)  # 4 standard errors of the mean


CONTRADICTIONS = {
    "far from the law": ([500.0] * 6, [3.0, 3.1, 2.9, 3.0, 3.0, 3.2]),
    "rises with N": ([500.0] * 3 + [1500.0] * 3, [0.1, 0.11, 0.09, 0.5, 0.6, 0.55]),
    "from each other": ([500.0] * 2, [0.01, 5.0]),
}


@pytest.mark.parametrize(("sizes", "losses"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_own_runs_that_contradict_the_law_lie_inside_the_widened_intervals(
    sizes: list[float], losses: list[float]
) -> None:
    law = made_law()
    at_runs = [forecast(law, **ASKED, n=n, runs=runs(sizes, losses), widen=1.2) for n in sizes]
    agreement = at_runs[0].agreement
    assert agreement is not None
    assert agreement.p < 1e-3
    assert agreement.widen == pytest.approx(math.sqrt(agreement.chi2 / len(sizes)))
    assert all(found.widened == pytest.approx(1.2 * agreement.widen) for found in at_runs)
    assert all(found.low <= loss <= found.high for found, loss in zip(at_runs, losses, strict=True))
    # Their root mean square is at most one widened standard deviation of a run.
    missed = [math.log(loss / found.value) for found, loss in zip(at_runs, losses, strict=True)]
    assert math.sqrt(np.mean(np.square(missed))) <= 0.15 * agreement.widen * (1 + 1e-9)


def test_own_runs_that_agree_widen_nothing() -> None:
    found = forecast(made_law(), **ASKED, n=1000, runs=runs([500, 900], [0.1, 0.09]))
    assert found.agreement is not None
    assert found.agreement.p > 0.5
    assert (found.agreement.widen, found.widened) == (1, 1)
    assert forecast(made_law(), **ASKED, n=1000).agreement is None


def test_a_number_of_images_is_widened_alike() -> None:
    own = runs(*CONTRADICTIONS["far from the law"])
    found = forecast(made_law(), **ASKED, loss=1.5, runs=own, extrapolate=True)
    assert forecast(made_law(), **ASKED, n=found.high, runs=own, extrapolate=True).high == pytest.approx(1.5)
    rising = runs(*CONTRADICTIONS["rises with N"])
    with pytest.raises(InputError, match="loss does not fall with N"):
        forecast(made_law(covariance=100 * COVARIANCE), **ASKED, loss=0.1, runs=rising, extrapolate=True)


@pytest.mark.parametrize("df", [6.0, math.inf])
def test_runs_that_the_law_holds_for_are_seldom_called_contradictions(df: float) -> None:
    """And forecasts that they update hold the next run as often as they say, or more often."""
    rng = np.random.default_rng(1)
    draws, called, held = 500, 0, 0
    sizes = [500.0, 500.0, 1000.0, 1500.0]
    for _ in range(draws):
        *own, new = drawn(rng, [*sizes, 1000.0], df)
        found: Forecast = forecast(made_law(), **ASKED, n=1000, runs=runs(sizes, own))
        assert found.agreement is not None
        called += found.agreement.p < 0.01
        held += found.low <= new <= found.high
    assert called <= stats.binom.ppf(0.999, draws, 0.01)
    assert held >= stats.binom.ppf(0.001, draws, 0.95)
