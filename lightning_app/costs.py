"""What a run spends its time and memory on."""

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.probe import probes_of

_KIB_PER_MB = 1e6 / 1024


class Costs(Callback):
    """Adds up the seconds of one process by what it does.

    To be the first of the callbacks: what the others do at the end of a batch is not training.

    Attributes:
        seconds: Seconds by kind of work: ``start`` (from the start of the process until the first batch is asked for),
            ``data`` (waiting for batches), ``train`` (steps), ``evaluation`` (validation and test).
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("start", "data", "train", "evaluation"), 0.0)
        self._mark = 0.0
        self._measured = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The start is over."""
        self.seconds["start"] = age() - _probing(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, batches are waited for."""
        self._mark = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """There is a batch."""
        self._add("data")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done."""
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)  # steps are queued: what follows would wait for them
        self._add("train")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation begins."""
        self._mark, self._measured = time.monotonic(), _probing(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation is over; probes have their own account."""
        self._add("evaluation")
        self.seconds["evaluation"] -= _probing(trainer) - self._measured

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation begins."""
        if not self.seconds["start"]:  # nothing was trained
            self.seconds["start"] = age() - _probing(trainer)
        self.on_validation_start(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation is over."""
        self.on_validation_end(trainer, pl_module)

    def account(self, trainer: Trainer) -> dict[str, float]:
        """What the record says.

        Returns:
            ``seconds/<kind>``, ``seconds/<probe>`` by class, ``seconds/other`` (checkpoints, logs); together the age of
            the process. ``memory/cpu``, and ``memory/gpu`` where there is one: the peak in MB.
        """
        seconds = self.seconds | _by_probe(trainer)
        seconds["other"] = max(0.0, age() - sum(seconds.values()))
        account = {f"seconds/{kind}": round(spent, 3) for kind, spent in seconds.items()}
        account["memory/cpu"] = round(_peak(), 1)
        device = trainer.strategy.root_device
        if device.type == "cuda":
            account["memory/gpu"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
        return account

    def _add(self, kind: str) -> None:
        now = time.monotonic()
        self.seconds[kind] += now - self._mark
        self._mark = now


_IMPORTED = time.monotonic()


def age() -> float:
    """Seconds since the process started; where the system does not say, since this module was imported."""
    try:
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        running = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED
    return running - started / os.sysconf("SC_CLK_TCK")


def _peak() -> float:
    """The most memory that the process had, in MB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / _KIB_PER_MB
    except (OSError, ValueError, IndexError):  # not Linux, where the next would count what a parent had too
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else _KIB_PER_MB)


def _by_probe(trainer: Trainer) -> dict[str, float]:
    found: dict[str, float] = {}
    for probe in probes_of(trainer):
        name = type(probe).__name__
        found[name] = found.get(name, 0.0) + probe.seconds
    return found


def _probing(trainer: Trainer) -> float:
    return sum(_by_probe(trainer).values())
