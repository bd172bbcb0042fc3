"""d_repr over the depth of networks: profiles, and where they peak."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lightning_app.analysis.lines import fit_line
from lightning_app.analysis.profiles import FEWEST, Array, Mean, mean_by_domain, on_grid, peaks
from lightning_app.figures import drawn
from lightning_app.report.drawing import domain_looks, key, looks, panels, short
from lightning_app.report.epoch_curves import draw_means
from lightning_app.report.part import Figure, Table
from lightning_app.report.sections import Section, sentence
from lightning_app.report.words import interval, signed

PUBLISHED = {"natural": 0.57, "radiology": 0.35, "medical": 0.35}
"""Relative depth of the peak by domain: arXiv 2408.08381, by TwoNN, on the paper's data sets and networks."""

_ESTIMATORS = {"twonn": "TwoNN", "mle": "MLE"}  # the first that was logged is shown: the published peaks are by TwoNN
_SOURCE = "arXiv 2408.08381"
_DEPTHS = np.linspace(0, 1, 101)
_DEPTH = "relative depth (share of the network's weight layers)"
_MOMENTS = 4  # of training, whose profiles are shown
_MOST_SETS = 40  # in a figure with a line for each
_ROUNDING = 1e-9
_WHERE = "d_repr over depth"
_MEND = (
    "`--trainer.callbacks+ RepresentationDimension --trainer.callbacks.layers profile` logs that of every stage of the "
    "network, with its relative depth."
)
_PEAKS = (
    "The layer with the highest d_repr of every run that has three layers or more; ± is the standard error over data "
    "sets, spread their standard deviation. Layers are few: a peak is known to no better than half the distance "
    "between them, and one at the first or last layer may lie further out. Features are flattened; the pooled "
    "penultimate layer, whose depth is not logged, is no part of it."
)
_KEYS = ["domain", "data", "backbone"]


@dataclass(frozen=True)
class _Layers:
    """d_repr of single layers, one below the other: ``(n,)`` each, ``run`` by the number of its row."""

    run: NDArray[np.int64]
    depth: Array
    d: Array

    def profiles(self, runs: pd.DataFrame) -> dict[str, Mean]:
        """The mean profile of every domain."""
        values = on_grid(self.run, self.depth, self.d, _DEPTHS)
        return mean_by_domain(values, runs.iloc[: len(values)])


def over_depth(curves: pd.DataFrame, runs: pd.DataFrame) -> Section:
    """Show d_repr over depth at the end of training, where it peaks, and how the profile forms.

    Args:
        curves: What was logged after each epoch: ``row`` of the run, ``epoch``, ``repr/<layer>/d_mle`` and ``…/depth``.
        runs: The runs: data, domain, backbone, and the same names with their values at the end.
    """
    layers = {name: _layers(runs.assign(row=np.arange(len(runs))), name) for name in _ESTIMATORS}
    found = {name: _peaks(layers[name], runs) for name in _ESTIMATORS}
    known = {name: sets for name, sets in found.items() if not sets.empty}
    if not known:
        return Section(cannot=(f"{_WHERE}: no finished run has logged it of three layers or more. {_MEND}",))
    estimator, sets = next(iter(known.items()))
    domains = pd.concat([_domains(own, name) for name, own in known.items()], ignore_index=True)
    finding = _finding(domains[domains["estimator"] == _ESTIMATORS[estimator]], sets)
    shown = (_profiles(layers[estimator], runs, estimator), _peaks_of_sets(sets, finding), _moments(curves, runs))
    lacking = len(runs) - int(sets["runs"].sum())
    cannot = [f"{_WHERE}: {lacking:,} of {len(runs):,} finished runs have no three layers. {_MEND}"] if lacking else []
    return Section(
        (finding,),
        tuple(figure for section in shown for figure in section.figures),
        (
            Table("peaks", "Where d_repr peaks, by domain", domains, _PEAKS),
            Table("peaks-of-data-sets", "Where d_repr peaks, by data set", _table(known), shown=_MOST_SETS),
        ),
        (*cannot, *(why for section in shown for why in section.cannot)),
    )


