"""From values of any range to 8-bit grey levels, by a stated rule."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]
"""The values that become black and white."""


def to_levels(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Scale values so that a window spans the grey levels: ``round(255 · (v − low) / (high − low))``, clipped.

    Halves go to the even number.

    Args:
        values: Of any shape and type.
        window: (low, high), low < high. Where the two are equal every value becomes black.

    Example:
        >>> to_levels(np.array([-1000, 0, 40, 80, 3000]), (0, 80)).tolist()
        [0, 0, 128, 255, 255]
    """
    low, high = window
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    # float64 and the product first: a value that lies on a grey level is met exactly.
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    levels: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return levels


def by_maximum(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale an image by its own maximum and truncate, as the code released with arXiv 2401.08865 does.

    Negative values become 0 and a black image stays black; there they wrap round and divide by zero.

    Example:
        >>> by_maximum(np.array([-2000, 0, 500, 1000])).tolist()
        [0, 0, 127, 255]
    """
    highest = float(values.max())
    if highest <= 0:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled = values.astype(np.float64).clip(0, None) * 255 / highest
    levels: NDArray[np.uint8] = scaled.astype(np.uint8)
    return levels


def percentile_window(values: NDArray[Any], lowest: float = 0.1, highest: float = 99.9) -> Window:
    """The window between two percentiles, linearly interpolated; for values without a range of their own, as in MR.

    Example:
        >>> percentile_window(np.arange(101), 25, 75)
        (25.0, 75.0)
    """
    low, high = np.percentile(values, [lowest, highest]).tolist()
    return low, high
