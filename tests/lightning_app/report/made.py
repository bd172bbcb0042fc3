"""Records as folders of runs, and small parts: what the tests of the report are made of."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_app.figures import drawn
from lightning_app.report.part import Figure, Part, Table
from tests.lightning_app.analysis.drawn_records import BACKBONES, PAPER, Truth, drawn_records


def small(sets: int = 11) -> pd.DataFrame:
    """Records of few runs: so many data sets, two backbones, three sizes."""
    chosen = dict(list(PAPER.items())[::-1][:sets])  # natural ones first
    return drawn_records(0, Truth(), chosen, dict(list(BACKBONES.items())[:2]), (500, 1000, 1750))


def write_runs(records: pd.DataFrame, folder: str = "runs") -> None:
    """Leave records as runs do: one folder each, ``result.json`` or ``failed.json``."""
    for row in records.astype(object).where(records.notna(), None).to_dict("records"):
        name = "failed.json" if row["status"] == "failed" else "result.json"
        file = Path(folder) / str(row["name"]) / str(row["run_id"]) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({str(key): value for key, value in row.items()}), encoding="utf-8")


def write_curves(records: pd.DataFrame, folder: str = "runs", epochs: int = 4) -> None:
    """Leave ``metrics.csv`` with a representation that loses dimensions as it is trained, and as it goes deeper."""
    for row in records.to_dict("records"):
        lines = ["epoch,repr/a/d_mle,repr/a/depth,repr/b/d_mle,repr/b/depth,repr/d_mle,train/loss"]
        for epoch in range(epochs):
            d = row["data_ref/d_mle"] * 0.9**epoch
            lines.append(f"{epoch},{d},0.3,{0.8 * d},0.6,{0.5 * d},{0.5**epoch}")
        file = Path(folder) / str(row["name"]) / str(row["run_id"]) / "metrics.csv"
        file.write_text("\n".join(lines) + "\n")


@cache
def part(name: str, text: str = "Found.", rows: int = 3, shown: int | None = None) -> Part:
    """A part with one figure and one table."""
    with drawn("x", "y", size=(3, 2)) as (axes, drawing):
        axes.plot([0, 1], [0, len(name)])
    frame = pd.DataFrame({"what": [f"row {i}" for i in range(rows)], "value": np.arange(rows) / 7})
    figure = Figure(f"{name}-figure", f"Figure of {name}", f"{name} rises.", drawing.svg, drawing.pdf)
    table = Table(f"{name}-table", f"Table of {name}", frame, "A note.", shown)
    return Part(name, f"About {name}", (text,), (figure,), (table,))
