"""Forecasts against closed forms, brute force, and the truth they were drawn from."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lightning_app.analysis.forecasting import Forecast, forecast
from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from lightning_app.analysis.own_runs import own_runs
from lightning_app.analysis.points import ANY, ANY_BACKBONE
from metrics import InputError
from tests.lightning_app.analysis.drawn_records import PAPER, Truth, drawn_records
from tests.lightning_app.analysis.made_law import COVARIANCE, made_law

T6 = 2.446911851  # 97.5 % quantile of t with 6 degrees of freedom, from a table
ASKED: dict[str, Any] = {"d_data": 10.0, "k_f": 0.05}
NETWORKS: dict[str, Any] = {
    "names": ("intercept", "log N / d", "log K_F", "backbone: a", "backbone: b"),
    "beta": np.array([2.0, -2.0, 1.0, 0.3, -0.1]),  # and the third: −0.2
    "backbones": ("a", "b", "c"),
}


def runs(n: list[float], loss: list[float], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"n_train": n, "test/loss": loss, **columns})


def of_line(law: ScalingLaw, n: float) -> float:
    """What the law of ``made_law`` says of ``ASKED``."""
    return float(law.beta[0] + law.beta[1] * math.log(n) / 10 + law.beta[2] * math.log(0.05))


def log_half_width(found: Forecast) -> float:
    assert math.log(found.high / found.value) == pytest.approx(math.log(found.value / found.low), rel=1e-9)
    return math.log(found.high / found.value)


def test_loss_and_interval_are_those_of_the_formula() -> None:
    found = forecast(made_law(), **ASKED, n=1000)
    row = [1, math.log(1000) / 10, math.log(0.05)]
    of_coefficients = sum(row[i] * COVARIANCE[i, j] * row[j] for i in range(3) for j in range(3))
    variance = of_coefficients + 0.09 + 0.0225
    assert found.value == pytest.approx(math.e**2 * 1000**-0.2 * 0.05, rel=1e-12)
    assert found.df == 6
    assert found.stderr == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert log_half_width(found) == pytest.approx(T6 * math.sqrt(variance), rel=1e-8)
    assert found.shares == pytest.approx(
        {"coefficients": of_coefficients / variance, "data set": 0.09 / variance, "run to run": 0.0225 / variance}
    )
    assert (found.asked, found.given, found.own_runs, found.outside) == ("loss", 1000, 0, ())


def test_degrees_of_freedom_are_data_sets_less_what_only_they_can_tell() -> None:
    law = made_law(between=3, data_sets={f"set{i}": 1 for i in range(11)})
    found = forecast(law, **ASKED, n=1000, confidence=0.9)
    assert found.df == 8
    assert log_half_width(found) == pytest.approx(1.859548038 * found.stderr, rel=1e-8)  # from a table


def test_an_interval_is_widened_on_the_log_scale() -> None:
    once, twice = (forecast(made_law(), **ASKED, n=1000, widen=widen) for widen in (1, 2))
    assert log_half_width(twice) == pytest.approx(2 * log_half_width(once))
    assert (twice.value, twice.stderr, twice.widened) == (once.value, once.stderr, 2)


@pytest.mark.parametrize("with_runs", [False, True])
@pytest.mark.parametrize("asked", [{}, {"d_data_stderr": 0.4, "k_f_stderr": 0.01, "widen": 1.3, "confidence": 0.8}])
def test_the_number_of_images_is_where_the_loss_and_its_band_are_reached(asked: Any, with_runs: bool) -> None:
    asked = ASKED | asked | {"extrapolate": True, "runs": runs([500, 700], [0.2, 0.15]) if with_runs else None}
    law, loss = made_law(covariance=COVARIANCE / 4), 0.1
    found = forecast(law, **asked, loss=loss)
    assert 0 < found.low < found.value < found.high < math.inf
    assert forecast(law, **asked, n=found.value).value == pytest.approx(loss, rel=1e-9)
    assert forecast(law, **asked, n=max(1, found.high)).high == pytest.approx(loss, rel=1e-9)
    if found.low >= 1:
        assert forecast(law, **asked, n=found.low).low == pytest.approx(loss, rel=1e-9)
    assert found.stderr == pytest.approx(forecast(law, **asked, n=found.value).stderr)
    assert found.shares == pytest.approx(forecast(law, **asked, n=found.value).shares)
    assert (found.asked, found.given) == ("n", loss)


@pytest.mark.parametrize("slope_error", [0.3, 0.7, 0.78, 0.85, 1.5, 4.0])
@pytest.mark.parametrize("tied", [-0.9, 0.0, 0.9])
@pytest.mark.parametrize("n", [600.0, 1900.0])
def test_no_number_of_images_whose_band_holds_the_loss_is_left_out(slope_error: float, tied: float, n: float) -> None:
    covariance = np.diag([0.2**2, slope_error**2, 0.0])
    covariance[0, 1] = covariance[1, 0] = tied * 0.2 * slope_error
    law = made_law(covariance=covariance, var_data_set=0.01)
    loss = forecast(law, **ASKED, n=n).value
    found = forecast(law, **ASKED, loss=loss)
    log_n = np.linspace(0, 400, 40_001)
    x = np.column_stack([np.ones_like(log_n), log_n / 10, np.full_like(log_n, math.log(0.05))])
    half = T6 * np.sqrt(np.einsum("ij,jk,ik->i", x, covariance, x) + 0.01 + 0.0225)
    held = log_n[np.abs(x @ law.beta - math.log(loss)) <= half]
    # All of the band in one piece: what is enough for some of it but not for what lies above is not enough.
    low, high = (math.log(end) if 0 < end < math.inf else end for end in (found.low, found.high))
    assert max(low, 0) == pytest.approx(held.min(), abs=0.011)
    assert (high if high < math.inf else 400) == pytest.approx(held.max(), abs=0.011)
    # The slope might be 0 where its own interval, t · s.e., holds 0.
    assert (found.high == math.inf) is (T6 * slope_error > 2)


def test_a_loss_that_more_images_do_not_reach_is_refused() -> None:
    law = made_law(beta=np.array([-2.0, 0.5, 1.0]))
    with pytest.raises(InputError, match=r"does not fall with N \(d log L / d log N = \+0\.05\)"):
        forecast(law, **ASKED, loss=0.01, extrapolate=True)
    assert forecast(law, **ASKED, n=1500).value > forecast(law, **ASKED, n=1000).value


def test_own_runs_move_the_forecast_as_far_as_a_mean_between_two_variances() -> None:
    law = made_law(covariance=np.zeros((3, 3)))
    losses = [0.2, 0.3, 0.24]
    found = forecast(law, **ASKED, n=1000, runs=runs([500, 1000, 2000], losses))
    off = np.mean([math.log(loss) - of_line(law, n) for loss, n in zip(losses, (500, 1000, 2000), strict=True)])
    assert math.log(found.value) == pytest.approx(of_line(law, 1000) + 3 * 0.09 / (3 * 0.09 + 0.0225) * off)
    left = 1 / (1 / 0.09 + 3 / 0.0225)
    assert found.stderr == pytest.approx(math.sqrt(left + 0.0225))
    assert found.shares["data set"] == pytest.approx(left / (left + 0.0225))
    assert found.own_runs == 3


def test_many_own_runs_say_it_all() -> None:
    rng = np.random.default_rng(0)
    logs = -1 + 0.15 * rng.standard_normal(4000)
    found = forecast(made_law(), **ASKED, n=1000, runs=runs([1000] * 4000, list(np.exp(logs))))
    assert math.log(found.value) == pytest.approx(logs.mean(), abs=1e-4)
    assert found.stderr == pytest.approx(0.15, rel=1e-3)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["run to run"] == pytest.approx(1, abs=1e-3)


def test_own_runs_say_nothing_where_data_sets_do_not_differ_and_the_law_is_known() -> None:
    law = made_law(covariance=np.zeros((3, 3)), var_data_set=0.0)
    without = forecast(law, **ASKED, n=1000)
    updated = forecast(law, **ASKED, n=1000, runs=runs([500, 1000], [0.12, 0.11]))
    assert (updated.value, updated.low, updated.high) == pytest.approx((without.value, without.low, without.high))


def test_own_runs_condition_everything_that_is_unknown() -> None:
    """The textbook formula of the joint normal distribution of the new run and the own ones."""
    law, sizes, losses = made_law(), [500.0, 900.0, 2000.0], [0.2, 0.3, 0.12]
    found = forecast(law, **ASKED, n=1500, runs=runs(sizes, losses), d_data_stderr=0.5, k_f_stderr=0.01)
    log_n = np.log([*sizes, 1500.0])
    x = np.column_stack([np.ones(4), log_n / 10, np.full(4, math.log(0.05))])
    per_d, per_log_k = 2 * log_n / 100, np.ones(4)
    together = x @ COVARIANCE @ x.T + 0.09 + 0.25 * np.outer(per_d, per_d) + 0.04 * np.outer(per_log_k, per_log_k)
    together += 0.0225 * np.eye(4)
    own, cross = together[:3, :3], together[3, :3]
    mean = x @ law.beta
    expected = mean[3] + cross @ np.linalg.inv(own) @ (np.log(losses) - mean[:3])
    variance = together[3, 3] - cross @ np.linalg.inv(own) @ cross
    assert math.log(found.value) == pytest.approx(expected, rel=1e-10)
    assert found.stderr**2 == pytest.approx(variance, rel=1e-10)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_errors_of_the_measurements_count_by_how_far_they_move_the_forecast() -> None:
    law, step = made_law(), 1e-5
    plain = forecast(law, **ASKED, n=1000)
    found = forecast(law, **ASKED, n=1000, d_data_stderr=0.7, k_f_stderr=0.004)
    by_d, by_k = (
        (
            math.log(forecast(law, **ASKED | {name: ASKED[name] * (1 + step)}, n=1000).value)
            - math.log(forecast(law, **ASKED | {name: ASKED[name] * (1 - step)}, n=1000).value)
        )
        / (2 * step * ASKED[name])
        for name in ("d_data", "k_f")
    )
    of_d, of_k = (by_d * 0.7) ** 2, (by_k * 0.004) ** 2
    assert found.stderr**2 - plain.stderr**2 == pytest.approx(of_d + of_k, rel=1e-6)
    assert found.shares["d_data"] == pytest.approx(of_d / found.stderr**2, rel=1e-6)
    assert found.shares["K_F"] == pytest.approx(of_k / found.stderr**2, rel=1e-6)
    assert found.value == plain.value


def test_without_a_network_it_is_any_of_those_in_the_law() -> None:
    law = made_law(**NETWORKS, covariance=np.zeros((5, 5)))
    effects = {"a": 0.3, "b": -0.1, "c": -0.2}
    for name, effect in effects.items():
        found = forecast(law, **ASKED, n=1000, backbone=name)
        assert math.log(found.value) == pytest.approx(of_line(law, 1000) + effect)
        assert "network" not in found.shares
    found = forecast(law, **ASKED, n=1000)
    assert math.log(found.value) == pytest.approx(of_line(law, 1000))
    between = (0.3**2 + 0.1**2 + 0.2**2) / 3
    assert found.stderr == pytest.approx(math.sqrt(0.09 + 0.0225 + between))
    assert found.shares["network"] == pytest.approx(between / found.stderr**2)


def test_own_runs_of_another_network_are_corrected_for_it() -> None:
    law = made_law(**NETWORKS, covariance=np.zeros((5, 5)))
    sizes = [1000.0] * 2000
    of_a = runs(sizes, [0.5] * 2000, backbone=["a"] * 2000)
    assert forecast(law, **ASKED, n=1000, backbone="b", runs=of_a).value == pytest.approx(
        0.5 * math.exp(-0.4), rel=1e-3
    )
    # A run that does not say is of the network that is asked about, also where that is any.
    for names in ({}, {"backbone": [None] * 2000}):
        for backbone in ("b", None):
            found = forecast(law, **ASKED, n=1000, backbone=backbone, runs=runs(sizes, [0.5] * 2000, **names))
            assert found.value == pytest.approx(0.5, rel=1e-3)
            assert found.stderr == pytest.approx(0.15, rel=1e-3)


def test_domains_shift_the_loss() -> None:
    law = made_law(
        names=("intercept", "log N / d", "log K_F", "domain: natural"),
        beta=np.array([2.0, -2.0, 1.0, 0.4]),
        covariance=np.zeros((4, 4)),
        domains=("medical", "natural"),
    )
    medical, natural = (forecast(law, **ASKED, n=1000, domain=name).value for name in law.domains)
    assert natural / medical == pytest.approx(math.exp(0.4))
    with pytest.raises(InputError, match="the law differs by domain: choose one of medical, natural"):
        forecast(law, **ASKED, n=1000)
    with pytest.raises(InputError, match="domain 'animals' is not in the fit: choose medical or natural"):
        forecast(law, **ASKED, n=1000, domain="animals")


def test_where_domain_and_network_are_no_factors_they_may_be_any() -> None:
    anywhere = forecast(made_law(domains=(ANY,)), **ASKED, n=1000, domain="animals")
    assert anywhere == forecast(made_law(), **ASKED, n=1000) == forecast(made_law(), **ASKED, n=1000, domain="medical")
    with pytest.raises(InputError, match="domain 'natural' is not in the fit: choose medical"):
        forecast(made_law(), **ASKED, n=1000, domain="natural")
    assert forecast(made_law(backbones=(ANY_BACKBONE,)), **ASKED, n=1000, backbone="mine") == anywhere


def test_more_images_and_more_loss_and_more_confidence_go_the_right_way() -> None:
    law, sizes = made_law(), [300.0, 500.0, 1000.0, 2500.0]
    assert sorted((forecast(law, **ASKED, n=n).value for n in sizes), reverse=True) == [
        forecast(law, **ASKED, n=n).value for n in sizes
    ]
    needed = [forecast(law, **ASKED, loss=loss, extrapolate=True).value for loss in (0.05, 0.08, 0.1, 0.2)]
    assert sorted(needed, reverse=True) == needed
    widths = [log_half_width(forecast(law, **ASKED, n=1000, confidence=level)) for level in (0.5, 0.8, 0.95, 0.999)]
    assert sorted(widths) == widths
    errors = [forecast(law, **ASKED, n=1000, runs=runs([700] * k, [0.2] * k)).stderr for k in (1, 2, 5, 50)]
    assert sorted([forecast(law, **ASKED, n=1000).stderr, *errors], reverse=True)[1:] == errors


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({}, "exactly one of n .* and loss"),
        ({"n": 1000, "loss": 0.1}, "exactly one of n .* and loss"),
        ({"n": 0.5}, r"n=0\.5 is out of range: choose 1 or more"),
        ({"n": math.nan}, "n=nan is out of range"),
        ({"n": math.inf}, "n=inf is out of range"),
        ({"loss": 0.0}, r"loss=0\.0 is out of range"),
        ({"loss": -1.0}, r"loss=-1\.0 is out of range"),
        ({"loss": math.nan}, "loss=nan is out of range"),
        ({"n": 1000, "confidence": 1.0}, r"confidence=1\.0 is out of range: choose a number between 0 and 1"),
        ({"n": 1000, "confidence": math.nan}, "confidence=nan is out of range"),
        ({"n": 1000, "d_data": 0.0}, r"d_data=0\.0 is out of range: choose a number that is above 0"),
        ({"n": 1000, "d_data": math.nan}, "d_data=nan is out of range"),
        ({"n": 1000, "k_f": math.inf}, "k_f=inf is out of range"),
        ({"n": 1000, "k_f_stderr": -1.0}, r"k_f_stderr=-1\.0 is out of range: choose a number that is 0 or more"),
        ({"n": 1000, "d_data_stderr": math.nan}, "d_data_stderr=nan is out of range"),
        ({"n": 1000, "widen": 0.9}, r"widen=0\.9 is out of range: choose a number that is 1 or more"),
        ({"n": 1000, "backbone": "vgg13"}, "backbone 'vgg13' is not in the fit: choose resnet18"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        forecast(made_law(), **ASKED | asked)


@pytest.mark.parametrize(
    ("inside", "outside", "match"),
    [
        ({"n": 250}, {"n": 249}, "N = 249, where the records have 500 to 2,000"),
        ({"n": 4000}, {"n": 4001}, "N = 4,001, where the records have 500 to 2,000"),
        ({"d_data": 4.0}, {"d_data": 3.99}, r"d = 3\.99, where the records have 5 to 20"),
        ({"d_data": 25.0}, {"d_data": 25.1}, r"d = 25\.1, where the records have 5 to 20"),
        ({"k_f": 0.007}, {"k_f": 0.006}, r"K_F = 0\.006, where the records have 0\.01 to 0\.1"),
        ({"k_f": 0.149}, {"k_f": 0.151}, r"K_F = 0\.151, where the records have 0\.01 to 0\.1"),
    ],
)
def test_far_outside_the_records_nothing_is_said_unasked(inside: Any, outside: Any, match: str) -> None:
    asked = ASKED | {"n": 1000}
    assert forecast(made_law(), **asked | inside).outside == ()
    with pytest.raises(InputError, match=rf"far outside what was fitted: {match}; .*--extrapolate"):
        forecast(made_law(), **asked | outside)
    (said,) = forecast(made_law(), **asked | outside, extrapolate=True).outside
    assert said == match.replace("\\", "")


def test_an_answer_or_own_runs_far_outside_the_records_are_extrapolations_too() -> None:
    law = made_law()
    loss = forecast(law, **ASKED, n=9000, extrapolate=True).value
    with pytest.raises(InputError, match="N = 9,000, where the records have 500 to 2,000"):
        forecast(law, **ASKED, loss=loss)
    own = runs([20.0, 600.0, 9000.0], [0.5, 0.2, 0.1])
    assert forecast(law, **ASKED, n=1000, runs=own, extrapolate=True).outside == (
        "the smallest own N = 20, where the records have 500 to 2,000",
        "the largest own N = 9,000, where the records have 500 to 2,000",
    )
    found = forecast(law, **ASKED, n=1000, runs=runs([20.0, 20.0], [0.5, 0.2]), extrapolate=True)
    assert found.outside == ("the own N = 20, where the records have 500 to 2,000",)


def test_own_runs_without_a_result_do_not_count() -> None:
    given = runs(
        [500.0, 500, 500, 500, 500, np.nan, 700],
        [0.2, np.nan, np.inf, 0.0, 0.2, 0.2, 0.3],
        status=["finished"] * 4 + ["failed"] + ["finished"] * 2,
        command=["fit"] * 6 + ["test"],
    )
    counted = own_runs(made_law(), given)
    assert (counted["n_train"].tolist(), counted["loss"].tolist()) == ([500], [0.2])
    assert forecast(made_law(), **ASKED, n=1000, runs=given).own_runs == 1


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (pd.DataFrame({"n_train": [500]}), "own runs have no column 'test/loss'"),
        (pd.DataFrame({"test/loss": [0.2]}), "own runs have no column 'n_train'"),
        (runs([500.0], [np.nan]), "none of the 1 own runs has finished with n_train and a test/loss above 0"),
        (runs([500.0] * 2, [0.2] * 2, data=["a", "b"]), r"own runs are of 2 data sets \(a, b\)"),
        (runs([500.0], [0.2], run_id=["fitted"]), "1 of the own runs .fitted, .* would count twice"),
        (runs([500.0], [0.2], backbone=["vgg13"]), "backbone 'vgg13' is not in the fit"),
    ],
)
def test_own_runs_that_cannot_count_are_refused(given: pd.DataFrame, match: str) -> None:
    with pytest.raises(InputError, match=match):
        forecast(made_law(), **ASKED, n=1000, runs=given)


@pytest.mark.slow
def test_intervals_hold_a_run_on_a_new_data_set_as_often_as_they_say() -> None:
    held = held_after_own_runs = 0
    draws = 200
    for seed in range(draws):
        rng = np.random.default_rng([7, seed])
        domain, d, k_255 = PAPER[rng.choice(list(PAPER))]
        new = (domain, d * math.exp(0.2 * rng.standard_normal()), k_255 * math.exp(0.2 * rng.standard_normal()))
        records = drawn_records(
            seed, Truth(), {**PAPER, "new": new}, {"resnet18": 0.0, "vgg13": 0.1}, sizes=(500, 1000, 1750)
        )
        law = fit_scaling_law(records[records["data"] != "new"], compare=False)
        of_new = records[records["data"] == "new"].sample(frac=1, random_state=seed)
        run = of_new.iloc[0]
        asked = {"d_data": run["data_ref/d_mle"], "k_f": run["data_ref/K_F"], "n": run["n_train"]}
        asked |= {"domain": domain, "backbone": run["backbone"], "extrapolate": True}
        found, updated = (forecast(law, **asked, runs=own) for own in (None, of_new.iloc[1:4]))
        assert found.df == 8
        assert updated.stderr < found.stderr
        held += found.low <= run["test/loss"] <= found.high
        held_after_own_runs += updated.low <= run["test/loss"] <= updated.high
    low, high = stats.binom.interval(0.999, draws, 0.95)
    assert low <= held <= high
    assert low <= held_after_own_runs  # their degrees of freedom err on the wide side
