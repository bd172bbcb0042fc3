"""Checkpoints: whole or not at all."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.plugins import TorchCheckpointIO

from lightning_app.checkpoints import WholeCheckpoints
from lightning_app.run import remove_partial

FILE = Path("checkpoints") / "last.ckpt"


def content(number: int, size: int = 1000) -> dict[str, Any]:
    return {"number": number, "weights": torch.full((size,), float(number))}


def number_in(file: Path) -> int:
    """Which of the contents a file holds, all of it."""
    loaded = WholeCheckpoints().load_checkpoint(file, weights_only=True)
    number: int = loaded["number"]
    assert torch.equal(loaded["weights"], torch.full_like(loaded["weights"], float(number)))
    return number


def names() -> list[str]:
    return sorted(os.listdir(FILE.parent))


def test_the_file_is_that_of_lightning() -> None:
    WholeCheckpoints().save_checkpoint(content(3), str(FILE))
    TorchCheckpointIO().save_checkpoint(content(3), "lightning.ckpt")
    assert FILE.read_bytes() == Path("lightning.ckpt").read_bytes()
    assert FILE.stat().st_mode == Path("lightning.ckpt").stat().st_mode
    assert number_in(FILE) == 3


def test_the_next_takes_the_place_of_the_last() -> None:
    for number in range(3):
        WholeCheckpoints().save_checkpoint(content(number), FILE)
        assert number_in(FILE) == number
        assert names() == ["last.ckpt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_last_and_no_litter(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WholeCheckpoints().save_checkpoint(content(1), FILE)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left on device"):
        WholeCheckpoints().save_checkpoint(content(2), FILE)
    assert number_in(FILE) == 1
    assert names() == ["last.ckpt"]


def test_a_full_disk_leaves_the_last_and_no_litter() -> None:
    WholeCheckpoints().save_checkpoint(content(1), FILE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            WholeCheckpoints().save_checkpoint(content(2, size=100_000), FILE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert number_in(FILE) == 1
    assert names() == ["last.ckpt"]


def test_an_interrupt_leaves_the_last_and_no_litter(monkeypatch: pytest.MonkeyPatch) -> None:
    WholeCheckpoints().save_checkpoint(content(1), FILE)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint(content(2), FILE)
    assert number_in(FILE) == 1
    assert names() == ["last.ckpt"]


@pytest.mark.filterwarnings("ignore:Checkpoint directory", "ignore:The dirpath has changed")
def test_training_goes_on_from_its_checkpoint_and_replaces_it(tmp_path: Path) -> None:
    # A folder named from here and from the root, as by `fit` and by `sweep`: Lightning takes it for two.
    for epochs, folder in [(1, FILE.parent), (2, tmp_path / FILE.parent), (3, FILE.parent)]:
        trainer = Trainer(
            max_epochs=epochs,
            limit_train_batches=2,
            limit_val_batches=0,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[WholeCheckpoints()],
            callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)],
        )
        trainer.fit(BoringModel(), ckpt_path=folder / "last.ckpt" if epochs > 1 else None, weights_only=True)
        assert trainer.global_step == 2 * epochs
        assert names() == ["last.ckpt"]
        assert torch.load(FILE, weights_only=True)["global_step"] == 2 * epochs


SAVES = """
import os, sys
from pathlib import Path
import torch
from lightning_app.checkpoints import WholeCheckpoints
from lightning_app.run import remove_partial

print("ready", flush=True)
while line := sys.stdin.readline():
    pid = os.fork()
    if pid == 0:
        number = int(line)
        remove_partial(Path("checkpoints"))
        while True:
            number += 1
            weights = torch.full((1_000_000,), float(number))
            WholeCheckpoints().save_checkpoint({"number": number, "weights": weights}, Path("checkpoints/last.ckpt"))
            print(os.getpid(), number, flush=True)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_one_of_those_that_were_saved_is_there() -> None:
    # The children are forked: to import torch anew for each would take longer than all of them.
    parent = subprocess.Popen(
        [sys.executable, "-c", SAVES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    draw = random.Random(0)
    saved, kills, litter = 0, 0, 0
    try:
        assert parent.stdout.readline() == "ready\n"
        while litter < 3:  # killed in the middle of it
            kills += 1
            assert kills < 100
            parent.stdin.write(f"{saved}\n")
            line = parent.stdout.readline()
            time.sleep(draw.uniform(0, 0.03))
            os.kill(int(line.split()[0]), signal.SIGKILL)
            while line != "gone\n":
                saved = int(line.split()[1])
                line = parent.stdout.readline()
            assert number_in(FILE) in (saved, saved + 1)  # it may not have come to say so
            assert len(names()) <= 2
            litter += len(names()) - 1
            saved = number_in(FILE)
    finally:
        parent.stdin.close()
        parent.wait()
        parent.stdout.close()
    remove_partial(FILE.parent)
    assert names() == ["last.ckpt"]
