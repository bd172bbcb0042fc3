"""Part 2: test loss over the dimension of the data, the paper's main figure."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from lightning_app.analysis.lines import Line
from lightning_app.plain import listed
from lightning_app.report.context import Context
from lightning_app.report.loss_lines import (
    LOSS,
    SLOPE,
    TOGETHER,
    Fitted,
    draw,
    fit_domains,
    found,
    lacks,
    slope_columns,
)
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.points import SET, common_size, means, natural_first, points
from lightning_app.report.words import interval

_NAME, _TITLE = "dimension", "Test loss over the dimension of the data"
_D, _D_REFERENCE = "data/d_mle", "data_ref/d_mle"
_K, _K_PER_PIXEL = "data/K_F", "data/K_F_per_pixel"
_METHOD = (
    "Lines go through the means of data sets, over networks, class pairs and seeds: runs of one data set are not "
    "independent, and count as one point. Intervals are by t with as many degrees of freedom as there are data sets "
    "beyond the coefficients of the line: exact where data sets scatter normally about it, which intervals of few of "
    "them rest on. Parts 4 and 5 do the same. d_data is that of the training subset, as in the paper; the table has "
    "slopes over the reference sample's too."
)
_MEANS = (
    "Geometric means over data sets. K_F compares images of one resolution and number of channels; K_F per pixel, "
    "K_F·√(C·H·W), smooth images of nearly any. The last columns: how many times as high the loss is as in the first "
    "domain at equal d_data."
)


def make(context: Context) -> Part:
    """Make the part from the records."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    chosen = points(context, positive=(LOSS, _D), maybe=(_K, _K_PER_PIXEL, _D_REFERENCE))
    if chosen.frame.empty:
        return Part(_NAME, _TITLE, cannot=chosen.sentences)
    frame = natural_first(chosen.frame)
    size = common_size(frame)
    shown = frame[frame["n_train"] == size]
    lines = fit_domains(shown, _D)
    does = found(lines)
    finding = (f"At N = {size:,.0f}, log test loss over d_data {does}.",) if does else ()
    how = "Large: means of data sets; small: networks and class pairs. Bands: 95 % intervals of the lines."
    caption = " ".join((*(finding or (f"N = {size:,.0f}.",)), how))
    drawing = draw(shown, _D, "d_data, MLE (degrees of freedom, training subset)", lines)
    domains = _domains(shown, lines.get(TOGETHER))
    cannot = [f"Over d_data, {domain}: {why}." for domain, line in lines.items() if (why := lacks(line))]
    if absent := sorted(set(frame["data"]) - set(shown["data"])):
        cannot.append(f"No training size is common to all data sets: N = {size:,.0f} is missing of {listed(absent)}.")
    return Part(
        _NAME,
        _TITLE,
        (*finding, *_shifts(domains), _METHOD) if finding else (),
        (Figure("loss-over-dimension", _TITLE, caption, drawing.svg, drawing.pdf),),
        (_slopes(frame), Table("domains", f"Domains at N = {size:,.0f}", domains, _MEANS)),
        (*cannot, *chosen.sentences),
    )


def _slopes(frame: pd.DataFrame) -> Table:
    """Slopes at every N: over all backbones, then for each."""
    rows: list[dict[str, Any]] = []
    backbones = sorted(set(frame["backbone"]))
    for backbone in ["all", *(backbones if len(backbones) > 1 else ())]:
        sources = {_D: "training subset"} | ({_D_REFERENCE: "reference sample"} if backbone == "all" else {})
        own = frame if backbone == "all" else frame[frame["backbone"] == backbone]
        for n, at in own.groupby("n_train"):
            for dimension, source in sources.items():
                rows += [
                    {"backbone": backbone, "N": n, "d_data of": source, "domain": domain} | slope_columns(line)
                    for domain, line in fit_domains(at, dimension).items()
                ]
    table = pd.DataFrame(rows)
    return Table(
        "slopes-over-dimension",
        "Slopes of log test loss over d_data",
        table,
        f"Change of log L per dimension. “{TOGETHER}”: domains differ in level alone.",
        shown=int((table["backbone"] == "all").sum()),
        hidden=("backbone",),
        needs=SLOPE,
    )


def _domains(shown: pd.DataFrame, together: Fitted | None) -> pd.DataFrame:
    """One row per domain; offsets from the first as factors."""
    names = {_D: "d_data", _K: "K_F (pixels in [0, 1])", _K_PER_PIXEL: "K_F per pixel"}
    sets = means(shown, list(names), by=SET)
    domains = means(sets, list(names), by=["domain"]).rename(columns=names | {"runs": "data sets"})
    domains.insert(1, "data sets", domains.pop("data sets"))
    domains.insert(2, "runs", shown["domain"].value_counts()[domains["domain"]].to_numpy())
    offsets = together.offsets if isinstance(together, Line) else {}
    for column, end in (("loss, times the first", "value"), ("95 % low", "low"), ("95 % high", "high")):
        logs = [getattr(offsets.get(domain), end, None) for domain in domains["domain"]]
        domains[column] = [math.nan if log is None else math.exp(min(log, 500)) for log in logs]
    return domains


def _shifts(domains: pd.DataFrame) -> Iterator[str]:
    """Whether sharpness goes with the difference between domains that dimension leaves."""
    first = domains.iloc[0]
    for _, row in domains.iloc[1:].iterrows():
        factor, low, high = row["loss, times the first"], row["95 % low"], row["95 % high"]
        if not math.isfinite(factor):
            continue
        sharper, per_pixel = (row[name] / first[name] for name in ("K_F (pixels in [0, 1])", "K_F per pixel"))
        told = ", which cannot be told from 1" if low <= 1 <= high else ""
        text = (
            f"At equal d_data the loss of {row['domain']} data is {factor:.3g} times that of {first['domain']} data "
            f"({interval(low, high)}{told})."
        )
        if math.isfinite(sharper):
            text += f" Their K_F is {sharper:.3g} times as high"
            text += f" (per pixel {per_pixel:.3g} times)" if math.isfinite(per_pixel) else ""
            text += f"; if L goes like K_F, that alone makes the loss {sharper:.3g} times as high"
            text += "." if (sharper > 1) == (factor > 1) else ", the other way round than what is seen."
        yield text
