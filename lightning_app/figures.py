"""Figures as SVG and PDF: one look for every page."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by the colour-blind, and in grey by their lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "font.size": 10,
    "font.family": "DejaVu Sans",  # the font that matplotlib ships: the same figure everywhere
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "figures",  # the same names inside the file at every run
}


@dataclass
class Drawing:
    """A figure, to be looked at when it is finished.

    Attributes:
        figure: As matplotlib holds it.
        svg: As SVG text; empty until then.
    """

    figure: Figure
    svg: str = ""

    @property
    def pdf(self) -> bytes:
        """As PDF."""
        return _saved(self.figure, "pdf", ("Creator", "Producer", "CreationDate"))


@contextmanager
def drawn(
    xlabel: str, ylabel: str, *, log_x: bool = False, log_y: bool = False, size: tuple[float, float] = (5.2, 3.4)
) -> Iterator[tuple[Axes, Drawing]]:
    """Axes to draw on, and what holds the finished figure afterwards.

    Example:
        >>> with drawn("time / s", "length / m") as (axes, drawing):
        ...     _ = axes.plot([0, 1], [0, 1])
        >>> drawing.svg.startswith("<svg"), drawing.pdf.startswith(b"%PDF")
        (True, True)
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        drawing = Drawing(figure)
        yield axes, drawing
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    text = _saved(figure, "svg", ("Date", "Creator", "Format", "Type")).decode()
    figure.set_layout_engine("none")  # everything has its place now: the PDF need not look for it again
    drawing.svg = text[text.index("<svg") :]


def _saved(figure: Figure, form: str, unsaid: Sequence[str]) -> bytes:
    """The figure as a file that does not say when it was made, nor by what."""
    file = io.BytesIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Names in a script that the font lacks: boxes in the legend, and nothing that the user could mend.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=form, metadata=dict.fromkeys(unsaid))
    return file.getvalue()


def plain_text(text: str) -> str:
    r"""Text that is drawn as it is, where matplotlib would look for formulas between dollar signs.

    Example:
        >>> print(plain_text("cash $, credit $"))
        cash \$, credit \$
    """
    return text.replace("$", r"\$")


def plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Mark exactly these values on the logarithmic x axis, as plain numbers."""
    axes.set_xticks(list(values), [f"{value:g}" for value in values])
    axes.minorticks_off()
