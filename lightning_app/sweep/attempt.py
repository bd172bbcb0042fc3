"""One attempt at a cell: a fresh process that does not pay for imports, and what becomes of it."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from datamodules.preparation.workers import nameless_main
from lightning_app.lease import holder
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import LOG
from lightning_app.sweep.outcome import Kind, Outcome, Share
from lightning_app.sweep.start import CONTEXT, warm_up

_FAREWELL = 5.0  # seconds that a process gets to end once it has said how its run ended
_LOOK_EVERY = 1.0  # seconds between looks at a cell's lease


class Attempt:
    """A process that runs one cell.

    It is a copy of one process that has imported everything and done nothing. What it prints goes to ``log.txt`` in
    the run's folder. It ends when this process ends, however that happens.

    Args:
        cell: The cell.
        share: What of the machine it may use.

    Raises:
        InputError: The run's folder cannot be written.

    Attributes:
        sentinel: Becomes ready when the process has ended; for ``multiprocessing.connection.wait``.
    """

    def __init__(self, cell: Cell, share: Share) -> None:
        self.cell = cell
        self.share = share
        self.began = time.monotonic()
        try:
            cell.run.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cell.run.unwritable(error) from error
        warm_up()
        self._told, theirs = CONTEXT.Pipe(duplex=False)
        self._process = CONTEXT.Process(target=_work, args=(cell, share, theirs))
        with nameless_main():
            self._process.start()
        theirs.close()
        self._pid = self._process.pid or 0
        self.sentinel = self._process.sentinel
        self._said: tuple[Kind, str] | None = None
        self._progress: Any = None
        self._moved = self._looked = self._heard = self.began

    def poll(self) -> Outcome | None:
        """How the attempt ended; None while it goes on."""
        alive = self._process.is_alive()  # asked first: what it said before it ended is there to be heard
        if self._said is None:
            self._hear()
        if alive and self._said is not None:
            if time.monotonic() - self._heard > _FAREWELL:
                self._process.kill()
            return None
        if alive:
            if not self._hangs():
                return None
            self.kill()
            return self._outcome("hung", f"no batch finished in {self.share.patience:.0f} s")
        self._end_what_it_started()
        if self._said is not None:
            return self._outcome(*self._said)
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return self._outcome("memory", "ended by SIGKILL, most likely by the system as memory ran out")
        if code < 0:
            return self._outcome("crashed", f"ended by {signal.Signals(-code).name}")
        return self._outcome("crashed", f"ended with code {code}")

    def kill(self) -> None:
        """End the process and all that it has started."""
        self._process.kill()
        self._process.join()
        self._end_what_it_started()

    def _outcome(self, kind: Kind, message: str) -> Outcome:
        return Outcome(kind, message, time.monotonic() - self.began)

    def _hear(self) -> None:
        with suppress(EOFError, OSError):
            if self._told.poll():
                self._said = self._told.recv()
                self._heard = time.monotonic()

    def _end_what_it_started(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def _hangs(self) -> bool:
        now = time.monotonic()
        if now - self._looked >= min(_LOOK_EVERY, self.share.patience / 2):
            self._looked = now
            found = holder(self.cell.run.leases, self.cell.run.run_id)
            progress = found.progress if found is not None and found.pid == self._pid else None
            if progress != self._progress:
                self._progress, self._moved = progress, now
        return now - self._moved > self.share.patience


def _work(cell: Cell, share: Share, told: Any) -> None:
    from lightning_app.sweep.work import work  # here, so that the process that waits for cells does without

    work(cell, share, cell.run.folder / LOG, told)
