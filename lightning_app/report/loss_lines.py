"""Log test loss over a dimension, of the data or of representations, with a line for every domain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.law import NotIdentified
from lightning_app.analysis.lines import Line, fit_line
from lightning_app.figures import Drawing, drawn
from lightning_app.report.drawing import decimal_ticks, domain_looks, draw_domains, key, name_points, shade
from lightning_app.report.points import SET, means
from lightning_app.report.words import trend

LOSS = "test/loss"
TOGETHER = "all, one slope"
SLOPE = "slope per dimension"

Fitted = Line | NotIdentified


def fit_domains(runs: pd.DataFrame, dimension: str) -> dict[str, Fitted]:
    """Fit a line to the means of the data sets of every domain, and one slope to all with a level for each domain.

    Args:
        runs: Of one training size.
        dimension: Column of the dimension.
    """
    sets = means(runs[runs[dimension].notna()], [LOSS, dimension], by=SET)
    lines = {str(domain): fit(own, dimension) for domain, own in sets.groupby("domain", sort=False)}
    return lines | ({TOGETHER: fit(sets, dimension)} if len(lines) > 1 else {})


def fit(points: pd.DataFrame, dimension: str, groups: Sequence[str] | None = None) -> Fitted:
    """Fit one slope, with a level for each domain; ``groups`` are the data sets of points that are runs."""
    called = "d_repr" if dimension.startswith("repr/") else "d_data"
    try:
        return fit_line(points[dimension], np.log(points[LOSS]), groups, list(points["domain"]), called=called)
    except NotIdentified as error:
        return error


def found(lines: Mapping[str, Fitted]) -> str:
    """What the lines of the domains do; "" where there is none."""
    return "; ".join(
        trend(line.slope, "per dimension", f"in {domain} data")
        for domain, line in lines.items()
        if isinstance(line, Line) and domain != TOGETHER
    )


def lacks(line: Fitted) -> str:
    """What a fit does not give, and why; "" where it gives all."""
    return f"no line, {line}" if isinstance(line, NotIdentified) else f"no interval, {line.note}" if line.note else ""


def slope_columns(line: Fitted) -> dict[str, Any]:
    """A row of a table of slopes."""
    slope = line.slope if isinstance(line, Line) else None
    return {
        SLOPE: slope and slope.value,
        "95 % low": slope and slope.low,
        "95 % high": slope and slope.high,
        "df": slope and slope.df,
        "p": slope and slope.p,
        "data sets": line.groups if isinstance(line, Line) else None,
        "without": lacks(line),
    }


def draw(shown: pd.DataFrame, dimension: str, label: str, lines: Mapping[str, Fitted]) -> Drawing:
    """Draw runs, and the lines through the means of their data sets.

    Args:
        shown: Runs of one training size; the means of data sets are drawn large, those of cells small.
        dimension: Column of the dimension.
        label: What it is, with its unit.
        lines: Of every domain.
    """
    looks = domain_looks(shown["domain"])
    cells, sets = means(shown, [LOSS, dimension]), means(shown, [LOSS, dimension], by=SET)
    with drawn(label, "test loss (nats)", log_y=True, size=(6.4, 4.4)) as (axes, drawing):
        draw_domains(axes, looks, cells, sets, dimension, LOSS)
        for domain, look in looks.items():
            line, at = lines[domain], sets.loc[sets["domain"] == domain, dimension]
            if isinstance(line, Line):
                x = np.linspace(at.min(), at.max(), 25)
                value, low, high = line.band(x)
                axes.plot(x, np.exp(value), color=look.colour, ls=look.line)
                # Far beyond the axes, where e^x may be no number any more
                shade(axes, x, np.exp(np.clip(low, -50, 50)), np.exp(np.clip(high, -50, 50)), look)
        decimal_ticks(axes.yaxis)
        key(axes, looks)
        name_points(axes, [(row[dimension], row[LOSS], row["data"], "#333333") for _, row in sets.iterrows()])
    return drawing
