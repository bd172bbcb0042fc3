"""Figures as SVG text: one look for every page."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def drawn(xlabel: str, ylabel: str, *, log_x: bool = False) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on, and a list that holds the finished figure as SVG text afterwards.

    Example:
        >>> with drawn("time / s", "length / m") as (axes, svg):
        ...     _ = axes.plot([0, 1], [0, 1])
        >>> svg[0].startswith("<svg")
        True
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        if log_x:
            axes.set_xscale("log")
        svg: list[str] = []
        yield axes, svg
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
        text = io.StringIO()
        with warnings.catch_warnings():
            # Names in a script that the font lacks: boxes in the legend, and nothing that the user could mend.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        svg.append(text.getvalue()[text.getvalue().index("<svg") :])


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
