"""Figures as SVG: the same at every run, plain numbers on the axes, and any name in the legend."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from lightning_app.figures import COLOURS, MARKERS, drawn, plain_text, plain_ticks

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """What is written in a figure: matplotlib draws letters as curves and notes the text beside them."""
    return re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)


def figure(label: str = "a line", xlabel: str = "time / s") -> str:
    with drawn(xlabel, "length / m") as (axes, drawing):
        axes.plot([1, 2], [3, 5], label=label)
    return drawing.svg


def test_a_figure_is_svg_that_names_no_date_and_no_program() -> None:
    root = ElementTree.fromstring(figure())
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}metadata") is None
    assert {"time / s", "length / m", "a line"} <= set(texts(figure()))


def test_a_figure_is_the_same_every_time() -> None:
    assert figure() == figure()


def test_settings_of_others_neither_matter_nor_change() -> None:
    expected = figure()
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "none"}):
        assert figure() == expected
    assert dict(mpl.rcParams) == before


def test_settings_are_restored_after_an_error() -> None:
    before = dict(mpl.rcParams)
    with pytest.raises(ZeroDivisionError), drawn("x", "y"):
        _ = 1 / 0
    assert dict(mpl.rcParams) == before


def test_without_a_label_there_is_no_legend() -> None:
    with drawn("x", "y") as (axes, drawing):
        axes.plot([1, 2], [3, 5])
    assert "legend" not in drawing.svg
    assert "legend" in figure()


def test_plain_ticks_are_the_values_and_no_others() -> None:
    with drawn("x", "y", log_x=True) as (axes, drawing):
        axes.plot([5, 50, 1500], [1, 1, 1])
        plain_ticks(axes, [5, 50, 1500])
        axes.set_yticks([])
    assert [text for text in texts(drawing.svg) if text[0].isdigit()] == ["5", "50", "1500"]


@pytest.mark.parametrize("name", ["$a", "$a$", "$\\frac$", "\\$", "a$b$c", "100 %", "^_{}", "<b>&amp;"])
def test_any_text_is_drawn_as_it_is(name: str) -> None:
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in texts(figure(plain_text(name), plain_text(name)))


def test_letters_that_the_font_lacks_are_no_warning() -> None:
    assert figure("肺炎")  # warnings are errors here


def test_text_cannot_leave_the_figure() -> None:
    root = ElementTree.fromstring(figure('--></svg><script x="">'))
    assert not [element for element in root.iter() if "script" in element.tag]


def test_colours_and_markers_differ() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKERS))
