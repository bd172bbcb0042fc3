"""What figures share: looks that can be told apart, names that hide nothing, ticks that can be read."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_app.report.drawing import (
    NO_DOMAIN,
    decimal_ticks,
    domain_looks,
    key,
    looks,
    name_points,
    panels,
    short,
    size_ticks,
)


def axes_of(log: bool = False) -> Axes:
    axes = Figure(figsize=(6, 4), layout="constrained").add_subplot()
    if log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    return axes


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels() if text.get_text()]


def test_sixty_four_looks_differ() -> None:
    found = looks([f"net {i}" for i in range(64)]).values()
    assert len({(look.colour, look.marker) for look in found}) == 64


def test_neighbours_differ_without_colour() -> None:
    found = list(looks([f"net {i}" for i in range(8)]).values())
    assert len({look.marker for look in found}) == 8


def test_a_domain_looks_the_same_in_every_report() -> None:
    every = domain_looks(["natural", "medical", "other", NO_DOMAIN])
    assert domain_looks(["natural"])["natural"] == every["natural"]
    assert domain_looks(["medical"])["medical"] == every["medical"] == domain_looks(["radiology"])["radiology"]
    assert len({look.marker for look in every.values()}) == 4


def test_names_are_bounded_and_plain() -> None:
    assert len(short("数" * 1000)) == 24
    assert short("a$b\n") == r"a\$b\x0a"


def test_names_do_not_lie_on_each_other_or_on_points() -> None:
    axes = axes_of()
    spots = [(0.5, 0.5), (0.52, 0.5), (0.5, 0.53), (0.0, 0.0), (1.0, 1.0), (1.0, 0.98)]
    axes.plot(*zip(*spots, strict=True), "o", ms=7)
    name_points(axes, [(x, y, f"data set {i}", "black") for i, (x, y) in enumerate(spots)])
    axes.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 6
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    points = axes.transData.transform(spots)
    assert not any(box.contains(x, y) for box in boxes for x, y in points)
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_too_many_names_are_left_out() -> None:
    axes = axes_of()
    name_points(axes, [(i, i, "name", "black") for i in range(41)])
    name_points(axes, [])
    assert not axes.texts


def test_names_in_a_script_that_the_font_lacks_raise_no_warning() -> None:
    with panels(1, "x", "y") as ((axes,), drawing):
        axes.plot([0, 1], [0, 1], "o")
        name_points(axes, [(0, 0, "数$", "black")])
    assert drawing.svg.endswith("</svg>\n")


@pytest.mark.parametrize(
    ("low", "high", "fewest"), [(0.02, 0.03, 3), (0.05, 0.3, 4), (0.01, 0.9, 5), (1e-4, 1.0, 4), (1e-12, 1e9, 3)]
)
def test_decimal_ticks(low: float, high: float, fewest: int) -> None:
    axes = axes_of(log=True)
    axes.plot([low, high], [low, high])
    decimal_ticks(axes.xaxis)
    axes.figure.draw_without_rendering()
    inside = [float(label) for label in labels(axes)]
    seen = [value for value in inside if axes.get_xlim()[0] <= value <= axes.get_xlim()[1]]
    assert fewest <= len(seen) <= 12


@pytest.mark.parametrize("error", [0.0, 1e-9])
def test_one_value_leaves_an_axis_that_can_be_read(error: float) -> None:
    axes = axes_of(log=True)
    axes.errorbar([12.0], [0.051], [error], fmt="o")
    decimal_ticks(axes.xaxis)
    decimal_ticks(axes.yaxis)
    low, high = axes.get_ylim()
    assert 0.03 < low < 0.047 < 0.056 < high < 0.1
    axes.figure.draw_without_rendering()
    seen = [value for value in axes.get_yticks() if low <= value <= high]
    assert len(seen) > 1


@pytest.mark.parametrize("sizes", [[500], [500, 750, 1000, 1250, 1500, 1750], list(range(100, 5000, 100))])
def test_size_ticks(sizes: list[int]) -> None:
    axes = axes_of(log=True)
    axes.plot(sizes, sizes)
    size_ticks(axes, sizes, most=4)
    marked = [float(label) for label in labels(axes)]
    assert set(marked) <= set(sizes)
    assert marked[0] == sizes[0]
    assert min(4, len(sizes)) - 1 <= len(marked) <= 5
    assert all(math.log(b / a) >= math.log(sizes[-1] / sizes[0]) / 4 for a, b in pairwise(marked))


@pytest.mark.parametrize("number", [1, 4, 5])
def test_panels(number: int) -> None:
    with panels(number, "N", "loss", log_x=True, log_y=True) as (several, drawing):
        for axes in several:
            axes.plot([1, 10], [1, 10])
        key(several[0], looks(["one", "two$"]))
    assert len(several) == number
    written = re.findall(r"<!-- (.*?) -->", drawing.svg, re.DOTALL)
    assert {"N", "loss", "one", "two$"} <= set(written)
    assert drawing.svg.count('id="axes_') == number
    assert several[-1].get_xscale() == "log"
    assert np.ptp([axes.get_ylim() for axes in several], axis=0) == pytest.approx([0, 0])
