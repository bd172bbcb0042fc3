"""Which records enter a fit: every other one is counted by its reason."""

import math
from typing import Any

import pandas as pd
import pytest

from lightning_app.analysis.frames import of_records
from lightning_app.analysis.usable import Usable, usable

GOOD: dict[str, Any] = {
    "run_id": "a",
    "status": "finished",
    "command": "fit",
    "data": "MNIST",
    "n_train": 500,
    "test/loss": 0.3,
    "data_ref/d_mle": 9.0,
    "data_ref/K_F": 0.04,
    "not_finite": [],
}


def chosen(records: pd.DataFrame) -> Usable:
    return usable(records, response="test/loss", dimension="data_ref/d_mle", sharpness="data_ref/K_F")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"status": "failed", "test/loss": None}, "failed"),
        ({"status": "running"}, "not finished"),
        ({"status": None}, "not finished"),
        ({"command": "test"}, "not a fit"),
        ({"data": None}, "no name of a data set"),
        ({"n_train": None}, "no number of training images"),
        ({"n_train": 0}, "no number of training images"),
        ({"test/loss": None}, "test loss is missing or not finite"),
        ({"test/loss": math.inf}, "test loss is missing or not finite"),
        ({"test/loss": math.nan}, "test loss is missing or not finite"),
        ({"test/loss": 0.0}, "test loss is not above 0"),
        ({"test/loss": -1.0}, "test loss is not above 0"),
        ({"n_train": math.inf}, "no number of training images"),
        ({"n_train": 1e300}, "no number of training images"),
        ({"data_ref/d_mle": None}, "no d_data"),
        ({"data_ref/d_mle": 0.0}, "no d_data"),
        ({"data_ref/d_mle": math.inf}, "no d_data"),
        ({"data_ref/K_F": None}, "no K_F"),
        ({"data_ref/K_F": None, "not_finite": ["data_ref/K_F"]}, "K_F is infinite or 0"),
        ({"data_ref/K_F": math.inf}, "K_F is infinite or 0"),
        ({"data_ref/K_F": 0.0}, "K_F is infinite or 0"),
        ({"run_id": "a", "name": "copy"}, "the same run under another name"),
    ],
)
def test_a_record_that_does_not_enter_is_counted_by_its_reason(bad: dict[str, Any], reason: str) -> None:
    found = chosen(of_records([GOOD, GOOD | {"run_id": "b"} | bad, GOOD | {"run_id": "c"}]))
    assert found.left_out == {reason: 1}
    assert found.frame["run_id"].tolist() == ["a", "c"]


def test_a_record_with_several_reasons_counts_once() -> None:
    bad = {"test/loss": None, "data_ref/d_mle": None, "data_ref/K_F": None}
    found = chosen(of_records([GOOD | {"run_id": "b"} | bad, GOOD | {"run_id": "c", "status": "failed"} | bad]))
    assert found.left_out == {"failed": 1, "test loss is missing or not finite": 1}
    assert found.frame.empty


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("status", "there is no column status"),
        ("command", "there is no column command"),
        ("data", "no name of a data set"),
        ("n_train", "no number of training images"),
        ("test/loss", "test loss is missing or not finite"),
        ("data_ref/d_mle", "no d_data"),
        ("data_ref/K_F", "no K_F"),
    ],
)
def test_a_column_that_is_not_there_is_one_without_values(column: str, reason: str) -> None:
    found = chosen(of_records([GOOD, GOOD | {"run_id": "b"}]).drop(columns=column))
    assert found.left_out == {reason: 2}


def test_a_run_that_failed_elsewhere_is_not_the_one_that_counts() -> None:
    rows = [GOOD | {"status": "failed", "name": "x"}, GOOD | {"name": "y"}, GOOD | {"name": "z"}]
    found = chosen(of_records(rows))
    assert found.frame["name"].tolist() == ["y"]
    assert found.left_out == {"failed": 1, "the same run under another name": 1}


def test_runs_without_identity_are_not_the_same() -> None:
    assert len(chosen(pd.DataFrame([GOOD] * 3).drop(columns="run_id")).frame) == 3


def test_rows_keep_their_columns_and_their_places() -> None:
    frame = of_records([GOOD | {"n_train": None}, GOOD | {"run_id": "b", "own": "x"}])
    found = chosen(frame).frame
    assert found.index.tolist() == [1]
    assert found["own"].tolist() == ["x"]
    assert found["n_train"].dtype == "float64"
    assert frame["n_train"].dtype == "Int64"


def test_nothing_is_nothing() -> None:
    found = chosen(pd.DataFrame())
    assert found.frame.empty
    assert found.left_out == {}