def _layers(frame: pd.DataFrame, estimator: str) -> _Layers:
    """Every layer that has d_repr and a depth, of rows with the number of their run in ``row``."""
    parts = [pd.DataFrame({"run": [], "depth": [], "d": []}, dtype=np.float64)]
    for name in frame.columns:
        layer = re.fullmatch(f"(repr/.+)/d_{estimator}", name)
        if layer and f"{layer[1]}/depth" in frame:
            part = frame[["row", f"{layer[1]}/depth", name]].set_axis(["run", "depth", "d"], axis=1)
            parts.append(part[np.isfinite(part["depth"]) & np.isfinite(part["d"]) & (part["d"] > 0)])
    whole = pd.concat(parts)
    return _Layers(
        whole["run"].to_numpy(np.int64), whole["depth"].to_numpy(np.float64), whole["d"].to_numpy(np.float64)
    )


def _peaks(layers: _Layers, runs: pd.DataFrame) -> pd.DataFrame:
    """The peak of every data set: the mean over its networks of means over runs."""
    found = peaks(layers.run, layers.depth, layers.d)
    single = runs.iloc[found.index][_KEYS].set_axis(found.index).join(found)
    networks = single.groupby(_KEYS, sort=False)[["x", "y", "at_end", "gap"]].mean()
    sets = networks.groupby(level=_KEYS[:2], sort=False).mean()
    of_sets = single.groupby(_KEYS[:2], sort=False)
    return sets.assign(runs=of_sets.size(), scatter=of_sets["x"].std()).reset_index()


def _domains(sets: pd.DataFrame, estimator: str) -> pd.DataFrame:
    of_domains = sets.groupby("domain", sort=False)
    depth = of_domains["x"]
    columns = {
        "estimator": _ESTIMATORS[estimator],
        "data sets": depth.size(),
        "runs": of_domains["runs"].sum(),
        "depth of the peak": depth.mean(),
        "±": depth.sem(),
        "spread": depth.std(),
        "lowest": depth.min(),
        "highest": depth.max(),
        "distance between layers": of_domains["gap"].mean(),
        "at the first or last layer": of_domains["at_end"].mean(),
    }
    table = pd.DataFrame(columns).reset_index()
    return table.assign(**{f"{_SOURCE} (TwoNN)": table["domain"].map(PUBLISHED)})


