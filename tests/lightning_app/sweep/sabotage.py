"""Cells that go wrong in every way that a cell can."""

import errno
import os
import signal
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from metrics import InputError


class Sabotage(Callback):
    """Does something dreadful at the start of the second epoch.

    Args:
        plan: What happens, by the seed of the run.
        times: At how many starts of the run; later ones go well.
    """

    def __init__(self, plan: dict[int, str], times: int = 99) -> None:
        self.plan = plan
        self.times = times

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes wrong."""
        what = self.plan.get(int(os.environ["PL_GLOBAL_SEED"]))
        if what is None or trainer.current_epoch != 1:
            return
        counter = Path(f"sabotage-{os.environ['PL_GLOBAL_SEED']}")
        counter.write_text("x" * (done := len(counter.read_text()) + 1 if counter.exists() else 1))
        if done > self.times:
            return
        match what:
            case "crash":
                raise RuntimeError("the roof has come down")
            case "refuse":
                raise InputError("pixels are upside down")
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(600)
            case "hog":
                hoard = [bytearray(64 * 2**20) for _ in range(10_000)]
                raise AssertionError(f"there is no limit: {len(hoard)}")
            case "verbose":
                raise RuntimeError("x" * 200_000)
            case "own disk":
                try:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/a/cache/of/its/own")
                except OSError:
                    raise KeyError("what was in the cache") from None
            case "disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.ckpt")
