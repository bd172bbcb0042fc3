"""Handwritten digits, and clothes in the same form."""

from dataclasses import dataclass

from datamodules.base import TableDataModule


@dataclass(eq=False, repr=False)
class MNIST(TableDataModule):
    """MNIST: 70,000 handwritten digits, 28×28, grey; labels are the digits. It downloads itself where it can.

    Otherwise prepare it with ``lightning prepare mnist``. ``classes: [3, 8]`` or ``pair: 0`` takes two of them.

    Options are those of :class:`TableDataModule`.
    """

    recipe = "mnist"
    default_domain = "natural"


@dataclass(eq=False, repr=False)
class FashionMNIST(TableDataModule):
    """Fashion-MNIST: 70,000 photographs of clothes, 28×28, grey, of ten classes. It downloads itself where it can.

    Otherwise prepare it with ``lightning prepare fashionmnist``. Labels are 0 T-shirt/top, 1 trouser, 2 pullover,
    3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Options are those of :class:`TableDataModule`.
    """

    recipe = "fashionmnist"
    default_domain = "natural"
