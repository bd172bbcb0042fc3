"""Part 4: robustness over sharpness. Correlations against scipy, powers against closed forms."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.robustness import make
from tests.lightning_app.report.made import small

# As in the paper: K_F and loss increase are higher in medical data, and inside natural data they go against each other.
MEDICAL = {"OAI": (0.08, 24.0), "BraTS": (0.05, 14.5), "DBC": (0.09, 31.5), "RSNA": (0.055, 6.0)}
NATURAL = {"<b>$x$": (0.04, 0.5), "数字": (0.016, 4.9), "SVHN": (0.025, 2.7), "ImageNet": (0.015, 5.8)}
NOISE = (0.9, 1.1)  # of two networks: their mean is what was put in


def exact(*attacks: str, **columns: Any) -> pd.DataFrame:
    rows = [
        {
            "run_id": f"{data} {backbone} {n}",
            "status": "finished",
            "command": "fit",
            "data": data,
            "domain": "medical" if data in MEDICAL else "natural",
            "backbone": backbone,
            "n_train": n,
            "data/K_F": k_f * (1 if n == 1000 else 0.9),
            "data/K_F_per_pixel": 100 * k_f,
            **{f"robust/{name}/loss_increase": increase * noise for name in attacks or ("fgsm_2",)},
        }
        for data, (k_f, increase) in (MEDICAL | NATURAL).items()
        for backbone, noise in zip(("vgg13", "vgg16"), NOISE, strict=True)
        for n in (500, 1000)
    ]
    return pd.DataFrame(rows).assign(**columns)


def powers(power: float, shift: float) -> pd.DataFrame:
    """Loss increase = K_F to a power; in natural data e^shift of that."""
    frame = exact()
    natural = frame["domain"] == "natural"
    frame["robust/fgsm_2/loss_increase"] = frame["data/K_F"] ** power * np.exp(shift * natural)
    frame["robust/fgsm_2/loss_increase"] *= 1 + 0.001 * (frame["backbone"] == "vgg13")
    return frame


def part_of(frame: pd.DataFrame, **options: Any) -> Part:
    return make(Context(frame, pd.DataFrame, **options))


@pytest.fixture(scope="module")
def part() -> Part:
    return part_of(exact())


def test_correlations_over_data_sets(part: Part) -> None:
    table = part.tables[0].frame
    own = table[table["over"] == "K_F (pixels in [0, 1])"].set_index("among")
    for among, sets in {"all data sets": MEDICAL | NATURAL, "medical data": MEDICAL, "natural data": NATURAL}.items():
        expected = stats.pearsonr(*zip(*sets.values(), strict=True))
        assert own.loc[among, ["r", "p"]].tolist() == pytest.approx([expected.statistic, expected.pvalue])
        assert own.loc[among, "data sets"] == len(sets)
    k_f, increase = (np.array(values) for values in zip(*(MEDICAL | NATURAL).values(), strict=True))
    inside = [values - np.repeat([values[:4].mean(), values[4:].mean()], 4) for values in (k_f, increase)]
    assert own.loc["within domains", "r"] == pytest.approx(stats.pearsonr(*inside).statistic)
    per_pixel = table[table["over"] == "K_F per pixel"].set_index("among")
    np.testing.assert_allclose(per_pixel["r"], own["r"])  # here the same but for a factor


def test_the_finding_says_both(part: Part) -> None:
    overall = stats.pearsonr(*zip(*(MEDICAL | NATURAL).values(), strict=True)).statistic
    assert part.text[0].startswith(
        "At N = 1,000, loss increase under FGSM, ε = 2/255 over K_F (pixels in [0, 1]): "
        f"r = +{overall:.3g} (95 % interval "
    )
    assert "n = 8) over all data sets, r = +" in part.text[0]
    assert part.text[0] in part.figures[0].caption
    assert re.search(r"By domain: natural data r = −0\.\d+ .*; medical data r = \+0\.\d+ ", part.figures[0].caption)


def trap(within: float) -> Part:
    """A difference between domains, and this slope inside them."""
    frame = exact()
    frame["data/K_F"] = frame.groupby("data")["data/K_F"].transform("max")
    log = frame["data/K_F"] - frame.groupby("domain")["data/K_F"].transform("mean")
    wiggle = 0.02 * np.sin(frame.groupby("data").ngroup() * 2.0)
    frame["robust/fgsm_2/loss_increase"] = 50.0 + 3 * (frame["domain"] == "medical") + within * log + wiggle
    return part_of(frame)


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (20.0, "it is not the difference between domains alone"),
        (0.0, "the overall r may come from the difference between domains alone"),
        (-10.0, "inside domains it is the other way round: the overall r comes from the difference between domains"),
        (-60.0, "inside domains they go together, which the difference between domains hides"),
    ],
)
def test_the_difference_between_domains(within: float, words: str) -> None:
    assert trap(within).text[0].endswith(f"within domains: {words}.")


def test_nothing_to_be_told() -> None:
    frame = exact()
    frame["robust/fgsm_2/loss_increase"] = 5 + np.sin(3.0 * frame.groupby("data").ngroup())
    assert part_of(frame).text[0].endswith(": neither overall nor within domains can r be told from 0.")


def test_powers_with_and_without_domain_as_a_factor() -> None:
    found = part_of(powers(1.5, -2.0))
    own = found.tables[1].frame.set_index(["over", "among"])["power"]["K_F (pixels in [0, 1])"]
    assert own[["natural data", "medical data", "domain as a factor"]].tolist() == pytest.approx([1.5] * 3)
    assert own["all data sets"] > 2
    assert "domain as a factor +1.5 (95 % interval 1.5 to 1.5)." in found.text[1]


def test_powers_are_lines_through_the_means_of_data_sets(part: Part) -> None:
    logs = [np.log(values) for values in zip(*(MEDICAL | NATURAL).values(), strict=True)]
    expected = stats.linregress(*logs)
    row = part.tables[1].frame.iloc[0]
    assert (row["power"], row["p"], row["df"]) == pytest.approx((expected.slope, expected.pvalue, 6))


def test_every_attack_is_in_the_tables_the_chosen_one_first() -> None:
    frame = exact("pgd_8", "fgsm_10", "fgsm_2", "fgsm_0.5", "other")
    labels = ["FGSM, ε = 2/255", "FGSM, ε = 0.5/255", "FGSM, ε = 10/255", "PGD, ε = 8/255"]
    found = part_of(frame)
    measures = [f"loss increase under {label}" for label in ["FGSM, ε = 2/255", "other", *labels[1:]]]
    assert list(dict.fromkeys(found.tables[0].frame["measure"])) == measures
    assert list(dict.fromkeys(found.tables[1].frame["measure"])) == measures
    for table in found.tables:
        assert set(table.frame["measure"].head(table.shown)) == {measures[0]}
        assert table.title.endswith(": loss increase under FGSM, ε = 2/255, N = 1,000")
    assert [figure.name for figure in found.figures] == [
        "fgsm-2-loss-increase-over-k-f",
        "fgsm-2-loss-increase-over-k-f-per-pixel",
    ]


def test_another_attack_is_chosen() -> None:
    found = part_of(exact("fgsm_2", "pgd_8"), attack="pgd_8")
    assert "PGD, ε = 8/255" in found.text[0]
    assert [figure.name[:5] for figure in found.figures] == ["pgd-8", "pgd-8"]


def test_an_attack_that_was_not_run() -> None:
    found = part_of(exact("pgd_4"))
    assert found.cannot[0] == (
        "No finished run has robust/fgsm_2/loss_increase: the figures show loss increase under PGD, ε = 4/255."
    )
    assert "PGD, ε = 4/255" in found.figures[0].title


def test_minimal_radius() -> None:
    assert "No finished run has a minimal radius (robust/radius…)." in part_of(exact()).cannot
    frame = exact()
    frame["robust/radius/median"] = 0.02 / frame["data/K_F"]
    frame["robust/radius/median_stderr"] = 0.1
    found = part_of(frame)
    assert found.cannot == ()
    assert [figure.name for figure in found.figures][2:] == ["radius-median-over-k-f"]
    own = found.tables[1].frame.query("measure == 'minimal radius (radius/median)'").set_index("among")
    assert own.loc["domain as a factor", "power"].tolist()[0] == pytest.approx(-1)
    assert set(found.tables[0].frame["measure"]) == {
        "loss increase under FGSM, ε = 2/255",
        "minimal radius (radius/median)",
    }


def test_minimal_radius_alone() -> None:
    frame = exact().drop(columns="robust/fgsm_2/loss_increase").assign(**{"robust/radius": lambda x: 1 / x["data/K_F"]})
    found = part_of(frame[(frame["n_train"] == 500) == (frame["data"] == "OAI")])
    assert [figure.name for figure in found.figures] == ["radius-over-k-f", "radius-over-k-f-per-pixel"]
    assert found.cannot[0].startswith("No finished run has a loss increase under attack")
    assert found.cannot[1] == "No training size is common to all data sets: N = 1,000 is missing of OAI."


def test_figures_have_units(part: Part) -> None:
    written = re.findall(r"<!-- (.*?) -->", part.figures[0].svg, re.DOTALL)
    assert {"K_F (pixels in [0, 1])", "loss increase under FGSM, ε = 2/255 (nats)", "medical", "natural"} <= set(
        written
    )


def test_increases_below_zero_have_no_logarithm() -> None:
    found = part_of(
        powers(1.0, 0.0).assign(**{"robust/fgsm_2/loss_increase": lambda x: x["robust/fgsm_2/loss_increase"] - 0.03})
    )
    counts = found.tables[1].frame.set_index(["over", "among"])["data sets"]["K_F (pixels in [0, 1])"]
    assert counts["all data sets"] == 5  # of eight: K_F above 0.03
    assert found.tables[0].frame["r"].iloc[0] == pytest.approx(1, abs=1e-3)


def test_runs_left_out_are_counted() -> None:
    frame = exact("fgsm_2", "pgd_2")
    frame.loc[[0, 1], "data/K_F"] = [math.inf, math.nan]
    frame.loc[[2], "data/K_F"] = 0
    frame.loc[[0, 4, 5, 6], "robust/fgsm_2/loss_increase"] = [math.nan, math.nan, math.nan, math.inf]
    assert part_of(frame).cannot == (
        "3 of 32 finished runs are not shown: data/K_F is missing or not finite (2), data/K_F is not above 0 (1).",
        "No finished run has a minimal radius (robust/radius…).",
        "3 of 29 runs have no loss increase under FGSM, ε = 2/255.",
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (exact(status="failed"), "No run of `fit` has finished."),
        (exact().drop(columns="data/K_F"), "data/K_F is missing or not finite (32)"),
        (exact().drop(columns="robust/fgsm_2/loss_increase"), "No finished run has a loss increase under attack"),
        (exact(**{"robust/fgsm_2/loss_increase": math.nan}), "No finished run has a loss increase under attack"),
    ],
)
def test_nothing_to_show(frame: pd.DataFrame, reason: str) -> None:
    found = part_of(frame)
    assert (found.text, found.figures, found.tables) == ((), (), ())
    assert reason in found.cannot[0]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (exact(**{"data/K_F": 0.05}), "over K_F: K_F (pixels in [0, 1]) is the same everywhere."),
        (
            exact(**{"robust/fgsm_2/loss_increase": 0.0}),
            ": loss increase under FGSM, ε = 2/255 is the same everywhere.",
        ),
        (exact().iloc[:1], "over K_F: 1 point is too few for a correlation."),
        (exact().query("data in ['OAI', 'SVHN']"), "over K_F: 2 points are too few for a correlation."),
    ],
)
def test_no_correlation(frame: pd.DataFrame, reason: str) -> None:
    found = part_of(frame)
    assert found.text == ()
    assert len(found.figures) == 2
    assert any(sentence.endswith(reason) for sentence in found.cannot)
    assert found.tables[0].frame["r"].iloc[0] is None or math.isnan(found.tables[0].frame["r"].iloc[0])


@pytest.mark.parametrize("domain", ["natural", None])
def test_one_domain(domain: str | None) -> None:
    found = part_of(exact(domain=domain))
    assert "within domains" not in found.text[0]
    assert set(found.tables[0].frame["among"]) == {"all data sets"}


def test_no_sharpness_per_pixel() -> None:
    found = part_of(exact().drop(columns="data/K_F_per_pixel"))
    assert len(found.figures) == 1
    assert "No run has data/K_F_per_pixel." in found.cannot


def test_drawn_records() -> None:
    found = part_of(small())
    assert found.cannot == ("No finished run has a minimal radius (robust/radius…).",)
    assert set(found.tables[0].frame["measure"]) == {f"loss increase under FGSM, ε = {eps}/255" for eps in (1, 2, 4, 8)}
