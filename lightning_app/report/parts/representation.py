"""Part 5: the dimension of the representation, beside test loss and beside the dimension of the data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from lightning_app.analysis.lines import Line
from lightning_app.figures import drawn
from lightning_app.plain import listed
from lightning_app.report.context import Context
from lightning_app.report.drawing import domain_looks, key, name_points
from lightning_app.report.loss_lines import LOSS, SLOPE, Fitted, draw, fit, fit_domains, found, lacks, slope_columns
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.points import CELL, common_size, means, natural_first, points
from lightning_app.report.sections import Section, as_part, sentence
from lightning_app.report.words import FEWEST_DF, ROUGH, trend

_NAME, _TITLE = "representation", "Dimension of the representation"
_ESTIMATORS = {"mle": "MLE", "twonn": "TwoNN"}
_MOST_POINTS = 600  # in a figure; beyond, means stand for runs
_SHOWN = 40  # rows of a table on the page
_CLEARLY = 1.96
_NETWORK = ["data", "domain", "backbone"]
_TASK = ["data", "domain", "pair"]
_NETWORKS = "from network to network on one data set"
_MEASURED = (
    "d_repr is the intrinsic dimension of the penultimate layer's pooled features of the training images, at the end "
    "of training; d_data is that of the same images as pixels, by the same estimator, if RepresentationDimension took "
    "all of them, as it does by default, and the same k. Clearly above is by more than 1.96 combined standard errors, "
    "taken for independent; both see the same images, and where their errors go together, the difference scatters less "
    "than that. Runs without a standard error are not counted as clear."
)


def make(context: Context) -> Part:
    """Make the part from the records."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    estimators = [name for name in _ESTIMATORS if not points(context, positive=(f"repr/d_{name}",)).frame.empty]
    if not estimators:
        why = "No finished run has d_repr: the callback RepresentationDimension logs it."
        return Part(_NAME, _TITLE, cannot=(why,))
    return as_part(_NAME, _TITLE, [_beside_loss(context, estimators[0]), _beside_data(context, estimators)], _MEASURED)


def _beside_loss(context: Context, estimator: str) -> Section:
    d, name = f"repr/d_{estimator}", _ESTIMATORS[estimator]
    chosen = points(context, positive=(LOSS, d))
    cannot = [f"Test loss over d_repr: {why}" for why in chosen.sentences]
    if chosen.frame.empty:
        return Section(cannot=tuple(cannot))
    frame = natural_first(chosen.frame)
    size = common_size(frame)
    shown = frame[frame["n_train"] == size]
    lines, networks = fit_domains(shown, d), _between_networks(shown, d)
    cannot += [f"Over d_repr, {domain}: {why}." for domain, line in lines.items() if (why := lacks(line))]
    if why := lacks(networks):
        cannot.append(f"Over d_repr, {_NETWORKS}: {why}.")
    if absent := sorted(set(frame["data"]) - set(shown["data"])):
        cannot.append(f"No training size is common to all data sets: N = {size:,.0f} is missing of {listed(absent)}.")
    does = [found(lines)] if found(lines) else []
    if isinstance(networks, Line):
        df = networks.slope.df
        rough = f" ({ROUGH.format(df)})" if df is not None and df < FEWEST_DF else ""
        does.append(f"{trend(networks.slope, 'per dimension', _NETWORKS)}{rough}")
    findings = (f"at N = {size:,.0f}, log test loss over d_repr {'; '.join(does)}",) if does else ()
    label = f"d_repr, {name} (degrees of freedom, penultimate layer)"
    drawing = draw(shown, d, label, lines)
    how = "Lines: through the means of data sets (large). Small: networks and class pairs."
    caption = " ".join([*map(sentence, findings or (f"N = {size:,.0f}",)), how])
    figure = Figure("loss-over-representation", f"Test loss over d_repr, {name}", caption, drawing.svg, drawing.pdf)
    return Section(findings, (figure,), (_slopes(frame, d, name),), tuple(cannot))


def _between_networks(shown: pd.DataFrame, d: str) -> Fitted:
    """The slope from network to network on one task."""
    cells = means(shown, [LOSS, d])
    inside = cells.assign(domain="all", **{d: cells[d] - cells.groupby(_TASK)[d].transform("mean")})
    return fit(inside, d, list(cells["data"]))


def _slopes(frame: pd.DataFrame, d: str, name: str) -> Table:
    rows = []
    for n, at in frame.groupby("n_train"):
        lines = fit_domains(at, d)
        fits = [("data sets", domain, line) for domain, line in lines.items()]
        fits.append(("networks", "all", _between_networks(at, d)))
        rows += [{"N": n, "between": what, "domain": domain} | slope_columns(line) for what, domain, line in fits]
    return Table(
        "slopes-over-representation",
        f"Slopes of log test loss over d_repr, {name}",
        pd.DataFrame(rows),
        "Change of log L per dimension. Between data sets: as in part 2. Between networks on one data set and class "
        "pair, which is another question: d_repr less its mean there, with a random intercept per data set, "
        "cluster-robust (CR2, Bell–McCaffrey), whose intervals are rough below 4 degrees of freedom.",
        shown=_SHOWN,
        needs=SLOPE,
    )


