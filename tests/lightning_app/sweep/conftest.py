"""A grid of runs of a second."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]

WriteGrid = Callable[..., Path]


@pytest.fixture
def write_grid(config: Path) -> WriteGrid:
    """Adds a grid to the configuration of a tiny run: seeds by default, and no W&B."""

    def write(*blocks: Mapping[str, Any], seeds: int = 3, wandb: bool = False, **trainer: Any) -> Path:
        content = yaml.safe_load(config.read_text())
        content["trainer"] |= {"enable_progress_bar": True, **trainer}
        if not wandb:
            content["trainer"]["logger"] = False
        content["grids"] = {"mine": list(blocks) or [{"product": {"seed_everything": list(range(seeds))}}]}
        config.write_text(yaml.safe_dump(content))
        return config

    return write


def sabotaged(plan: Mapping[int, str], times: int = 99) -> list[dict[str, Any]]:
    """The callbacks of a run that goes wrong."""
    return [
        {"class_path": "DatasetProperties", "init_args": {"k": 5}},
        {
            "class_path": "tests.lightning_app.sweep.sabotage.Sabotage",
            "init_args": {"plan": dict(plan), "times": times},
        },
    ]


@contextmanager
def sweeping(config: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`lightning sweep` in a process group of its own, and with it all that it starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_app", "sweep", "--config", str(config), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        | {"PYTHONPATH": str(ROOT)},  # for the callbacks of these tests
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def swept(config: Path, *options: str) -> tuple[int, str, str]:
    """What `lightning sweep` exits with and leaves on stdout and stderr."""
    with sweeping(config, *options) as process:
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err
