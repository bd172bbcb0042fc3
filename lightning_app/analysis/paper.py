"""What the paper found, to be shown beside what is found here."""

from dataclasses import dataclass

IMAGE_SIZE = 224
"""Pixels along a side of the paper's images: K_F compares at equal resolution only."""

ATTACK = "fgsm_2"
"""Whose loss increase the paper's main figure shows."""


@dataclass(frozen=True)
class Published:
    """Numbers of one data set, read off the paper's figures to about 3 %.

    Source: Konz & Mazurowski, *The Effect of Intrinsic Dataset Properties on Generalization*, ICLR 2024,
    arXiv 2401.08865. ``docs/method.md`` has the same table.

    Attributes:
        d_data: Intrinsic dimension of the training images, by maximum likelihood.
        k_f: Label sharpness in units of 1e-4, for pixels in 0 … 255; it is 255 times larger for pixels in [0, 1].
        loss_increase: Of the test loss under FGSM at 2/255, in nats.
    """

    d_data: float
    k_f: float
    loss_increase: float


PUBLISHED = {
    "BraTS": Published(10.9, 2.0, 14.5),
    "DBC": Published(16.8, 3.1, 31.5),
    "OAI": Published(8.6, 3.4, 24),
    "CheXpert": Published(15.3, 1.35, 8.5),
    "MURA": Published(10.7, 2.8, 22),
    "RSNA": Published(10.9, 2.1, 6),
    "ProstateMRIUS": Published(5.6, 1.8, 21.5),
    "MNIST": Published(9.2, 1.6, 0),
    "CIFAR10": Published(16.3, 0.62, 4.9),
    "SVHN": Published(12.5, 1.0, 2.7),
    "ImageNet": Published(17.8, 0.59, 0.8),
}
"""By the name of the data module."""

_SAME_IMAGES = {"MNIST5k": "MNIST"}


def published(data: str) -> Published | None:
    """The paper's numbers of a data set; None where there are none.

    Example:
        >>> published("MNIST5k").d_data, published("ISIC2019")
        (9.2, None)
    """
    return PUBLISHED.get(_SAME_IMAGES.get(data, data))
