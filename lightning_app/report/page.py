"""The page of `lightning report`: every part with its figures and tables, in one file that opens offline."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from lightning_app.pages import render
from lightning_app.plain import number, printable
from lightning_app.report.part import Figure, Part, Table

_WIDE = 600  # points; a figure that is wider has a row of its own


@dataclass(frozen=True)
class Heading:
    """What stands at the top of the page.

    Attributes:
        title: What the report is of: "demo".
        counted: How many records of what.
        made: Options it was made with.
        has_law: Whether there is a ``law.json`` beside the page.
    """

    title: str
    counted: str
    made: str
    has_law: bool


def as_page(heading: Heading, parts: Sequence[Part]) -> str:
    """A self-contained HTML page.

    It links to the files beside it: ``figures/NAME.svg`` and ``.pdf``, ``tables/NAME.csv``, ``records.csv`` and, where
    there is a law, ``law.json``.
    """
    tools = {"prose": _prose, "drawing": _drawing, "widths": _widths, "rows": _rows, "unsaid": _unsaid}
    return render("report/page.html.jinja", heading=heading, parts=parts, **tools)


def _prose(text: str) -> Markup:
    """A paragraph, with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(printable(text)))))


def _drawing(figure: Figure) -> Markup:
    """The figure, named for those who cannot see it."""
    opening = Markup('<svg role="img" aria-label="{}" ').format(printable(figure.title))
    return Markup(figure.svg.replace("<svg ", opening, 1))


def _widths(figures: Sequence[Figure]) -> list[str]:
    """How each stands on the page: "wide", one of a "pair", or "lone" in its row, with its caption beside it."""
    found: list[str] = []
    for figure in figures:
        width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', figure.svg)
        wide = width is not None and float(width[1]) > _WIDE
        if not wide and found and found[-1] == "lone":
            found[-1:] = ["pair", "pair"]
        else:
            found.append("wide" if wide else "lone")
    return found


def _rows(table: Table) -> Iterator[list[tuple[str, bool]]]:
    """The rows that are shown: the text of every cell, and whether it is a number. The first row is the head.

    Columns with nothing in them are in the file only.
    """
    shown = _shown(table).drop(columns=[*table.hidden])
    if table.needs:
        shown = shown[shown[table.needs].notna()]
    columns = [[_text(value) for value in column] for _, column in shown.items()]
    numeric = [_is_number(column) for _, column in shown.items()]
    kept = [i for i, column in enumerate(columns) if any(column)]
    yield [(str(shown.columns[i]), numeric[i]) for i in kept]
    for row in zip(*columns, strict=True):
        yield [(row[i], numeric[i]) for i in kept]


def _shown(table: Table) -> pd.DataFrame:
    return table.frame.head(len(table.frame) if table.shown is None else table.shown)


def _unsaid(table: Table) -> int:
    """How many of the rows have no number, and are not shown for that."""
    return int(_shown(table)[table.needs].isna().sum()) if table.needs else 0


def _is_number(column: "pd.Series[Any]") -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _text(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}".replace("-", "−")
    if not isinstance(value, float):
        return str(value)
    return (f"{value:,.0f}" if value.is_integer() and 1e3 <= abs(value) < 1e15 else number(value)).replace("-", "−")
