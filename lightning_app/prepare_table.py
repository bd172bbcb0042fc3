"""What `lightning prepare` shows in the terminal when it is done."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datamodules.preparation.prepare import Summary
from lightning_app.plain import listed, printable

_LISTED = 8  # reasons, notes
_CLASSES = 12


def show_summary(summary: Summary, out: Path) -> None:
    """Print what is in a table, what was left out and why, and where it is."""
    console = Console(highlight=False, emoji=False)
    channels, height, width = summary["shape"]
    kind = "grey" if channels == 1 else "colour" if channels == 3 else f"{channels} channels"
    title = f"{summary['title']} · {summary['images']:,} images, {width}×{height}, {kind}"
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("images", justify="right")
    table.add_column("", style="dim")
    for row in _rows(summary):
        table.add_row(*(escape(printable(cell)) for cell in row))
    console.print()
    console.print(table)
    for text, count in list(summary["notes"].items())[:_LISTED]:
        console.print(escape(printable(f"note: {count:,} × {text}")), soft_wrap=True)
    console.print(f"table  {escape(printable(os.path.relpath(out)))}", soft_wrap=True)


def _rows(summary: Summary) -> Iterator[tuple[str, str, str]]:
    for labelling, counts in summary["labels"].items():
        names = summary["label_names"].get(labelling, {})
        used = sum(count for label, count in counts.items() if label != "blank")
        yield labelling, f"{used:,}", listed([_counted(label, n, names) for label, n in counts.items()], _CLASSES)
    yield "groups", f"{summary['groups']:,}", "patients, volumes, lesions, or images where there are none"
    splits = {name or "no split": count for name, count in summary["splits"].items()}
    if set(splits) != {"no split"}:
        yield "official splits", f"{len(splits)}", listed([f"{name} {count:,}" for name, count in splits.items()])
    reasons = list(summary["skipped"].items())
    for i, (reason, count) in enumerate(reasons[:_LISTED]):
        yield "skipped" if i == 0 else "", f"{count:,}", reason
    if len(reasons) > _LISTED:
        yield "", f"{sum(count for _, count in reasons[_LISTED:]):,}", "for other reasons: see prepare.json"


def _counted(label: str, count: int, names: Mapping[str, str]) -> str:
    name = names.get(label, label)
    return f"{label if name == label else f'{label} ({name})'}: {count:,}"
