"""Records side by side: one row each, every column of one type."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_app.record import Record

Value = bool | int | float | str | None
Type = type[bool] | type[int] | type[float] | type[str]

_FACTS = (
    *("run_id", "name", "status", "command"),
    *("data", "domain", "labelling", "classes", "pair", "num_classes", "backbone"),
    *("n_train", "n_val", "n_test", "n_reference", "seed", "split_seed", "subset_seed"),
    *("channels", "image_size", "batch_size", "epochs", "steps", "parameters", "precision", "devices", "machine"),
    *("started", "seconds", "first_epoch", "threads", "starts", "codes"),
)
"""What every record says of its run; these columns are always there, and come first."""

_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class RecordTable:
    """A table of records.

    Attributes:
        types: Type of every column, by name: bool, int, float or str. Measured numbers are always floats.
        columns: Values of every column, one per record; None where a record has none.
    """

    types: dict[str, Type]
    columns: dict[str, list[Value]]

    def __len__(self) -> int:
        return len(self.columns["run_id"])

    def to_csv(self) -> str:
        """The table as CSV: numbers in full precision, nothing where there is no value."""
        lines = _Lines()
        writer = csv.writer(lines, lineterminator="\r\n")  # it quotes words that hold a part of this, and no others
        writer.writerow(self.columns)
        writer.writerows(zip(*self.columns.values(), strict=True))
        return "".join(line.removesuffix("\r\n") + "\n" for line in lines)

    def to_parquet(self) -> bytes:
        """The table as a Parquet file; needs pyarrow."""
        import pyarrow
        import pyarrow.parquet

        arrow = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
        arrays = {name: pyarrow.array(values, arrow[self.types[name]]) for name, values in self.columns.items()}
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(arrays), sink)
        return bytes(sink.getvalue())


class _Lines(list[str]):
    """Takes what a CSV writer writes, row by row."""

    def write(self, line: str) -> None:
        self.append(line)


def tabulate(records: Sequence[Record]) -> RecordTable:
    """Put records side by side.

    Args:
        records: The records, one row each, in this order.

    Returns:
        A table with a column for every name that any record has: what identifies a run, then what was measured, then
        versions. Lists are written as JSON, and so is everything in a column that mixes words with numbers.

    Example:
        >>> table = tabulate([{"run_id": "a", "n_train": 50, "test/loss": 1}, {"run_id": "b", "classes": [3, 8]}])
        >>> table.columns["n_train"], table.columns["test/loss"], table.columns["classes"]
        ([50, None], [1.0, None], [None, '[3, 8]'])
    """
    names = _in_order({name for record in records for name in record})
    raw = {name: [record.get(name) for record in records] for name in names}
    types = {name: _type_of(name, values) for name, values in raw.items()}
    return RecordTable(types, {name: [_converted(value, types[name]) for value in raw[name]] for name in names})


def _in_order(names: set[str]) -> list[str]:
    versions = {name for name in names if name.startswith("version/")}
    measured = {name for name in names - versions if "/" in name}
    others = names - versions - measured - set(_FACTS)
    return [*_FACTS, *sorted(others), *sorted(measured), *sorted(versions)]


def _type_of(name: str, values: Iterable[Any]) -> Type:
    """The narrowest type that holds all values as they are. W&B may say 1 where a record says 1.0."""
    given = [value for value in values if value is not None]
    kinds = {type(value) for value in given}
    real = name == "seconds" or ("/" in name and not name.startswith("version/"))
    if kinds == {bool}:
        return bool
    if kinds == {int} and not real and all(value in _INT64 for value in given):
        return int
    if kinds <= {int, float} and (real or float in kinds) and all(_is_exact(value) for value in given):
        return float
    return str


def _is_exact(number: int | float) -> bool:
    return isinstance(number, float) or abs(number) <= 2**53


def _converted(value: Any, kind: Type) -> Value:
    if value is None:
        return None
    if kind is str and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return kind(value)
