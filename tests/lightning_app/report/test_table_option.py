"""`lightning report`: one table of all records."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from lightning_app.main import main
from tests.lightning_app.conftest import mistake


def write_records(*losses: float) -> None:
    for i, loss in enumerate(losses):
        file = Path(f"runs/demo/{i}/result.json")
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"run_id": str(i), "name": "demo", "status": "finished", "test/loss": loss}))


def test_record_of_a_run_is_in_the_table_as_it_is(
    fit: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = fit("--trainer.logger", "false")
    del record["folder"]
    capsys.readouterr()
    main(["report", "--table", "table.csv"])
    main(["report", "--table", "table.PARQUET"])
    columns = set(record)
    assert capsys.readouterr().out == (
        f"1 record, {len(columns)} columns: table.csv\n1 record, {len(columns)} columns: table.PARQUET\n"
    )
    (typed,) = pyarrow.parquet.read_table("table.PARQUET").to_pylist()
    (text,) = csv.DictReader(io.StringIO(Path("table.csv").read_text()))
    assert columns == set(typed) == set(text)
    for name, value in record.items():
        expected = json.dumps(value) if isinstance(value, list) else value
        assert typed[name] == expected, name
        assert text[name] == ("" if value is None else str(expected)), name


def test_failed_cells_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write_records(1.0, 2.0)
    Path("runs/demo/2").mkdir()
    Path("runs/demo/2/failed.json").write_text('{"run_id": "2", "status": "failed", "kind": "memory", "attempts": 2}')
    main(["report", "--table", "table.csv", "--name", "demo"])
    assert capsys.readouterr().out.startswith("3 records (1 failed), ")
    rows = csv.DictReader(io.StringIO(Path("table.csv").read_text()))
    assert [(row["run_id"], row["kind"], row["test/loss"]) for row in rows] == [
        ("0", "", "1.0"),
        ("1", "", "2.0"),
        ("2", "memory", ""),
    ]


def test_table_goes_to_the_terminal_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write_records(0.1 + 0.2)
    Path("runs/demo/broken").mkdir()
    Path("runs/demo/broken/result.json").touch()
    main(["report", "--table", "-"])
    captured = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(captured.out))
    assert row["test/loss"] == "0.30000000000000004"
    assert captured.err == "left out runs/demo/broken/result.json: it is damaged\n"


def test_a_table_of_a_table_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    write_records(0.1 + 0.2, 2.0)
    for place, table in (("runs", "a.csv"), ("a.csv", "b.parquet"), ("b.parquet", "c.csv"), ("runs/demo", "d.csv")):
        main(["report", place, "--table", table])
    assert Path("a.csv").read_bytes() == Path("c.csv").read_bytes() == Path("d.csv").read_bytes()
    assert capsys.readouterr().out.count("2 records, ") == 4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--table", "t.xlsx"], "--table t.xlsx: its ending says how it is written: .csv or .parquet"),
        (["--table", "table"], "--table table: its ending says how it is written: .csv or .parquet"),
        (["--table", "no/t.csv"], "cannot write no/t.csv: there is no folder"),
        (["--table", "runs.csv"], "cannot write 'runs.csv': that is a folder; name a file in it"),
        (["elsewhere", "--table", "t.csv"], "there is no folder elsewhere"),
        (["--table", "t.csv", "--name", "demi"], "there is no experiment 'demi' in runs: choose from demo"),
        (["runs", "--table", "t.csv", "--wandb", "a/b"], "--wandb: not allowed with argument RUNS"),
        (["--table", "t.csv", "--wandb", "study"], "--wandb 'study': give entity/project"),
    ],
)
def test_mistake_costs_one_line(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(1.0)
    Path("runs.csv").mkdir()
    assert line in mistake(capsys, "report", *options)
    assert sorted(path.name for path in Path().iterdir()) == ["runs", "runs.csv"]


def test_parquet_without_pyarrow_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = mistake(capsys, "report", "--table", "t.parquet")
    assert "needs pyarrow: pip install 'intrinsic-scaling[parquet]', or choose .csv" in line


@pytest.mark.parametrize("table", ["t.csv", "t.parquet"])
def test_full_disk_leaves_the_earlier_table(
    table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(1.0)
    Path(table).write_text("earlier")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert f"cannot write {table}: No space left on device" in mistake(capsys, "report", "--table", table)
    assert Path(table).read_text() == "earlier"
    assert sorted(path.name for path in Path().iterdir()) == ["runs", table]


@pytest.mark.parametrize("options", [["--help"], ["--table", "t.csv"], ["--table", "t.parquet"]])
def test_nothing_heavy_is_imported(options: list[str]) -> None:
    write_records(1.0)
    code = (
        f"import sys; from lightning_app.main import main; main(['report', *{options}]); "
        "print(sorted({'torch', 'lightning', 'wandb', 'timm'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout.startswith("usage: lightning report" if options == ["--help"] else "1 record, ")
