"""Part 8: everything that was left out is counted."""

import numpy as np
import pandas as pd
import pytest

from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.missing import make
from tests.lightning_app.report.made import small


def made(records: pd.DataFrame, *others: Part, repeats: int = 0) -> Part:
    return make(Context(records, pd.DataFrame, repeats=repeats), others)


def rows(part: Part, name: str) -> list[list[object]]:
    (found,) = (table.frame for table in part.tables if table.name == name)
    return [[None if pd.isna(value) else value for value in row] for row in found.to_numpy(dtype=object).tolist()]


def names(part: Part) -> list[str]:
    return [table.name for table in part.tables]


def test_nothing_is_missing_but_the_radius() -> None:
    part = made(small(4))
    assert part.text[0] == "No cell failed, and every network interpolated (training loss of at most 0.1)."
    assert names(part) == ["not-measured"]
    assert rows(part, "not-measured") == [["minimal radius", "robust/radius", 0, 0, 24]]


def test_failed_cells_are_listed_with_their_reasons() -> None:
    records = small(4)
    gone = records.index[:2]
    records.loc[gone, "status"] = "failed"
    records.loc[gone, ["kind", "message", "attempts"]] = ["memory", "it took 9 GB", 2]
    part = made(records)
    assert part.text[0] == "2 cells failed."
    first = records.iloc[0]
    assert rows(part, "failed")[0] == [
        *("drawn", first["data"], first["backbone"], first["n_train"], "memory", "it took 9 GB", 2, first["run_id"]),
    ]
    assert rows(part, "left-out") == [["Joint fit", "not in it: failed", 2]]


def test_what_other_parts_cannot_say_is_repeated() -> None:
    others = (Part("a", "About a", cannot=("First.", "Second.")), Part("b", "About b"))
    assert rows(made(small(4), *others), "left-out") == [["About a", "First.", None], ["About a", "Second.", None]]


def test_reasons_are_given_without_a_law_too() -> None:
    records = small(1)
    records.loc[records.index[0], "test/loss"] = np.nan
    (reason,) = rows(made(records), "left-out")
    assert reason == ["Joint fit", "not in it: test loss is missing or not finite", 1]


def test_runs_that_cannot_be_fitted_are_in_the_first_sentence() -> None:
    records = small()
    records.loc[records.index[:5], "test/loss"] = [np.nan, np.nan, np.inf, -np.inf, 0.0]
    part = made(records)
    assert part.text[0] == (
        "5 of 66 finished runs are not in the joint fit (test loss is missing or not finite: 4; test loss is not above "
        "0: 1)."
    )
    assert rows(part, "not-measured")[0] == ["test loss", "test/loss", 62, 2, 2]
    alone = made(small(1).assign(**{"data_ref/K_F": np.nan}))
    assert alone.text[0] == "6 of 6 finished runs cannot be in a joint fit (no K_F: 6)."


@pytest.mark.parametrize("column", ["status", "command"])
def test_a_column_without_which_nothing_is_known(column: str) -> None:
    context = Context(small(1).assign(**{column: None}), pd.DataFrame)
    part = make(context, [])
    assert part.text[0].startswith(f"There is no column {column}, so that no run is known to be a finished one")
    assert context.counted == f"6 records, none known to be finished: there is no column {column}"
    assert rows(part, "left-out") == [["Joint fit", f"not in it: there is no column {column}", 6]]


def test_networks_that_did_not_interpolate_are_counted() -> None:
    records = small(1)
    at = records.index[records["backbone"] == "resnet34"]
    records.loc[at, "train/loss"] = [0.3, np.nan, 0.1]
    part = made(records)
    assert part.text[0] == (
        "1 of 6 finished runs did not interpolate (training loss above 0.1); the training loss of 1 finished run is "
        "not known."
    )
    assert rows(part, "not-interpolated") == [["ImageNet", "resnet34", 3, 1, 1, 0.3]]


def test_small_samples_are_named() -> None:
    records = small(2)
    records.loc[records["data"] == "SVHN", "n_test"] = 99
    records.loc[records.index[:3], "data/n_images"] = [60.0, 80.0, 100.0]
    assert rows(made(records), "small-samples") == [
        ["test images", 99, 6, "SVHN"],
        ["training images whose dimension is estimated", 60, 2, str(records["data"].iloc[0])],
    ]


def test_numbers_that_are_not_finite_are_told_from_those_not_measured() -> None:
    records = small(1).assign(not_finite="[]")
    records.loc[records.index[:2], "data/K_F"] = np.nan
    records.loc[records.index[:1], "not_finite"] = '["data/K_F", "data/K_F_per_pixel"]'
    found = {row[1]: row[2:] for row in rows(made(records), "not-measured")}
    assert found == {"data/K_F": [4, 1, 1], "robust/radius": [0, 0, 6]}


def test_versions_repeats_seeds_and_other_commands_are_said() -> None:
    records = small(1)
    again = records.assign(run_id="x" + records["run_id"], seed=1)
    records = pd.concat([records, again.head(2), again.tail(1).assign(command="test")], ignore_index=True)
    records["version/code"] = ["b"] * 6 + ["a"] * 3
    records["started"] = [f"2026-01-0{9 - i}" for i in range(9)]
    records["codes"] = ['["b"]'] * 6 + ['["a", "b"]'] * 3
    part = made(records, repeats=4)
    assert part.text[0] == "1 record of other commands not looked at."
    said = " ".join(part.text)
    assert "4 records of runs that lie in another experiment as well were left out" in said
    assert "2 cells of 6 were run more than once, up to 2 times" in said
    assert "3 runs went on, after an interruption, with another version of the code." in said
    assert rows(part, "codes") == [["a", 3, "2026-01-01", "2026-01-03"], ["b", 6, "2026-01-04", "2026-01-09"]]


def test_nothing_finished_is_said() -> None:
    records = small(1).assign(status="failed")
    part = made(records)
    assert part.text[0] == "No run of `fit` has finished; 6 cells failed."
    assert names(part) == ["failed", "left-out"]
