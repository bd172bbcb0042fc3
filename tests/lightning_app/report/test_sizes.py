"""Part 3: loss over N. Records by formulas, whose exponents are known."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.sizes import make
from tests.lightning_app.report.made import small

SIZES = (500, 1000, 2000)
EXPONENTS = {
    "OAI": (-0.10, 10.0),
    "<b>$x$": (-0.25, 8.0),
    "数字": (0.05, 20.0),
}  # as made, and d of the reference sample
WIGGLE = {500: 0.005, 1000: -0.01, 2000: 0.005}  # of the logarithm, uncorrelated with log N


def exact(**columns: Any) -> pd.DataFrame:
    """Log L = level + exponent · log N + wiggle; every backbone has its own level."""
    rows: list[dict[str, Any]] = [
        {
            "run_id": f"{data} {backbone} {n}",
            "status": "finished",
            "command": "fit",
            "data": data,
            "domain": "medical" if data == "OAI" else "natural",
            "pair": None,
            "backbone": backbone,
            "n_train": n,
            "test/loss": math.exp(level + exponent * math.log(n) + WIGGLE[n]),
            "data/d_mle": d + math.log(n),
            "data_ref/d_mle": d,
        }
        for data, (exponent, d) in EXPONENTS.items()
        for backbone, level in (("vgg13", 0.3), ("resnet18", -0.5))
        for n in SIZES
    ]
    return pd.DataFrame(rows).assign(**columns)


def part_of(frame: pd.DataFrame) -> Part:
    return make(Context(frame, pd.DataFrame))


@pytest.fixture(scope="module")
def part() -> Part:
    return part_of(exact())


def test_exponents_of_data_sets_and_curves(part: Part) -> None:
    (table,) = part.tables
    assert table.shown == 3
    assert list(table.frame["data set"][:3]) == ["<b>$x$", "数字", "OAI"]
    assert list(table.frame["backbone"]) == ["all"] * 3 + ["vgg13", "resnet18"] * 3
    for _, row in table.frame.iterrows():
        exponent, d = EXPONENTS[row["data set"]]
        assert row["exponent"] == pytest.approx(exponent)
        assert (row["−1/d_data"], row["d_data"], row["d_data of"]) == pytest.approx((-1 / d, d, "reference sample"))
        curves = 3 if row["backbone"] == "all" else 6
        assert (row["sizes"], row["df"], row["without"]) == (3, curves, "")  # each of three sizes gives one
    assert list(table.frame["runs"]) == [6] * 3 + [3] * 6


def test_intervals_are_those_of_the_mean_curves_with_one_residual_variance(part: Part) -> None:
    line = stats.linregress(np.log(SIZES), list(WIGGLE.values()))
    half = stats.t.ppf(0.975, 3) * line.stderr  # all scatter alike
    frame = part.tables[0].frame[:3]
    np.testing.assert_allclose(frame["95 % high"] - frame["exponent"], half)
    np.testing.assert_allclose(frame["exponent"] - frame["95 % low"], half)
    assert 0.03 < half < 0.05  # below: two of three intervals lie to one side of 0, and one reaches −1/d_data
    assert part.text[0] == (
        "Test loss falls with N in 2 of 3 data sets, rises in 1 (exponents −0.25 to +0.05); the interval holds "
        "−1/d_data in 1, and meets −4/d_data … −1/d_data in 2."
    )


def test_repeats_with_other_seeds_count_in_a_curve() -> None:
    again = pd.concat([exact(), exact(run_id="again").query("backbone == 'vgg13'")])
    frame = part_of(again).tables[0].frame.set_index(["data set", "backbone"])
    assert (frame.loc[("OAI", "vgg13"), "runs"], frame.loc[("OAI", "vgg13"), "df"]) == (6, 6)
    assert (frame.loc[("OAI", "all"), "runs"], frame.loc[("OAI", "all"), "df"]) == (9, 3)


def test_pairs_are_curves_of_their_own_with_their_own_dimension() -> None:
    other = exact(pair=1)
    other[["data_ref/d_mle", "data/d_mle"]] *= 4
    frame = part_of(pd.concat([exact(pair=0), other])).tables[0].frame
    one = frame[(frame["data set"] == "OAI") & (frame["backbone"] == "vgg13")]
    assert list(one["d_data"]) == pytest.approx([10, 40])
    assert frame["d_data"][list(frame["data set"]).index("OAI")] == pytest.approx(20)  # geometric
    assert len(frame) == 3 + 12


def test_figures(part: Part) -> None:
    curves, exponents = part.figures
    written = re.findall(r"<!-- (.*?) -->", curves.svg, re.DOTALL)
    assert {"OAI: −0.1", "&lt;b&gt;$x$: −0.25", "resnet18", "vgg13", "test loss (nats)"} <= set(written)
    assert "training images, N" in written
    assert "r = +0.9" in exponents.caption
    assert stats.pearsonr([-0.1, -0.25, 0.05], [-1 / 10, -1 / 8, -1 / 20]).statistic == pytest.approx(0.98, abs=0.03)
    assert exponents.pdf.startswith(b"%PDF")


def test_loss_that_rises_or_stays() -> None:
    rising = exact()
    rising["test/loss"] = rising["n_train"] ** 2.0 * (1 + 0.001 * (rising["n_train"] == 1000))
    assert part_of(rising).text[0].startswith("Test loss falls with N in 0 of 3 data sets, rises in 3 (exponents +2")
    level = part_of(exact(**{"test/loss": 0.3}))
    assert "cannot be told from level in 3 (exponents +0);" in level.text[0]


def test_no_reference_sample() -> None:
    frame = part_of(exact().drop(columns="data_ref/d_mle")).tables[0].frame
    assert set(frame["d_data of"]) == {"training subset"}
    d = np.exp(np.mean(np.log([10 + math.log(n) for n in SIZES])))
    assert frame.set_index(["data set", "backbone"]).loc[("OAI", "all"), "d_data"] == pytest.approx(d)


def test_no_dimension_at_all() -> None:
    found = part_of(exact().drop(columns=["data_ref/d_mle", "data/d_mle"]))
    assert [figure.name for figure in found.figures] == ["loss-over-n"]
    assert "−1/d_data in" not in found.text[0]
    assert any(sentence.startswith("No d_data to compare exponents with") for sentence in found.cannot)


def test_one_size() -> None:
    frame = exact()
    found = part_of(frame[(frame["n_train"] == 500) | (frame["data"] == "OAI")])
    assert "No exponent of <b>$x$, 数字: all runs have one training size." in found.cannot
    assert set(found.tables[0].frame["data set"]) == {"OAI"}
    nothing = part_of(frame[frame["n_train"] == 500])
    assert (nothing.text, nothing.figures, nothing.tables) == ((), (), ())


def test_two_sizes_give_exponents_without_intervals() -> None:
    found = part_of(exact().query("n_train != 1000"))
    assert found.text[0] == "Fitted exponents of test loss over N: −0.25 to +0.05, without intervals."
    assert "No interval for <b>$x$, 数字, OAI: two training sizes are too few for an interval." in found.cannot


def test_curves_that_share_no_size() -> None:
    frame = exact()
    found = part_of(frame[(frame["n_train"] == 500) == (frame["backbone"] == "vgg13")])
    assert found.text == ()
    assert "No exponent for <b>$x$, 数字, OAI: some sizes share no curve with the others." in found.cannot
    assert [figure.name for figure in found.figures] == ["loss-over-n"]
    frame = found.tables[0].frame
    assert set(frame.loc[frame["backbone"] == "vgg13", "without"]) == {"one training size"}
    np.testing.assert_allclose(frame.loc[frame["backbone"] == "resnet18", "exponent"].notna(), 1)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (exact(status="failed"), "No run of `fit` has finished."),
        (
            exact().drop(columns="test/loss"),
            "18 of 18 finished runs are not shown: test/loss is missing or not finite (18).",
        ),
        (exact(**{"test/loss": 0.0}), "18 of 18 finished runs are not shown: test/loss is not above 0 (18)."),
        (exact().iloc[:1], "No exponent of OAI: all runs have one training size."),
    ],
)
def test_nothing_to_show(frame: pd.DataFrame, reason: str) -> None:
    found = part_of(frame)
    assert (found.text, found.figures, found.tables) == ((), (), ())
    assert found.cannot == (reason,)


def test_many_backbones_and_data_sets() -> None:
    many = [exact().assign(data=lambda frame, i=i: frame["data"] + str(i), backbone=f"net {i}") for i in range(14)]
    found = part_of(pd.concat(many))
    assert "Shown: the first 16 of 42 data sets." in found.figures[0].caption
    assert "net 1" not in re.findall(r"<!-- (.*?) -->", found.figures[0].svg, re.DOTALL)
    assert found.tables[0].shown == 42


def test_drawn_records() -> None:
    found = part_of(small())
    assert found.cannot == ()
    assert found.tables[0].frame["95 % low"].notna().all()
