"""Every record below a folder of runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_app.records import read_records
from metrics import InputError


def write(path: str, **content: Any) -> None:
    """A file of a run: <name>/<run_id>/<file>."""
    file = Path("runs", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"run_id": file.parent.name, "name": file.parts[1]} | content))


def ids(*names: str) -> list[str]:
    return [record["run_id"] for record in read_records(Path("runs"), names)]


@pytest.mark.parametrize("seed", [0, 1])
def test_order_is_that_of_name_data_backbone_size_and_seed(
    seed: int, shuffled_directories: Callable[[int], None]
) -> None:
    write("b/1/result.json", data="A", backbone="r", n_train=1, seed=0)
    write("a/2/result.json", data="B", backbone="r", n_train=1, seed=0)
    write("a/3/result.json", data="A", backbone="s", n_train=1, seed=0)
    write("a/4/result.json", data="A", backbone="r", n_train=1000, seed=0)
    write("a/5/result.json", data="A", backbone="r", n_train=50, seed=None)
    write("a/6/result.json", data="A", backbone="r", n_train=50, seed=10)
    write("a/7/result.json", data="A", backbone="r", n_train=50, seed=2)
    write("a/8/result.json")
    shuffled_directories(seed)
    assert ids() == ["7", "6", "5", "4", "3", "2", "8", "1"]


def test_names_choose_experiments_and_hidden_folders_are_none() -> None:
    for name in ("a", "b", "c", ".trash"):
        write(f"{name}/1{name}/result.json")
    write("a/.leases/result.json")
    assert ids() == ["1a", "1b", "1c"]
    assert ids("c", "a") == ["1a", "1c"]


def test_cell_that_was_given_up_is_a_row_unless_it_has_finished_since() -> None:
    write("a/1/result.json", status="finished")
    write("a/1/failed.json", status="failed")
    write("a/2/failed.json", status="failed", kind="memory")
    write("a/3/config.json")
    assert [(r["run_id"], r["status"]) for r in read_records(Path("runs"))] == [("1", "finished"), ("2", "failed")]


def test_copy_of_an_experiment_is_another_one() -> None:
    write("a/1/result.json")
    write("copy/1/result.json", name="a")
    assert [record["name"] for record in read_records(Path("runs"))] == ["a", "copy"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is damaged"),
        (b'{"run_id": "1", "na', "it is damaged"),
        (b"\xff\xfe\x00", "it is damaged"),
        (b"[1, 2]", "it is no record"),
        (b'{"loss": 1}', "it is no record"),
    ],
)
@pytest.mark.parametrize("name", ["result.json", "failed.json"])
def test_file_that_is_no_record_is_named_and_left_out(
    content: bytes, why: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a/1/result.json")
    bad = Path("runs", "a", "2", name)
    bad.parent.mkdir()
    bad.write_bytes(content)
    assert ids() == ["1"]
    assert capsys.readouterr().err == f"left out {bad}: {why}\n"


def test_folder_in_the_place_of_a_record_is_named_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write("a/1/result.json")
    Path("runs/a/2/result.json").mkdir(parents=True)
    assert ids() == ["1"]
    assert capsys.readouterr().err == "left out runs/a/2/result.json: Is a directory\n"


def test_nothing_to_read_says_where_it_looked() -> None:
    with pytest.raises(InputError, match="there is no folder runs: give that of all records"):
        read_records(Path("runs"))
    Path("runs/a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"there are no records: looked for runs/\*/\*/result.json; `lightning fit`"):
        read_records(Path("runs"))
    with pytest.raises(InputError, match=r"looked for runs/a/\*/result.json"):
        read_records(Path("runs"), ["a"])
    write("b/1/result.json")
    with pytest.raises(InputError, match="there is no experiment 'c' in runs: choose from a, b"):
        read_records(Path("runs"), ["a", "c"])
    with pytest.raises(InputError, match=r"cannot read runs/b/1/result\.json: Not a directory"):
        read_records(Path("runs/b/1/result.json"))