def _beside_data(context: Context, estimators: list[str]) -> Section:
    cannot, compared = [], {}
    for estimator in estimators:
        sides = (f"data/d_{estimator}", f"repr/d_{estimator}")
        chosen = points(context, positive=sides, maybe=[f"{side}_stderr" for side in sides])
        cannot += [f"d_repr beside d_data, {_ESTIMATORS[estimator]}: {why}" for why in chosen.sentences]
        if not chosen.frame.empty:
            compared[estimator] = _compared(natural_first(chosen.frame), *sides)
    if not compared:
        return Section(cannot=tuple(cannot))
    figures = tuple(_figure(runs, _ESTIMATORS[estimator]) for estimator, runs in compared.items())
    finding = ", ".join(_counted(runs, _ESTIMATORS[estimator]) for estimator, runs in compared.items())
    return Section((f"d_repr exceeds d_data {finding}",), figures, (_table(compared),), tuple(cannot))


def _compared(runs: pd.DataFrame, d_data: str, d_repr: str) -> pd.DataFrame:
    """The runs with d_data, d_repr, their ratio, whether d_repr is above, and whether clearly (NaN: nobody knows)."""
    error = (runs[f"{d_data}_stderr"] ** 2 + runs[f"{d_repr}_stderr"] ** 2) ** 0.5
    above = runs[d_repr] - runs[d_data]
    clearly = (above > _CLEARLY * error).astype("float64").where(error.notna())
    sides = {"d_data": runs[d_data], "d_repr": runs[d_repr], "ratio": runs[d_repr] / runs[d_data]}
    return runs[CELL].assign(**sides, above=above > 0, clearly=clearly)


def _counted(runs: pd.DataFrame, name: str) -> str:
    """How often d_repr is above d_data."""
    count, known = int(runs["above"].sum()), int(runs["clearly"].count())
    text = f"in {count:,} of {len(runs):,} runs by {name}"
    if not known:
        return f"{text} (no standard errors)"
    among = "" if known == len(runs) else f" of the {known:,} with standard errors"
    return f"{text} (clearly in {int(runs['clearly'].sum()):,}{among})"


def _figure(runs: pd.DataFrame, name: str) -> Figure:
    single = len(runs) <= _MOST_POINTS
    shown = runs if single else means(runs, ["d_data", "d_repr"], by=_NETWORK)
    looks = domain_looks(shown["domain"])
    low, high = (float(end(shown[["d_data", "d_repr"]].to_numpy())) for end in (np.min, np.max))
    edge = 0.06 * (high - low or high)
    ends = [max(0.0, low - edge), high + edge]
    with drawn(f"d_data, {name} (degrees of freedom)", f"d_repr, {name} (degrees of freedom)", size=(4.8, 4.8)) as (
        axes,
        drawing,
    ):
        axes.plot(ends, ends, color="#444444", lw=1)
        for domain, look in looks.items():
            own = shown[shown["domain"] == domain]
            axes.plot(own["d_data"], own["d_repr"], **look.points, ms=4.5, alpha=0.7, mew=0)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        key(axes, looks | {"y = x": Line2D([], [], color="#444444", lw=1)})
        tops = shown.loc[shown.groupby("data")["d_repr"].idxmax()]
        name_points(axes, [(row["d_data"], row["d_repr"], row["data"], "#333333") for _, row in tops.iterrows()])
    ratios = [f"{own['ratio'].median():.2f} in {domain} data" for domain, own in runs.groupby("domain", sort=False)]
    of_what = "a run" if single else "the mean of the runs of a network on a data set"
    caption = (
        f"d_repr exceeds d_data {_counted(runs, name)}; the median of d_repr / d_data is {', '.join(ratios)}. "
        f"Each point is {of_what}."
    )
    title = f"Representation beside data, {name}"
    return Figure(f"representation-over-data-{name.lower()}", title, caption, drawing.svg, drawing.pdf)


def _table(compared: Mapping[str, pd.DataFrame]) -> Table:
    """One row per data set and network."""
    columns = []
    for estimator, runs in compared.items():
        of_networks = runs.groupby(_NETWORK, sort=False)
        name = _ESTIMATORS[estimator]
        columns.append(
            pd.DataFrame(
                {
                    f"runs, {name}": of_networks.size(),
                    f"d_data, {name}": of_networks["d_data"].mean(),
                    f"d_repr, {name}": of_networks["d_repr"].mean(),
                    f"above, {name}": of_networks["above"].sum(),
                    f"clearly, {name}": of_networks["clearly"].sum(min_count=1),
                }
            )
        )
    table = pd.concat(columns, axis=1).reset_index()
    return Table(
        "representation-over-data",
        "Representation beside data, by data set and network",
        table.rename(columns={"data": "data set"}),
        "d is the mean over runs. Above: how many of them have d_repr > d_data; clearly: how many clearly.",
        shown=_SHOWN,
    )
