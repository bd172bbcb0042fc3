"""How the cells of a grid are spoken of."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_app.plain import printable
from lightning_app.sweep.ledger import State

STYLES: Mapping[State, str] = {
    "done": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "missing": "",
}
"""How each state looks in a terminal."""

_NUMBERS = {"test/acc": "test acc", "test/loss": "loss", "data/d_mle": "d", "data/K_F": "K_F"}


def counted(states: Sequence[State]) -> str:
    """How many cells are in which state.

    Example:
        >>> counted(["done", "failed", "missing", "done", "missing"])
        '5 cells: 2 done, 1 failed, 2 missing'
        >>> counted(["done"])
        '1 cell: 1 done'
    """
    counts = ", ".join(f"{states.count(state)} {state}" for state in STYLES if state in states)
    return f"{plural(len(states), 'cell')}: {counts}"


def plural(count: int, thing: str) -> str:
    """A number of things.

    Example:
        >>> plural(1, "cell"), plural(2, "cell")
        ('1 cell', '2 cells')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """A time as people say it; a dash where it is not known.

    Example:
        >>> [duration(x) for x in (0.2, 40, 130, 5400, 2e5, None)]
        ['1 s', '40 s', '2 min', '1.5 h', '2.3 days', '–']
    """
    if seconds is None:
        return "–"
    if seconds < 89.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 89.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def main_numbers(record: Mapping[str, Any]) -> list[str]:
    """What a record says in the first place, in columns; what was not measured is left out.

    Example:
        >>> main_numbers({"test/acc": 0.98333, "test/loss": None, "robust/fgsm_8/acc": 0.5, "robust/fgsm_2/acc": 0.95})
        ['test acc 0.983 ', 'loss –     ', 'fgsm_2 0.95  ']
    """
    attacks = [name.split("/")[1] for name in record if name.startswith("robust/") and name.endswith("/acc")]
    weakest = sorted({name for name in attacks if name != "clean"}, key=_by_strength)[:1]
    names = _NUMBERS | {f"robust/{attack}/acc": attack for attack in weakest}
    return [f"{short} {_number(record[name]):<6}" for name, short in names.items() if name in record]


def epoch_of(progress: Mapping[str, int]) -> str:
    """How far a run says it is.

    Example:
        >>> epoch_of({"epoch": 2, "epochs": 10, "batches": 30}), epoch_of({})
        ('epoch 3/10', 'starting')
    """
    return (
        f"epoch {progress['epoch'] + 1}/{progress['epochs']}" if {"epoch", "epochs"} <= progress.keys() else "starting"
    )


def one_line(text: str) -> str:
    r"""A message on one line, as a terminal can show it.

    Example:
        >>> one_line("two\n  lines")
        'two lines'
    """
    return printable(" ".join(text.split()))


def shortened(text: str, width: int | None) -> str:
    """A text that is no longer than this.

    Example:
        >>> shortened("resnet18 MNIST5k", 10), shortened("resnet18", None)
        ('resnet18 …', 'resnet18')
    """
    return text if width is None or len(text) <= width else text[: max(0, width - 1)] + "…"


def aligned(rows: Sequence[Sequence[str]], width: int | None = None, give_way: int = 0) -> list[str]:
    """Lines with columns below each other.

    Args:
        rows: The columns of each line.
        width: How long a line may be; None for any length.
        give_way: The column that is shortened where lines would be longer.

    Example:
        >>> aligned([("resnet18", "done"), ("resnet18 MNIST5k", "missing")], width=20)
        ['resnet18     done', 'resnet18 M…  missing']
    """
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        others = sum(widths) - widths[give_way] + 2 * (len(widths) - 1)
        widths[give_way] = max(1, min(widths[give_way], width - others))
    return [
        "  ".join(f"{shortened(text, wide):<{wide}}" for text, wide in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def shown_path(path: Path) -> str:
    """A path from here."""
    return printable(os.path.relpath(path))


def _by_strength(attack: str) -> tuple[str, float]:
    name, _, eps = attack.partition("_")
    return name, float(eps or 0)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"
