"""What `lightning sweep --dry-run` prints: every cell, what has become of it, and how long it will take."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from lightning_app.stages import Stages
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import Entry
from lightning_app.sweep.time_left import Estimator
from lightning_app.sweep.words import STYLES, aligned, counted, duration, one_line, plural


def show_cells(cells: Sequence[Cell], entries: Mapping[str, Entry], estimates: Estimator, workers: int) -> None:
    """Print one line per cell, and the totals.

    Args:
        cells: The cells, in their order.
        entries: What has become of them, by run id.
        estimates: How long each takes.
        workers: How many run at a time.
    """
    states = [entries[cell.run.run_id].state for cell in cells]
    seconds: list[float | None] = []
    with Stages() as stages:
        progress = stages.begin("timing the networks")
        for i, (cell, state) in enumerate(zip(cells, states, strict=True)):
            seconds.append(None if state == "done" else estimates.seconds(cell))
            progress(i + 1, len(cells))
    times = ["" if state == "done" else duration(time) for state, time in zip(states, seconds, strict=True)]
    rows = [
        (
            f"{i:>{len(str(len(cells)))}}",
            one_line(cell.title),
            cell.run.run_id,
            state,
            f"{time:>{max(map(len, times))}}",
        )
        for i, (cell, state, time) in enumerate(zip(cells, states, times, strict=True), start=1)
    ]
    console = Console(highlight=False, emoji=False)
    lines = aligned(rows)
    if console.is_terminal and max(map(len, lines)) > console.width:
        lines = aligned([(*row[:2], *row[3:]) for row in rows], console.width, give_way=1)
    for line, state in zip(lines, states, strict=True):
        console.print(Text(line, STYLES[state]), soft_wrap=True)
    to_do = [time for time, state in zip(seconds, states, strict=True) if state != "done"]
    console.print(Text(f"\n{counted(states)}\n{_totals(to_do, workers)}"), soft_wrap=True)


def _totals(seconds: Sequence[float | None], workers: int) -> str:
    """What is to do, and how long all of it takes."""
    known = [time for time in seconds if time is not None]
    if not seconds:
        return "nothing to do"
    if not known:
        return f"{len(seconds)} to do; how long they take is not known before the first has finished"
    together = max(sum(known) / workers, *known)
    beside = f"; beside them {len(seconds) - len(known)} of unknown length" if len(known) < len(seconds) else ""
    return (
        f"{len(known)} to do: {duration(sum(known))} of one worker, "
        f"{duration(together)} with {plural(workers, 'worker')} side by side{beside}"
    )
