"""Part 3: test loss over the number of training images, and the exponents with which it falls."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lightning_app.analysis.correlation import correlate
from lightning_app.analysis.law import NotIdentified
from lightning_app.analysis.lines import Array, mean_curve, parallel_slopes
from lightning_app.figures import drawn
from lightning_app.plain import listed
from lightning_app.report.context import Context
from lightning_app.report.drawing import (
    Look,
    decimal_ticks,
    domain_looks,
    key,
    looks,
    name_points,
    panels,
    short,
    size_ticks,
)
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.points import natural_first, points
from lightning_app.report.words import correlation, signed

_NAME, _TITLE = "sizes", "Test loss over the number of training images"
_LOSS, _D, _D_REFERENCE = "test/loss", "data/d_mle", "data_ref/d_mle"
_CURVE = ["data", "domain", "pair", "backbone"]
_MOST_PANELS, _MOST_BACKBONES, _MOST_LETTERS = 16, 12, 13
_MEAN, _PREDICTED = Look("#222222", ""), Look("#222222", "", (0, (1.2, 1.2)))
_METHOD = (
    "An exponent is the slope of log L over log N. That of a data set is of the mean over its curves (networks, class "
    "pairs), with a t interval from how such means scatter about their lines: networks share their training images, so "
    "that they are no independent repeats. All data sets are taken to scatter alike: the few sizes of one would give "
    "intervals that are short or long by luck. −1/d_data is what theory bounds; as an estimate, n/d_data with n from 1 "
    "to 4 is possible."
)


def make(context: Context) -> Part:
    """Make the part from the records."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    chosen = points(context, positive=(_LOSS,), maybe=(_D, _D_REFERENCE))
    frame = natural_first(chosen.frame.sort_values("data", kind="stable"))
    cannot = list(chosen.sentences)
    sizes = frame.groupby("data", sort=False)["n_train"].nunique()
    if alone := list(sizes.index[sizes == 1]):
        cannot.append(f"No exponent of {listed(alone)}: all runs have one training size.")
    frame = frame[frame["data"].isin(sizes.index[sizes > 1])]
    if frame.empty:
        return Part(_NAME, _TITLE, cannot=tuple(cannot))
    sets = _exponents([own for _, own in frame.groupby("data", sort=False)], pooled=True)
    curves = _exponents([own for _, own in frame.groupby(_CURVE, sort=False)])
    for (without, some), own in sets[sets["without"] != ""].groupby(["without", sets["exponent"].notna()]):
        cannot.append(f"No {'interval' if some else 'exponent'} for {listed(list(own['data set']))}: {without}.")
    if sets["d_data"].isna().all():
        cannot.append("No d_data to compare exponents with: no run has data_ref/d_mle or data/d_mle.")
    finding = _finding(sets)
    figures = [_curves_figure(frame, sets, finding)]
    if (sets["exponent"].notna() & sets["d_data"].notna()).any():
        figures.append(_exponents_figure(sets))
    table = Table(
        "exponents",
        "Exponents of the test loss",
        pd.concat([sets, curves], ignore_index=True),
        "d_data: that of the reference sample where there is one, by MLE. The file has every curve "
        "(network, class pair) too.",
        shown=len(sets),
        hidden=("class pair", "backbone", "without"),
    )
    return Part(_NAME, _TITLE, (finding, _METHOD) if finding else (), tuple(figures), (table,), tuple(cannot))


def _exponents(several: Sequence[pd.DataFrame], *, pooled: bool = False) -> pd.DataFrame:
    """Rows of the table: of single curves, or of the means of all curves of data sets."""
    rows = [_row(runs, pooled=pooled) for runs in several]
    curves: dict[int, tuple[Array, Array]] = {}
    for i, runs in enumerate(several):
        try:
            x, y = _mean(runs)
        except NotIdentified as error:
            rows[i]["without"] = str(error)
        else:
            if len(x) > 1:
                curves[i] = x, y
            else:
                rows[i]["without"] = "one training size"
    slopes = parallel_slopes([*curves.values()])
    for i, slope in zip(curves, slopes, strict=True):
        if slope.low is None:
            rows[i] |= {"exponent": slope.value, "without": "two training sizes are too few for an interval"}
        else:
            rows[i] |= {"exponent": slope.value, "95 % low": slope.low, "95 % high": slope.high, "df": slope.df}
    return pd.DataFrame(rows)


