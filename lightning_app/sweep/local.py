"""The cells of a grid on this machine, several at a time."""

import os
import time
from dataclasses import replace
from multiprocessing.connection import wait

import torch

from datamodules.preparation.workers import available_processors
from lightning_app.sweep.attempt import Attempt
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.outcome import Outcome, Share
from metrics import InputError

_ROOM = 2 * 2**30  # bytes of memory that a cell is expected to take, where nobody has said
_POLL = 0.5  # seconds


class LocalEngine:
    """Runs cells in processes of this machine.

    Args:
        workers: Cells at a time; None for one per GPU, or else one per processor as far as memory goes (2 GB each).
        threads: Threads per cell; None shares the processors out evenly.
        memory: Most private memory of a cell in bytes; None for no limit.
        patience: Seconds without progress after which a cell counts as hung.
        gpus: GPUs per cell, where there are any: 0.5 lets two cells share one, 0 uses none.

    Raises:
        InputError: More GPUs per cell than there are.

    Attributes:
        workers: Cells at a time.
        share: What a cell may use.
    """

    def __init__(
        self, *, workers: int | None, threads: int | None, memory: int | None, patience: float, gpus: float
    ) -> None:
        self._devices = _shares(visible_gpus(), gpus) if gpus else []
        self.workers = (
            workers or len(self._devices) or max(1, min(available_processors(), _available_memory() // _ROOM))
        )
        threads = threads or max(1, available_processors() // self.workers)
        self.share = Share(threads, None if gpus else (), memory, patience)
        self._running: dict[int, Attempt] = {}

    @property
    def free(self) -> int:
        """How many more cells may be started now."""
        return self.workers - len(self._running)

    def start(self, cell: Cell) -> None:
        """Begin a cell."""
        slot = next(i for i in range(self.workers) if i not in self._running)
        gpus = self._devices[slot % len(self._devices)] if self._devices else self.share.gpus
        self._running[slot] = Attempt(cell, replace(self.share, gpus=gpus))

    def wait(self, seconds: float) -> list[tuple[Cell, Outcome]]:
        """What has ended, at the latest after some seconds."""
        until = time.monotonic() + seconds
        while True:
            ended = [(slot, outcome) for slot, it in self._running.items() if (outcome := it.poll()) is not None]
            if ended:
                return [(self._running.pop(slot).cell, outcome) for slot, outcome in ended]
            left = until - time.monotonic()
            if left <= 0:
                return []
            if self._running:
                wait([attempt.sentinel for attempt in self._running.values()], min(left, _POLL))
            else:
                time.sleep(min(left, _POLL))

    def stop(self) -> None:
        """End what is running; it continues from its checkpoints another time."""
        for attempt in self._running.values():
            attempt.kill()
        self._running.clear()


def _shares(devices: list[str], each: float) -> list[tuple[str, ...]]:
    """Which GPUs the cells get that run side by side."""
    if not devices:
        return []
    if each > len(devices):
        raise InputError(f"--gpus {each:g} is more than the {len(devices)} there are")
    if each < 1:
        return [(device,) for _ in range(round(1 / each)) for device in devices]
    size = round(each)
    return [tuple(devices[i : i + size]) for i in range(0, len(devices) - size + 1, size)]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(torch.cuda.device_count())]


def _available_memory() -> int:
    """Bytes that could be had without swapping; plenty where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2**40
