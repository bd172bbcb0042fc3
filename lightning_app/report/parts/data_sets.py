"""Part 1: the data sets, their properties, and the paper's numbers beside ours."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from lightning_app.analysis import paper
from lightning_app.analysis.columns import numbers, whole, words
from lightning_app.analysis.correlation import correlate
from lightning_app.figures import drawn
from lightning_app.plain import listed, number
from lightning_app.report.context import Context
from lightning_app.report.drawing import NO_DOMAIN, decimal_ticks, domain_looks, key, name_points
from lightning_app.report.part import Figure, Part, Table
from lightning_app.report.words import correlation

_NAME, _TITLE = "data-sets", "Data sets and their properties"
_TASK = {"labelling": "{}", "classes": "{}", "pair": "pair {}", "channels": "{} channels", "image_size": "{} px"}
"""What tells tasks of one data set apart, and how it is said."""
_D, _K = "d_data, MLE", "K_F"
_IN_PAPER = 1e4 / 255  # K_F of pixels in [0, 1], in the paper's units
_MEASURED = (
    "d_data and K_F (pixels in [0, 1]) are measured on a reference sample, the same for every N, which the joint fit "
    "takes, and on the training subset, as in the paper. K_F grows with the images per sample M, with resolution and "
    "with channels; K_F per pixel, K_F·√(C·H·W), hardly changes with the last two where images are smooth, and does "
    "where they are noisy."
)
_BESIDE = (
    "Training subsets at the largest N, mean over class pairs; K_F in units of 10⁻⁴ for pixels in 0 … 255; increase of "
    "the test loss under FGSM at 2/255, mean over runs. The paper's numbers are read off its figures, to about 3 %."
)


def make(context: Context) -> Part:
    """Make the part from the records."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    runs = _runs(context.fits)
    reference, training = _properties(runs, "data_ref"), _properties(_at_largest(runs), "data")
    known = reference[(reference[_D] > 0) & (reference[_K] > 0)]
    found = () if known.empty else (_finding(known),)
    beside = _beside(runs)
    tables = (
        Table("data-sets", "Data sets", _counts(runs)),
        Table("reference-samples", "Properties of the reference samples", reference.dropna(axis=1, how="all")),
        Table(
            "training-subsets",
            "Properties of the training subsets",
            training.dropna(axis=1, how="all"),
            "At the largest N of each data set.",
        ),
        Table("paper", "Beside the paper's numbers", beside, _BESIDE),
    )
    return Part(
        _NAME,
        _TITLE,
        (*found, _MEASURED) if found else (),
        () if known.empty else (_figure(known),),
        tables if len(beside) else tables[:-1],
        (*_unknown(reference, known), *_unsteady(runs), *_other_sizes(runs)),
    )


def _runs(fits: pd.DataFrame) -> pd.DataFrame:
    """The runs with what they were trained on as text, ``task`` being what tells tasks of one data set apart."""
    named = {"data": "unknown data set", "domain": NO_DOMAIN} | dict.fromkeys(_TASK, "")
    runs = fits.assign(**{name: words(fits, name, instead) for name, instead in named.items()})
    varies = {name: runs.groupby("data")[name].transform("nunique") > 1 for name in _TASK}
    said = [runs[name].map(how.format).where(varies[name] & (runs[name] != ""), "") for name, how in _TASK.items()]
    return runs.assign(task=[", ".join(filter(None, parts)) for parts in zip(*said, strict=True)])