def _row(runs: pd.DataFrame, *, pooled: bool) -> dict[str, Any]:
    """A row of the table without its exponent."""
    first = runs.iloc[0]
    reference = bool(runs[_D_REFERENCE].notna().any())
    d = math.exp(np.log(runs[_D_REFERENCE if reference else _D]).mean())
    row: dict[str, Any] = {
        "data set": first["data"],
        "domain": first["domain"],
        "class pair": "all" if pooled else first["pair"],
        "backbone": "all" if pooled else first["backbone"],
        "sizes": runs["n_train"].nunique(),
        "runs": len(runs),
    }
    row |= dict.fromkeys(("exponent", "95 % low", "95 % high", "df"), math.nan)
    row |= {
        "−1/d_data": -1 / d,
        "d_data": d,
        "d_data of": ("training subset", "reference sample")[reference],
        "without": "",
    }
    return row


def _mean(runs: pd.DataFrame) -> tuple[Array, Array]:
    """The mean of the curves of these runs: log N and log L."""
    return mean_curve(np.log(runs["n_train"]), np.log(runs[_LOSS]), list(runs.groupby(_CURVE).ngroup()))


def _finding(sets: pd.DataFrame) -> str:
    """What exponents there are; "" where there is none."""
    values, low, high = sets["exponent"].dropna(), sets["95 % low"], sets["95 % high"]
    if values.empty:
        return ""
    known = int(low.notna().sum())
    span = " to ".join(dict.fromkeys(signed(value) for value in (values.min(), values.max())))
    if not known:
        return f"Fitted exponents of test loss over N: {span}, without intervals."
    falls, rises = int((high < 0).sum()), int((low > 0).sum())
    others = {"rises": rises, "cannot be told from level": known - falls - rises, "has no interval": len(sets) - known}
    text = f"Test loss falls with N in {falls} of {len(sets)} data set{'s' * (len(sets) != 1)}"
    text += "".join(f", {what} in {number}" for what, number in others.items() if number)
    text += f" (exponents {span})"
    predicted = sets["−1/d_data"]
    if predicted[low.notna()].notna().any():
        inside, possible = (low <= predicted) & (predicted <= high), (low <= predicted) & (high >= 4 * predicted)
        text += f"; the interval holds −1/d_data in {int(inside.sum())}, and meets "
        text += f"−4/d_data … −1/d_data in {int(possible.sum())}"
    return f"{text}."


def _curves_figure(runs: pd.DataFrame, sets: pd.DataFrame, finding: str) -> Figure:
    """A panel for every data set: a curve for every backbone, their mean, and the slope that is predicted."""
    backbones = {name: Look(look.colour, look.marker) for name, look in looks(sorted(set(runs["backbone"]))).items()}
    if len(backbones) > _MOST_BACKBONES:
        backbones = dict.fromkeys(backbones, Look("#999999", ""))
    shown = sets.head(_MOST_PANELS)
    span = np.log(runs.groupby("data")[_LOSS].max() / runs.groupby("data")[_LOSS].min()).max() / 2 + 0.1
    with panels(len(shown), "training images, N", "test loss (nats)", log_x=True, log_y=True, share_y=False) as (
        several,
        drawing,
    ):
        for axes, (_, row) in zip(several, shown.iterrows(), strict=True):
            own = runs[runs["data"] == row["data set"]]
            for backbone, look in backbones.items():
                _curve(axes, own[own["backbone"] == backbone], look, lw=0.8, ms=3)
            _curve(axes, own, _MEAN, lw=2.2)
            log_n, log_loss = np.log(own["n_train"]), np.log(own[_LOSS])
            ends = np.array([log_n.min(), log_n.max()])
            predicted = log_loss.mean() + (ends - log_n.mean()) * row["−1/d_data"]
            axes.plot(np.exp(ends), np.exp(predicted), color=_PREDICTED.colour, ls=_PREDICTED.line)
            centre = (log_loss.min() + log_loss.max()) / 2
            exponent = "" if math.isnan(row["exponent"]) else f": {signed(row['exponent'])}"
            axes.set_title(f"{short(row['data set'], _MOST_LETTERS)}{exponent}", fontsize=9)
            axes.set_ylim(math.exp(centre - span), math.exp(centre + span))  # equal slopes look equal
            size_ticks(axes, runs["n_train"], most=4)
            decimal_ticks(axes.yaxis)
            axes.tick_params(labelsize=8)
        entries = {"mean": _MEAN, "slope −1/d_data": _PREDICTED}
        key(several[0], entries | (backbones if len(backbones) <= _MOST_BACKBONES else {}))
    caption = (
        f"{finding} Thin: networks, averaged over class pairs and seeds; thick: their mean; dotted: the slope "
        "−1/d_data; above each panel its exponent. All panels span the same factor in loss."
    ).strip()
    caption += f" Shown: the first {len(shown)} of {len(sets)} data sets." if len(shown) < len(sets) else ""
    return Figure("loss-over-n", _TITLE, caption, drawing.svg, drawing.pdf)


