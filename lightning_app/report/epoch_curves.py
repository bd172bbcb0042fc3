"""d_repr of the penultimate layer while networks train."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lightning_app.analysis.profiles import Array, Mean, mean_by_domain, on_grid
from lightning_app.figures import drawn
from lightning_app.report.context import count
from lightning_app.report.drawing import domain_looks, key, shade
from lightning_app.report.part import Figure, Table
from lightning_app.report.sections import Section, sentence
from lightning_app.report.words import signed

_D = "repr/d_mle"
_SHARES = np.arange(101) / 100  # of training; 1 is its last epoch
_WHERE = "d_repr over epochs"
_MEND = "The callback RepresentationDimension logs d_repr as a run trains."


def over_epochs(curves: pd.DataFrame, runs: pd.DataFrame, no_curves: str) -> Section:
    """Show how d_repr changes while networks train.

    Args:
        curves: What was logged after each epoch: ``row`` of the run, ``epoch``, ``repr/d_mle``.
        runs: The runs: data, domain, backbone.
        no_curves: Why there may be none.
    """
    logged = curves[np.isfinite(curves[_D]) & (curves[_D] > 0)] if _D in curves else curves[:0]
    if logged.empty:
        return Section(cannot=(f"{_WHERE}: {no_curves or f'no finished run has logged any. {_MEND}'}",))
    several = logged[logged.groupby("row")["epoch"].transform("nunique") > 1]
    cannot = []
    if others := logged["row"].nunique() - several["row"].nunique():
        cannot.append(f"{_WHERE}: runs left out, which logged it after one epoch only: {others:,}.")
    if several.empty:
        return Section(cannot=(*cannot, f"{_WHERE}: no run has logged it twice. {_MEND}"))
    last = curves.groupby("row")["epoch"].max()
    values = on_grid(several["row"], several["epoch"] / several["row"].map(last), several[_D], _SHARES)
    means = mean_by_domain(_common(values, runs), runs.iloc[: len(values)])
    apart = [domain for domain, mean in means.items() if np.isfinite(mean.value).sum() < 2]
    cannot += [f"{_WHERE}: no share of training is common to all {domain} data sets." for domain in apart]
    changes = [_change(domain, mean) for domain, mean in means.items() if domain not in apart]
    findings = (f"d_repr (MLE) changes by {', by '.join(changes)}",) if changes else ()
    with drawn(
        "share of training (epoch / last epoch of the run)", "d_repr, MLE (degrees of freedom)", size=(6.4, 4.0)
    ) as (axes, drawing):
        draw_means(axes, _SHARES, means)
        axes.set_xlim(0, 1)
    lengths = last[several["row"].unique()]
    span = " to ".join(dict.fromkeys(f"{end:,}" for end in (lengths.min(), lengths.max())))
    how = (
        f"{count(len(lengths), 'run')} of {span} epochs, penultimate layer. Thick: means of domains ± standard error "
        "over data sets; thin: data sets."
    )
    caption = " ".join([*map(sentence, findings), how])
    title = "Representation over epochs"
    table = Table(
        "representation-over-epochs",
        "Representation over epochs, by data set",
        pd.DataFrame(_rows(means)),
        "Means over the networks of a data set, at shares of training: the first and the last of all its runs.",
    )
    figure = Figure("representation-over-epochs", title, caption, drawing.svg, drawing.pdf)
    return Section(findings, (figure,), (table,), tuple(cannot))


def draw_means(axes: Axes, x: Array, means: dict[str, Mean]) -> None:
    """Draw the means of domains with their standard errors, and the curves of data sets; y begins at 0."""
    looks = domain_looks(means)
    for domain, mean in means.items():
        look = looks[domain]
        for own in mean.sets.values():
            axes.plot(x, own, color=look.colour, ls=look.line, lw=0.7, alpha=0.5)
        axes.plot(x, mean.value, color=look.colour, ls=look.line, lw=2.2)
        if len(mean.sets) > 1:
            shade(axes, x, mean.value - mean.stderr, mean.value + mean.stderr, look)
    axes.set_ylim(bottom=0)
    key(axes, {domain: Line2D([], [], color=look.colour, ls=look.line, lw=2.2) for domain, look in looks.items()})


def _common(values: Array, runs: pd.DataFrame) -> Array:
    """Curves where all runs of their data set have a value, so that no mean jumps where some of them begin."""
    some = np.isfinite(values).any(axis=1)
    data = runs["data"].to_numpy()[: len(values)][some]
    everywhere = pd.DataFrame(np.isfinite(values[some])).groupby(data).transform("all").to_numpy()
    found = np.full_like(values, np.nan)
    found[some] = np.where(everywhere, values[some], np.nan)
    return found


def _change(domain: str, mean: Mean) -> str:
    """From the first to the last share of training that all data sets have."""
    there = np.flatnonzero(np.isfinite(mean.value))
    start, end = there[0], there[-1]
    changes = np.array([own[end] - own[start] for own in mean.sets.values()])
    error = f" ± {changes.std(ddof=1) / np.sqrt(len(changes)):.2g}" if len(changes) > 1 else ""
    return (
        f"{signed(float(changes.mean()))}{error} in {domain} data ({mean.value[start]:.3g} after "
        f"{_SHARES[start]:.0%} of training, {mean.value[end]:.3g} after {_SHARES[end]:.0%}; "
        f"{len(changes)} data set{'s' * (len(changes) != 1)})"
    )


def _rows(means: dict[str, Mean]) -> Iterator[dict[str, object]]:
    for domain, mean in means.items():
        for data, own in mean.sets.items():
            there = np.flatnonzero(np.isfinite(own))
            if len(there):
                highest = there[own[there].argmax()]
                yield {
                    "data set": data,
                    "domain": domain,
                    "first share": _SHARES[there[0]],
                    "d_repr then": own[there[0]],
                    "last share": _SHARES[there[-1]],
                    "d_repr at the end": own[there[-1]],
                    "share of the highest": _SHARES[highest],
                    "highest d_repr": own[highest],
                }
