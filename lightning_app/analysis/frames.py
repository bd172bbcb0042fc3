"""Records as a table of pandas: one row each, every column of the type that it was written with."""

import csv
import re
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_app.mistakes import mistake
from lightning_app.record import Record
from lightning_app.record_table import RecordTable, Type, tabulate
from lightning_app.records import read_records
from lightning_app.run import FAILED, RESULT

_TEXT = re.compile(
    "run_id|name|status|command|data|domain|labelling|classes|backbone|precision|machine|started|codes|not_finite|"
    "kind|message|log|host|when|version/.*"
)
"""Columns that are text whatever it looks like: 123456789012 is a run, and 1234567e8901 another."""


def load_records(path: str | Path, names: Collection[str] = ()) -> pd.DataFrame:
    """Records side by side; ``docs/how-to/records.md`` says what the columns hold.

    Args:
        path: Folder of all records (``runs``), folder of one experiment (``runs/demo``), or a table that
            ``lightning report --table`` has written, .csv or .parquet.
        names: Experiments to take; all of them by default.

    Returns:
        One row per run that has finished, and per cell of a grid that was given up (``status`` failed); the same
        whichever way the records come. Whole numbers are int64, or Int64 where some are missing, measured numbers
        float64, everything else text.

    Raises:
        InputError: There is no such folder, file or experiment, no record, or the file is damaged.
    """
    return of_records(read(path, names))


def read(path: str | Path, names: Collection[str] = ()) -> list[Record]:
    """The same as records, one by one.

    Raises:
        InputError: As of :func:`load_records`.
    """
    place = Path(path)
    if place.is_file():
        return _chosen(_rows(place), names, place)
    if not any(any(place.glob(f"[!.]*/{file}")) for file in (RESULT, FAILED)):
        return read_records(place, names)
    experiment = place.resolve()
    if set(names) - {experiment.name}:
        raise mistake(f"{place} holds one experiment: name none, or read {experiment.parent}, where the others are")
    return read_records(place.parent if place.name else experiment.parent, [experiment.name])


def of_records(records: Sequence[Record]) -> pd.DataFrame:
    """Records that are at hand as a table, as :func:`load_records` returns it.

    Example:
        >>> of_records([{"run_id": "a", "n_train": 50, "test/loss": 1}, {"run_id": "b"}])[["n_train", "test/loss"]]
           n_train  test/loss
        0       50        1.0
        1     <NA>        NaN
    """
    return of_table(tabulate(records))


def of_table(table: RecordTable) -> pd.DataFrame:
    """Records that are side by side already."""
    return pd.DataFrame({name: _series(values, table.types[name]) for name, values in table.columns.items()})


def _series(values: list[Any], kind: Type) -> "pd.Series[Any]":
    if kind is str:
        return pd.Series(values, dtype=None if any(values) else object)
    if kind is float:
        return pd.Series(values, dtype="float64")
    whole, optional = {int: ("int64", "Int64"), bool: ("bool", "boolean")}[kind]
    return pd.Series(values, dtype=optional if None in values else whole)


def _chosen(rows: list[Record], names: Collection[str], file: Path) -> list[Record]:
    there = {row.get("name") for row in rows}
    for name in names:
        if name not in there:
            raise mistake(
                f"there is no experiment {name!r} in {file}: choose from {', '.join(sorted(map(str, there)))}"
            )
    return [row for row in rows if not names or row.get("name") in names]


def _rows(file: Path) -> list[Record]:
    """The rows of a table file, as records."""
    readers = {".csv": _csv_columns, ".parquet": _parquet_columns}
    read = readers.get(file.suffix.lower())
    if read is None:
        raise mistake(f"{file} is no table of records: give a folder, or a .csv or .parquet of `lightning report`")
    if read is _parquet_columns and find_spec("pyarrow") is None:
        raise mistake(f"{file} needs pyarrow: pip install 'intrinsic-scaling[parquet]', or give a .csv")
    again = "write it again with `lightning report --table`"
    try:
        columns = read(file)
    except (ValueError, csv.Error) as error:  # pyarrow's complaints and those of a decoder are ValueErrors
        raise mistake(f"cannot read {file}: it is damaged; {again}") from error
    except OSError as error:
        raise mistake(f"cannot read {file}: {error.strerror or error}") from error
    if "run_id" not in columns:
        raise mistake(f"{file} is no table of records, as it has no column run_id: {again}")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not rows:
        raise mistake(f"there are no records in {file}: {again}")
    return rows


def _csv_columns(file: Path) -> dict[str, list[Any]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets put a mark in front
        header, *lines = [line for line in csv.reader(stream, strict=True) if line] or [[]]
    columns = dict(zip(header, zip(*lines, strict=True), strict=True)) if lines else dict.fromkeys(header, ())
    return {name: _parsed(name, [text or None for text in texts]) for name, texts in columns.items()}


def _parsed(name: str, texts: list[str | None]) -> list[Any]:
    """What the words of a column stand for: the narrowest type that all of them can be read as."""
    given = {text for text in texts if text is not None}
    if _TEXT.fullmatch(name):
        return list(texts)
    if given <= {"True", "False"}:
        return [None if text is None else text == "True" for text in texts]
    for kind in (int, float):
        try:
            return [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
    return list(texts)


def _parquet_columns(file: Path) -> dict[str, list[Any]]:
    import pyarrow.parquet

    columns: dict[str, list[Any]] = pyarrow.parquet.read_table(file).to_pydict()
    return columns
