"""Part 4: how easily networks are fooled, over the label sharpness of the data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers
from lightning_app.analysis.correlation import Correlation, correlate
from lightning_app.analysis.law import NotIdentified
from lightning_app.analysis.lines import Line, fit_line
from lightning_app.figures import drawn
from lightning_app.plain import listed
from lightning_app.report.context import Context
from lightning_app.report.drawing import domain_looks, draw_domains, key, name_points, shade
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.points import SET, common_size, means, natural_first, points
from lightning_app.report.words import correlation, interval, sign, signed

_NAME, _TITLE = "robustness", "Robustness over label sharpness"
_K, _K_PER_PIXEL = "data/K_F", "data/K_F_per_pixel"
_SHARPNESS = {_K: "K_F (pixels in [0, 1])", _K_PER_PIXEL: "K_F per pixel"}
_ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "auto": "AutoAttack"}
_ALL, _WITHIN, _FACTOR = "all data sets", "within domains", "domain as a factor"
_METHOD = (
    "Every data set is one point, the mean over its networks, class pairs and seeds (of log K_F; of the loss increase "
    "itself), so that n counts data sets. r over all of them can come from the difference between domains alone; "
    "within domains, r is that of the deviations from each domain's mean. Lines and powers go through the same points, "
    "with intervals as in part 2. K_F is that of the training subset, as in the paper."
)


@dataclass(frozen=True)
class _Over:
    """A measure of robustness over a kind of sharpness, at one training size.

    Attributes:
        measure: Its column: the loss increase under an attack, or the minimal radius.
        label: What it is, for people.
        sharpness: Column of the sharpness.
        size: The training size.
        runs: Runs that have both.
    """

    measure: str
    label: str
    sharpness: str
    size: float
    runs: pd.DataFrame

    @cached_property
    def sets(self) -> pd.DataFrame:
        """One row per data set."""
        return means(self.runs, [self.sharpness], [self.measure], by=SET)

    @cached_property
    def domains(self) -> list[str]:
        """Domains in the order of the rows."""
        return list(dict.fromkeys(self.sets["domain"]))

    @cached_property
    def correlations(self) -> dict[str, Correlation]:
        """Over all data sets, in each domain, and with the means of domains taken away."""
        x, y, domain = (self.sets[name] for name in (self.sharpness, self.measure, "domain"))
        called = _SHARPNESS[self.sharpness], self.label
        found = {_ALL: correlate(x, y, called=called)}
        if len(self.domains) > 1:
            found |= {
                f"{own} data": correlate(x[domain == own], y[domain == own], called=called) for own in self.domains
            }
            found[_WITHIN] = correlate(x, y, within=list(domain), called=called)
        return found

    @cached_property
    def powers(self) -> dict[str, Line | NotIdentified]:
        """Lines through the logarithms, over all data sets, in each domain, and with domain as a factor."""
        sets = self.sets[self.sets[self.measure] > 0]
        found = {_ALL: self._power(sets)}
        if len(self.domains) > 1:
            found |= {f"{own} data": self._power(sets[sets["domain"] == own]) for own in self.domains}
            found[_FACTOR] = self._power(sets, list(sets["domain"]))
        return found

    def _power(self, sets: pd.DataFrame, factor: list[str] | None = None) -> Line | NotIdentified:
        x, y = np.log(sets[self.sharpness]), np.log(sets[self.measure])
        try:
            return fit_line(x, y, factor=factor, called=_SHARPNESS[self.sharpness])
        except NotIdentified as error:
            return error


def make(context: Context) -> Part:
    """Make the part from the records."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    chosen = points(context, positive=(_K,))
    if chosen.frame.empty:
        return Part(_NAME, _TITLE, cannot=chosen.sentences)
    attacks, radii = _attacks(context), _radii(context)
    cannot = [*chosen.sentences, *_absent(context, attacks, radii)]
    found: dict[str, list[_Over]] = {}
    for measure, label in (attacks | radii).items():
        runs = points(context, positive=(_K,), finite=(measure,), maybe=(_K_PER_PIXEL,)).frame
        if len(runs) < len(chosen.frame):
            cannot.append(f"{len(chosen.frame) - len(runs):,} of {len(chosen.frame):,} runs have no {label}.")
        if not runs.empty:
            size, names = common_size(runs), set(runs["data"])
            runs = natural_first(runs[runs["n_train"] == size])
            if not found and (absent := sorted(names - set(runs["data"]))):
                cannot.append(
                    f"No training size is common to all data sets: N = {size:,.0f} is missing of {listed(absent)}."
                )
            kinds = [name for name in _SHARPNESS if runs[name].notna().any()]
            found[measure] = [_Over(measure, label, name, size, runs[runs[name].notna()]) for name in kinds]
    if not found:
        return Part(_NAME, _TITLE, cannot=tuple(cannot))
    if all(len(kinds) < len(_SHARPNESS) for kinds in found.values()):
        cannot.append(f"No run has {_K_PER_PIXEL}.")
    main = next(iter(found.values()))
    if reason := main[0].correlations[_ALL].reason:
        cannot.append(f"{main[0].label[0].upper()}{main[0].label[1:]} over K_F: {reason}.")
    shown = [*main, *(kinds[0] for name, kinds in found.items() if name in radii and kinds is not main)]
    everything = [over for kinds in found.values() for over in kinds]
    return Part(
        _NAME,
        _TITLE,
        (_finding(main[0]), *_power_words(main[0]), _METHOD) if main[0].correlations[_ALL].r is not None else (),
        tuple(_figure(over) for over in shown),
        (_correlation_table(everything, main), _power_table(everything, main)),
        tuple(cannot),
    )


