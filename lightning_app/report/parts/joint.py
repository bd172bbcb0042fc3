"""Part 7: the joint fit, with intervals that few data sets deserve."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import stats

from lightning_app.analysis.coefficients import FIXED_EFFECTS, KENWARD_ROGER
from lightning_app.analysis.comparisons import DIMENSION, Comparison
from lightning_app.analysis.correlation import correlate
from lightning_app.analysis.design import SHARPNESS, SIZE
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.law import Coefficient, NotIdentified, ScalingLaw
from lightning_app.analysis.points import design_of
from lightning_app.analysis.settings import differing
from lightning_app.figures import drawn
from lightning_app.plain import listed
from lightning_app.report.context import Context, count
from lightning_app.report.drawing import decimal_ticks, divided, domain_looks, key, name_points
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.points import SET, means, natural_first
from lightning_app.report.words import FEWEST_DF, ROUGH, interval, probability, signed

_NAME, _TITLE = "joint", "The joint fit"
_LAW = "log L = a + b (log N)/d + c log K_F"
_ENDS = ("95 % low", "95 % high")
_COEFFICIENTS = (
    "Random intercept per data set by restricted maximum likelihood. The interval to go by is the first: CR2 with "
    f"Bell–McCaffrey degrees of freedom (df). {KENWARD_ROGER} trusts that all data sets have the same slopes, and is "
    f"too short where they do not. With {FIXED_EFFECTS} only what changes within data sets can be told, from these "
    "changes alone. The intercept is that of the average backbone in the first domain."
)
_COMPARISONS = (
    "AIC: less is better, by maximum likelihood. LR: likelihood ratio against the whole law; its p by parametric "
    "bootstrap is the one to go by, as χ² rejects too often with few data sets. Left-out error: root mean square of "
    "log L for a data set that the fit has not seen, every data set counting alike, and the factor that it is for L."
)
_NO_DIFFERENCE = 2.0  # of AIC
_NO_ERROR = 0.995  # reliability that needs no correction
_TERMS = {SHARPNESS: "log K_F", DIMENSION: "d"}
_WITHOUT = {
    "": "the whole law",
    SHARPNESS: "without log K_F",
    DIMENSION: "without d: log N in place of (log N)/d",
    SIZE: "without (log N)/d",
}


def make(context: Context) -> Part:
    """Make the part from the records."""
    law = context.law
    if isinstance(law, NotIdentified):
        why = f"There is no joint fit: {law}. The other parts take one property at a time."
        return Part(_NAME, _TITLE, cannot=(why, *_unlike(context.fits)))
    fitted = context.fits[context.fits["run_id"].isin(law.records["run_id"])]
    alone = context.interpolating_law
    beside = () if alone is None else (_interpolating(alone),)
    return Part(
        _NAME,
        _TITLE,
        (_finding(law), *beside, _meaning(law), _worth(law), _error(law), _warning(law)),
        (_figure(law),),
        (
            Table("coefficients", "Coefficients of the joint fit", _coefficients(law, alone), _COEFFICIENTS),
            Table("comparisons", "The law without each of its terms", _comparisons(law), _COMPARISONS),
        ),
        (*_unlike(fitted), *law.notes),
    )


def _finding(law: ScalingLaw) -> str:
    b, c = law.coefficient(SIZE), law.coefficient(SHARPNESS)
    return (
        f"In {_LAW}, fitted to {count(len(law.records), 'run')} of {count(len(law.data_sets), 'data set')}, b = "
        f"{signed(b.value)} ({_interval(b)}) and c = {signed(c.value)} ({_interval(c)}); the "
        f"paper's bound has b = −1, which is {_inside(-1, b)}, and c = 1, which is {_inside(1, c)}."
    )


def _unlike(runs: pd.DataFrame) -> Iterator[str]:
    """Settings in which runs differ, and which no fit and no figure takes into account."""
    if differ := differing(runs):
        yield f"Runs are taken for alike that differ in {'; '.join(differ)}: what these do is mixed into every result."


def _interpolating(law: ScalingLaw | NotIdentified) -> str:
    """The same fit where the theorem behind it holds."""
    if isinstance(law, NotIdentified):
        return f"Networks that interpolate allow no joint fit of their own: {law}."
    b, c = law.coefficient(SIZE), law.coefficient(SHARPNESS)
    return (
        f"Of networks that interpolate alone, {count(len(law.records), 'run')} of "
        f"{count(len(law.data_sets), 'data set')}: b = {signed(b.value)} ({_interval(b)}) and c = {signed(c.value)} "
        f"({_interval(c)})."
    )


def _interval(found: Coefficient) -> str:
    """The interval, and whether it is rough."""
    rough = f", {ROUGH.format(found.df)}" if found.df < FEWEST_DF else ""
    return f"{interval(found.low, found.high)}{rough}"


def _inside(value: float, found: Coefficient) -> str:
    return "inside the interval" if found.low <= value <= found.high else "outside the interval"


def _meaning(law: ScalingLaw) -> str:
    b, c = law.coefficient(SIZE), law.coefficient(SHARPNESS)
    d = float(law.records.groupby("data")["d"].mean().median())
    images, sharper = (
        f"by {2 ** (found.value / per):.3g} ({interval(2 ** (found.low / per), 2 ** (found.high / per))})"
        for found, per in ((b, d), (c, 1.0))
    )
    told = " and ".join(
        f"{letter} {'cannot be told from 0' if found.low <= 0 <= found.high else f'can ({probability(found.p)})'}"
        for letter, found in (("b", b), ("c", c))
    )
    return (
        f"At d = {d:.3g}, the median data set's, twice as many training images multiply the test loss {images}; twice "
        f"as high a K_F multiplies it {sharper}. Whether they can be told from no effect: {told}. Data sets of equal d "
        f"and K_F{' and domain' if len(law.domains) > 1 else ''} still differ by a factor of "
        f"{math.exp(math.sqrt(law.var_data_set)):.3g} (one standard deviation), and runs of one data set by "
        f"{math.exp(math.sqrt(law.var_residual)):.3g}."
    )


def _worth(law: ScalingLaw) -> str:
    """What K_F and d add to the law."""
    found = {comparison.without: comparison for comparison in law.comparisons}
    whole = found[""]
    return " ".join(
        f"Without {_TERMS[term]} the AIC is {_against(other.aic, whole.aic, _TERMS[term])}{_left_out(other, whole)}"
        f"{_tested(other)}."
        for term, other in found.items()
        if term in _TERMS
    )


def _against(aic: float, whole: float, term: str) -> str:
    more = aic - whole
    if abs(more) < _NO_DIFFERENCE:
        return f"much the same ({signed(more)})"
    return f"{abs(more):.3g} {'higher, which speaks for' if more > 0 else 'lower, which speaks against'} {term}"


def _left_out(other: Comparison, whole: Comparison) -> str:
    if other.loo_error is None or whole.loo_error is None:
        return ""
    change = "grows" if other.loo_error > whole.loo_error else "shrinks"
    return (
        f", and the error for a data set that was left out {change} from a factor of {math.exp(whole.loo_error):.3g} "
        f"to {math.exp(other.loo_error):.3g}"
    )


def _tested(other: Comparison) -> str:
    if other.p is None or other.p_chi2 is None:
        return ""
    return f" ({probability(other.p)} by bootstrap, where χ² says {probability(other.p_chi2)})"


def _error(law: ScalingLaw) -> str:
    c = law.coefficient(SHARPNESS)
    if law.reliability is None:
        return (
            "The error of K_F is not known for all data sets: where it is not 0, c is nearer to 0 than it ought to "
            "be, by a factor that cannot be given here."
        )
    if law.reliability >= _NO_ERROR:
        return "K_F is an estimate, and its error is too small to matter: c needs no correction for it."
    text = (
        f"K_F is an estimate: {100 * law.reliability:.0f} % of the variance of log K_F between data sets, given d and "
        "domain, is real, the rest is measurement error, and c is too near to 0 by that factor."
    )
    if law.corrected is None:
        return f"{text} Too little is real to correct c by it: it needs K_F with less error."
    value, low, high = law.corrected
    return (
        f"{text} Corrected by it (method of moments; Carroll et al., Measurement Error in Nonlinear Models), c = "
        f"{signed(value)} ({interval(low, high)}) in place of {signed(c.value)}."
    )


def _warning(law: ScalingLaw) -> str:
    c, sets = law.coefficient(SHARPNESS), len(law.data_sets)
    least = float(stats.t.ppf(0.975, c.df)) * c.stderr if c.df else math.nan
    r = _between(law)
    few = [found.name for found in law.coefficients if found.df < FEWEST_DF]
    rough = (
        f" Fewer than {FEWEST_DF} degrees of freedom, as of {listed(few)}, leave t intervals rough: marked † (Tipton "
        "2015, Psychological Methods 20:375)."
        if few
        else ""
    )
    return (
        f"What {sets} data sets can show and what not: for c the {count(len(law.records), 'run')} count as little more "
        f"than {sets} points, with {c.df:.2g} degrees of freedom, and a c nearer to 0 than {least:.2g} would not have "
        f"been told from it. Over data sets (log N)/d and log K_F have {r}: the nearer to ±1, the less can be "
        "told which of them it is. What else differs between data sets (task, resolution, label noise) is not in the "
        f"law: it says what goes together, and does not prove what changing one of them would do.{rough}"
    )


def _between(law: ScalingLaw) -> str:
    """Correlation of the two regressors over data sets, within domains."""
    runs, within = law.records, len(law.domains) > 1
    found = correlate(
        np.log(runs["n_train"]) / runs["d"],
        np.log(runs["K_F"]),
        list(runs["data"]),
        within=list(runs["domain"]) if within else None,
    )
    if found.r is None:
        return f"no r ({found.reason})"
    return f"r = {signed(found.r)}{' within domains' if within else ''}"


def _coefficients(law: ScalingLaw, interpolating: ScalingLaw | NotIdentified | None) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for found in law.coefficients:
        row = _row(found)
        for method in (KENWARD_ROGER, FIXED_EFFECTS):
            ends = found.others.get(method, (math.nan, math.nan))
            row |= {f"{method}, {end}": value for end, value in zip(_ENDS, ends, strict=True)}
        rows.append(row)
        if isinstance(interpolating, ScalingLaw) and found.name in (SIZE, SHARPNESS):
            rows.append(_row(interpolating.coefficient(found.name)) | {"term": f"{found.name}, interpolating runs"})
        if found.name == SHARPNESS and law.corrected is not None and (law.reliability or 0) < _NO_ERROR:
            corrected = dict(zip(("estimate", *_ENDS), law.corrected, strict=True))
            rows.append({"term": f"{SHARPNESS}, corrected for the error of K_F", "": "", **corrected})
    return pd.DataFrame(rows)


def _row(found: Coefficient) -> dict[str, Any]:
    return {
        "term": found.name,
        "estimate": found.value,
        "s.e.": found.stderr,
        "df": found.df,
        "": "†" if found.df < FEWEST_DF else "",
        _ENDS[0]: found.low,
        _ENDS[1]: found.high,
        "p": found.p,
    }


def _comparisons(law: ScalingLaw) -> pd.DataFrame:
    rows = [
        {
            "law": _WITHOUT[found.without],
            "AIC": found.aic,
            "AIC − whole": found.aic - law.comparisons[0].aic,
            "LR": found.likelihood_ratio,
            "p, bootstrap": found.p,
            "p, χ²": found.p_chi2,
            "left-out error of log L": found.loo_error,
            "as a factor of L": None if found.loo_error is None else math.exp(found.loo_error),
        }
        for found in law.comparisons
    ]
    return pd.DataFrame(rows).astype({name: "float64" for name in rows[0] if name != "law"})


def _figure(law: ScalingLaw) -> Figure:
    """What is left of the loss when all other terms are taken to their mean over data sets."""
    runs = natural_first(law.records)
    x = design_of(runs, law.domains, law.backbones)
    typical = pd.DataFrame(x).groupby(runs["data"].to_numpy()).mean().mean().to_numpy()
    size, sharpness = law.names.index(SIZE), law.names.index(SHARPNESS)
    residual = np.log(runs["loss"]) - x @ law.beta
    runs = runs.assign(
        size=x[:, size],
        over_size=np.exp(typical @ law.beta + law.beta[size] * (x[:, size] - typical[size]) + residual),
        over_k=np.exp(typical @ law.beta + law.beta[sharpness] * (x[:, sharpness] - typical[sharpness]) + residual),
    )
    cells, sets = means(runs, ["over_size"], ["size"], by=[*SET, "n_train"]), means(runs, ["over_k", "K_F"], by=SET)
    looks = domain_looks(runs["domain"])
    with drawn("", "", size=(9.0, 3.9)) as (axes, drawing):
        left, right = divided(axes, 1, 2, share_y=True)
        _line(left, law, size, typical)
        _line(right, law, sharpness, typical)
        for _, own in cells.groupby("data"):
            left.plot(own["size"], own["over_size"], color="#999999", lw=0.7, zorder=1)
        for domain, look in looks.items():
            of_cells, of_sets = (frame[frame["domain"] == domain] for frame in (cells, sets))
            left.plot(of_cells["size"], of_cells["over_size"], **look.points, ms=5, mec="white")
            right.plot(of_sets["K_F"], of_sets["over_k"], **look.points, ms=7, mec="white")
        left.set(xlabel="(log N)/d", ylabel="test loss, other terms at their mean", yscale="log")
        right.set(xlabel="K_F (pixels in [0, 1], reference sample)", xscale="log")
        decimal_ticks(left.yaxis)
        decimal_ticks(right.xaxis)
        key(left, {domain: Line2D([], [], **look.points, ms=5) for domain, look in looks.items()})
        name_points(right, [(row["K_F"], row["over_k"], row["data"], "#333333") for _, row in sets.iterrows()])
    b, c = law.coefficient(SIZE), law.coefficient(SHARPNESS)
    caption = (
        f"The loss goes like exp({signed(b.value)} · (log N)/d) ({interval(b.low, b.high)} for b) and like K_F to the "
        f"power {signed(c.value)} ({interval(c.low, c.high)} for c). In each panel all other terms are at their mean "
        "over data sets. Left: means over backbones, joined for each data set; right: means of data sets. Bands: 95 % "
        "intervals of the line."
    )
    return Figure("joint-fit", "What each term of the law explains", caption, drawing.svg, drawing.pdf)


def _line(axes: Axes, law: ScalingLaw, column: int, typical: Array) -> None:
    """The law along one column, all others as they are typically, and its band."""
    x = design_of(law.records, law.domains, law.backbones)[:, column]
    at = np.linspace(x.min(), x.max(), 50)
    rows = np.tile(typical, (len(at), 1))
    rows[:, column] = at
    middle, stderr = rows @ law.beta, np.sqrt(np.einsum("ij,jk,ik->i", rows, law.covariance, rows))
    half = stats.t.ppf(0.975, len(law.data_sets) - law.between) * stderr
    across = at if law.names[column] == SIZE else np.exp(at)
    axes.plot(across, np.exp(middle), color="#333333", lw=1.2)
    axes.fill_between(across, np.exp(middle - half), np.exp(middle + half), color="#333333", alpha=0.15, lw=0)
