"""What every part of the report is made from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from lightning_app.analysis.columns import numbers, words
from lightning_app.analysis.law import NotIdentified, ScalingLaw, fit_scaling_law
from lightning_app.report.options import ATTACK, INTERPOLATED

Curves = Callable[[], pd.DataFrame]


@dataclass
class Context:
    """What every part of the report is made from.

    Attributes:
        records: All records, one row each, failed cells among them; columns as in `lightning report --table`. A run
            that lies in two experiments is there once.
        curves: Reads what was logged at every epoch, where it can be had: run_id, epoch, losses, and dimensions and
            depths of representations under their logged names, float32. Empty where there is nothing.
        no_curves: Why there is nothing to read, as a sentence: "The table holds no epochs: …"; "" where there may be.
        repeats: Rows left out because the same run is there already, from another experiment.
        attack: The attack that part 4 looks at first: "fgsm_2".
        interpolated: Training loss above which a network has not interpolated its training images.
    """

    records: pd.DataFrame
    curves: Curves
    no_curves: str = ""
    repeats: int = 0
    attack: str = ATTACK
    interpolated: float = INTERPOLATED

    @cached_property
    def fits(self) -> pd.DataFrame:
        """The finished runs of `fit`."""
        chosen = (self.records["status"] == "finished") & (self.records["command"] == "fit")
        return self.records[chosen]

    @cached_property
    def law(self) -> ScalingLaw | NotIdentified:
        """The joint law, or why there is none."""
        try:
            return fit_scaling_law(self.records)
        except NotIdentified as error:
            return error

    @cached_property
    def interpolating_law(self) -> ScalingLaw | NotIdentified | None:
        """The joint law of networks that interpolate alone; None where all of its runs do, or there is no law."""
        if not isinstance(self.law, ScalingLaw):
            return None
        loss = numbers(self.records, "train/loss")
        if not (self.records["run_id"].isin(self.law.records["run_id"]) & (loss > self.interpolated)).any():
            return None
        try:
            return fit_scaling_law(self.records[loss <= self.interpolated], compare=False)
        except NotIdentified as error:
            return error

    @property
    def counted(self) -> str:
        """How much there is.

        Example:
            >>> rows = [{"run_id": "a", "status": "finished", "command": "fit", "data": "OAI", "n_train": 50}]
            >>> Context(pd.DataFrame(rows), pd.DataFrame).counted
            '1 record: 1 finished run of 1 data set, 0 backbones, 1 training size'
        """
        status, fits = words(self.records, "status"), self.fits
        kinds = {"data": "data set", "backbone": "backbone", "n_train": "training size"}
        of = ", ".join(count(len(set(words(fits, name)) - {""}), what) for name, what in kinds.items())
        absent = [name for name in ("status", "command") if (words(self.records, name) == "").all()]
        if len(self.records) and absent:
            return f"{count(len(self.records), 'record')}, none known to be finished: there is no column {absent[0]}"
        parts = [f"{count(len(fits), 'finished run')} of {of}" if len(fits) else "no finished run of fit"]
        if failed := int((status == "failed").sum()):
            parts.append(count(failed, "failed cell"))
        if others := len(self.records) - len(fits) - failed:
            parts.append(f"{others:,} of other commands or unfinished")
        return f"{count(len(self.records), 'record')}: {'; '.join(parts)}"


def count(number: int, what: str) -> str:
    """A number of things.

    Example:
        >>> count(1, "run"), count(2000, "run")
        ('1 run', '2,000 runs')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"
