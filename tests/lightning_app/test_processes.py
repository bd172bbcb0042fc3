"""`lightning fit` on several processes and nodes: the numbers of one process, and one line for what goes wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from datamodules import write_table
from lightning_app.main import main

Alone = tuple[Path, dict[str, Any], dict[str, torch.Tensor]]
"""A configuration, the record of one process, and its weights."""

pytestmark = pytest.mark.slow

_ENTRY = "command.py"  # what `lightning` is: Lightning starts the other processes by the same file
_ODD = {"n_train": 37, "n_val": 503, "n_test": 750, "n_reference": 101}
_NO_RESULT = ("seconds/", "memory/")
_PRECISION = 1e-4  # relative, of what depends on weights that were summed in another order


def _configuration(folder: Path) -> Path:
    """A network without batch normalisation, which would see other batches on other numbers of processes."""
    rng = np.random.default_rng(7)
    labels = np.arange(1400) % 2
    images = rng.normal(100 + 40 * labels[:, None, None, None], 30, (1400, 1, 16, 16)).clip(0, 255).astype(np.uint8)
    rows = ({"label": int(label), "group": i} for i, label in enumerate(labels))
    write_table(folder / "table", zip(images, rows, strict=True))
    attacks = {"attacks": ["fgsm", "pgd"], "eps": [2, 8], "steps": 2, "n_images": 101}
    content = {
        "seed_everything": 0,
        "model": {
            "backbone": "test_vit",
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}},
        },
        "data": {
            "class_path": "TableDataModule",
            "init_args": _ODD
            | {"table": str(folder / "table"), "image_size": 16, "batch_size": 13, "global_batch": True},
        },
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "precision": "32-true",
            "enable_progress_bar": False,
            "callbacks": [
                {"class_path": "DatasetProperties", "init_args": {"k": 5}},
                {"class_path": "RepresentationDimension", "init_args": {"k": 5}},
                {"class_path": "AdversarialRobustness", "init_args": attacks},
            ],
        },
    }
    (folder / _ENTRY).write_text("from lightning_app.main import main\n\nmain()\n")
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def _finished(runs: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The record of the only run, and its last weights."""
    (file,) = runs.glob("*/*/result.json")
    checkpoint = torch.load(file.parent / "checkpoints" / "last.ckpt", weights_only=True)
    return json.loads(file.read_text()), checkpoint["state_dict"]


@contextmanager
def _started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a session of its own, all of which ends with the block."""
    loopback = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *argv],
        env=loopback,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """A configuration, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    config = _configuration(folder)
    main(["fit", "--config", str(config), "--runs", str(folder / "runs")])
    return config, *_finished(folder / "runs")


def _entry(alone: Alone) -> str:
    return str(alone[0].parent / _ENTRY)


def _check_equal(alone: Alone, runs: Path) -> None:
    _, expected, weights = alone
    found, found_weights = _finished(runs)
    numbers = {name for name, value in expected.items() if isinstance(value, float) and "/" in name}
    numbers = {name for name in numbers if not name.startswith(_NO_RESULT)}
    assert len(numbers) > 40
    assert {name: found[name] for name in numbers} == pytest.approx(
        {name: expected[name] for name in numbers}, rel=_PRECISION
    )
    of_data = {name for name in numbers if name.startswith(("data/", "data_ref/", "audit/"))}
    assert {name: found[name] for name in of_data} == {name: expected[name] for name in of_data}
    assert (found["steps"], found["epochs"]) == (expected["steps"], expected["epochs"]) == (9, 3)
    for name, tensor in weights.items():
        assert torch.allclose(found_weights[name], tensor, rtol=0, atol=1e-6), name


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_find_and_learn_what_one_does(alone: Alone, processes: int, tmp_path: Path) -> None:
    options = ["--config", str(alone[0]), "--trainer.devices", str(processes), "--runs", str(tmp_path / "runs")]
    with _started(_entry(alone), "fit", *options) as process:
        output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert output.count("test_vit on table") == 1
    _check_equal(alone, tmp_path / "runs")


def test_two_nodes_find_and_learn_what_one_process_does(alone: Alone, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = ["--master-addr", "127.0.0.1", "--master-port", str(unused.getsockname()[1])]
    place += ["--log-dir", str(tmp_path / "logs")]
    options = ["--config", str(alone[0]), "--trainer.num_nodes", "2", "--trainer.devices", "1"]
    options += ["--runs", str(tmp_path / "runs")]
    commands = [
        ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(node), *place]
        for node in range(2)
    ]
    with (
        _started(*commands[0], _entry(alone), "fit", *options) as first,
        _started(*commands[1], _entry(alone), "fit", *options) as second,
    ):
        assert first.wait(timeout=300) == 0, first.communicate()
        assert second.wait(timeout=60) == 0, second.communicate()
    _check_equal(alone, tmp_path / "runs")


def test_a_process_that_is_killed_costs_one_line_and_nothing_else(alone: Alone, tmp_path: Path) -> None:
    options = ["--config", str(alone[0]), "--trainer.devices", "2", "--runs", str(tmp_path / "runs")]
    long = [*options, "--trainer.max_epochs", "10000", "--trainer.enable_progress_bar", "true"]
    with _started(_entry(alone), "fit", *long) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "epoch 2" in line)
        listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        (other,) = map(int, listed.stdout.split())
        os.kill(other, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1] == (
        "lightning: error: another process of this run has ended: "
        "the same command continues after the last finished epoch"
    )
    assert "Traceback" not in errors
    (checkpoint,) = (tmp_path / "runs").glob("*/*/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] >= 1


def test_a_mistake_costs_one_line_on_several_processes(alone: Alone, tmp_path: Path) -> None:
    options = ["--config", str(alone[0]), "--trainer.devices", "3", "--runs", str(tmp_path / "runs")]
    with _started(_entry(alone), "fit", *options, "--data.n_train", "5") as process:
        _, errors = process.communicate(timeout=120)
    (line,) = errors.splitlines()
    assert line.startswith("lightning: error: 5 training images are too few")
    assert process.returncode == 2
