"""Forecasts in plain sentences."""

import math
from dataclasses import replace

import pytest

from lightning_app.analysis.agreement import Agreement
from lightning_app.analysis.calibration import Calibration
from lightning_app.analysis.forecasting import Forecast
from lightning_app.forecast.words import agreement_sentences, calibration_sentences, sentences
from tests.lightning_app.analysis.made_law import made_law

SHARES = {"coefficients": 0.09, "data set": 0.71, "run to run": 0.2}
LOSS = Forecast("loss", 1500, 0.2134, 0.1249, 0.3651, 0.95, 9, 0.25, 1.0, SHARES, 0, ())
SIZE = replace(LOSS, asked="n", given=0.15, value=4123.4, low=912.3, high=18_912.4)
CALIBRATION = Calibration(0.95, {f"set{i}": 1.0 for i in range(11)}, 11, 0.7151, 1.0, 1.0, {})


def said(found: Forecast) -> list[str]:
    return list(sentences(found, made_law()))


def test_a_loss_is_said_with_its_interval_and_why_it_is_wide() -> None:
    assert said(LOSS) == [
        "With 1,500 images expect a test loss of 0.21 (95 %: 0.12 to 0.37).",
        "The interval is wide because data sets of equal d and K_F differ (71 % of its variance) and runs on one data "
        "set differ (20 %).",
    ]


def test_a_number_of_images_is_rounded_and_what_lies_beyond_the_records_is_said() -> None:
    first, _, last = said(SIZE)
    assert first == "For a test loss of 0.15 expect to need about 4,100 images (95 %: 910 to 19,000)."
    assert last == "The records have 500 to 2,000 images: beyond these the fitted line is drawn on."
    assert len(said(replace(SIZE, low=600.0, high=1900.0))) == 2


@pytest.mark.parametrize(
    ("low", "high", "interval"),
    [
        (0.03, 800.0, "less than 1 to 800"),
        (912.3, math.inf, "no number is certain to be enough, and 910 may be"),
        (0.0, math.inf, "no number is certain to be enough, and any may be"),
        (912.3, 4e12, "910 to more than a billion"),
        (2.34, 31.7, "2.3 to 32"),
    ],
)
def test_ends_that_are_no_numbers_of_images(low: float, high: float, interval: str) -> None:
    assert said(replace(SIZE, low=low, high=high))[0].endswith(f"images (95 %: {interval}).")


def test_every_cause_has_words() -> None:
    shares = {"network": 0.3, "d_data": 0.25, "K_F": 0.15, "coefficients": 0.14, "run to run": 0.1, "data set": 0.06}
    assert said(replace(LOSS, shares=shares))[1] == (
        "The interval is wide because no network was named (30 % of its variance), d_data is measured with an error "
        "(25 %), K_F is measured with an error (15 %) and the law rests on 8 data sets (14 %)."
    )


def test_a_narrow_interval_is_not_called_wide() -> None:
    assert said(replace(LOSS, low=0.19, high=0.24))[1].startswith("The interval has its width because data sets")


def test_few_degrees_of_freedom_are_said() -> None:
    # Quantiles of t with 2 degrees of freedom and of the normal distribution, from tables.
    assert f"{4.302653 / 1.959964:.1f}" == "2.2"
    assert said(replace(LOSS, df=2))[1].endswith(
        "With 2 degrees of freedom it is 2.2 times as wide as with many data sets."
    )


def test_what_is_extrapolated_is_said() -> None:
    assert said(replace(LOSS, outside=("d = 40", "K_F = 1")))[-1] == "Extrapolated: d = 40; K_F = 1."


def test_only_a_contradiction_of_own_runs_is_said() -> None:
    (said,) = agreement_sentences(Agreement(20.0, 4, 0.0042, 2.236))
    assert said.startswith("Own runs contradict the law (p = 0.004): they are farther from it, or from each other, ")
    assert "Intervals are widened by 2.2 for that; " in said
    assert "(p < 0.001)" in next(agreement_sentences(Agreement(80.0, 4, 1e-9, 4.5)))
    assert list(agreement_sentences(Agreement(8.0, 4, 0.01, 1.0))) == list(agreement_sentences(None)) == []


def test_all_of_eleven_data_sets_are_worth_little() -> None:
    assert list(calibration_sentences(CALIBRATION)) == [
        "Calibration: of 11 data sets, each forecast from the others, 11 lay inside the 95 % interval, and 100 % of "
        "their runs.",
        "11 of 11 fits any true coverage from 72 % to 100 %: so few data sets cannot tell 95 % from 72 %.",
    ]


def test_intervals_that_were_too_narrow_are_said_to_be_widened() -> None:
    inside = {f"set{i}": 0.5 if i else 1.0 for i in range(11)}
    said = list(
        calibration_sentences(replace(CALIBRATION, inside=inside, sets_inside=7, low=0.308, high=0.891, widen=1.23))
    )
    assert said == [
        "Calibration: of 11 data sets, each forecast from the others, 7 lay inside the 95 % interval, and 55 % of "
        "their runs.",
        "Intervals are widened by 1.23, with which 95 % of the runs would have.",
        "7 of 11 fits any true coverage from 31 % to 89 %: 95 % is not among them, so take the interval for a rough "
        "guide.",
    ]


def test_what_cannot_be_calibrated_is_said() -> None:
    none = Calibration(0.95, {}, 0, 0.0, 1.0, 1.0, {"MNIST": "too few", "SVHN": "too few"})
    assert list(calibration_sentences(none)) == [
        "Calibration: none, as no data set can be forecast from the others.",
        "Not forecast: MNIST (too few), SVHN (too few).",
    ]
