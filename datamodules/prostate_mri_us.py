"""Prostate-MRI-US-Biopsy: suspicious or not, by the score of the prostate's targets."""

from dataclasses import dataclass
from typing import Literal

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class ProstateMRIUS(TableDataModule):
    """Prostate-MRI-US-Biopsy: suspicious (1) or not (0). Prepare it with ``lightning prepare prostate``.

    ``labelling`` is ``default`` (UCLA score 2 to 5 against 0 and 1), ``hard`` (3 to 5 against 2) or ``score`` (0 to 5);
    a series has the highest score of its targets.

    Args:
        modality: That the table was prepared with: us (ultrasound, which arXiv 2401.08865 used) or mr (T2).
    """

    recipe = "prostate"
    default_domain = "medical"
    default_labelling = "default"

    modality: Literal["us", "mr"] = "us"
