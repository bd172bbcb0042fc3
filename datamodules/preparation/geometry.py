"""From a picture of any shape to a square of given size."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["pad", "crop", "stretch"]
"""How a picture that is not square becomes one: black borders, the middle only, or distorted."""


def to_square(
    image: NDArray[np.uint8], side: int, fit: Fit, spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.uint8]:
    """Resample a picture to a square, bilinearly, averaging over source pixels when shrinking (Pillow's ``BILINEAR``).

    Args:
        image: ``(C, H, W)``, C = 1 or 3.
        side: New height and width in pixels.
        fit: pad keeps the picture's shape and fills up with black, evenly on both sides; crop keeps its shape and
            cuts the middle out; stretch fits height and width one by one.
        spacing: Height and width of a pixel, in any unit: what ``pad`` and ``crop`` take for the picture's shape.

    Returns:
        ``(C, side, side)``.

    Example:
        >>> to_square(np.full((1, 2, 4), 9, dtype=np.uint8), 4, "pad")[0, :, 0].tolist()
        [0, 9, 9, 0]
        >>> to_square(np.full((1, 2, 4), 9, dtype=np.uint8), 4, "pad", spacing=(2, 1))[0, :, 0].tolist()
        [9, 9, 9, 9]
    """
    if len(image) == 1:
        return square_picture(Image.fromarray(image[0]), side, fit, spacing)
    return square_picture(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), side, fit, spacing)


def square_picture(
    picture: Image.Image, side: int, fit: Fit, spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.uint8]:
    """Like :func:`to_square`, of an image of Pillow's, mode ``L`` or ``RGB``."""
    width, height = picture.size
    tall, wide = height * spacing[0], width * spacing[1]
    if fit == "pad":
        longest = max(tall, wide)
        shape = (max(1, round(side * tall / longest)), max(1, round(side * wide / longest)))
        inside = _resampled(picture, shape, (0, 0, width, height))
        if shape == (side, side):
            return inside
        padded = np.zeros((len(inside), side, side), dtype=np.uint8)
        top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
        padded[:, top : top + shape[0], left : left + shape[1]] = inside
        return padded
    shortest = min(tall, wide)
    # A quotient may exceed the side that it comes from by a rounding error; Pillow refuses such a box.
    rows = float(height) if fit == "stretch" else min(height, shortest / spacing[0])
    columns = float(width) if fit == "stretch" else min(width, shortest / spacing[1])
    beside, above = (width - columns) / 2, (height - rows) / 2
    return _resampled(picture, (side, side), (beside, above, width - beside, height - above))


def _resampled(
    picture: Image.Image, shape: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
