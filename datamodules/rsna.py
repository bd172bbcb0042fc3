"""RSNA Intracranial Hemorrhage: bleeding or none in a slice of a head."""

from dataclasses import dataclass
from typing import Literal

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class RSNA(TableDataModule):
    """RSNA Intracranial Hemorrhage (head CT): present (1) or absent (0). Prepare it with ``lightning prepare rsna``.

    ``labelling`` is ``any`` or one of ``epidural``, ``intraparenchymal``, ``intraventricular``, ``subarachnoid`` and
    ``subdural``; slices with other kinds of hemorrhage alone count as absent then.

    Args:
        window: That the table was prepared with: brain, subdural, bone, or stack (these three as channels).
    """

    recipe = "rsna"
    default_domain = "medical"
    default_labelling = "any"

    window: Literal["brain", "subdural", "bone", "stack"] = "brain"
