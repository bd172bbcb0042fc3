"""Photographs of a thousand kinds of things."""

from dataclasses import dataclass

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class ImageNet(TableDataModule):
    """ImageNet (ILSVRC 2012): photographs, colour. Prepare it with ``lightning prepare imagenet``.

    A table holds the classes that were chosen when it was prepared. Labels are their usual numbers, 0 … 999; the
    column ``class`` of the table holds their WordNet ids. ``pair: 0`` takes two of them.

    Options are those of :class:`TableDataModule`.
    """

    recipe = "imagenet"
    default_domain = "natural"
