"""What happens in the process of one cell. Importing this file imports all that a run needs."""

import errno
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import wandb

from datamodules.preparation.workers import follow_parent
from lightning_app.cli import TakenOver, start
from lightning_app.lease import Busy
from lightning_app.run import CONFIG
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.outcome import Kind, Share
from metrics import InputError

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_MAX_MESSAGE = 2000  # characters; what does not fit into a pipe blocks
_FIRST_TO_GO = "1000"  # where the system runs out of memory, it ends a cell and not the sweep or the desktop


def work(cell: Cell, share: Share, log: Path, told: Connection) -> None:
    """Run one cell, in a process of its own, and tell how it ended: a pair of kind and message."""
    os.setsid()  # what the cell starts (W&B's service, processes of a distributed run) can be ended with it
    follow_parent(lambda: os.killpg(0, signal.SIGKILL))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # how a lost lease interrupts; ignored by warm_up
    kind, message = _outcome(lambda: _run(cell, share, log), cell.run.folder.parents[1])
    with suppress(OSError):  # the log's disk is full
        sys.stdout.flush()
    told.send((kind, message[:_MAX_MESSAGE]))
    wandb.teardown()  # its service leaves a socket behind otherwise
    os._exit(0)  # the libraries' threads are of no use any more


def _run(cell: Cell, share: Share, log: Path) -> bool:
    """Run the cell; whether another process had finished it."""
    with log.open("a", encoding="utf-8") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    _settle(cell, share)
    return start({"subcommand": "fit", "fit": cell.config}).was_finished


def _settle(cell: Cell, share: Share) -> None:
    """Take what of the machine is this cell's, and no more."""
    os.chdir(cell.place)
    with suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    if share.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (share.memory, share.memory))
    if share.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share.gpus)
    os.environ["OMP_NUM_THREADS"] = str(share.threads)
    torch.set_num_threads(share.threads)
    # Lightning starts the other processes of a distributed run by the command line of this one.
    sys.argv = ["lightning", "fit", "--config", str(cell.run.folder / CONFIG)]
    sys.modules["__main__"].__spec__ = find_spec("lightning_app.__main__")


def _outcome(run: Callable[[], bool], runs: Path) -> tuple[Kind, str]:
    """How a run ended, and a line for people."""
    try:
        if run():
            return "busy", "another process has finished it"
    except KeyboardInterrupt:
        return "crashed", "interrupted"
    except BaseException as error:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, Busy | TakenOver):
                return "busy", str(cause)
            if isinstance(cause, OSError) and cause.errno in _DISK and _is_below(runs, cause.filename):
                return "disk", str(cause)
        if isinstance(error, InputError):
            return "refused", " ".join(str(error).split())
        with suppress(OSError):  # the log's disk is full
            traceback.print_exc()
        last = " ".join(traceback.format_exception_only(error)[-1].split())
        return ("memory" if any(map(_is_memory, causes)) else "crashed"), last
    return "finished", ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_below(runs: Path, file: Any) -> bool:
    """Whether a file is one of the sweep's own; one without a name may be."""
    return file is None or Path(os.fsdecode(file)).absolute().is_relative_to(runs)


def _is_memory(error: BaseException) -> bool:
    """Whether Python, torch on the CPU, or CUDA ran out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
