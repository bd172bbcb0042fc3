"""The runs that the figures of the report show, and why they do not show the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, words
from lightning_app.report.context import Context
from lightning_app.report.drawing import NO_DOMAIN

CELL = ["data", "domain", "pair", "backbone", "n_train"]
"""Runs that agree in these differ in their seeds."""

SET = ["data", "domain"]


@dataclass(frozen=True)
class Points:
    """What can be shown.

    Attributes:
        frame: Finished runs of `fit` that have every number asked for: data, domain, pair and backbone as text without
            gaps, n_train and those numbers as float64.
        left_out: How many do not, by reason.
    """

    frame: pd.DataFrame
    left_out: dict[str, int]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was left out, for a part's ``cannot``."""
        if not self.left_out:
            return ()
        number = sum(self.left_out.values())
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in self.left_out.items())
        return (f"{number:,} of {number + len(self.frame):,} finished runs are not shown: {reasons}.",)


def points(
    context: Context, *, positive: Sequence[str] = (), finite: Sequence[str] = (), maybe: Sequence[str] = ()
) -> Points:
    """Choose the runs that have certain numbers.

    Args:
        context: Of the report.
        positive: Columns that must be above 0, for a logarithmic scale.
        finite: Columns that may have any sign.
        maybe: Columns that are taken along where they are above 0; NaN elsewhere.

    Returns:
        The runs. One that lacks several numbers counts once, by the first.
    """
    fits = context.fits
    instead = {"data": "unknown data set", "domain": NO_DOMAIN, "pair": "", "backbone": "unknown backbone"}
    frame = pd.DataFrame({name: words(fits, name, gap) for name, gap in instead.items()}, index=fits.index)
    left_out = {}
    kept = pd.Series(data=True, index=fits.index)
    for name in dict.fromkeys(["n_train", *positive, *finite]):
        frame[name] = numbers(fits, name)
        reasons = {f"{name} is missing or not finite": ~np.isfinite(frame[name])}
        if name == "n_train" or name in positive:
            reasons[f"{name} is not above 0"] = frame[name] <= 0
        for reason, applies in reasons.items():
            if number := int((kept & applies).sum()):
                left_out[reason] = number
            kept &= ~applies
    for name in set(maybe) - set(frame):
        values = numbers(fits, name)
        frame[name] = values.where(np.isfinite(values) & (values > 0))
    return Points(frame[kept], left_out)


def means(
    frame: pd.DataFrame, logarithmic: Sequence[str], linear: Sequence[str] = (), *, by: Sequence[str] = CELL
) -> pd.DataFrame:
    """Means over all runs that agree in ``by``: over seeds, or over all of a data set with ``by=SET``.

    Args:
        frame: Runs.
        logarithmic: Columns above 0; their means are geometric.
        linear: Columns of any sign.
        by: What the runs have in common.

    Returns:
        One row each, in the order in which they come, with the number of ``runs``.
    """
    groups = frame.assign(**{name: np.log(frame[name]) for name in logarithmic}).groupby(list(by), sort=False)
    averaged = groups[[*logarithmic, *linear]].mean()
    back = {name: np.exp(averaged[name]) for name in logarithmic}
    return averaged.assign(**back, runs=groups.size()).reset_index()


def natural_first(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in order of domains, natural ones first: what the others are compared with."""
    return frame.sort_values("domain", key=lambda names: (names != "natural").astype(str) + names, kind="stable")


def common_size(frame: pd.DataFrame) -> float:
    """The largest training size that every data set has; where there is none, the one that most of them have."""
    sets = frame.groupby("n_train")["data"].nunique()
    return float(sets.index[sets == sets.max()].max())
