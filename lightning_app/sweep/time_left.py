"""How long the rest of a grid will take."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from lightning_app.record import Record
from lightning_app.sweep.cells import Cell

Running = tuple[Cell, Mapping[str, int]]
"""A cell, and what it says of its progress: epoch, epochs, batches."""


class Estimator(Protocol):
    """Something that knows how long cells take."""

    def seconds(self, cell: Cell) -> float | None:
        """How long a cell takes from its beginning; None where nobody knows."""

    def learn(self, cell: Cell, record: Record) -> None:
        """Take a finished cell into account."""


class TimeLeft:
    """Adds up estimates, and corrects them by how long the cells took that have finished so far.

    Args:
        estimates: How long each cell takes. One that is not known counts like the mean of those that have finished.
    """

    def __init__(self, estimates: Estimator) -> None:
        self._estimates = estimates
        self._took: list[float] = []
        self._seen = 0.0
        self._expected = 0.0

    def learn(self, cell: Cell, record: Record, seconds: float) -> None:
        """Take a cell into account that has finished here, in so many seconds."""
        whole = self._estimates.seconds(cell)
        share = 1 - record.get("first_epoch", 0) / max(1, record.get("epochs", 1))  # the rest was done before
        if whole is not None and share > 0:
            self._seen += seconds
            self._expected += whole * share
        self._took.append(seconds)
        self._estimates.learn(cell, record)

    def seconds(self, waiting: Iterable[Cell], running: Iterable[Running], slots: int) -> float | None:
        """How long it will take until all is done; None while nothing is known of some cell.

        Args:
            waiting: Cells that are still to be begun.
            running: Cells that are being worked on.
            slots: How many are worked on at a time.
        """
        parts = [self._whole(cell) for cell in waiting]
        parts += [_rest(self._whole(cell), progress) for cell, progress in running]
        known = [seconds for seconds in parts if seconds is not None]
        if len(known) < len(parts):
            return None
        return max([sum(known) / max(1, slots), *known], default=0.0)

    def _whole(self, cell: Cell) -> float | None:
        seconds = self._estimates.seconds(cell)
        if seconds is not None:
            return seconds * (self._seen / self._expected if self._expected else 1.0)
        return sum(self._took) / len(self._took) if self._took else None


def _rest(seconds: float | None, progress: Mapping[str, int]) -> float | None:
    """What is left of a cell."""
    done = progress.get("epoch", 0) / max(1, progress.get("epochs", 1))
    return None if seconds is None else seconds * (1 - min(1.0, done))
