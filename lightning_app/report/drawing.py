"""What the figures of the report share: one look per domain, names beside points, panels, ticks as plain numbers."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from lightning_app.figures import COLOURS, MARKERS, Drawing, drawn, plain_text
from lightning_app.plain import printable

NO_DOMAIN = "unknown domain"
_KNOWN = {"natural": 0, "medical": 1, "radiology": 1}
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1, 1.2)))
_MOST_LETTERS = 24  # of a name in a figure
_NARROW = 0.3  # decades
_SAME = 1.1  # high / low of a logarithmic axis
_MOST_NAMES = 40  # beside points
# Where a name may stand: points to the right, points up, alignment.
_PLACES = [(x, y, side) for x, side in ((6, "left"), (-6, "right")) for y in (0, 7, -7)]
_PLACES += [(0, y, "center") for y in (9, -9, 16, -16)]
# Digits of the ticks, by the decades that an axis spans.
_STEPS = ((0.8, (1, 1.5, 2, 3, 4, 5, 6, 8)), (1.6, (1, 2, 3, 5)), (3, (1, 2, 5)), (math.inf, (1,)))


@dataclass(frozen=True)
class Look:
    """How the points and the line of one name are drawn; told apart without colour too.

    Attributes:
        colour: As matplotlib takes it.
        marker: As matplotlib takes it.
        line: As matplotlib takes it.
    """

    colour: str
    marker: str
    line: Any = "-"

    @property
    def points(self) -> dict[str, Any]:
        """Options of ``axes.plot`` for points without a line."""
        return {"color": self.colour, "marker": self.marker, "ls": ""}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for every name, in the order given: of backbones, data sets, attacks.

    Example:
        >>> looks(["vgg13", "vgg16"])["vgg16"].marker
        's'
    """
    return {name: _look(i) for i, name in enumerate(dict.fromkeys(names))}


def domain_looks(domains: Iterable[str]) -> dict[str, Look]:
    """A look for every domain, by name: natural and medical look the same in every figure of every report."""
    names = sorted(set(domains))
    others = [name for name in names if name not in _KNOWN and name != NO_DOMAIN]
    places = _KNOWN | {name: i for i, name in enumerate(others, start=2)}
    return {name: Look("#666666", "X", _LINES[3]) if name == NO_DOMAIN else _look(places[name]) for name in names}


def _look(i: int) -> Look:
    # As many colours as markers: after a round of both, every marker moves on to another colour.
    turn = i + i // len(MARKERS)
    return Look(COLOURS[turn % len(COLOURS)], MARKERS[i % len(MARKERS)], _LINES[turn % len(_LINES)])


def short(name: str, most: int = _MOST_LETTERS) -> str:
    r"""A name as figures can show it: of bounded length, and never taken for a formula.

    Example:
        >>> print(short("a$b"), short("x" * 40))
        a\$b xxxxxxxxxxxxxxxxxxxxxxx…
    """
    name = printable(name)
    return plain_text(name if len(name) <= most else name[: most - 1] + "…")


def shade(axes: Axes, x: ArrayLike, low: ArrayLike, high: ArrayLike, look: Look) -> None:
    """A confidence band."""
    axes.fill_between(x, low, high, color=look.colour, alpha=0.15, lw=0)


def key(axes: Axes, entries: Mapping[str, Look | Line2D]) -> None:
    """Explain looks above all axes, where no point can lie under it. ``axes`` are any of the figure's."""
    handles = [
        look if isinstance(look, Line2D) else Line2D([], [], color=look.colour, marker=look.marker, ls=look.line, ms=5)
        for look in entries.values()
    ]
    names = [short(name) for name in entries]
    figure = _figure(axes)
    if names:
        fitting = int(figure.get_size_inches()[0] / (0.55 + 0.075 * max(map(len, names))))
        figure.legend(
            handles,
            names,
            loc="outside upper left",
            ncols=max(1, fitting),
            fontsize=9,
            columnspacing=1.2,
            handlelength=3,
        )


