"""Where the two knees are in a radiograph of both, without a trained detector; and cutting them out."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PIXEL = 0.2
"""Height and width in mm of the pixels that films are resampled to."""

CROP = 672
"""Height and width in pixels of a knee that is cut out: 134 mm."""

Centre = tuple[int, int]
"""Row and column of a joint, in pixels."""

_COARSE = 5  # pixels to a mm: joints need not be found more finely
_SEARCHED = (0.2, 0.8)  # of the height: the central 60 %
_BLUR = 1.5  # mm: standard deviation of what smooths rows and edges
_RIM = 3  # mm, that belong to a white border too
_NEAR, _FAR = 5, 20  # mm: where bone is expected above and below the gap
_HALF_WIDTH = 35  # mm, of the bones at the joint
_HALF_HEIGHT = 40  # mm, of the bones that give the column
_ROUNDS = 3

Profile = NDArray[np.float64]


def locate_knees(film: NDArray[np.uint8]) -> tuple[Centre, Centre]:
    """Find the joints of both knees in an upright film: bone bright, one leg in each half.

    The film is cut at its midline, and of each half the central 60 % of the height are searched. The column is the
    centroid of the bone: of what is brighter than the threshold between dark and bright, less the pieces that touch
    the sides, as white borders do. The row is that of the dark gap: averaged over 70 mm about the column, the one
    that is darkest compared with the bone 5 to 20 mm above it and below it, whichever of the two is darker. Both are
    found in turn, three times, the column in the end from the bone 40 mm above to 40 mm below the joint.

    Checked on drawn films only (``tests/datamodules/test_knees.py``): within 2 mm in height and 5 mm in width, under
    noise, slopes of exposure, white borders and markers of lead.

    Args:
        film: ``(H, W)``, pixels of 0.2 mm, at least 10 by 20.

    Returns:
        The joints, (row, column), the left one in the picture first.

    Example:
        >>> film = np.zeros((1000, 1600), dtype=np.uint8)
        >>> film[:, 250:550] = film[:, 1050:1350] = 200
        >>> film[480:495, :800] = film[580:595, 800:] = 0
        >>> locate_knees(film)
        ((488, 400), (588, 1200))
    """
    height, width = (side // _COARSE * _COARSE for side in film.shape)
    blocks = film[:height, :width].reshape(height // _COARSE, _COARSE, width // _COARSE, _COARSE)
    coarse = blocks.mean(axis=(1, 3))
    middle = coarse.shape[1] // 2
    (row, column), (other_row, other_column) = _joint(coarse[:, :middle]), _joint(coarse[:, middle:])
    return (_pixel(row), _pixel(column)), (_pixel(other_row), _pixel(other_column + middle))


def to_pixels(levels: NDArray[np.uint8], spacing: tuple[float, float]) -> NDArray[np.uint8]:
    """Resample a film ``(H, W)`` to pixels of 0.2 mm (bicubic, averaging when shrinking).

    Args:
        levels: The film.
        spacing: Height and width in mm of its pixels.

    Example:
        >>> to_pixels(np.zeros((30, 20), dtype=np.uint8), (0.2, 0.1)).shape
        (30, 10)
    """
    height, width = (max(1, round(side * size / PIXEL)) for side, size in zip(levels.shape, spacing, strict=True))
    if (height, width) == levels.shape:
        return levels
    return np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC))


def cut_out(film: NDArray[np.uint8], centre: Centre) -> NDArray[np.uint8]:
    """The knee about a joint, ``(672, 672)``; black where the film ends.

    Example:
        >>> cut = cut_out(np.full((500, 1000), 7, dtype=np.uint8), (100, 900))
        >>> cut.shape, np.argwhere(cut).min(axis=0).tolist(), np.argwhere(cut).max(axis=0).tolist()
        ((672, 672), [236, 0], [671, 435])
    """
    knee = np.zeros((CROP, CROP), dtype=np.uint8)
    top, left = (place - CROP // 2 for place in centre)
    part = film[max(0, top) : max(0, top + CROP), max(0, left) : max(0, left + CROP)]
    first, start = max(0, -top), max(0, -left)
    knee[first : first + part.shape[0], start : start + part.shape[1]] = part
    return knee


def _pixel(position: float) -> int:
    """The middle of a place that is counted in mm, from the middle of the first."""
    return round((position + 0.5) * _COARSE)


def _joint(half: NDArray[np.float64]) -> tuple[float, float]:
    """Row and column of the joint in one half of a film with pixels of 1 mm."""
    first, last = (round(share * len(half)) for share in _SEARCHED)
    bone = _bone(half[first:last])
    row, column = 0, _centroid(bone)
    for _ in range(_ROUNDS):
        left = max(0, round(column) - _HALF_WIDTH)
        profile = half[:, left : round(column) + _HALF_WIDTH + 1].mean(axis=1)
        row = int(_gap_depth(profile)[first:last].argmax())
        column = _centroid(bone[max(0, row - _HALF_HEIGHT) : row + _HALF_HEIGHT + 1])
    return first + row, column


def _bone(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much each place is brighter than the threshold between dark and bright; 0 in pieces at the sides."""
    from scipy.ndimage import binary_dilation, gaussian_filter, label

    pieces, _ = label(gaussian_filter(values, _BLUR) > _threshold(values))
    at_side = binary_dilation((pieces > 0) & np.isin(pieces, pieces[:, [0, -1]]), iterations=_RIM)
    if at_side.all():
        at_side[:] = False
    bone: NDArray[np.float64] = np.where(at_side, 0, values - _threshold(values[~at_side])).clip(0, None)
    return bone


def _threshold(values: NDArray[np.float64]) -> float:
    """The level that equals the mean of the means of what is above it and of what is not (Ridler and Calvard, 1978)."""
    level, before = float(values.mean()), -1.0
    while abs(level - before) > 0.1:
        before = level
        above = values > level
        if not above.any():
            break
        level = float(values[above].mean() + values[~above].mean()) / 2
    return level


def _centroid(mass: NDArray[np.float64]) -> float:
    """The column in which the weight of an image lies; its middle where there is none."""
    columns, weights = np.arange(mass.shape[1]), mass.sum(axis=0)
    return float(np.average(columns, weights=weights) if weights.any() else columns.mean())


def _gap_depth(profile: Profile) -> Profile:
    """How much darker each row is than the bone above and below it, whichever of the two is darker."""
    from scipy.ndimage import gaussian_filter1d

    padded = np.pad(gaussian_filter1d(profile, _BLUR), _FAR, mode="edge")
    sums = np.concatenate([[0], padded.cumsum()])
    rows = np.arange(len(profile)) + _FAR
    above = sums[rows - _NEAR + 1] - sums[rows - _FAR]
    below = sums[rows + _FAR + 1] - sums[rows + _NEAR]
    depth: Profile = np.minimum(above, below) / (_FAR - _NEAR + 1) - padded[rows]
    return depth
