"""Calibration: every data set forecast by a law that has not seen it."""

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

from lightning_app.analysis.calibration import Calibration, calibrate
from lightning_app.analysis.forecasting import forecast
from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from tests.lightning_app.analysis.drawn_records import PAPER, drawn_records

BACKBONES = {"resnet18": 0.0, "vgg13": 0.1}


def drawn(seed: int, **others: object) -> pd.DataFrame:
    return drawn_records(seed, backbones=BACKBONES, sizes=(500, 1000, 1750), **others)  # type: ignore[arg-type]  # data sets


def odd(records: pd.DataFrame, data: str, factor: float) -> pd.DataFrame:
    """Every loss of one data set many times what it would be."""
    return records.assign(
        **{"test/loss": records["test/loss"].where(records["data"] != data, factor * records["test/loss"])}
    )


@cache
def law_of_odd_mura() -> ScalingLaw:
    return fit_scaling_law(odd(drawn(3), "MURA", 6), compare=False)


def brute_force(records: pd.DataFrame, confidence: float, widen: float = 1.0) -> dict[str, float]:
    """One forecast after the other, by laws fitted to the other data sets."""
    inside = {}
    for name, own in records.groupby("data"):
        law = fit_scaling_law(records[records["data"] != name], compare=False)
        held = []
        for run in own.to_dict("records"):
            found = forecast(
                law,
                d_data=run["data_ref/d_mle"],
                k_f=run["data_ref/K_F"],
                n=run["n_train"],
                domain=run["domain"],
                backbone=run["backbone"],
                confidence=confidence,
                extrapolate=True,
                widen=widen,
            )
            held.append(found.low <= run["test/loss"] <= found.high)
        inside[str(name)] = float(np.mean(held))
    return inside


def test_every_record_is_forecast_without_its_data_set() -> None:
    records = odd(drawn(3), "MURA", 6)
    found = calibrate(law_of_odd_mura(), 0.5)
    assert found.inside == pytest.approx(brute_force(records, 0.5))
    assert found.coverage == pytest.approx(np.mean(list(found.inside.values())))
    assert any(0 < share < 1 for share in found.inside.values())
    assert (found.confidence, found.sets, found.not_judged) == (0.5, 11, {})


def test_intervals_are_widened_until_they_would_have_held_enough() -> None:
    found = calibrate(law_of_odd_mura(), 0.95)
    assert found.coverage < 0.95
    assert found.widen > 1
    records = odd(drawn(3), "MURA", 6)
    reached, missed = (
        np.mean(list(brute_force(records, 0.95, found.widen * part).values())) for part in (1 + 1e-9, 1 - 1e-6)
    )
    assert missed < 0.95 <= reached


def test_intervals_that_held_are_left_as_they_are() -> None:
    found = calibrate(fit_scaling_law(drawn(0), compare=False), 0.8)
    assert found.coverage >= 0.8
    assert found.widen == 1


def test_the_mean_of_a_data_set_counts_once() -> None:
    found = calibrate(law_of_odd_mura(), 0.95)
    assert found.inside["MURA"] < 0.5
    assert found.sets_inside == 10
    # Clopper–Pearson: R, binom.test(10, 11)$conf.int
    assert (found.low, found.high) == pytest.approx((0.5872201, 0.9977010), abs=1e-6)


def test_all_of_a_few_data_sets_prove_little() -> None:
    found = calibrate(fit_scaling_law(drawn(0), compare=False), 0.999)
    assert (found.sets_inside, found.sets) == (11, 11)
    assert found.low == pytest.approx(0.025 ** (1 / 11))
    assert found.high == 1


def test_a_domain_that_goes_with_its_data_set_is_not_judged() -> None:
    few = {name: where for name, where in PAPER.items() if where[0] == "radiology" or name in ("MNIST", "SVHN")}
    found = calibrate(fit_scaling_law(drawn(1, data_sets=few), compare=False))
    why = "without it the law does not know its domain, or its networks"
    assert found.not_judged == dict.fromkeys(("MNIST", "SVHN"), why)
    assert found.inside.keys() == few.keys() - {"MNIST", "SVHN"}


def test_runs_of_a_network_that_goes_with_their_data_set_are_not_judged() -> None:
    records = drawn(1)
    rare = records["data"].isin(["OAI", "MURA"]) & (records["backbone"] == "vgg13") & (records["n_train"] == 500)
    records["backbone"] = records["backbone"].where(~rare, "alexnet")
    # Far outside, were they taken for runs of the other networks.
    records["test/loss"] = records["test/loss"].where(~rare, 100 * records["test/loss"])
    found = calibrate(fit_scaling_law(records, compare=False))
    assert found.not_judged == {}
    assert found.inside["OAI"] == found.inside["MURA"] == 1


def test_where_no_law_is_left_nothing_is_judged() -> None:
    few = dict(list(PAPER.items())[:4])
    found = calibrate(fit_scaling_law(drawn(1, data_sets=few), compare=False))
    assert found.not_judged.keys() == few.keys()
    assert all("cannot tell" in why for why in found.not_judged.values())
    assert (found.sets, found.sets_inside, found.low, found.high, found.widen) == (0, 0, 0, 1, 1)
    assert math.isnan(found.coverage)


def test_a_calibration_is_of_a_share_of_data_sets() -> None:
    assert Calibration(0.9, {"a": 1.0, "b": 0.5}, 1, 0.0, 1.0, 1.2, {}).coverage == 0.75
