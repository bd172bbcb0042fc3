"""The loop that brings a grid to its end, whatever becomes of single cells."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lightning_app.lease import Holder, holder
from lightning_app.record import Record, read_record
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import Entry, Ledger, clear_failure, write_failure
from lightning_app.sweep.outcome import Outcome

_ATTEMPTS = 2  # a cell that failed is tried once more
_LOSSES = 20  # machines that a cell may lose under it; more look like the cell's own doing
_TICK = 1.0  # seconds between looks at what runs here
_LOOK_EVERY = 3.0  # and at what others do


class Engine(Protocol):
    """Something that runs cells."""

    @property
    def free(self) -> int:
        """How many more cells may be started now."""

    def start(self, cell: Cell) -> None:
        """Begin a cell."""

    def wait(self, seconds: float) -> list[tuple[Cell, Outcome]]:
        """What has ended, at the latest after some seconds."""

    def stop(self) -> None:
        """End what is running."""


class Onlooker(Protocol):
    """Somebody who is told how it goes."""

    def finished(self, cell: Cell, record: Record, seconds: float) -> None:
        """A cell is done."""

    def failed(self, cell: Cell, outcome: Outcome, again: bool) -> None:
        """An attempt has failed; whether there is another."""

    def elsewhere(self, cell: Cell, holder: Holder) -> None:
        """Another process works on a cell."""

    def update(
        self, *, running: Sequence[tuple[Cell, Mapping[str, int]]], waiting: Sequence[Cell], done: int, failed: int
    ) -> None:
        """How far the sweep is, every second or so; running cells with what they say of their progress."""


@dataclass
class Summary:
    """What became of the cells of a sweep.

    Attributes:
        before: Were done when it began.
        done: Were done by it.
        elsewhere: Were done by other processes meanwhile.
        failed: Were given up, and why.
        stopped: Why the sweep ended early; empty where it did not.
    """

    before: list[Cell] = field(default_factory=list)
    done: list[Cell] = field(default_factory=list)
    elsewhere: list[Cell] = field(default_factory=list)
    failed: list[tuple[Cell, Outcome]] = field(default_factory=list)
    stopped: str = ""


class Sweep:
    """Runs what is missing, continues what was interrupted, and leaves alone what is done or others work on.

    Args:
        cells: The cells of the grid; each run is there once.
        engine: What runs them.
        watch: What shows people how it goes.
    """

    def __init__(self, cells: Sequence[Cell], engine: Engine, watch: Onlooker) -> None:
        self.summary = Summary()
        self._engine = engine
        self._watch = watch
        self._ledger = Ledger(cells)
        self._waiting = deque(cells)
        self._running: dict[str, Cell] = {}
        self._others: dict[str, Cell] = {}
        self._attempts: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()

    def run(self) -> Summary:
        """Goes on until every cell is done or given up.

        Raises:
            InputError: The folder of the runs cannot be written.
        """
        entries = self._ledger.look()
        self.summary.before = [cell for cell in self._waiting if entries[cell.run.run_id].state == "done"]
        self._waiting = deque(cell for cell in self._waiting if entries[cell.run.run_id].state != "done")
        looked = time.monotonic()
        try:
            while (self._waiting or self._running or self._others) and not self.summary.stopped:
                self._start(entries)
                self._show(entries)
                ended = self._engine.wait(_TICK)
                for cell, outcome in ended:
                    del self._running[cell.run.run_id]
                    self._take(cell, outcome)
                if ended or time.monotonic() - looked >= _LOOK_EVERY or not self._running:
                    entries = self._ledger.look()
                    looked = time.monotonic()
                    self._look_at_others(entries)
        finally:
            self._engine.stop()
        return self.summary

    def _start(self, entries: dict[str, Entry]) -> None:
        while self._waiting and self._engine.free > 0:
            cell = self._waiting.popleft()
            key = cell.run.run_id
            who = entries[key].holder
            if who is not None:
                self._others[key] = cell
                self._watch.elsewhere(cell, who)
                continue
            self._try_on_disk(clear_failure, cell.run)
            self._running[key] = cell
            self._engine.start(cell)

    def _take(self, cell: Cell, outcome: Outcome) -> None:
        """What follows from the end of an attempt."""
        key = cell.run.run_id
        if outcome.kind == "finished":
            record = read_record(cell.run)
            if record is not None:
                self.summary.done.append(cell)
                self._watch.finished(cell, record, outcome.seconds)
                return
            outcome = replace(outcome, kind="crashed", message="it came to its end, but there is no record")
        if outcome.kind == "busy":
            self._others[key] = cell
            if (who := holder(cell.run.leases, key)) is not None:
                self._watch.elsewhere(cell, who)
        elif outcome.kind == "disk":
            self.summary.stopped = outcome.message
        elif outcome.kind == "lost" and self._losses[key] < _LOSSES:
            self._losses[key] += 1
            self._waiting.append(cell)
            self._watch.failed(cell, outcome, again=True)
        else:
            self._attempts[key] += 1
            again = outcome.kind != "refused" and self._attempts[key] < _ATTEMPTS
            self._watch.failed(cell, outcome, again=again)
            if again:
                self._waiting.append(cell)
            else:
                self.summary.failed.append((cell, outcome))
                self._try_on_disk(write_failure, cell, outcome, self._attempts[key])

    def _look_at_others(self, entries: dict[str, Entry]) -> None:
        """Count what other processes have finished or given up, and take back what they have left."""
        for key, cell in list(self._others.items()):
            entry = entries[key]
            if entry.state == "done":
                self.summary.elsewhere.append(cell)
            elif entry.state == "failed" and entry.failure is not None:
                self.summary.failed.append((cell, Outcome(entry.failure["kind"], entry.failure["message"])))
            elif entry.holder is None:
                self._waiting.append(cell)
            else:
                continue
            del self._others[key]

    def _show(self, entries: dict[str, Entry]) -> None:
        found = [(cell, entries[key].holder) for key, cell in self._running.items()]
        self._watch.update(
            running=[(cell, {} if who is None else who.progress) for cell, who in found],
            waiting=list(self._waiting),
            done=len(self.summary.before) + len(self.summary.done) + len(self.summary.elsewhere),
            failed=len(self.summary.failed),
        )

    def _try_on_disk(self, write: Callable[..., None], *what: Any) -> None:
        """A disk that is full would be so for the next cell too."""
        try:
            write(*what)
        except OSError as error:
            self.summary.stopped = self.summary.stopped or str(error)