def _curve(axes: Axes, runs: pd.DataFrame, look: Look, **style: Any) -> None:
    if runs.empty:
        return
    try:
        at, mean = _mean(runs)
    except NotIdentified:  # no mean that is comparable from size to size: the runs alone
        axes.plot(runs["n_train"], runs[_LOSS], color=look.colour, marker=".", ls="", **style)
    else:
        axes.plot(np.exp(at), np.exp(mean), color=look.colour, marker=look.marker, alpha=0.85, **style)


def _exponents_figure(sets: pd.DataFrame) -> Figure:
    """Fitted exponents against −1/d_data."""
    sets = sets[sets["exponent"].notna() & sets["d_data"].notna()]
    of_domains = domain_looks(sets["domain"])
    x, y = sets["−1/d_data"], sets["exponent"]
    reach = 0.6 * (max(y.max(), 0.0) - min(y.min(), x.min()))  # how far intervals stretch the axis
    ends = [y, x, sets["95 % low"].clip(lower=y.min() - reach), sets["95 % high"].clip(upper=y.max() + reach)]
    bottom, top = min(end.min() for end in ends), max(0.0, *(end.max() for end in ends))
    edges = np.array([1.12 * x.min(), 0.88 * x.max()])
    with drawn("predicted exponent, −1/d_data", "fitted exponent, d log L / d log N", size=(6.4, 4.6)) as (
        axes,
        drawing,
    ):
        axes.fill_between(edges, edges, 4 * edges, color="#BBBBBB", alpha=0.3, lw=0)
        axes.plot(edges, edges, color="#444444", lw=1)
        for domain, look in of_domains.items():
            own = sets[sets["domain"] == domain]
            axes.vlines(own["−1/d_data"], own["95 % low"], own["95 % high"], color=look.colour, lw=1.2, alpha=0.7)
            axes.plot(own["−1/d_data"], own["exponent"], **look.points, ms=7, mec="white")
        axes.set(xlim=edges, ylim=(bottom - 0.04 * (top - bottom), top + 0.04 * (top - bottom)))
        lines: dict[str, Look | Line2D] = {
            "−1/d_data": Line2D([], [], color="#444444", lw=1),
            "−1/d_data to −4/d_data": Line2D([], [], color="#BBBBBB", alpha=0.5, lw=8),
        }
        key(axes, {**of_domains, **lines})
        name_points(
            axes, [(row["−1/d_data"], row["exponent"], row["data set"], "#333333") for _, row in sets.iterrows()]
        )
    together = correlate(x, y, called=("−1/d_data", "the exponent"))
    caption = (
        f"Over data sets, fitted and predicted exponents: {correlation(together)}. On the line the loss falls like "
        "N^(−1/d_data), below it faster; grey: n/d_data with n from 1 to 4. Bars: 95 % intervals."
    )
    return Figure("exponents", "Fitted exponents beside −1/d_data", caption, drawing.svg, drawing.pdf)
