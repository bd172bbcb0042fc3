"""Records read back from W&B, from a stand-in for its server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from lightning_app.main import main
from lightning_app.wandb_records import read_wandb
from metrics import InputError
from tests.lightning_app.wandb_server import PROJECT, Server, wandb_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that W&B's client in this process uses."""
    with wandb_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # what it knows of another server
        yield server
        wandb.teardown()


def add(server: Server, wandb_id: str, state: str = "finished", **summary: Any) -> None:
    server.runs[wandb_id] = {"state": state, "summary": json.dumps(summary)}


def ids(*names: str) -> list[str]:
    return [record["run_id"] for record in read_wandb(PROJECT, names)]


def test_summary_without_what_wandb_added_is_the_record(server: Server) -> None:
    record: dict[str, Any] = {
        "run_id": "1",
        "name": "a",
        "classes": [3, 8],
        "test/loss": 0.1 + 0.2,
        "robust/fgsm_0.5/acc": 1,
    }
    add(server, "1", **record, not_finite=["val/loss"], _step=3, _wandb={"runtime": 9}, epoch=2)
    assert read_wandb(PROJECT) == [record | {"not_finite": ["val/loss"], "val/loss": None}]


def test_runs_without_a_record_are_counted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    add(server, "1", run_id="1")
    add(server, "x", state="crashed", loss=1)
    add(server, "y", state="running")
    add(server, "z", state="crashed")
    assert ids() == ["1"]
    assert capsys.readouterr().err == "left out runs without a record: 2 crashed, 1 running\n"


def test_every_page_is_read_and_names_choose(server: Server) -> None:
    for i in range(450):
        add(server, f"{i}", run_id=f"{i:03}", name="ab"[i % 2])
    assert ids() == [f"{i:03}" for i in [*range(0, 450, 2), *range(1, 450, 2)]]
    assert ids("b") == [f"{i:03}" for i in range(1, 450, 2)]


def test_of_two_runs_of_one_cell_the_later_counts(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    add(server, "x", run_id="1", name="a", started="2026-02-01", seconds=2)
    add(server, "y", run_id="1", name="a", started="2026-01-01", seconds=1)
    add(server, "z", run_id="1", name="b", started="2026-01-01", seconds=3)
    assert [record["seconds"] for record in read_wandb(PROJECT)] == [2, 3]
    assert capsys.readouterr().err == "left out records of runs that were made anew later: 1\n"


def test_unknown_project_and_empty_project(server: Server) -> None:
    with pytest.raises(InputError, match="cannot read the W&B project team/other: Could not find project other"):
        read_wandb("team/other")
    with pytest.raises(InputError, match="there are no records among the 0 runs of the W&B project team/study"):
        read_wandb(PROJECT)
    add(server, "1", run_id="1", name="a")
    with pytest.raises(InputError, match="there are no records of b, c among the 1 runs"):
        read_wandb(PROJECT, ["b", "c"])


@pytest.mark.parametrize("project", ["study", "/study", "team/", "a/b/c", "https://wandb.ai/team/study"])
def test_project_without_entity_is_refused(project: str) -> None:
    with pytest.raises(InputError, match="give entity/project"):
        read_wandb(project)


def test_no_account_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "login", lambda **options: False)
    with pytest.raises(InputError, match="W&B has no account here: `wandb login` sets one up"):
        read_wandb(PROJECT)


def test_no_connection_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> bool:
        raise wandb.errors.AuthenticationError("nobody there\nmore")

    monkeypatch.setattr(wandb, "login", refuse)
    with pytest.raises(InputError, match=r"cannot read the W&B project team/study: nobody there$"):
        read_wandb(PROJECT)


def test_table_from_wandb_is_the_table_from_the_folders(
    server: Server, fit: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    project = ("--trainer.logger.init_args.project", PROJECT.split("/")[1])
    diverging = ("--model.optimizer", "SGD", "--model.optimizer.lr", "1e30", "--trainer.callbacks", "null")
    fit(*project)
    assert "test/loss" in fit(*project, "--data.n_train", "30", *diverging)["not_finite"]
    capsys.readouterr()
    main(["report", "--table", "wandb.csv", "--wandb", PROJECT])
    main(["report", "--table", "runs.csv"])
    assert capsys.readouterr().err == ""
    table = Path("runs.csv").read_text()
    assert len(table.splitlines()) == 3
    assert Path("wandb.csv").read_text() == table
