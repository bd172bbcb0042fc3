"""Knees with and without osteoarthritis."""

from dataclasses import dataclass

from datamodules.base import TableDataModule
from datamodules.recipes.oai import Crops


@dataclass(eq=False, repr=False)
class OAI(TableDataModule):
    """OAI (radiographs of the knee): osteoarthritis (1) or not (0). Prepare it with ``lightning prepare oai``.

    ``labelling: label`` is 1 for a Kellgren and Lawrence grade of 2 and more; ``kl`` is the grade, 0 to 4. Both knees
    of a participant are one group.

    Other options are those of :class:`TableDataModule`.

    Args:
        crops: How the knees were cut out when the table was prepared: localizer (found by the suite), boxes (given by
            the user) or kneexray (by Chen et al.).
    """

    recipe = "oai"
    default_domain = "medical"

    crops: Crops = "localizer"
