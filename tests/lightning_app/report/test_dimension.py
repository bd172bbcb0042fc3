"""Part 2: loss over d_data. Records by formulas, whose slopes are known."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_app.analysis.lines import Line
from lightning_app.report.context import Context
from lightning_app.report.loss_lines import fit_domains
from lightning_app.report.part import Part
from lightning_app.report.parts.dimension import make
from tests.lightning_app.report.made import small

NATURAL, MEDICAL = ("M$x$", "<b>", "数字", "natural_4"), ("OAI", "BraTS", "DBC", "MURA", "RSNA")


def exact(**columns: Any) -> pd.DataFrame:
    """Natural: log L = 0.25 d − 4; medical: the same and log 3 more; scattered a little between networks."""
    rows: list[dict[str, Any]] = []
    for number, data in enumerate((*MEDICAL, *NATURAL)):
        natural = data in NATURAL
        for backbone, effect in (("vgg13", 0.001), ("vgg16", -0.001)):
            for n_train in (500, 1000):
                d = 8.0 + 1.5 * (number % 5) + 0.5 * natural
                rows.append(
                    {
                        "run_id": f"run {len(rows)}",
                        "status": "finished",
                        "command": "fit",
                        "data": data,
                        "domain": "natural" if natural else "medical",
                        "backbone": backbone,
                        "n_train": n_train,
                        "test/loss": math.exp(0.25 * d - 4 + effect) * (1 if natural else 3) * (1 + (n_train == 500)),
                        "data/d_mle": d,
                        "data_ref/d_mle": 2 * d,
                        "data/K_F": 0.02 if natural else 0.05,
                        "data/K_F_per_pixel": 4.0 if natural else 8.0,
                    }
                )
    return pd.DataFrame(rows).assign(**columns)


def part_of(frame: pd.DataFrame) -> Part:
    return make(Context(frame, pd.DataFrame))


@pytest.fixture(scope="module")
def part() -> Part:
    return part_of(exact())


def test_slopes_of_domains(part: Part) -> None:
    table = part.tables[0].frame
    own = table[table["d_data of"] == "training subset"]
    assert set(own["domain"]) == {"natural", "medical", "all, one slope"}
    assert set(own["backbone"]) == {"all", "vgg13", "vgg16"}
    assert set(own["N"]) == {500, 1000}
    np.testing.assert_allclose(own["slope per dimension"], 0.25, atol=1e-9)
    reference = table[table["d_data of"] == "reference sample"]
    np.testing.assert_allclose(reference["slope per dimension"], 0.125, atol=1e-9)
    assert part.tables[0].shown == int((table["backbone"] == "all").sum()) == 12


def test_the_finding_is_one_sentence_with_the_numbers(part: Part) -> None:
    assert part.text[0].startswith(
        "At N = 1,000, log test loss over d_data rises in natural data "
        "(+0.25 per dimension, 95 % interval 0.25 to 0.25); rises in medical data (+0.25 per dimension"
    )
    assert part.text[0] in part.figures[0].caption


def test_the_shift_between_domains_beside_sharpness(part: Part) -> None:
    domains = part.tables[1].frame.set_index("domain")
    assert domains.loc["medical", "loss, times the first"] == pytest.approx(3)
    assert list(domains["data sets"]) == [4, 5]
    assert list(domains["runs"]) == [8, 10]
    assert domains.loc["medical", "K_F (pixels in [0, 1])"] == pytest.approx(0.05)
    assert math.isnan(domains.loc["natural", "loss, times the first"])
    assert part.text[1] == (
        "At equal d_data the loss of medical data is 3 times that of natural data (95 % interval 3 to 3). Their K_F is "
        "2.5 times as high (per pixel 2 times); if L goes like K_F, that alone makes the loss 2.5 times as high."
    )


def test_words_follow_the_numbers() -> None:
    falling = exact()
    falling["test/loss"] = 1 / falling["test/loss"]
    found = part_of(falling)
    assert "falls in natural data (−0.25 per dimension" in found.text[0]
    assert "medical data is 0.333 times that of natural data" in found.text[1]
    assert found.text[1].endswith("the other way round than what is seen.")
    scattered = exact()
    scattered["test/loss"] *= np.exp(3 * np.sin(scattered.groupby("data").ngroup() ** 2))
    assert "cannot be told from level in natural data" in part_of(scattered).text[0]


def test_a_figure_with_every_data_set(part: Part) -> None:
    (figure,) = part.figures
    written = re.findall(r"<!-- (.*?) -->", figure.svg, re.DOTALL)
    assert {"d_data, MLE (degrees of freedom, training subset)", "test loss (nats)", "medical", "natural"} <= set(
        written
    )
    assert figure.svg.count("<use ") >= 9 + 18  # a large point per data set, a small one per network
    assert figure.pdf.startswith(b"%PDF")


def test_the_largest_common_size() -> None:
    frame = exact()
    assert "At N = 500," in part_of(frame[(frame["n_train"] == 500) | (frame["data"] != "OAI")]).text[0]
    apart = frame[(frame["n_train"] == 1000) == (frame["data"] == "OAI")]
    found = part_of(apart)
    assert "At N = 500," in found.text[0]
    assert "No training size is common to all data sets: N = 500 is missing of OAI." in found.cannot


def test_runs_left_out_are_counted() -> None:
    frame = exact()
    frame.loc[[0, 1], "test/loss"] = [math.nan, math.inf]
    frame.loc[[2, 3, 4], "test/loss"] = 0
    frame.loc[[4, 5], "data/d_mle"] = None
    found = part_of(frame)
    assert found.cannot[-1] == (
        "6 of 36 finished runs are not shown: test/loss is missing or not finite (2), test/loss is not above 0 (3), "
        "data/d_mle is missing or not finite (1)."
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (exact(status="failed"), "No run of `fit` has finished."),
        (exact(command="test"), "No run of `fit` has finished."),
        (exact().drop(columns="test/loss"), "test/loss is missing or not finite (36)"),
        (exact().drop(columns="data/d_mle"), "data/d_mle is missing or not finite (36)"),
        (exact(n_train=None), "n_train is missing or not finite (36)"),
    ],
)
def test_nothing_to_show(frame: pd.DataFrame, reason: str) -> None:
    found = part_of(frame)
    assert (found.text, found.figures, found.tables) == ((), (), ())
    assert reason in found.cannot[0]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (exact().iloc[:1], "medical: no line, there is one point only"),
        (exact().query("data == 'OAI'"), "medical: no line, there is one point only"),
        (exact(**{"data/d_mle": 9.0, "data_ref/d_mle": 9.0}), "all, one slope: no line, d_data is the same everywhere"),
        (exact().groupby("domain").head(4), "all, one slope: no line, d_data is the same inside every level"),
    ],
)
def test_no_line(frame: pd.DataFrame, reason: str) -> None:
    found = part_of(frame)
    assert found.text == ()
    assert len(found.figures) == 1
    assert any(reason in sentence for sentence in found.cannot)


def test_two_data_sets_have_a_line_and_no_interval() -> None:
    found = part_of(exact().query("data in ['OAI', 'DBC']"))
    assert "has an uncertain slope in medical data (+0.25 per dimension, no interval)" in found.text[0]
    assert "Over d_data, medical: no interval, 2 points are too few for an interval." in found.cannot


@pytest.mark.parametrize("domains", [[None] * 36, ["natural"] * 36, ["a", None, "<c$", "natural"] * 9])
def test_any_domains(domains: list[str | None]) -> None:
    found = part_of(exact(n_train=500, domain=domains))
    seen = {name or "unknown domain" for name in domains}
    assert set(found.tables[1].frame["domain"]) == seen
    assert all(f"in {name} data" in found.figures[0].caption for name in seen)


@pytest.mark.parametrize("slope", [0.0, 0.15])
def test_intervals_of_slopes_cover_as_they_say(slope: float) -> None:
    """Seven data sets of six networks, a level for each: through their means t is exact, and cluster-robust is not."""
    rng = np.random.default_rng(0)
    d, draws, inside = np.array([10.9, 16.8, 8.6, 15.3, 10.7, 10.2, 5.6]), 300, 0
    runs = pd.DataFrame({"data": np.repeat(list("abcdefg"), 6), "domain": "medical", "d": np.repeat(d, 6)})
    for _ in range(draws):
        level = np.repeat(0.3 * rng.standard_normal(7), 6)
        loss = np.exp(slope * runs["d"] + level + 0.15 * rng.standard_normal(42))
        line = fit_domains(runs.assign(**{"test/loss": loss}), "d")["medical"]
        assert isinstance(line, Line)
        assert line.slope.low is not None
        assert line.slope.high is not None
        assert line.slope.df == 5
        inside += line.slope.low <= slope <= line.slope.high
    assert 0.91 <= inside / draws <= 0.985  # three standard errors of 95 %


def test_no_sharpness() -> None:
    found = part_of(exact().drop(columns=["data/K_F", "data/K_F_per_pixel", "data_ref/d_mle"]))
    assert found.text[1].endswith("(95 % interval 3 to 3).")
    assert set(found.tables[0].frame["d_data of"]) == {"training subset"}


def test_drawn_records() -> None:
    found = part_of(small())
    assert found.cannot == ()
    assert found.tables[0].frame["95 % low"].notna().all()


def test_class_pairs_are_averaged_first() -> None:
    pairs = []
    for pair, stretch in enumerate((0.5, 2.0)):  # the geometric mean of d stays
        other = exact(pair=pair)
        other[["data/d_mle", "data_ref/d_mle"]] *= stretch
        pairs.append(other)
    table = part_of(pd.concat(pairs)).tables[0].frame
    np.testing.assert_allclose(table.query("`d_data of` == 'training subset'")["slope per dimension"], 0.25, atol=1e-9)
