"""What every part of the report is made from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from lightning_app.analysis.law import NotIdentified, ScalingLaw, fit_scaling_law

Curves = Callable[[], pd.DataFrame]


@dataclass
class Context:
    """What every part of the report is made from.

    Attributes:
        records: All records, one row each, failed cells among them; columns as in `lightning report --table`.
        curves: Reads what was logged at every epoch, where it can be had: run_id, epoch, and every logged name. Empty
            for records from a table file.
        attack: The attack that part 4 looks at first: "fgsm_2".
        interpolated: Training loss above which a network has not interpolated its training images.
    """

    records: pd.DataFrame
    curves: Curves
    attack: str = "fgsm_2"
    interpolated: float = 0.1

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
