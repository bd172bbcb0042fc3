"""What a part of the report is made of."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: File name without ending: "loss-over-dimension".
        title: Over it.
        caption: Its finding, with numbers computed from the data.
        svg: As SVG.
        pdf: As PDF.
    """

    name: str
    title: str
    caption: str
    svg: str
    pdf: bytes


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: File name without ending: "data-sets".
        title: Over it.
        frame: Its columns, in order; all of its rows go to the CSV file. Column names are for people, with units.
        note: How to read it.
        shown: Rows on the page; None shows all.
        hidden: Columns that the page does without, as they say nothing in the rows that it shows.
        needs: Column without whose number a row is counted on the page and not shown; "" shows all.
    """

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""
    shown: int | None = None
    hidden: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the page.

    Attributes:
        name: Anchor: "dimension".
        title: Heading.
        text: Paragraphs in plain words, what it shows with numbers. The first is one sentence that says what was found;
            it stands at the top of the page too. Empty where nothing was found.
        figures: In order.
        tables: In order, after the figures.
        cannot: What could not be shown or fitted, and why: one sentence each.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    cannot: tuple[str, ...] = field(default=())
