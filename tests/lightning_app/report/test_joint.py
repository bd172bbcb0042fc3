"""Part 7: what it says is what the law says, and where there is no law it says why."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.joint import make
from tests.lightning_app.analysis.drawn_records import PAPER, Truth, drawn_records
from tests.lightning_app.analysis.fixed_records import AIC, CR2, FIXED_EFFECTS, KENWARD_ROGER, LEFT_OUT, fixed_records

NOTHING = pd.DataFrame


def part(records: pd.DataFrame) -> Part:
    """The part, with a bootstrap of fewer draws than the report takes."""
    context = Context(records, NOTHING)
    context.__dict__["law"] = fit_scaling_law(records, draws=19)
    return make(context)


def names(svg: str) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)


@pytest.fixture(scope="module")
def fixed() -> Part:
    return make(Context(fixed_records(), NOTHING))


def test_the_first_sentence_has_both_coefficients_and_the_theory(fixed: Part) -> None:
    assert fixed.text[0] == (
        "In log L = a + b (log N)/d + c log K_F, fitted to 67 runs of 8 data sets, b = −1.68 (95 % interval −2.02 to "
        "−1.33) and c = +1.16 (95 % interval 0.828 to 1.48, rough: 3.7 degrees of freedom); the paper's bound has "
        "b = −1, which is outside the interval, and c = 1, which is inside the interval."
    )


def test_what_they_mean_is_worked_out(fixed: Part) -> None:
    d = float(np.median([6.0 + 5 * np.sin(s + 1) ** 2 for s in range(8)]))
    fewer, steeper, flatter = (2 ** (CR2["log N / d"][i] / d) for i in (0, 3, 4))
    sharper, low, high = (2 ** CR2["log K_F"][i] for i in (0, 3, 4))
    assert f"At d = {d:.3g}, the median data set's, twice as many training images multiply" in fixed.text[1]
    assert f"by {fewer:.3g} (95 % interval {steeper:.3g} to {flatter:.3g}); twice as high a K_F" in fixed.text[1]
    assert f"multiplies it by {sharper:.3g} (95 % interval {low:.3g} to {high:.3g})" in fixed.text[1]
    assert "b can (p < 0.001) and c can (p < 0.001)" in fixed.text[1]
    assert "Without log K_F the AIC is 20.7 higher, which speaks for log K_F" in fixed.text[2]
    first, last = (f"{np.exp(LEFT_OUT[term]):.3g}" for term in ("", "d"))
    assert "Without d the AIC is 8.78 higher, which speaks for d, and the error for a data set" in fixed.text[2]
    assert fixed.text[2].endswith(f"grows from a factor of {first} to {last}.")
    assert fixed.cannot == ()


def test_coefficients_stand_beside_those_of_the_other_methods(fixed: Part) -> None:
    table = fixed.tables[0].frame.set_index("term")
    assert table.pop("").tolist() == ["†" if 0 < df < 4 else "" for df in table["df"].fillna(0)]
    for name, (value, stderr, df, low, high, p) in CR2.items():
        row = table.T[name].tolist()
        assert row[:6] == pytest.approx([value, stderr, df, low, high, p], rel=1e-6)
        assert row[6:8] == pytest.approx(KENWARD_ROGER[name], rel=1e-6)
        assert row[8:] == pytest.approx(FIXED_EFFECTS.get(name, (np.nan, np.nan)), rel=1e-6, nan_ok=True)
    corrected = table.loc["log K_F, corrected for the error of K_F"]
    assert corrected["estimate"] > CR2["log K_F"][0]
    assert table.index[3] == corrected.name


def test_the_law_stands_beside_itself_without_its_terms(fixed: Part) -> None:
    table = fixed.tables[1].frame
    assert table["law"].tolist() == [
        "the whole law",
        "without log K_F",
        "without d: log N in place of (log N)/d",
        "without (log N)/d",
    ]
    assert table["AIC"].tolist() == pytest.approx(list(AIC.values()), rel=1e-6)
    assert table["AIC − whole"].tolist() == pytest.approx([aic - AIC[""] for aic in AIC.values()], rel=1e-5)
    assert table["as a factor of L"].tolist() == pytest.approx([np.exp(error) for error in LEFT_OUT.values()], rel=1e-6)
    assert table["p, bootstrap"].isna().tolist() == [True, False, True, False]


def test_the_figure_names_its_axes_and_its_caption_has_the_numbers(fixed: Part) -> None:
    (figure,) = fixed.figures
    assert {"medical", "natural", "(log N)/d", "K_F (pixels in [0, 1], reference sample)"} <= set(names(figure.svg))
    assert "exp(−1.68 · (log N)/d)" in figure.caption
    assert "to the power +1.16" in figure.caption
    assert figure.pdf.startswith(b"%PDF")


def test_few_data_sets_are_warned_of() -> None:
    records = drawn_records(3)
    law = fit_scaling_law(records, compare=False)
    c = law.coefficient("log K_F")
    (warning,) = (text for text in part(records).text if text.startswith("What 11 data sets can show"))
    assert f"the 396 runs count as little more than 11 points, with {c.df:.2g} degrees of freedom" in warning
    assert f"a c nearer to 0 than {(c.high - c.low) / 2:.2g} would not have been told" in warning
    sets = records.groupby("data").first()
    size = np.log(records["n_train"]).groupby(records["data"]).mean() / sets["data_ref/d_mle"]
    both = pd.DataFrame({"size": size, "k": np.log(sets["data_ref/K_F"])})
    r = float((both - both.groupby(sets["domain"]).transform("mean")).corr().to_numpy()[0, 1])
    assert f"r = {r:+.3g} within domains".replace("-", "−") in warning


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0.1, "Corrected by it (method of moments"),
        (1.5, "Too little is real to correct c by it"),
        (0.0, "K_F is an estimate, and its error is too small to matter"),
        (None, "The error of K_F is not known for all data sets"),
    ],
)
def test_the_error_of_sharpness_is_spoken_of(error: float | None, words: str) -> None:
    records = fixed_records()
    records["data_ref/K_F_stderr"] = np.nan if error is None else error * records["data_ref/K_F"]
    found = part(records)
    assert words in found.text[3]
    assert [name for name in found.tables[0].frame["term"] if "corrected" in name] == (
        ["log K_F, corrected for the error of K_F"] if error == 0.1 else []
    )


def test_runs_that_were_trained_differently_are_said() -> None:
    records = fixed_records().assign(batch_size=32)
    records["epochs"] = np.where(records["n_train"] == records["n_train"].min(), 200, 100)
    first = part(records).cannot[0]
    assert first.startswith("Runs are taken for alike that differ in epochs (100, 200): ")
    nothing = make(Context(records.assign(data="OAI", image_size=[32, 64] * 33 + [32]), NOTHING))
    assert "differ in epochs (100, 200); image size in OAI (32, 64)" in nothing.cannot[1]


def test_networks_that_interpolate_are_fitted_alone_beside_all() -> None:
    records = fixed_records().assign(**{"train/loss": 0.001})
    assert not any(text.startswith("Of networks that interpolate") for text in part(records).text)
    records.loc[records.index[::5], "train/loss"] = 0.5
    alone = fit_scaling_law(records[records["train/loss"] < 0.1], compare=False)
    found = part(records)
    b, c = (alone.coefficient(name) for name in ("log N / d", "log K_F"))
    said = found.text[1]
    assert said.startswith(f"Of networks that interpolate alone, {len(alone.records)} runs of 8 data sets: b = ")
    for one in (b, c):
        numbers = f"{one.value:+.3g} (95 % interval {one.low:.3g} to {one.high:.3g}"
        assert numbers.replace("-", "−") in said
    table = found.tables[0].frame.set_index("term")
    assert table.loc["log N / d, interpolating runs", "estimate"] == pytest.approx(b.value)
    assert table.loc["log K_F, interpolating runs", "s.e."] == pytest.approx(c.stderr)
    few = part(records.assign(**{"train/loss": np.where(records["data"] == records["data"].iloc[0], 0.001, 9.0)}))
    assert few.text[1].startswith("Networks that interpolate allow no joint fit of their own: ")


def of_one_domain(records: pd.DataFrame) -> pd.DataFrame:
    return records[records["domain"] == "radiology"]


@pytest.mark.parametrize(
    "change",
    [
        of_one_domain,
        lambda records: records[records["backbone"] == "vgg13"],
        lambda records: records[records["n_train"] == 500],
        lambda records: records[(records["n_train"] == 500) & (records["backbone"] == "vgg13")],
        lambda records: records.drop(columns=["domain", "backbone", "data_ref/K_F_stderr"]),
        lambda records: records.assign(domain=np.where(records["data"] == "MNIST", "x$y", "<b>")),
    ],
    ids=["one domain", "one backbone", "one size", "one run each", "missing columns", "odd names"],
)
def test_lesser_grids_get_a_part_without_gaps(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    found = part(change(drawn_records(1)))
    assert len(found.figures) == 1
    assert len(found.tables) == 2
    assert not [text for text in (*found.text, found.figures[0].caption) if re.search(r"\bnan\b|None|inf\b", text)]


def test_what_is_no_factor_is_said() -> None:
    few = {name: given for name, given in PAPER.items() if given[0] == "radiology" or name == "MNIST"}
    (first, *_) = part(drawn_records(1, data_sets=few)).cannot
    assert first.startswith("The domain is no factor")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "failed"}, "no run can be fitted"),
        ({"data": "OAI"}, "396 runs of 1 data set cannot tell apart"),
        ({"data_ref/K_F": 1.0}, "K_F is the same in all 396 runs"),
        ({"test/loss": np.nan}, "test loss is missing or not finite: 396"),
    ],
)
def test_without_a_law_it_says_why(changes: dict[str, Any], why: str) -> None:
    found = make(Context(drawn_records(0).assign(**changes), NOTHING))
    assert (found.text, found.figures, found.tables) == ((), (), ())
    sentence = found.cannot[0]
    assert sentence.startswith("There is no joint fit: ")
    assert why in sentence
    assert sentence.endswith(". The other parts take one property at a time.")


def test_words_follow_the_numbers() -> None:
    context = Context(fixed_records(), NOTHING)
    law = context.law
    assert isinstance(law, ScalingLaw)
    whole, k, d, _ = law.comparisons
    context.__dict__["law"] = replace(
        law,
        comparisons=(
            whole,
            replace(k, aic=whole.aic - 5, loo_error=0.1),
            replace(d, aic=whole.aic + 0.5, loo_error=None),
        ),
        coefficients=tuple(replace(c, low=-9.0, high=9.0, p=0.8) for c in law.coefficients),
    )
    found = make(context)
    assert "which is inside the interval, and c = 1, which is inside" in found.text[0]
    assert "b cannot be told from 0 and c cannot be told from 0" in found.text[1]
    assert "Without log K_F the AIC is 5 lower, which speaks against log K_F, and the error" in found.text[2]
    assert "shrinks from a factor of" in found.text[2]
    assert found.text[2].endswith("Without d the AIC is much the same (+0.5).")


def test_the_truth_is_said_where_nothing_hides_it() -> None:
    found = part(drawn_records(0, Truth(data_set=1e-9, noise=1e-6)))
    assert "b = −2 (95 % interval −2 to −2" in found.text[0]
    assert "c = +1 (95 % interval 1 to 1)" in found.text[0]
