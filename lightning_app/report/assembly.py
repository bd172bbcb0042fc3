"""A whole report, from the records to what is written."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_app.analysis.columns import words
from lightning_app.analysis.design import SHARPNESS, SIZE
from lightning_app.analysis.frames import of_table
from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.law_json import law_to_json
from lightning_app.mistakes import mistake
from lightning_app.plain import listed, number
from lightning_app.record import Record
from lightning_app.record_table import tabulate
from lightning_app.report.context import Context
from lightning_app.report.curves import read_curves
from lightning_app.report.folder import contents
from lightning_app.report.options import ATTACK
from lightning_app.report.page import Heading, as_page
from lightning_app.report.part import Part
from lightning_app.report.parts import make_parts
from lightning_app.run import METRICS

Stage = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class Report:
    """A report that is made but not written.

    Attributes:
        title: What it is of.
        parts: Of the page, in order.
        files: What its folder holds, by path.
        lines: What to say of it on the terminal.
    """

    title: str
    parts: Sequence[Part]
    files: dict[str, bytes]
    lines: tuple[str, ...]


def make_report(
    records: Sequence[Record], place: Path | None, *, attack: str, interpolated: float, begin: Stage
) -> Report:
    """Make a report.

    Args:
        records: All of them.
        place: The folder or the table that they were read from; None where that is W&B.
        attack: The attack that is looked at first.
        interpolated: Training loss up to which a network has interpolated.
        begin: Announces each part of the work.

    Raises:
        InputError: An attack that no record knows.
    """
    table = tabulate(records)
    frame = of_table(table)
    _check_attack(attack, frame)
    context = _context(frame, place, attack, interpolated, begin)
    begin("joint fit")
    law = context.law
    parts = make_parts(context, begin)
    begin("page")
    title = listed([name for name in dict.fromkeys(words(frame, "name")) if name], 4) or "records"
    made = f"lightning report · attack {attack} · interpolated: training loss up to {number(interpolated)}"
    text = law_to_json(law) if isinstance(law, ScalingLaw) else None
    page = as_page(Heading(title, context.counted, made, text is not None), parts)
    files = contents(page, parts, table.to_csv(), text)
    return Report(title, parts, files, (context.counted, _fitted(law)))


def _context(frame: pd.DataFrame, place: Path | None, attack: str, interpolated: float, begin: Stage) -> Context:
    # A run that has finished counts before the same one that failed under another name.
    order = (words(frame, "status") != "finished").sort_values(kind="stable").index
    unique = frame.loc[order].drop_duplicates("run_id").sort_index()

    def curves() -> pd.DataFrame:
        begin("epochs of every run")
        return epochs.result()

    repeats = len(frame) - len(unique)
    context = Context(unique, curves, _no_curves(place), repeats, attack, interpolated)
    # Parsing lets go of the interpreter: epochs are read while laws are fitted and figures drawn.
    reader = ThreadPoolExecutor(1)
    epochs = reader.submit(read_curves, _logs(context.fits, place))
    reader.shutdown(wait=False)
    return context


def _logs(fits: pd.DataFrame, place: Path | None) -> dict[str, Path]:
    """``metrics.csv`` of every run, where records come from folders."""
    if place is None or not place.is_dir():
        return {}
    folders = {name: place / name if (place / name).is_dir() else place for name in set(fits["name"])}
    return {run: folders[name] / run / METRICS for run, name in zip(fits["run_id"], fits["name"], strict=True)}


def _no_curves(place: Path | None) -> str:
    where = "they are in the folders of the runs (metrics.csv), and these can be given instead."
    if place is None:
        return f"Epochs are not read from W&B: {where}"
    return "" if place.is_dir() else f"A table of records holds no epochs: {where}"


def _check_attack(attack: str, frame: pd.DataFrame) -> None:
    """Refuse an attack that was not run; the usual one need not have been."""
    there = [found[1] for name in frame if (found := re.fullmatch("robust/(.+)/loss_increase", str(name)))]
    if attack != ATTACK and attack not in there:
        choice = f"choose from {', '.join(there)}" if there else "the records know none"
        raise mistake(f"--attack {attack}: no record knows it; {choice}")


def _fitted(law: object) -> str:
    if not isinstance(law, ScalingLaw):
        return f"no joint fit: {law}"
    b, c = law.coefficient(SIZE), law.coefficient(SHARPNESS)
    said = [f"{name} = {it.value:.2f} ({it.low:.2f} … {it.high:.2f})" for name, it in (("b", b), ("c", c))]
    return (
        f"joint fit of {len(law.data_sets)} data sets: log L = a + b (log N)/d + c log K_F with {', '.join(said)}; in "
        "brackets, 95 % intervals"
    ).replace("-", "−")