def _table(known: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per estimator and data set."""
    names = {
        "data": "data set",
        "domain": "domain",
        "runs": "runs",
        "x": "depth of the peak",
        "scatter": "spread over runs",
        "y": "d_repr there",
        "gap": "distance between layers",
        "at_end": "at the first or last layer",
    }
    tables = [
        sets[list(names)].rename(columns=names).assign(estimator=_ESTIMATORS[name]) for name, sets in known.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _finding(domains: pd.DataFrame, sets: pd.DataFrame) -> str:
    """Where the peaks of domains lie, and how far apart."""
    clauses = []
    for _, row in domains.iterrows():
        error = f" ± {row['±']:.2g}" if row["±"] > _ROUNDING else ""
        published = PUBLISHED.get(row["domain"])
        beside = f" ({_SOURCE}: {published:g})" if published else ""
        clauses.append(f"{row['depth of the peak']:.2f}{error} in {row['domain']} data{beside}")
    text = f"over depth, d_repr ({domains['estimator'].iloc[0]}) peaks at {', at '.join(clauses)}"
    if len(domains) == 2 and (domains["±"] > _ROUNDING).any():  # at one layer everywhere, no error is known
        one, other = domains["domain"]
        slope = fit_line((sets["domain"] == one).to_numpy(np.float64), sets["x"]).slope
        text += f"; {one} less {other}: {signed(slope.value)} ({interval(slope.low, slope.high)})"
    return text


def _profiles(layers: _Layers, runs: pd.DataFrame, estimator: str) -> Section:
    means, name = layers.profiles(runs), _ESTIMATORS[estimator]
    with drawn(_DEPTH, f"d_repr, {name} (degrees of freedom)", size=(6.4, 4.0)) as (axes, drawing):
        draw_means(axes, _DEPTHS, means)
        axes.set_xlim(0, 1)
    how = "At the end of training. Thick: means of domains ± standard error over data sets; thin: data sets."
    caption = " ".join([*_courses(means), how])
    figure = Figure(
        "representation-over-depth", f"Representation over depth, {name}", caption, drawing.svg, drawing.pdf
    )
    apart = [domain for domain, mean in means.items() if not np.isfinite(mean.value).any()]
    return Section((), (figure,), (), tuple(f"{_WHERE}: no depth is common to all {name} data sets." for name in apart))


def _courses(means: Mapping[str, Mean]) -> Iterator[str]:
    for domain, mean in means.items():
        there = np.flatnonzero(np.isfinite(mean.value))
        if len(there):
            ends = (f"{mean.value[i]:.3g} at depth {_DEPTHS[i]:.2f}" for i in (there[0], there[-1]))
            yield f"The mean of {domain} data goes from {' to '.join(ends)}; its highest is {_highest(mean)}."


def _highest(mean: Mean) -> str:
    place = int(np.nanargmax(mean.value))
    return f"{mean.value[place]:.3g} at depth {_DEPTHS[place]:.2f}"


def _peaks_of_sets(sets: pd.DataFrame, finding: str) -> Section:
    if len(sets) > _MOST_SETS:
        why = f"{len(sets)} data sets are too many for a figure of their peaks: see the table"
        return Section(cannot=(f"{_WHERE}: {why}.",))
    ordered = sets.iloc[::-1].reset_index(drop=True)
    styles = domain_looks(sets["domain"])
    with drawn(_DEPTH, "", size=(6.4, 1.4 + 0.24 * len(sets))) as (axes, drawing):
        for domain, look in styles.items():
            own = ordered[ordered["domain"] == domain]
            axes.errorbar(own["x"], own.index, xerr=own["scatter"].fillna(0), elinewidth=1, **look.points)
            if domain in PUBLISHED:
                axes.axvline(PUBLISHED[domain], color=look.colour, ls=look.line, lw=1)
        axes.set(xlim=(0, 1), ylim=(-0.7, len(ordered) - 0.3))
        axes.set_yticks(ordered.index, [short(name) for name in ordered["data"]])
        published = {_SOURCE: Line2D([], [], color="#444444", lw=1)} if styles.keys() & PUBLISHED else {}
        key(axes, {**styles, **published})
    caption = (
        f"{sentence(finding)} Layers lie {sets['gap'].mean():.2f} apart: no peak is known better than to half of that. "
        f"{sets['at_end'].mean():.0%} lie at the first or last layer measured, and may be further out. "
        "Points: means of data sets; bars: standard deviation over their runs."
    )
    return Section(figures=(Figure("peaks", "Where d_repr peaks", caption, drawing.svg, drawing.pdf),))


def _moments(curves: pd.DataFrame, runs: pd.DataFrame) -> Section:
    """Mean profiles after some epochs that all data sets have: a panel per domain."""
    names = [name for name in curves.columns if re.fullmatch("repr/.+/d_mle", name)]
    rows = curves[(curves[names] > 0).sum(axis=1) >= FEWEST] if names else curves[:0]
    seen = pd.DataFrame({"epoch": rows["epoch"], "data": runs["data"].to_numpy()[rows["row"]]}).drop_duplicates()
    sets = seen.groupby("epoch").size()
    common = sets.index[sets == seen["data"].nunique()].to_numpy()
    if len(common) < 2:
        why = "there are no two epochs after which all data sets have logged it of three layers or more"
        return Section(cannot=(f"{_WHERE}, epoch by epoch: {why}. {_MEND}",))
    chosen = common[np.unique(np.geomspace(1, len(common), _MOMENTS).round().astype(int)) - 1]
    epochs = [str(epoch) for epoch in chosen]
    profiles = {str(epoch): _layers(rows[rows["epoch"] == epoch], "mle").profiles(runs) for epoch in chosen}
    first, last = profiles[epochs[0]], profiles[epochs[-1]]
    domains = [domain for domain in first if all(np.isfinite(each[domain].value).any() for each in profiles.values())]
    if not domains:
        return Section(cannot=(f"{_WHERE}, epoch by epoch: no depth is common to all data sets of a domain.",))
    styles = {epoch: {"color": look.colour, "ls": look.line} for epoch, look in looks(epochs).items()}
    with panels(len(domains), _DEPTH, "d_repr, MLE\n(degrees of freedom)", across=2) as (several, drawing):
        for axes, domain in zip(several, domains, strict=True):
            for epoch, style in styles.items():
                axes.plot(_DEPTHS, profiles[epoch][domain].value, **style)
            axes.set_title(short(domain), fontsize=9)
            axes.set_xlim(0, 1)
            axes.set_xticks([0.25, 0.5, 0.75])
            axes.set_ylim(bottom=0)
        key(several[0], {f"epoch {epoch}": Line2D([], [], **style) for epoch, style in styles.items()})
    moved = [f"from {_highest(first[domain])} to {_highest(last[domain])} in {domain} data" for domain in domains]
    caption = f"Between epoch {epochs[0]} and {epochs[-1]} the highest point of the mean goes {', '.join(moved)}."
    figure = Figure("profiles-over-epochs", "How the profile forms, MLE", caption, drawing.svg, drawing.pdf)
    return Section(figures=(figure,))
