"""Records as a table of pandas: the same whichever way they come."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lightning_app.analysis.frames import load_records, of_records
from lightning_app.record_table import tabulate
from lightning_app.records import read_records
from metrics import InputError

RECORDS: list[dict[str, Any]] = [
    {
        "run_id": "123456789012",
        "status": "finished",
        "command": "fit",
        "data": "MNIST5k",
        "classes": [3, 8],
        "pair": None,
        "n_train": 50,
        "seed": 0,
        "codes": ["1234567e8901"],
        "precision": "32",
        "test/loss": 0.1 + 0.2,
        "data/K_F": None,
        "ok": True,
        "version/code": "1234567e8901",
    },
    {"run_id": "1234567e8901", "status": "finished", "command": "fit", "pair": 3, "test/loss": 1, "rate": 1e-4},
    {"run_id": "000000000000", "status": "failed", "kind": "memory", "message": '17, "18"\n19', "attempts": 2},
]


def write(name: str = "demo") -> None:
    for record in RECORDS:
        folder = Path("runs", name, record["run_id"])
        folder.mkdir(parents=True)
        file = "failed.json" if record["status"] == "failed" else "result.json"
        (folder / file).write_text(json.dumps(record | {"name": name}))


def table(file: str) -> str:
    """The table of all records, as `lightning report --table` writes it."""
    made = tabulate(read_records(Path("runs")))
    Path(file).write_bytes(made.to_csv().encode() if file.endswith("csv") else made.to_parquet())
    return file


def test_numbers_words_and_gaps_are_what_they_were() -> None:
    write()
    found = load_records("runs").set_index("run_id").loc[[record["run_id"] for record in RECORDS]]
    types = {name: str(found[name].dtype) for name in ("n_train", "pair", "attempts", "ok", "rate", "test/loss")}
    assert types == {
        "n_train": "Int64",
        "pair": "Int64",
        "attempts": "Int64",
        "ok": "boolean",
        "rate": "float64",
        "test/loss": "float64",
    }
    assert found["test/loss"].tolist()[:2] == [0.1 + 0.2, 1.0]
    assert found["n_train"].tolist() == [50, pd.NA, pd.NA]
    assert found["classes"].tolist()[0] == "[3, 8]"
    assert found["version/code"].tolist()[0] == "1234567e8901"
    assert found["data/K_F"].dtype == "float64"
    assert found["data/K_F"].isna().all()
    assert found["subset_seed"].isna().all()
    assert found["message"].tolist()[2] == '17, "18"\n19'


@pytest.mark.parametrize("path", ["runs/demo", "runs/demo/", "t.csv", "t.parquet"])
def test_every_way_gives_the_same_table(path: str) -> None:
    write()
    expected = load_records("runs")
    found = load_records(path if path.startswith("runs") else table(path))
    pd.testing.assert_frame_equal(found, expected)


def test_folder_of_one_experiment_can_be_where_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a")
    expected = load_records("runs")
    monkeypatch.chdir("runs/a")
    pd.testing.assert_frame_equal(load_records("."), expected)


@pytest.mark.parametrize("path", ["runs", "t.csv", "t.parquet"])
def test_names_choose_experiments(path: str) -> None:
    for name in ("a", "b", "c"):
        write(name)
    found = load_records(path if path == "runs" else table(path), ["c", "a"])
    assert found["name"].tolist() == ["a"] * 3 + ["c"] * 3


LOSS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
SIZE = st.none() | st.integers(-(2**63), 2**63 - 1)
WORD = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(st.tuples(LOSS, SIZE, st.none() | st.booleans(), WORD), min_size=1))
def test_any_table_comes_back_from_csv(rows: list[tuple[Any, Any, Any, Any]]) -> None:
    records = [
        {"run_id": str(i), "test/loss": loss, "n_train": size, "ok": ok, "message": word}
        for i, (loss, size, ok, word) in enumerate(rows)
    ]
    for column in ("n_train", "ok"):  # without a value there is no type
        assume(any(record[column] is not None for record in records))
    made = tabulate(records)
    Path("any.csv").write_bytes(made.to_csv().encode())
    pd.testing.assert_frame_equal(load_records("any.csv"), of_records(records))


def test_spreadsheets_may_have_written_it() -> None:
    write()
    expected = load_records("runs")
    text = Path(table("t.csv")).read_text(encoding="utf-8")
    Path("t.csv").write_text("\ufeff" + text + "\n", encoding="utf-8")
    pd.testing.assert_frame_equal(load_records("t.csv"), expected)


@pytest.mark.parametrize(
    ("path", "names", "line"),
    [
        ("nowhere", [], "there is no folder nowhere"),
        ("empty", [], "there are no records: looked for empty/"),
        ("runs", ["demi"], "there is no experiment 'demi' in runs: choose from demo"),
        ("runs/demo", ["demi"], "runs/demo holds one experiment: name none, or read "),
        ("t.csv", ["demi"], "there is no experiment 'demi' in t.csv: choose from demo"),
        ("t.xlsx", [], "t.xlsx is no table of records: give a folder, or a .csv or .parquet"),
        ("other.csv", [], "other.csv is no table of records, as it has no column run_id"),
        ("ragged.csv", [], "cannot read ragged.csv: it is damaged; write it again with `lightning report --table`"),
        ("binary.csv", [], "cannot read binary.csv: it is damaged"),
        ("broken.parquet", [], "cannot read broken.parquet: it is damaged"),
        ("nothing.csv", [], "nothing.csv is no table of records"),
        ("head.csv", [], "there are no records in head.csv"),
    ],
)
def test_mistakes_are_one_line_with_a_way_out(path: str, names: list[str], line: str) -> None:
    write()
    table("t.csv")
    Path("empty").mkdir()
    for file, content in {
        "t.xlsx": b"",
        "other.csv": b"a,b\n1,2\n",
        "ragged.csv": b"run_id,name\n1\n",
        "binary.csv": b"run_id\n\xff\xfe\n",
        "broken.parquet": b"PAR1",
        "nothing.csv": b"",
        "head.csv": b"run_id,name\n",
    }.items():
        Path(file).write_bytes(content)
    with pytest.raises(InputError) as found:
        load_records(path, names)
    assert str(found.value).startswith(line)
    assert "\n" not in str(found.value)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    table("t.parquet")
    monkeypatch.setattr("lightning_app.analysis.frames.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"t.parquet needs pyarrow: pip install 'intrinsic-scaling\[parquet\]'"):
        load_records("t.parquet")


def test_nothing_heavy_is_imported() -> None:
    write()
    code = (
        "import sys; from lightning_app.analysis import fit_scaling_law, forecast, law_to_json, load_records\n"
        "import lightning_app.report.parts.joint; load_records('runs')\n"
        "print(sorted({'torch', 'lightning', 'wandb', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