def _attacks(context: Context) -> dict[str, str]:
    """Columns of loss increases with their labels, that of the chosen attack first."""
    names = [found[1] for name in context.fits if (found := re.fullmatch("robust/(.+)/loss_increase", str(name)))]
    there = [name for name in names if np.isfinite(numbers(context.fits, _increase(name))).any()]

    def place(name: str) -> tuple[bool, str, float]:
        attack, _, eps = name.rpartition("_")
        return name != context.attack, attack, float(eps) if re.fullmatch(r"\d+(\.\d+)?", eps) else 0.0

    return {_increase(name): f"loss increase under {_attack(name)}" for name in sorted(there, key=place)}


def _increase(attack: str) -> str:
    return f"robust/{attack}/loss_increase"


def _attack(name: str) -> str:
    attack, _, eps = name.rpartition("_")
    return f"{_ATTACKS[attack]}, ε = {eps}/255" if attack in _ATTACKS else name


def _radii(context: Context) -> dict[str, str]:
    """Columns of minimal radii with their labels."""
    names = [str(name) for name in context.fits if re.fullmatch("robust/radius.*(?<!_stderr)", str(name))]
    there = [name for name in names if np.isfinite(numbers(context.fits, name)).any()]
    return {name: f"minimal radius ({name.removeprefix('robust/')})" for name in sorted(there)}


def _absent(context: Context, attacks: dict[str, str], radii: dict[str, str]) -> Iterator[str]:
    if not attacks:
        yield "No finished run has a loss increase under attack: the callback AdversarialRobustness logs it."
    elif _increase(context.attack) not in attacks:
        yield f"No finished run has {_increase(context.attack)}: the figures show {next(iter(attacks.values()))}."
    if not radii:
        yield "No finished run has a minimal radius (robust/radius…)."


def _finding(over: _Over) -> str:
    every = over.correlations
    text = f"At N = {over.size:,.0f}, {over.label} over {_SHARPNESS[over.sharpness]}: "
    text += f"{correlation(every[_ALL])} over {_ALL}"
    if _WITHIN in every:
        text += f", {correlation(every[_WITHIN])} {_WITHIN}"
        text += "" if every[_ALL].r is None else f": {_verdict(every[_ALL], every[_WITHIN])}"
    return f"{text}."


def _verdict(overall: Correlation, within: Correlation) -> str:
    """What the difference between domains has to do with it."""
    outside, inside = sign(overall), sign(within)
    if outside is None:
        return "data sets are too few to tell"
    if not outside:
        return (
            "inside domains they go together, which the difference between domains hides"
            if inside
            else "neither overall nor within domains can r be told from 0"
        )
    if inside == outside:
        return "it is not the difference between domains alone"
    if inside:
        return "inside domains it is the other way round: the overall r comes from the difference between domains"
    return "the overall r may come from the difference between domains alone"


