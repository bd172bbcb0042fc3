"""Photographs of skin lesions."""

from dataclasses import dataclass

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class ISIC2019(TableDataModule):
    """ISIC 2019: one diagnosis (1) against all others (0). Prepare it with ``lightning prepare isic``.

    ``labelling`` is ``NV`` (melanocytic nevus), ``MEL`` (melanoma) or any other of BCC, AK, BKL, DF, VASC and SCC.
    """

    recipe = "isic"
    default_domain = "medical"
    default_labelling = "NV"
