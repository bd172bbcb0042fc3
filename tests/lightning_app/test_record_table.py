"""Records side by side: nothing is lost between a record and a row."""

import csv
import io
import math
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_app.record_table import RecordTable, tabulate

LOSS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
SIZE = st.none() | st.integers(-(2**63), 2**63 - 1)
WORD = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def csv_rows(table: RecordTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.to_csv(), newline="")))


def parquet(table: RecordTable) -> pyarrow.Table:
    return pyarrow.parquet.read_table(pyarrow.BufferReader(table.to_parquet()))


def same(a: float | None, b: float | None) -> bool:
    """Equal to the last bit, the sign of zero included."""
    return a == b and (a is None or b is None or math.copysign(1, a) == math.copysign(1, b))


@given(st.lists(st.tuples(LOSS, SIZE, WORD), min_size=1))
def test_every_number_and_word_comes_back_from_csv_and_parquet(rows: list[tuple[Any, Any, Any]]) -> None:
    table = tabulate([{"run_id": "r", "test/loss": loss, "size": size, "word": word} for loss, size, word in rows])
    columns = parquet(table)
    losses, sizes, words = zip(*rows, strict=True)
    assert all(map(same, columns["test/loss"].to_pylist(), losses))
    if any(size is not None for size in sizes):
        assert columns["size"].to_pylist() == list(sizes)
    assert columns["word"].to_pylist() == list(words)
    for found, (loss, size, word) in zip(csv_rows(table), rows, strict=True):
        assert same(float(found["test/loss"]) if found["test/loss"] else None, loss)
        assert found["size"] == ("" if size is None else str(size))
        assert found["word"] == (word or "")


def test_a_lone_carriage_return_comes_back() -> None:
    table = tabulate([{"run_id": "r", "message": "10 %\r20 %\r\n"}])
    assert csv_rows(table)[0]["message"] == "10 %\r20 %\r\n"


def test_identity_comes_first_then_numbers_then_versions() -> None:
    record = {"version/torch": "2", "test/loss": 1.0, "data/K_F": 2.0, "kind": "x", "n_train": 5, "name": "a"}
    table = tabulate([record | {"run_id": "1"}, {"run_id": "2", "repr/d_mle": 3.0}])
    names = list(table.columns)
    assert names[:5] == ["run_id", "name", "status", "command", "data"]
    assert names.index("backbone") < names.index("n_train") < names.index("seed") < names.index("kind")
    assert names[-5:] == ["kind", "data/K_F", "repr/d_mle", "test/loss", "version/torch"]


def test_columns_have_types_and_missing_values() -> None:
    table = tabulate(
        [
            {"run_id": "1", "n_train": 5, "ok": True, "test/loss": 1, "seconds": 3, "rate": 1, "classes": [3, 8]},
            {"run_id": "2", "n_train": None, "test/loss": 2.5, "rate": 0.5, "classes": [[0, 1], [2]]},
        ]
    )
    columns = parquet(table)
    found = {name: (str(columns[name].type), columns[name].to_pylist()) for name in columns.column_names}
    assert found["n_train"] == ("int64", [5, None])
    assert found["ok"] == ("bool", [True, None])
    assert found["test/loss"] == ("double", [1.0, 2.5])
    assert found["seconds"] == ("double", [3.0, None])
    assert found["rate"] == ("double", [1.0, 0.5])
    assert found["classes"] == ("string", ["[3, 8]", "[[0, 1], [2]]"])
    assert found["seed"] == ("string", [None, None])
    first, second = csv_rows(table)
    assert (first["n_train"], first["ok"], first["test/loss"], first["classes"]) == ("5", "True", "1.0", "[3, 8]")
    assert (second["n_train"], second["ok"], second["seed"]) == ("", "", "")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([7, 2**63], ["7", "9223372036854775808"]),
        ([0.5, 2**53 + 1], ["0.5", "9007199254740993"]),
        ([7, "seven"], ["7", "seven"]),
        ([True, 2], ["true", "2"]),
        ([[1], {"a": "β"}], ["[1]", '{"a": "β"}']),
    ],
)
def test_what_no_type_holds_as_it_is_becomes_text(values: list[Any], texts: list[str]) -> None:
    table = tabulate([{"run_id": str(i), "x": value} for i, value in enumerate(values)])
    assert parquet(table)["x"].to_pylist() == texts
    assert [row["x"] for row in csv_rows(table)] == texts


def test_measured_quantity_that_was_never_finite_is_a_column_of_floats() -> None:
    columns = parquet(tabulate([{"run_id": "1", "test/loss": None, "version/x": None}]))
    assert str(columns["test/loss"].type) == "double"
    assert str(columns["version/x"].type) == "string"
