"""Digits of house numbers."""

from dataclasses import dataclass

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class SVHN(TableDataModule):
    """SVHN: 99,289 digits of house numbers, 32×32, colour; labels are the digits. It downloads itself where it can.

    Otherwise prepare it with ``lightning prepare svhn``. A table that was prepared with ``--extra`` adds 531,131 easier
    images to those that are trained on.

    Options are those of :class:`TableDataModule`.
    """

    recipe = "svhn"
    default_domain = "natural"
