"""What happens in the process of one cell. Importing this file imports all that a run needs."""

import errno
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

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
_FIRST_TO_GO = "1000"  # where the system runs out of memory, it ends a cell and not the sweep or the desktop


def work(cell: Cell, share: Share, log: Path, told: Connection) -> None:
    """Run one cell, in a process of its own, and tell how it ended: a pair of kind and message."""
    os.setsid()  # what the cell starts (W&B's service, processes of a distributed run) can be ended with it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # how a lease that is lost interrupts
    follow_parent(lambda: os.killpg(0, signal.SIGKILL))
    kind, message = _outcome(lambda: _run(cell, share, log))
    with suppress(OSError):  # the log's disk is full
        sys.stdout.flush()
    told.send((kind, message))
    wandb.teardown()  # its service leaves a socket behind otherwise
    os._exit(0)  # the libraries' threads are of no use any more


def _run(cell: Cell, share: Share, log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    _settle(cell, share)
    start({"subcommand": "fit", "fit": cell.config})


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


def _outcome(run: Callable[[], object]) -> tuple[Kind, str]:
    try:
        run()
    except KeyboardInterrupt:
        return "crashed", "interrupted"
    except BaseException as error:
        causes = list(_chain(error))
        for cause in causes:
            if isinstance(cause, Busy | TakenOver):
                return "busy", str(cause)
        for cause in causes:
            if isinstance(cause, OSError) and cause.errno in _DISK:
                return "disk", str(cause)
        for cause in causes:
            if isinstance(cause, InputError):
                return "refused", " ".join(str(cause).split())
        with suppress(OSError):  # the log's disk is full
            traceback.print_exc()
        last = " ".join(traceback.format_exception_only(error)[-1].split())
        return ("memory" if any(map(_is_memory, causes)) else "crashed"), last
    return "finished", ""


def _chain(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) is not None and cause not in found:
        found.append(cause)
    return found


def _is_memory(error: BaseException) -> bool:
    """Whether Python, torch on the CPU, or CUDA ran out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
