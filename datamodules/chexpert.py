"""Chest radiographs with findings from their reports."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from datamodules.base import TableDataModule
from datamodules.splits import Rows
from datamodules.tables import UNUSED, ImageTable
from metrics import InputError


@dataclass(eq=False, repr=False)
class CheXpert(TableDataModule):
    """CheXpert 1.0: a finding on a chest radiograph, present (1) or absent (0).

    Prepare it with ``lightning prepare chexpert``. ``labelling`` is ``Pleural Effusion``, ``Edema`` or any other of the
    14 observations. The reports leave most of them unmentioned and call some uncertain; two options say what these
    become.

    ``protocol: reference`` takes uncertain and unmentioned for absent and leaves out the films whose report denies the
    finding. (The released code calls those present; that is not repeated.)

    Other options are those of :class:`TableDataModule`.

    Args:
        uncertain: What an uncertain finding (code −1) is: negative, positive or drop (the film is not used).
        blank: What a finding is that the report does not mention: negative or drop.
        views: all, or frontal films only.
    """

    recipe = "chexpert"
    default_domain = "medical"
    default_labelling = "Pleural Effusion"

    uncertain: Literal["negative", "positive", "drop"] = "drop"
    blank: Literal["negative", "drop"] = "negative"
    views: Literal["all", "frontal"] = "all"

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        if self.protocol == "reference" and (self.uncertain, self.blank) != ("drop", "negative"):
            raise InputError(
                f"uncertain={self.uncertain} and blank={self.blank} have no effect with protocol=reference, which has "
                "its own rule (both are negative): leave them out"
            )

    def read_labels(self, table: ImageTable) -> Rows:
        """The official codes as labels, by the options."""
        labelling = str(self.labelling)
        table.labels(labelling)  # refuses what is no labelling
        codes = table.column(labelling)
        choices = {"negative": 0, "positive": 1, "drop": UNUSED}
        meaning = {"1": 1, "0": 0, "-1": choices[self.uncertain], "": choices[self.blank]}
        if self.protocol == "reference":
            meaning |= {"0": UNUSED, "-1": 0, "": 0}
        unknown = sorted(set(codes.tolist()) - meaning.keys())
        if unknown:
            raise InputError(f"{labelling!r} in {table.folder} holds {unknown[0]!r}: expected 1, 0, -1 or blank")
        labels = np.array([meaning[code] for code in codes.tolist()], dtype=np.int64)
        return labels if self.views == "all" else np.where(table.column("view") == self.views, labels, UNUSED)
