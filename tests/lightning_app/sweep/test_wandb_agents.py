"""A grid in the hands of W&B's own agents."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb import wandb_agent

from lightning_app.run import Run
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.options import parser
from lightning_app.sweep.wandb_agents import sweep_file
from tests.lightning_app.sweep.conftest import WriteGrid
from tests.lightning_app.wandb_server import PROJECT, wandb_server

OPTIONS = ["--config", "my file.yaml", "--grid", "päper", "--set", "model.lr_scheduler={a: '#1'}"]


def cell(run_id: str, title: str = "resnet18 n_train=100") -> Cell:
    return Cell(Run("paper", run_id, Path("runs/paper") / run_id, {}), {}, title, ".")


def started(text: str, run_id: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that W&B's agent starts when its server hands out a value of the sweep's parameter."""
    content = yaml.safe_load(text)
    commands: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str], **options: Any) -> None:
            commands.append(command)

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_DIR"):
        monkeypatch.setenv(name, "")  # what the agent changes is undone
    agent: Any = wandb_agent.Agent(None, None, sweep_id="s1")
    agent._sweep_command = content["command"]
    (value,) = [value for value in content["parameters"]["only"]["values"] if run_id in value]
    args = {"only": {"value": value}}
    agent._command_run({"type": "run", "run_id": "w1", "program": content["program"], "args": args})
    (command,) = commands
    return command


def test_agent_runs_one_cell_with_the_options_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    text = sweep_file("päper", "study", [cell("0123456789ab"), cell("000000000012")], OPTIONS)
    command = started(text, "000000000012", monkeypatch)
    assert command == ["/usr/bin/env", "lightning", "sweep", *OPTIONS, "--only=run_id=000000000012"]
    given = parser().parse_args(command[3:])
    assert (given.config, given.grid, given.only) == (["my file.yaml"], "päper", ["run_id=000000000012"])


def test_sweep_is_a_grid_over_the_cells_in_their_order() -> None:
    ids = ["1e5000000000", "000000000000", "abcdefabcdef"]
    titles = ["resnet18 n_train=100", "two\nlines # of: text", ""]
    text = sweep_file("paper", "study", list(map(cell, ids, titles)), OPTIONS)
    content = yaml.safe_load(text)
    assert (content["name"], content["project"], content["method"]) == ("paper", "study", "grid")
    assert content["parameters"] == {"only": {"values": [f"run_id={run_id}" for run_id in ids]}}
    lines = text.splitlines()
    assert "      - run_id=1e5000000000  # resnet18 n_train=100" in lines
    assert "      - run_id=000000000000  # two lines # of: text" in lines


@pytest.mark.slow
def test_agents_of_wandb_run_a_grid(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=2, wandb=True)
    Path("bin").mkdir()
    Path("bin/lightning").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lightning_app "$@"\n')
    Path("bin/lightning").chmod(0o755)
    with wandb_server() as server:
        environment = os.environ | server.environment
        environment["PATH"] = f"{Path('bin').resolve()}{os.pathsep}{environment['PATH']}"
        exported = ["lightning", "sweep", "--config", str(file), "--export-wandb", "sweep.yaml"]
        subprocess.run(exported, env=environment, check=True)
        server.add_sweep(Path("sweep.yaml").read_text())
        agent = [sys.executable, "-m", "wandb", "agent", f"{PROJECT}/s1"]
        done = subprocess.run(agent, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        subprocess.run(["lightning", "report", "--table", "wandb.csv", "--wandb", PROJECT], env=environment, check=True)
    subprocess.run([sys.executable, "-m", "lightning_app", "report", "--table", "runs.csv"], check=True)
    records = [json.loads(result.read_text()) for result in Path("runs/mine").glob("*/result.json")]
    assert sorted(record["seed"] for record in records) == [0, 1]
    assert {run["state"] for run in server.runs.values()} == {"finished"}
    assert {run["sweep"] for run in server.runs.values()} == {"s1"}
    assert Path("wandb.csv").read_text() == Path("runs.csv").read_text()