def _power_words(over: _Over) -> Iterator[str]:
    lines = {name: line for name, line in over.powers.items() if isinstance(line, Line)}
    if _ALL in lines:
        text = "; ".join(
            f"{name} {signed(line.slope.value)} ({interval(line.slope.low, line.slope.high)})"
            for name, line in lines.items()
        )
        yield f"The {over.label} goes like {_SHARPNESS[over.sharpness]} to a power of: {text}."


def _figure(over: _Over) -> Figure:
    sets, looks = over.sets, domain_looks(over.sets["domain"])
    x, y = over.sharpness, over.measure
    unit = "" if y.startswith("robust/radius") else " (nats)"
    with drawn(_SHARPNESS[x], f"{over.label}{unit}", size=(6.4, 4.4)) as (axes, drawing):
        draw_domains(axes, looks, means(over.runs, [x], [y]), sets, x, y)
        for domain, look in looks.items():
            own = sets[sets["domain"] == domain]
            try:
                line = fit_line(own[x], own[y])
            except NotIdentified:
                continue
            at = np.linspace(own[x].min(), own[x].max(), 25)
            value, low, high = line.band(at)
            axes.plot(at, value, color=look.colour, ls=look.line)
            shade(axes, at, low, high, look)
        key(axes, looks)
        name_points(axes, [(row[x], row[y], row["data"], "#333333") for _, row in sets.iterrows()])
    name = f"{y.removeprefix('robust/')}-over-{x.removeprefix('data/')}".replace("/", "-").replace("_", "-").lower()
    inside = "; ".join(
        f"{among} {correlation(found)}" for among, found in over.correlations.items() if among not in (_ALL, _WITHIN)
    )
    caption = (
        f"{_finding(over)}{inside and f' By domain: {inside}.'} Large: means of data sets; small: networks and class "
        "pairs; lines: least squares through the large ones, with 95 % bands."
    )
    return Figure(
        name, f"{over.label[0].upper()}{over.label[1:]} over {_SHARPNESS[x]}", caption, drawing.svg, drawing.pdf
    )


def _correlation_table(everything: list[_Over], main: list[_Over]) -> Table:
    rows = [
        _labels(over) | {"among": among, "r": found.r, "95 % low": found.low, "95 % high": found.high, "p": found.p,
        "Spearman’s ρ": found.spearman, "data sets": found.n, "without": found.reason}
        for over in everything for among, found in over.correlations.items()
    ]  # fmt: skip
    note = "One point per data set. Exact t test; interval by Fisher’s transformation."
    return _table("robustness-correlations", "Correlation of robustness and sharpness", rows, note, main, "r")


def _power_table(everything: list[_Over], main: list[_Over]) -> Table:
    rows = []
    for over in everything:
        for among, line in over.powers.items():
            slope = line.slope if isinstance(line, Line) else None
            rows.append(
                _labels(over) | {
                    "among": among,
                    "power": slope and slope.value,
                    "95 % low": slope and slope.low,
                    "95 % high": slope and slope.high,
                    "df": slope and slope.df,
                    "p": slope and slope.p,
                    "data sets": line.groups if isinstance(line, Line) else None,
                    "without": line.note if isinstance(line, Line) else str(line),
                }
            )  # fmt: skip
    note = "Slope of the logarithms; means of data sets that are 0 or less have none and are not in it."
    return _table("robustness-powers", "Robustness as a power of sharpness", rows, note, main, "power")


def _table(name: str, title: str, rows: list[dict[str, Any]], note: str, main: list[_Over], needs: str) -> Table:
    """The page shows the rows of the first measure, which come first."""
    frame = pd.DataFrame(rows)
    shown = int((frame["measure"] == main[0].label).sum())
    return Table(
        name, f"{title}: {main[0].label}, N = {main[0].size:,.0f}", frame, note, shown, ("measure", "N"), needs
    )


def _labels(over: _Over) -> dict[str, Any]:
    return {"measure": over.label, "over": _SHARPNESS[over.sharpness], "N": over.size}
