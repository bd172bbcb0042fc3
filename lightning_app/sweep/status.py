"""How far a grid is: `lightning sweep --status`."""

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import Entry, Ledger, State
from lightning_app.sweep.time_left import Estimator, TimeLeft
from lightning_app.sweep.words import STYLES, aligned, counted, duration, epoch_of, one_line, shortened, shown_path

_EVERY = 2.0  # seconds from one look to the next


def show_status(cells: Sequence[Cell], estimates: Estimator) -> None:
    """Print how many cells are done, which run, which have failed and why, and how long the rest takes.

    On a terminal that is kept up to date until every cell is done or given up, or Ctrl-C.

    Args:
        cells: The cells of the grid.
        estimates: How long each takes.
    """
    status = _Status(cells, estimates)
    console = Console(highlight=False, emoji=False)
    if not sys.stdout.isatty():
        for line in status.look(None):
            console.print(line, soft_wrap=True)
        return
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(Group(*status.look(console.width)), refresh=True)
                if status.settled:
                    return
                time.sleep(_EVERY)
    except KeyboardInterrupt:
        return  # whoever has seen enough has made no mistake


class _Status:
    """The cells and what is known of them, from one look to the next."""

    def __init__(self, cells: Sequence[Cell], estimates: Estimator) -> None:
        self._cells = cells
        self._ledger = Ledger(cells)
        self._left = TimeLeft(estimates)
        self._learnt: set[str] = set()
        self.settled = False

    def look(self, width: int | None) -> list[Text]:
        """How it stands, in lines that are no longer than this."""
        entries = self._ledger.look()
        self._learn(entries)
        states = [entries[cell.run.run_id].state for cell in self._cells]
        self.settled = set(states) <= {"done", "failed"}
        name = self._cells[0].run.name
        lines = [Text(f"{one_line(name)} · {counted(states)}", "bold")]
        lines += [Text(line) for line in self._rest(entries)]
        sections: dict[State, list[str]] = {
            "running": self._running(entries, width),
            "failed": self._failed(entries, width),
        }
        for heading, found in sections.items():
            if found:
                lines += [Text(), Text(heading, f"bold {STYLES[heading]}"), *(Text(f"  {line}") for line in found)]
        return lines

    def _learn(self, entries: Mapping[str, Entry]) -> None:
        for cell in self._cells:
            record = entries[cell.run.run_id].record
            if record is not None and cell.run.run_id not in self._learnt:
                self._learnt.add(cell.run.run_id)
                self._left.learn(cell, record, record["seconds"])

    def _rest(self, entries: Mapping[str, Entry]) -> list[str]:
        """What is to do, and how long that takes."""
        found = [(cell, entries[cell.run.run_id]) for cell in self._cells]
        running = [(cell, entry.holder.progress) for cell, entry in found if entry.holder is not None]
        waiting = [cell for cell, entry in found if entry.state in ("interrupted", "missing")]
        if not running and not waiting:
            return []
        left = self._left.seconds(waiting, running, len(running))
        how = "as it runs" if running else "of one worker"
        about = f", about {duration(left)} {how}" if left is not None else ""
        nobody = "" if running else "; nobody is at it: the same command without --status goes on"
        return [f"{len(running) + len(waiting)} to do{about}{nobody}"]

    def _running(self, entries: Mapping[str, Entry], width: int | None) -> list[str]:
        rows = [
            (
                one_line(cell.title),
                epoch_of(holder.progress),
                f"{one_line(holder.host)}:{holder.pid}",
                f"since {holder.since}",
            )
            for cell in self._cells
            if (holder := entries[cell.run.run_id].holder) is not None
        ]
        return aligned(rows, None if width is None else width - 2)

    def _failed(self, entries: Mapping[str, Entry], width: int | None) -> list[str]:
        lines = []
        for cell in self._cells:
            failure = entries[cell.run.run_id].failure
            if failure is not None:
                text = f"{one_line(cell.title)}  {failure['kind']}: {one_line(failure['message'])}"
                lines += [shortened(text, None if width is None else width - 2)]
                lines += [f"  {shown_path(cell.run.folder / failure['log'])}"]
        return lines
