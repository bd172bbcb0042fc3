"""What a person sees while a grid runs: one moving line, a line for every event, and a summary."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

from lightning_app.lease import Holder
from lightning_app.record import Record
from lightning_app.run import RESULT
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import LOG
from lightning_app.sweep.outcome import Outcome
from lightning_app.sweep.time_left import Estimator, Running, TimeLeft
from lightning_app.sweep.words import duration, epoch_of, main_numbers, one_line, plural, shortened, shown_path

if TYPE_CHECKING:
    from lightning_app.sweep.sweeper import Summary

_LEAST_TITLE = 24  # columns of a narrow terminal
_BAR = 16  # columns
_NUMBERS = 44  # columns that are kept free for numbers, as far as possible


class Watch:
    """Shows how a sweep goes: on a terminal a bar, above which the lines scroll; elsewhere the lines alone.

    Args:
        cells: All cells of the sweep.
        estimates: How long each takes.
    """

    def __init__(self, cells: Sequence[Cell], estimates: Estimator) -> None:
        self._cells = cells
        self._total = len(cells)
        self._longest = max((len(one_line(cell.title)) for cell in cells), default=0)
        self._left = TimeLeft(estimates)
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._bar: Progress | None = None
        self._task: Any = None
        self._settled = 0
        self._slots = 0
        self._began = time.monotonic()

    def __enter__(self) -> "Watch":
        """Shows the bar."""
        if sys.stderr.isatty():
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(_BAR),
                TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                console=self._console,
                transient=True,
                redirect_stdout=False,
            )
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away; the lines stay."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def finished(self, cell: Cell, record: Record, seconds: float) -> None:
        """One line with the main numbers of a cell that is done."""
        self._left.learn(cell, record, seconds)
        self._settled += 1
        self._say("✓", "green", cell, main_numbers(record), f"{duration(seconds):>6}")

    def failed(self, cell: Cell, outcome: Outcome, again: bool) -> None:
        """One line about an attempt that has failed, and whether there will be another."""
        self._settled += not again
        what = f"{outcome.kind}: {one_line(outcome.message)}"
        if again:
            self._say("↻", "yellow", cell, [], f"{what}; once more")
        else:
            self._say("✗", "red", cell, [], f"{what}; see {shown_path(cell.run.folder / LOG)}")

    def elsewhere(self, cell: Cell, holder: Holder) -> None:
        """One line about a cell that another process works on."""
        self._say("→", "cyan", cell, [], f"process {holder.pid} on {one_line(holder.host)} is at it")

    def note(self, text: str) -> None:
        """One line about anything else."""
        self._line(one_line(text), "")

    def update(self, *, running: Sequence[Running], waiting: Sequence[Cell], done: int, failed: int) -> None:
        """Move the bar.

        Args:
            running: Cells that run here, with what they say of their progress.
            waiting: Cells that are still to be begun.
            done: How many are done, by whomever.
            failed: How many have been given up.
        """
        self._settled = done + failed
        if self._bar is None:
            return
        self._slots = max(self._slots, sum(bool(progress) for _, progress in running))
        left = self._left.seconds(waiting, running, self._slots or len(running))
        parts = [f"{done}/{self._total}"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{duration(left)} left"] if left else []
        parts += [f"{one_line(cell.title)} {epoch_of(progress)}" for cell, progress in running]
        room = self._console.width - _BAR - 4  # the bar, what spins, and the gaps between
        self._bar.update(self._task, completed=self._settled, description=shortened(" · ".join(parts), room))

    def summary(self, summary: "Summary") -> None:
        """Print what became of the cells, every failure with its reason, and where to look next."""
        counts = {
            "done": len(summary.done),
            "done before": len(summary.before),
            "done elsewhere": len(summary.elsewhere),
            "failed": len(summary.failed),
        }
        open_ = self._total - sum(counts.values())
        words = [f"{count} {what}" for what, count in (counts | {"left to do": open_}).items() if count]
        lines = [f"{plural(self._total, 'cell')}: {', '.join(words)}, in {duration(time.monotonic() - self._began)}"]
        if summary.stopped:
            lines.append(f"stopped: {one_line(summary.stopped)}")
        for cell, outcome in summary.failed:
            lines += [
                f"✗ {one_line(cell.title)}",
                f"  {outcome.kind}: {one_line(outcome.message)}",
                f"  {shown_path(cell.run.folder / LOG)}",
            ]
        pointers = [
            pointer
            for folder in sorted({cell.run.folder.parent for cell in self._cells})
            for pointer in (("records", f"{shown_path(folder)}/*/{RESULT}"), ("one table", _report(folder)))
        ]
        if summary.failed or summary.stopped:
            pointers.append(("go on", "the same command: what is done stays, what has failed is tried again"))
        lines += [f"{what:<12} {where}" for what, where in pointers]
        console = Console(highlight=False, emoji=False)
        for line in lines:
            console.print(Text(line, "red" if line.startswith("✗") else ""), soft_wrap=True)

    def _say(self, mark: str, style: str, cell: Cell, columns: Sequence[str], last: str) -> None:
        """A line about a cell: as many of the columns as there is room for."""
        place = f"{self._settled}/{self._total}" if mark in "✓✗" else ""
        width = self._console.width if self._bar is not None else None
        longest = self._longest if width is None else min(self._longest, max(_LEAST_TITLE, width - _NUMBERS))
        line = f"{mark} {place:>{len(str(self._total)) * 2 + 1}}  {shortened(one_line(cell.title), longest):<{longest}}"
        for column in columns:
            if width is None or len(f"{line}  {column}  {last}") <= width:
                line += f"  {column}"
        self._line(shortened(f"{line}  {last}", width), style)

    def _line(self, text: str, style: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._console.print(Text(text, style), soft_wrap=True)


def _report(folder: Path) -> str:
    """The command that puts the records of an experiment side by side."""
    runs = shown_path(folder.parent)
    options = ["--table", f"{folder.name}.csv", "--name", folder.name, *(["--runs", runs] if runs != "runs" else [])]
    return f"lightning report {shlex.join(options)}"