def name_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names beside points, where they hide least; call it when everything else is drawn.

    Args:
        axes: The points are on them already.
        points: x, y, name, and colour of the name. More than forty are left without names.
    """
    if not 0 < len(points) <= _MOST_NAMES:
        return
    with warnings.catch_warnings():
        # Names in a script that the font lacks: as in `drawn`.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _place(axes, points)


def _place(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    figure = _figure(axes)
    figure.draw_without_rendering()  # only now is it known where the axes and their points are
    frame = axes.get_window_extent()
    spots = axes.transData.transform([(x, y) for x, y, _, _ in points])
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in spots]
    ink = np.concatenate([line.get_transform().transform(line.get_xydata()) for line in axes.lines])
    for x, y, name, colour in points:
        text = axes.annotate(
            short(name), (x, y), (0, 0), textcoords="offset points", ha="center", va="center", fontsize=8,
            color=colour, annotation_clip=False, path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        text.set_in_layout(False)
        centred = text.get_window_extent()  # it takes longer than all the rest: once for each name
        boxes = [_moved(centred, right, up, side, figure.dpi / 72) for right, up, side in _PLACES]
        costs = [_hidden(box, taken, ink) + 3 * (_area(box) - _common(box, frame)) for box in boxes]
        best = costs.index(min(costs))
        right, up, side = _PLACES[best]
        text.set(position=(right, up), horizontalalignment=side)
        taken.append(boxes[best])


def _moved(centred: Bbox, right: float, up: float, side: str, dots: float) -> Bbox:
    """Where a text lies that was centred on its point; ``dots`` pixels make a typographic point."""
    aside = {"left": 0.5, "center": 0.0, "right": -0.5}[side]
    return centred.translated(right * dots + aside * centred.width, up * dots)


def _hidden(box: Bbox, taken: Iterable[Bbox], ink: NDArray[np.float64]) -> float:
    inside = (ink > box.min).all(axis=1) & (ink < box.max).all(axis=1)
    return sum(_common(box, other) for other in taken) + 8.0 * int(inside.sum())


def _common(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return 0.0 if both is None else _area(both)


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)  # `drawn` made them
    return figure


def divided(axes: Axes, down: int, across: int, *, share_x: bool = False, share_y: bool = False) -> list[Axes]:
    """So many axes in the place of one, row by row."""
    figure = _figure(axes)
    axes.remove()
    return list(figure.subplots(down, across, sharex=share_x, sharey=share_y, squeeze=False).flat)


def draw_domains(
    axes: Axes, looks: Mapping[str, Look], cells: pd.DataFrame, sets: pd.DataFrame, x: str, y: str
) -> None:
    """Draw the points of every domain: means of cells small, means of data sets large; they decide what is seen."""
    for domain, look in looks.items():
        small, large = (frame[frame["domain"] == domain] for frame in (cells, sets))
        axes.plot(small[x], small[y], **look.points, ms=3, alpha=0.35, mew=0)
        axes.plot(large[x], large[y], **look.points, ms=7.5, mec="white")
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())


def decimal_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, not too many; call it when everything is drawn."""
    low, high = sorted(axis.get_view_interval())
    if high < _SAME * low:  # one value only, whose ticks would be hidden in its digits
        low, high = low / _SAME, high * _SAME
        axes = axis.axes
        (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(low, high)
    decades = math.log10(high / low)
    steps = next(digits for most, digits in _STEPS if decades < most)
    axis.set_major_locator(LogLocator(subs=steps) if decades > _NARROW else MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def size_ticks(axes: Axes, sizes: Iterable[float], *, most: int = 6) -> None:
    """Mark training sizes on the logarithmic x axis, as many as fit."""
    ordered = sorted(set(sizes))
    apart = math.log(ordered[-1] / ordered[0]) / most
    kept = ordered[:1]
    for size in ordered[1:]:
        if math.log(size / kept[-1]) >= apart:
            kept.append(size)
    axes.set_xticks(kept, [f"{size:g}" for size in kept])
    axes.xaxis.set_minor_locator(NullLocator())


@contextmanager
def panels(
    number: int,
    xlabel: str,
    ylabel: str,
    *,
    across: int = 4,
    log_x: bool = False,
    log_y: bool = False,
    share_y: bool = True,
) -> Iterator[tuple[list[Axes], Drawing]]:
    """So many small axes that share their x axis, and what holds the finished figure afterwards.

    Example:
        >>> with panels(3, "N", "loss") as (several, drawing):
        ...     _ = [axes.plot([0, 1], [0, 1]) for axes in several]
        >>> len(several), drawing.svg.startswith("<svg")
        (3, True)
    """
    across = min(across, number)
    down = math.ceil(number / across)
    size = (1.4 + 1.9 * across, 1.0 + 1.6 * down)
    with drawn("", "", size=size) as (axes, drawing):
        figure = _figure(axes)
        several = divided(axes, down, across, share_x=True, share_y=share_y)
        for one in several:
            if log_x:
                one.set_xscale("log")
            if log_y:
                one.set_yscale("log")
        for one in several[number:]:
            one.remove()
            several[several.index(one) - across].xaxis.set_tick_params(labelbottom=True)
        figure.supxlabel(xlabel, fontsize=10)
        figure.supylabel(ylabel, fontsize=10)
        yield several[:number], drawing
