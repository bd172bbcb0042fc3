"""Cells that nobody runs."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lightning_app.run import Run
from lightning_app.sweep.cells import Cell

RECORD = {
    "epochs": 2,
    "first_epoch": 0,
    "seconds": 60.0,
    "data/K_F": 0.0123456,
    "data/d_mle": 7.25,
    "robust/clean/acc": 1.0,
    "robust/fgsm_2/acc": 0.95,
    "robust/fgsm_8/acc": 0.5,
    "test/acc": 0.98333,
    "test/loss": 0.0508,
}


def toy_cells(count: int, title: str = "cell {}") -> list[Cell]:
    """Cells of the experiment mine, in the folder runs."""
    config = {
        "model": {"backbone": "resnet18"},
        "data": {"class_path": "datamodules.MNIST5k", "init_args": {"n_train": 100}},
        "seed_everything": 0,
    }
    runs = [Run("mine", f"{i:012x}", Path("runs/mine").absolute() / f"{i:012x}", config) for i in range(count)]
    return [Cell(run, {}, title.format(i), ".") for i, run in enumerate(runs)]


def finish(cell: Cell, **changed: Any) -> None:
    """Leave a record."""
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    cell.run.result.write_text(json.dumps(RECORD | changed))


def interrupt(cell: Cell) -> None:
    """Leave a checkpoint."""
    cell.run.checkpoint.parent.mkdir(parents=True)
    cell.run.checkpoint.write_bytes(b"weights")


class Told:
    """Estimates that the test has thought of, by title; unknown where it has not."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.known = seconds
        self.learnt: list[str] = []

    def seconds(self, cell: Cell) -> float | None:
        return self.known.get(cell.title)

    def learn(self, cell: Cell, record: Mapping[str, Any]) -> None:
        self.learnt.append(cell.title)


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, stream: str, width: int) -> Terminal:
    """Puts a terminal of some width in the place of stdout or stderr."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    screen = Terminal()
    monkeypatch.setattr(f"sys.{stream}", screen)
    return screen