def _tasks(runs: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every task of every data set: how it is called in tables, and its runs."""
    several = (runs["task"] != "").any()
    for (data, task), own in runs.groupby(["data", "task"]):
        yield {"data set": data} | ({"task": task} if several else {}) | {"domain": own["domain"].iloc[0]}, own


def _counts(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, own in _tasks(runs):
        sizes, test, sample = (numbers(own, column) for column in ("n_train", "n_test", "n_reference"))
        size = own["image_size"].iloc[0]
        rows.append(
            name
            | {
                "channels": own["channels"].iloc[0],
                "pixels": f"{size}×{size}" if size else "",
                "smallest N": sizes.min(),
                "largest N": sizes.max(),
                "sizes": sizes.nunique(),
                "test images": test.min(),
                "reference images": sample.min(),
                "backbones": words(own, "backbone").nunique(),
                "runs": len(own),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.assign(**{str(name): whole(frame[name]) for name in frame if is_numeric_dtype(frame[name])})


def _at_largest(runs: pd.DataFrame) -> pd.DataFrame:
    sizes = numbers(runs, "n_train")
    largest = sizes.groupby([runs["data"], runs["task"]]).transform("max")
    return runs[(sizes == largest) | largest.isna()]


def _properties(runs: pd.DataFrame, prefix: str) -> pd.DataFrame:
    rows = []
    for name, own in _tasks(runs):
        k_f, error, per_pixel = (_mean(own, f"{prefix}/K_F{ending}") for ending in ("", "_stderr", "_per_pixel"))
        rows.append(
            name
            | {
                "images": numbers(own, f"{prefix}/n_images").min(),
                _D: _mean(own, f"{prefix}/d_mle"),
                "s.e. of MLE": _mean(own, f"{prefix}/d_mle_stderr"),
                "d_data, TwoNN": _mean(own, f"{prefix}/d_twonn"),
                "s.e. of TwoNN": _mean(own, f"{prefix}/d_twonn_stderr"),
                _K: k_f,
                "s.e. of K_F": error,
                "K_F per pixel": per_pixel,
                "s.e. per pixel": error * per_pixel / k_f if k_f else np.nan,
                "M": numbers(own, f"{prefix}/K_F_n_images").min(),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.assign(images=whole(frame["images"]), M=whole(frame["M"]))


def _mean(runs: pd.DataFrame, name: str) -> float:
    """The mean over runs, which ought to agree; NaN where none has a number."""
    values = numbers(runs, name)
    return float(values[np.isfinite(values)].mean())


def _beside(runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's numbers and ours, for data sets whose images have the paper's size."""
    rows = []
    for (data, size), own in runs.groupby(["data", "image_size"]):
        theirs = paper.published(str(data))
        if theirs is not None and size == str(paper.IMAGE_SIZE):
            ours = _properties(_at_largest(own), "data").mean(numeric_only=True)
            rows.append(
                {
                    "data set": data,
                    "d_data": ours[_D],
                    "paper's d_data": theirs.d_data,
                    "K_F · 10⁴": ours[_K] * _IN_PAPER,
                    "paper's K_F · 10⁴": theirs.k_f,
                    "loss increase": _mean(own, f"robust/{paper.ATTACK}/loss_increase"),
                    "paper's loss increase": theirs.loss_increase,
                }
            )
    return pd.DataFrame(rows)


def _finding(known: pd.DataFrame) -> str:
    def reach(column: str) -> str:
        ordered = known.sort_values(column)
        low, high = ordered.iloc[0], ordered.iloc[-1]
        ends = number(low[column]), number(high[column])
        if len(known) == 1:
            return f"is {ends[0]} ({_called(low)})"
        if ends[0] == ends[1]:
            return f"is {ends[0]} in all data sets"
        return f"goes from {ends[0]} ({_called(low)}) to {ends[1]} ({_called(high)})"

    means = known.groupby("domain")[_K].mean()
    over = ", ".join(f"{number(mean)} in {domain} data" for domain, mean in means.items())
    mean = f"; its mean is {over}" if means.map(number).nunique() > 1 else ""
    return f"d_data {reach(_D)}, and K_F {reach(_K)}{mean}."


def _together(known: pd.DataFrame) -> str:
    found = correlate(known[_D], np.log(known[_K]), list(known["data set"]), called=("d_data", "K_F"))
    so = ": the nearer r is to ±1, the less can a fit tell what comes from the one and what from the other"
    return f"Over data sets, d_data and log K_F have {correlation(found)}{'' if found.r is None else so}."


def _figure(known: pd.DataFrame) -> Figure:
    looks = domain_looks(known["domain"])
    with drawn(
        "d_data, MLE (degrees of freedom, reference sample)", "K_F (pixels in [0, 1])", log_y=True, size=(6.4, 4.4)
    ) as (axes, drawing):
        for domain, look in looks.items():
            own = known[known["domain"] == domain]
            across, up = (1.96 * own[name].fillna(0.0).clip(lower=0) for name in ("s.e. of MLE", "s.e. of K_F"))
            down = np.minimum(up, 0.99 * own[_K])  # a logarithmic axis has no 0
            errors = np.array([down, up]), across.to_numpy()
            axes.errorbar(own[_D], own[_K], *errors, **look.points, ms=7, mec="white", elinewidth=1)
        decimal_ticks(axes.yaxis)
        key(axes, looks)
        name_points(axes, [(row[_D], row[_K], _called(row), "#333333") for _, row in known.iterrows()])
    caption = f"{_together(known)} Bars are ±1.96 standard errors."
    return Figure("data-sets", "Label sharpness and dimension of the data sets", caption, drawing.svg, drawing.pdf)


def _called(row: "pd.Series[Any]") -> str:
    return f"{row['data set']}, {row['task']}" if row.get("task") else str(row["data set"])


def _unknown(reference: pd.DataFrame, known: pd.DataFrame) -> Iterator[str]:
    """Data sets without numbers."""
    if missing := [_called(row) for _, row in reference.drop(known.index).iterrows()]:
        yield f"d_data or K_F of the reference sample is not known of {listed(missing)}."


def _unsteady(runs: pd.DataFrame) -> Iterator[str]:
    """Data sets of which a number differs between runs that ought to agree."""
    differ = []
    for name, own in _tasks(runs):
        for column in ("data_ref/d_mle", "data_ref/K_F"):
            values = numbers(own, column).replace(np.inf, np.nan)
            if values.max() - values.min() > 1e-6 * values.abs().max():
                differ.append(_called(pd.Series(name)))
                break
    if differ:
        yield (
            "Runs of the same task have different reference samples, because of other splits or other code, of "
            f"{listed(differ)}: the mean is shown."
        )


def _other_sizes(runs: pd.DataFrame) -> Iterator[str]:
    """Data sets that the paper has at another size."""
    other = [
        f"{data} ({size} px)"
        for data, size in sorted(set(zip(runs["data"], runs["image_size"], strict=True)))
        if paper.published(data) and size != str(paper.IMAGE_SIZE)
    ]
    if other:
        yield (
            f"The paper's numbers are not set beside those of {listed(other)}: its images have {paper.IMAGE_SIZE} px, "
            "and K_F depends on that."
        )
