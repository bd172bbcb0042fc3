"""Photographs of ten kinds of things."""

from dataclasses import dataclass

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class CIFAR10(TableDataModule):
    """CIFAR-10: 60,000 photographs, 32×32, colour, of ten classes. It downloads itself where it can.

    Otherwise prepare it with ``lightning prepare cifar10``. Labels are 0 airplane, 1 automobile, 2 bird, 3 cat,
    4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.

    Options are those of :class:`TableDataModule`.
    """

    recipe = "cifar10"
    default_domain = "natural"
