"""Part 6: the dimension of representations while networks train, and over their depth."""

import re

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers
from lightning_app.report.context import Context
from lightning_app.report.depth_profiles import over_depth
from lightning_app.report.epoch_curves import over_epochs
from lightning_app.report.part import Part
from lightning_app.report.points import natural_first, points
from lightning_app.report.sections import Section, as_part

_NAME, _TITLE = "training", "Representations over epochs and depth"
_METHOD = (
    "Runs of a network on a data set are averaged first, then its networks, then data sets: errors and bands are "
    "standard errors over data sets, not over runs. Every run is interpolated between its own epochs and layers, never "
    "beyond them, and a mean is drawn only where all of its data sets have a value."
)


def make(context: Context) -> Part:
    """Make the part from the records and from what was logged at every epoch."""
    if context.fits.empty:
        return Part(_NAME, _TITLE, cannot=("No run of `fit` has finished.",))
    layers = [name for name in context.fits.columns if re.fullmatch("repr/.+/(d_mle|d_twonn|depth)", name)]
    chosen = points(context, maybe=layers)
    runs = natural_first(chosen.frame.assign(run_id=context.fits.loc[chosen.frame.index, "run_id"]))
    runs = runs.drop_duplicates("run_id").reset_index(drop=True)
    curves = _of_runs(context.curves(), runs)
    sections = [
        over_epochs(curves, runs, context.no_curves),
        over_depth(curves, runs),
        Section(cannot=chosen.sentences),
    ]
    return as_part(_NAME, _TITLE, sections, _METHOD)


def _of_runs(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What the runs logged after each epoch of training: ``row`` of the run in ``runs``, ``epoch`` from 1 on."""
    if curves.empty:
        return pd.DataFrame({"row": np.array([], np.int64), "epoch": np.array([], np.int64)})
    row = pd.Index(runs["run_id"]).get_indexer(pd.Index(curves["run_id"]))
    training = numbers(curves, "test/loss").isna()  # the last row of a log is the test of the final weights
    numbered = curves.assign(row=row, epoch=curves["epoch"] + 1)
    return numbered[training & (numbered["row"] >= 0)]
