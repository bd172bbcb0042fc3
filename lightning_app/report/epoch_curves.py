"""d_repr of the penultimate layer over epochs of training."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lightning_app.analysis.profiles import Array, Mean, mean_by_domain, on_grid
from lightning_app.figures import drawn
from lightning_app.report.drawing import domain_looks, key, shade
from lightning_app.report.part import Figure, Table
from lightning_app.report.sections import Section, sentence
from lightning_app.report.words import signed

_D = "repr/d_mle"
_MOST = 200  # points of a curve
_WHERE = "d_repr over epochs"
_MEND = "The callback RepresentationDimension logs d_repr at every epoch."


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
    usual = _of_usual_length(logged[["row", "epoch", _D]], runs)
    cannot = []
    if others := logged["row"].nunique() - usual["row"].nunique():
        cannot.append(f"{_WHERE}: runs left out, longer or shorter than most on the same data set: {others:,}.")
    first, last = int(usual["epoch"].min()), int(usual["epoch"].max())
    if first == last:
        return Section(cannot=(*cannot, f"{_WHERE}: it was logged after one epoch only, {last}. {_MEND}"))
    epochs = np.unique(np.linspace(first, last, min(_MOST, last - first + 1)).round())
    values = on_grid(usual["row"], usual["epoch"], usual[_D], epochs)
    means = mean_by_domain(values, runs.iloc[: len(values)])
    apart = [domain for domain, mean in means.items() if np.isfinite(mean.value).sum() < 2]
    cannot += [f"{_WHERE}: no two epochs are common to all {domain} data sets." for domain in apart]
    changes = [_change(domain, epochs, mean) for domain, mean in means.items() if domain not in apart]
    findings = (f"d_repr (MLE) changes by {', by '.join(changes)}",) if changes else ()
    with drawn("epochs of training", "d_repr, MLE (degrees of freedom)", size=(6.4, 4.0)) as (axes, drawing):
        draw_means(axes, epochs, means)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    how = "Penultimate layer. Thick: means of domains ± standard error over data sets; thin: data sets."
    caption = " ".join([*map(sentence, findings), how])
    title = "Representation over epochs"
    table = Table(
        "representation-over-epochs",
        "Representation over epochs, by data set",
        pd.DataFrame(_rows(epochs, means)),
        "Means over the networks of a data set: at the first and the last epoch that all of them have, and at most.",
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


def _of_usual_length(logged: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs that end when most runs of their data set do, so that no mean jumps where some of them end."""
    last = logged.groupby("row")["epoch"].max()
    data = runs["data"].iloc[last.index].to_numpy()
    alike = last.groupby([data, last.to_numpy()]).transform("size") + last / (1 + last.max())  # of as many, the longer
    return logged[logged["row"].isin(last.index[alike == alike.groupby(data).transform("max")])]


def _change(domain: str, epochs: Array, mean: Mean) -> str:
    """From the first to the last epoch of all data sets."""
    there = np.flatnonzero(np.isfinite(mean.value))
    start, end = there[0], there[-1]
    changes = np.array([own[end] - own[start] for own in mean.sets.values()])
    error = f" ± {changes.std(ddof=1) / np.sqrt(len(changes)):.2g}" if len(changes) > 1 else ""
    return (
        f"{signed(float(changes.mean()))}{error} in {domain} data ({mean.value[start]:.3g} after epoch "
        f"{epochs[start]:.0f}, {mean.value[end]:.3g} after epoch {epochs[end]:.0f}; "
        f"{len(changes)} data set{'s' * (len(changes) != 1)})"
    )


def _rows(epochs: Array, means: dict[str, Mean]) -> Iterator[dict[str, object]]:
    for domain, mean in means.items():
        for data, own in mean.sets.items():
            there = np.flatnonzero(np.isfinite(own))
            if len(there):
                highest = there[own[there].argmax()]
                yield {
                    "data set": data,
                    "domain": domain,
                    "first epoch": int(epochs[there[0]]),
                    "d_repr then": own[there[0]],
                    "last epoch": int(epochs[there[-1]]),
                    "d_repr at the end": own[there[-1]],
                    "epoch of the highest": int(epochs[highest]),
                    "highest d_repr": own[highest],
                }
