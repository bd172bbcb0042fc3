"""Part 5: d_repr beside test loss and beside d_data. Numbers are compared with loops and closed forms."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_app.report.context import Context
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.parts.representation import make
from tests.lightning_app.analysis.drawn_records import PAPER, drawn_records

BACKBONES = {"resnet18": 0.0, "vgg13": 0.1, "vgg16": 0.0}


def records(*data_sets: str, **options: Any) -> pd.DataFrame:
    chosen = {name: PAPER[name] for name in data_sets or PAPER}
    return drawn_records(5, data_sets=chosen, backbones=BACKBONES, **({"sizes": (500, 1000)} | options))


def beside_loss_alone(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["data/d_mle", "data/d_twonn"])


def part_of(frame: pd.DataFrame) -> Part:
    return make(Context(frame, pd.DataFrame))


def figure(part: Part, name: str) -> Figure:
    (found,) = (figure for figure in part.figures if figure.name == name)
    return found


def table(part: Part, name: str) -> pd.DataFrame:
    (found,) = (table for table in part.tables if table.name == name)
    assert isinstance(found, Table)
    return found.frame


def written(figure: Figure) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", figure.svg, re.DOTALL)


def points(figure: Figure) -> int:
    return figure.svg.count("<use ")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    drawn = records()
    for estimator in ("mle", "twonn"):
        drawn[f"repr/d_{estimator}"] = drawn[f"data/d_{estimator}"] * rng.uniform(0.6, 1.4, len(drawn))
    drawn["repr/d_twonn_stderr"] = drawn["data/d_twonn_stderr"].where(drawn["backbone"] != "vgg13")
    return drawn


@pytest.fixture(scope="module")
def part(frame: pd.DataFrame) -> Part:
    return part_of(frame)


def test_violations_are_counted(frame: pd.DataFrame, part: Part) -> None:
    above: dict[str, int] = {"mle": 0, "twonn": 0}
    clearly, known = dict(above), dict(above)
    for row in frame.to_dict("records"):
        for name in above:
            repr_, data = row[f"repr/d_{name}"], row[f"data/d_{name}"]
            error = np.hypot(row[f"repr/d_{name}_stderr"], row[f"data/d_{name}_stderr"])
            above[name] += repr_ > data
            known[name] += bool(np.isfinite(error))
            clearly[name] += repr_ - data > 1.96 * error
    assert 0 < clearly["mle"] < above["mle"] < len(frame) == 66
    assert known == {"mle": 66, "twonn": 44}
    expected = (
        f"d_repr exceeds d_data in {above['mle']} of 66 runs by MLE (clearly in {clearly['mle']}), "
        f"in {above['twonn']} of 66 runs by TwoNN (clearly in {clearly['twonn']} of the 44 with standard errors)"
    )
    assert part.text[0].endswith(f"; {expected}.")
    caption = figure(part, "representation-over-data-mle").caption
    ratios = frame["repr/d_mle"] / frame["data/d_mle"]
    natural, radiology = (ratios[frame["domain"] == domain].median() for domain in ("natural", "radiology"))
    assert f"d_repr exceeds d_data in {above['mle']} of 66 runs by MLE (clearly in {clearly['mle']});" in caption
    assert (
        f"the median of d_repr / d_data is {natural:.2f} in natural data, {radiology:.2f} in radiology data" in caption
    )


def test_the_table_has_a_row_per_data_set_and_network(frame: pd.DataFrame, part: Part) -> None:
    found = table(part, "representation-over-data").set_index(["data set", "backbone"])
    assert len(found) == 11 * 3
    for (data, backbone), row in found.iterrows():  # type: ignore[misc]  # an index of two levels has pairs
        runs = frame[(frame["data"] == data) & (frame["backbone"] == backbone)]
        assert row["domain"] == runs["domain"].iloc[0]
        for name, title in (("mle", "MLE"), ("twonn", "TwoNN")):
            assert row[f"runs, {title}"] == len(runs) == 2
            assert row[f"d_data, {title}"] == pytest.approx(runs[f"data/d_{name}"].sum() / 2)
            assert row[f"d_repr, {title}"] == pytest.approx(runs[f"repr/d_{name}"].sum() / 2)
            assert row[f"above, {title}"] == (runs[f"repr/d_{name}"] > runs[f"data/d_{name}"]).sum()
        assert np.isnan(row["clearly, TwoNN"]) == (backbone == "vgg13")


def test_lines_go_through_the_means_of_data_sets(frame: pd.DataFrame, part: Part) -> None:
    found = table(part, "slopes-over-representation").set_index(["N", "between", "domain"])
    for n in (500, 1000):
        at = frame[frame["n_train"] == n]
        logs = np.log(at[["repr/d_mle", "test/loss"]]).groupby([at["domain"], at["data"]]).mean()
        for domain in ("natural", "radiology"):
            own = logs.loc[domain]
            slope = np.polyfit(np.exp(own["repr/d_mle"]), own["test/loss"], 1)[0]
            assert found.loc[(n, "data sets", domain), "slope per dimension"] == pytest.approx(slope)
        # Between networks: dummies for data sets take up all that networks on one data set have in common.
        dummies = pd.get_dummies(at["data"]).to_numpy(float)
        design = np.column_stack([at["repr/d_mle"], dummies])
        within = np.linalg.lstsq(design, np.log(at["test/loss"]), rcond=None)[0][0]
        assert found.loc[(n, "networks", "all"), "slope per dimension"] == pytest.approx(within)
        assert found.loc[(n, "networks", "all"), "data sets"] == 11


def test_the_finding_is_that_of_the_largest_common_size(part: Part) -> None:
    slopes = table(part, "slopes-over-representation").set_index(["N", "between", "domain"]).loc[1000]
    assert part.text[0].startswith("At N = 1,000, log test loss over d_repr ")
    for between, domain in (("data sets", "natural"), ("data sets", "radiology"), ("networks", "all")):
        slope, low, high = slopes.loc[(between, domain), ["slope per dimension", "95 % low", "95 % high"]]
        numbers = f"({slope:+.3g} per dimension, 95 % interval {low:.3g} to {high:.3g})".replace("-", "−")
        assert numbers in part.text[0]
        assert numbers in figure(part, "loss-over-representation").caption


@pytest.mark.parametrize(("sign", "word"), [(1, "rises"), (-1, "falls")])
def test_words_follow_the_numbers(sign: int, word: str) -> None:
    drawn = records()
    noise = np.random.default_rng(1).normal(0, 0.01, len(drawn))
    drawn["test/loss"] = np.exp(sign * 0.1 * drawn["repr/d_mle"] + noise)
    text = part_of(beside_loss_alone(drawn)).text[0]
    assert f"log test loss over d_repr {word} in natural data (" in text
    assert f"; {word} in radiology data (" in text
    assert f"; {word} from network to network on one data set (" in text


def test_axes_say_what_they_show(part: Part) -> None:
    assert [figure.name for figure in part.figures] == [
        "loss-over-representation",
        "representation-over-data-mle",
        "representation-over-data-twonn",
    ]
    assert {"d_repr, MLE (degrees of freedom, penultimate layer)", "test loss (nats)", "natural"} <= set(
        written(part.figures[0])
    )
    assert {"d_data, TwoNN (degrees of freedom)", "y = x", "radiology"} <= set(written(part.figures[2]))
    assert all(figure.pdf.startswith(b"%PDF") for figure in part.figures)


def test_of_many_runs_means_are_drawn() -> None:
    few = records("MNIST", "OAI", sizes=(500,)).drop(columns=["test/loss", "repr/d_twonn"])
    many = pd.concat([few.assign(run_id=few["run_id"] + str(i), seed=i) for i in range(101)], ignore_index=True)
    drawn = [figure(part_of(runs), "representation-over-data-mle") for runs in (few, many)]
    assert points(drawn[0]) == points(drawn[1])
    assert "Each point is a run." in drawn[0].caption
    assert "in 0 of 606 runs" in drawn[1].caption
    assert "Each point is the mean of the runs of a network on a data set." in drawn[1].caption


@pytest.mark.parametrize(
    ("change", "figures", "cannot"),
    [
        ({"status": "failed"}, 0, "No run of `fit` has finished."),
        ({"command": "test"}, 0, "No run of `fit` has finished."),
        ({"repr/d_mle": None, "repr/d_twonn": np.nan}, 0, "No finished run has d_repr: the callback Representation"),
        (
            {"data/d_mle": None, "data/d_twonn": np.inf},
            1,
            "beside d_data, TwoNN: 6 of 6 finished runs are not shown: data/",
        ),
        ({"test/loss": np.nan}, 2, "Test loss over d_repr: 6 of 6 finished runs are not shown: test/loss is missing"),
        ({"test/loss": 0.0}, 2, "Test loss over d_repr: 6 of 6 finished runs are not shown: test/loss is not above 0"),
        ({"repr/d_mle": 4.0}, 3, "from network to network on one data set: no line, d_repr is the same everywhere."),
        ({"data": "MNIST", "domain": "natural"}, 3, "Over d_repr, natural: no line, there is one point only."),
        ({"domain": None, "backbone": None}, 3, "Over d_repr, unknown domain: no interval, 2 points are too few"),
    ],
)
def test_what_cannot_be_had_is_said(change: dict[str, Any], figures: int, cannot: str) -> None:
    part = part_of(records("MNIST", "OAI", sizes=(500,)).assign(**change))
    assert len(part.figures) == figures
    assert any(cannot in sentence for sentence in part.cannot), part.cannot
    assert bool(part.text) is bool(figures)


def test_columns_that_are_not_there() -> None:
    drawn = records("MNIST", "OAI")
    kept = ["run_id", "status", "command", "n_train", "repr/d_twonn", "data/d_twonn"]
    part = part_of(drawn[kept])
    assert [figure.name for figure in part.figures] == ["representation-over-data-twonn"]
    assert part.text[0] == "d_repr exceeds d_data in 0 of 12 runs by TwoNN (no standard errors)."
    assert any("test/loss is missing or not finite (12)" in sentence for sentence in part.cannot)


def test_a_single_run() -> None:
    part = part_of(records("OAI", sizes=(500,))[:1])
    assert len(part.figures) == 3
    assert "d_repr exceeds d_data in 0 of 1 runs by MLE (clearly in 0)" in part.text[0]


def test_the_size_is_one_that_all_data_sets_have() -> None:
    drawn = beside_loss_alone(records("MNIST", "OAI", "DBC"))
    small = part_of(drawn[(drawn["data"] != "OAI") | (drawn["n_train"] == 500)])
    assert small.text[0].startswith("At N = 500, ")
    none = part_of(drawn.assign(n_train=drawn["n_train"] + (drawn["data"] == "OAI")))
    assert none.text[0].startswith("At N = 1,000, ")
    assert "No training size is common to all data sets: N = 1,000 is missing of OAI." in none.cannot
