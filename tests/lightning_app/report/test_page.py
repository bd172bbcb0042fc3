"""The page of a report: well-formed, on its own, safe, and with every figure and table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_app.report.folder import contents
from lightning_app.report.page import Heading, as_page
from lightning_app.report.part import Part, Table
from tests.lightning_app.html_page import Page, check_self_contained
from tests.lightning_app.report.made import part

HEADING = Heading("demo", "2 records", "made so", has_law=True)


def paged(*parts: Part, heading: Heading = HEADING) -> Page:
    return Page(as_page(heading, parts))


def cells(page: Page, name: str) -> list[list[tuple[str, bool]]]:
    """Text of every cell of a table, the head first, and whether it is set as a number."""
    (table,) = (found for found in page.html.all("div", "table") if found.attributes["id"] == f"table-{name}")
    return [
        [(cell.text, cell.attributes.get("class") == "n") for tag in ("th", "td") for cell in row.all(tag)]
        for row in table.all("tr")
    ]


@pytest.mark.parametrize("has_law", [True, False])
def test_it_links_to_every_file_beside_it_and_needs_nothing_else(has_law: bool) -> None:
    parts = [part("one"), part("two"), Part("three", "Nothing here", cannot=("Too few.",))]
    text = as_page(replace(HEADING, has_law=has_law), parts)
    page = Page(text)
    files = contents(text, parts, "", "" if has_law else None)
    check_self_contained(page, files)
    links = {str(link.attributes["href"]) for link in page.html.all("a")}
    assert {link for link in links if not link.startswith("#")} == set(files) - {"index.html"}
    assert [heading.text for heading in page.html.all("h2")][-3:] == ["1. About one", "2. About two", "3. Nothing here"]
    assert page.titles() == ["Figure of one", "Figure of two"]
    assert page.caption("Figure of one") == "one rises. SVG PDF"
    assert [figure.attributes["aria-label"] for figure in page.html.all("svg")] == ["Figure of one", "Figure of two"]


def test_the_summary_has_a_finding_and_a_gap_of_every_part() -> None:
    gaps = ("First gap.", "Second gap.", "Third gap.")
    page = paged(
        replace(part("one"), text=("Found it.", "More."), cannot=gaps), part("two", "Found that."), Part("x", "X")
    )
    (summary,) = page.html.all("div", "summary")
    assert [item.text for item in summary.all("li")] == [
        "About one: Found it.",
        "About two: Found that.",
        "About one: First gap. (2 more)",
    ]
    (box,) = page.html.all("div", "cannot")
    assert [sentence.text for sentence in box.all("p")] == list(gaps)
    assert "Nothing can be said yet." in paged(Part("x", "X")).html.text
    assert "What cannot be said" not in paged(part("two")).html.text


def test_numbers_stand_on_the_right_and_gaps_are_empty() -> None:
    frame = pd.DataFrame(
        {
            "name": ["a", None],
            "runs": [1750, -3],
            "some": pd.array([12, None], dtype="Int64"),
            "loss": [-0.0123456, np.nan],
            "N": [100000.0, 250.0],
            "far": [np.inf, 1e-9],
            "fits": [True, False],
            "either": ["x", 2.5],
        }
    )
    nothing = {"gap": [None, np.nan], "blank": ["", ""]}
    page = paged(replace(part("one"), tables=(Table("t", "T", frame.assign(**nothing)),)))
    head, *rows = cells(page, "t")
    assert head == [(name, name in ("runs", "some", "loss", "N", "far")) for name in frame]
    assert [[text for text, _ in row] for row in rows] == [
        ["a", "1,750", "12", "−0.01235", "100,000", "∞", "yes", "x"],
        ["", "−3", "", "", "250", "1e−09", "no", "2.5"],
    ]
    assert [[number for _, number in row] for row in rows] == [[number for _, number in head]] * 2


def test_of_a_long_table_some_rows_are_shown_and_all_are_in_the_file() -> None:
    parts = [part("one", rows=1234, shown=5), part("two", rows=5, shown=5)]
    text = as_page(HEADING, parts)
    page = Page(text)
    assert len(cells(page, "one-table")) == len(cells(page, "two-table")) == 1 + 5
    said = [line.text for line in page.html.all("p", "files")]
    assert said == ["5 of 1,234 rows; all: tables/one-table.csv", "tables/two-table.csv"]
    assert contents(text, parts, "", None)["tables/one-table.csv"].count(b"\n") == 1235


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "--><script>alert(2)</script><!--",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac$ & [red] `</code><b>`",
    "</td></table><b>",
]


def test_names_cannot_become_markup() -> None:
    everything = " ".join(HOSTILE)
    table = Table("t", everything, pd.DataFrame({everything: HOSTILE, "n": range(6)}), everything)
    figure = replace(part("one").figures[0], title=everything, caption=everything)
    hostile = Part("p", everything, (everything, everything), (figure,), (table,), (everything,))
    text = as_page(Heading(everything, everything, everything, has_law=False), [hostile])
    page = Page(text)
    check_self_contained(page, contents(text, [hostile], "", None))
    assert page.html.all("b") == page.html.all("img") == []
    assert [row[0][0] for row in cells(page, "t")] == [everything, *HOSTILE]
    plain = everything.replace("`", "")  # what stands in backticks is code
    assert [code.text for code in page.html.all("code")][:1] == ["</code><b>"]
    assert page.html.all("h1")[0].text == everything
    assert page.html.all("figcaption")[0].text == f"{plain} SVG PDF"


def test_signs_that_nobody_sees_are_shown_by_their_code() -> None:
    table = Table("t", "T", pd.DataFrame({"name": ["a\u202eb\x00c\nd", "x" * 4000]}))
    page = paged(Part("p", "P", ("before \u2066after\x1b[31m",), tables=(table,)))
    assert [row[0][0] for row in cells(page, "t")][1:] == ["a\\u202eb\\x00c\\x0ad", "x" * 4000]
    assert page.html.all("section")[0].all("p")[0].text == "before \\u2066after\\x1b[31m"


def test_wide_figures_have_a_row_of_their_own() -> None:
    small = part("one").figures[0]
    wide = replace(small, name="w", title="Wide", svg=small.svg.replace('width="216pt"', 'width="648pt"'))
    assert wide.svg != small.svg
    figures = paged(replace(part("one"), figures=(small, wide))).html.all("figure")
    assert [figure.attributes.get("class") for figure in figures] == ["lone", "wide"]
    three = paged(replace(part("one"), figures=(small, replace(small, name="s"), wide))).html.all("figure")
    assert [figure.attributes.get("class") for figure in three] == ["pair", "pair", "wide"]


def test_rows_without_a_number_are_counted_and_columns_that_say_nothing_hidden() -> None:
    frame = pd.DataFrame({"N": [5, 5, 5, 9], "slope": [1.5, np.nan, np.nan, np.nan], "without": ["", "few", "few", ""]})
    shown = Table("t", "T", frame, shown=3, hidden=("N",), needs="slope")
    page = paged(replace(part("one"), tables=(shown, replace(shown, name="u", shown=None))))
    assert cells(page, "t") == cells(page, "u") == [[("slope", True)], [("1.5", True)]]
    assert [line.text for line in page.html.all("p", "files")] == [
        "3 of 4 rows, 2 of them not here, as they have no number; all: tables/t.csv",
        "3 of 4 rows have no number and are not here; all: tables/u.csv",
    ]
