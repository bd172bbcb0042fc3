"""Which runs the figures show."""

import math

import numpy as np
import pandas as pd
import pytest

from lightning_app.report.context import Context
from lightning_app.report.points import SET, common_size, means, natural_first, points


def context(**columns: object) -> Context:
    frame = pd.DataFrame({"status": "finished", "command": "fit", "data": ["a", "a", "b"], "n_train": 5} | columns)
    return Context(frame, pd.DataFrame)


def test_only_finished_runs_of_fit() -> None:
    assert len(points(context(status=["finished", "failed", "finished"])).frame) == 2
    assert len(points(context(command=["fit", "test", "validate"])).frame) == 1


def test_text_has_no_gaps() -> None:
    frame = points(context(data=["a", None, "b"], domain=[None, "natural", math.nan], pair=[1, None, 2])).frame
    assert list(frame["data"]) == ["a", "unknown data set", "b"]
    assert list(frame["domain"]) == ["unknown domain", "natural", "unknown domain"]
    assert list(frame["pair"])[1] == ""
    assert list(frame["backbone"]) == ["unknown backbone"] * 3


def test_a_run_counts_once_by_the_first_reason() -> None:
    found = points(context(x=[math.nan, 0, 1], y=[math.inf, 1, None], n_train=[5, 5, 5]), positive=["x"], finite=["y"])
    assert found.left_out == {
        "x is missing or not finite": 1,
        "x is not above 0": 1,
        "y is missing or not finite": 1,
    }
    assert found.sentences == (
        "3 of 3 finished runs are not shown: x is missing or not finite (1), x is not above 0 (1), "
        "y is missing or not finite (1).",
    )


def test_columns_of_any_sign_and_columns_that_may_be_missing() -> None:
    found = points(context(y=[-1, 0, 1], z=[-1.0, math.inf, 2]), finite=["y"], maybe=["z", "nowhere"])
    assert (found.left_out, found.sentences) == ({}, ())
    np.testing.assert_array_equal(found.frame["z"], [math.nan, math.nan, 2])
    assert found.frame["nowhere"].isna().all()


def test_means() -> None:
    frame = pd.DataFrame({"data": ["b", "a", "b"], "domain": "x", "k": [1.0, 5, 100], "y": [-1.0, 3, 0]})
    found = means(frame, ["k"], ["y"], by=SET)
    assert list(found["data"]) == ["b", "a"]
    assert list(found["k"]) == pytest.approx([10, 5])
    assert list(found["y"]) == pytest.approx([-0.5, 3])
    assert list(found["runs"]) == [2, 1]


def test_natural_sets_come_first() -> None:
    frame = pd.DataFrame({"domain": ["medical", "natural", "a", "natural"], "row": range(4)})
    assert list(natural_first(frame)["row"]) == [1, 3, 2, 0]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"a": [5, 9], "b": [5, 9]}, 9),
        ({"a": [5, 9], "b": [5]}, 5),
        ({"a": [5], "b": [9]}, 9),
        ({"a": [1], "b": [9, 1]}, 1),
    ],
)
def test_the_largest_common_size(sizes: dict[str, list[int]], expected: int) -> None:
    rows = [{"data": data, "n_train": size} for data, own in sizes.items() for size in own]
    assert common_size(pd.DataFrame(rows)) == expected
