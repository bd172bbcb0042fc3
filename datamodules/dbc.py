"""Duke-Breast-Cancer-MRI: tumour or none in a slice of a breast."""

from dataclasses import dataclass

import numpy as np

from datamodules.base import TableDataModule
from datamodules.splits import Rows
from datamodules.tables import UNUSED, ImageTable
from metrics import require_at_least


@dataclass(eq=False, repr=False)
class DBC(TableDataModule):
    """Duke-Breast-Cancer-MRI: tumour (1) or none (0) in a slice. Prepare it with ``lightning prepare dbc``.

    ``protocol: reference`` takes the labelling ``reference`` where none is named: that of arXiv 2401.08865, which
    leaves out the last slice of each tumour, whatever the margin.

    Args:
        margin: Slices outside the tumour's box are used if they are more than this many slices away from it.
    """

    recipe = "dbc"
    default_domain = "medical"

    margin: int = 5

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.labelling is None and self.protocol == "reference":
            self.labelling = "reference"
        super().__post_init__()
        require_at_least(0, margin=self.margin)

    def read_labels(self, table: ImageTable) -> Rows:
        """Tumour or none by the margin; another labelling is read as it is."""
        if self.labelling != "label":
            return super().read_labels(table)
        distance = table.integers("distance")
        return np.where(distance == 0, 1, np.where(distance > self.margin, 0, UNUSED))
