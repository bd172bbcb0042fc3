"""DICOM files: from stored values to units, to grey levels. Needs the extra ``radiology``.

What pydicom says of values that break the rules of DICOM is not passed on: it would be said of every file of a set.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.levels import Window, by_maximum, to_levels
from datamodules.pictures import UnreadableError
from datamodules.preparation.optional import need

if TYPE_CHECKING:
    from pydicom import Dataset

Values = NDArray[np.float64]
Stored = NDArray[np.integer[Any]]
Scalar = TypeVar("Scalar", bound=np.generic)

NO_SPACING = "no size of a pixel is stated: it is taken for square"

_MAX_PIXELS = 2**30  # of a file; the longest of the films and volumes that are read here have a quarter of it

# Looked up where reading fails quietly; any other element can be asked for too.
_READ_AT_ONCE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "AccessionNumber"),
    *("Modality", "StudyDate", "StudyDescription", "SeriesDescription", "BodyPartExamined", "ViewPosition"),
    *("InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("WindowCenter", "WindowWidth"),
)


class ShortPixelsError(UnreadableError):
    """A file with fewer pixels than its rows and columns need."""

    def __init__(self, reason: str = "its pixels are cut short") -> None:
        super().__init__(reason)


def read_dicom(file: Path, *, pixels: bool = True) -> "Dataset":
    """Read a DICOM file; one without the usual preamble is read all the same.

    An element whose value cannot be understood counts as absent.

    Args:
        file: The file.
        pixels: Whether its pixels are wanted too; without them reading stops at the header.

    Raises:
        UnreadableError: It is absent, no DICOM file, or damaged.
    """
    pydicom = need("pydicom")
    if file.exists() and not file.is_file():
        raise UnreadableError("is no file")
    try:
        with _quiet():
            data: Dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True)
            _understand(data)
    except FileNotFoundError:
        raise UnreadableError("the file is absent") from None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    except Exception as error:  # a damaged file makes pydicom raise anything
        raise UnreadableError(f"cannot be read as DICOM: {_reason(error)}") from error
    if "SOPInstanceUID" not in data and "Rows" not in data:
        raise UnreadableError("is no DICOM file, or only the beginning of one")
    return data


def stored_values(data: "Dataset") -> Stored:
    """The pixels as they are stored, ``(H, W)``, or ``(frames, H, W)`` for a file of several frames.

    Raises:
        UnreadableError: They are missing, cut short, colour, of more than 16 bits, or compressed in a way for which no
            decoder is installed.
    """
    if data.get("SamplesPerPixel", 1) != 1 or _interpretation(data) == "PALETTE COLOR":
        raise UnreadableError("holds colour: expected grey values")
    values = _decoded(data)
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        raise UnreadableError(f"holds {values.dtype} values: expected whole numbers of at most 16 bits")
    return values


def grey_values(data: "Dataset") -> Stored:
    """Like :func:`stored_values`; 8-bit colour becomes grey (ITU-R 601 luma).

    Raises:
        UnreadableError: As there, or colour of more than 8 bits.
    """
    if data.get("SamplesPerPixel", 1) != 3:
        return stored_values(data)
    colours = _decoded(data)
    if colours.dtype != np.uint8:
        raise UnreadableError(f"holds {colours.dtype} colour: expected 8 bits")
    frames = colours.reshape(-1, *colours.shape[-3:])
    grey = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    return grey.reshape(colours.shape[:-1])


def rescaled(data: "Dataset", values: NDArray[Any]) -> Values:
    """Stored values in the file's own units (Hounsfield for CT): ``slope · v + intercept``, or its lookup table.

    Raises:
        UnreadableError: The table is damaged.
    """
    apply_rescale = need("pydicom.pixels").apply_rescale
    try:
        with _quiet():
            units = np.asarray(apply_rescale(values, data), dtype=np.float64)
        if not np.isfinite(units).all():
            raise ValueError("slope or intercept is no number")
        return units
    except Exception as error:  # whatever a damaged table makes pydicom raise
        raise UnreadableError(f"its values cannot be rescaled: {_reason(error)}") from error


def pointwise(values: Stored, function: Callable[[NDArray[np.int64]], NDArray[Scalar]]) -> NDArray[Scalar]:
    """Apply a function of single values, computed once for every value in the range that occurs, not for every pixel.

    Args:
        values: Of any shape, at most 16 bits.
        function: Takes and returns an array; each result depends on its own value, or on the greatest and the least.

    Example:
        >>> pointwise(np.array([[3, 1], [1, 2]]), lambda values: 10 * values).tolist()
        [[30, 10], [10, 20]]
    """
    low, high = int(values.min()), int(values.max())
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    places = values.astype(unsigned) - np.array(low).astype(unsigned)  # right modulo 2^bits, and never negative
    results: NDArray[Scalar] = np.take(function(np.arange(low, high + 1)), places)
    return results


def grey_levels(
    data: "Dataset",
    values: Stored,
    window: Window | None,
    units: Callable[["Dataset", NDArray[np.int64]], Values] = rescaled,
) -> NDArray[np.uint8]:
    """Stored values as grey levels: scaled to a window, then inverted where the file is ``MONOCHROME1``.

    Args:
        data: The file.
        values: What it stores, of any shape.
        window: The units that become black and white; None scales stored values by their own maximum.
        units: From stored values to units, value by value.
    """

    def scaled(stored: NDArray[np.int64]) -> NDArray[np.uint8]:
        levels = by_maximum(stored) if window is None else to_levels(units(data, stored), window)
        return 255 - levels if is_inverted(data) else levels

    return pointwise(values, scaled)


def stated_window(data: "Dataset") -> Window:
    """The range of values that the file says it is to be shown with, in its own units.

    Its (first) window, else all values that its bits can hold: ``0 … 2^bits − 1`` or ``−2^(bits−1) … 2^(bits−1) − 1``,
    rescaled.
    """
    centre, width = number(data, "WindowCenter"), number(data, "WindowWidth")
    if centre is not None and width is not None and width > 0:
        return centre - width / 2, centre + width / 2
    bits = int(number(data, "BitsStored") or 16)
    signed = data.get("PixelRepresentation", 0) == 1
    stored = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = sorted(rescaled(data, stored).tolist())
    return low, high


def is_inverted(data: "Dataset") -> bool:
    """Whether the lowest value is meant to be white (``MONOCHROME1``): invert grey levels **after** scaling."""
    return _interpretation(data) == "MONOCHROME1"


def pixel_spacing(data: "Dataset") -> tuple[float, float] | None:
    """Height and width of a pixel in mm: PixelSpacing, else ImagerPixelSpacing; None where there is no such size."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        numbers = _numbers(data, keyword)
        if len(numbers) == 2 and all(0 < size < math.inf for size in numbers):
            return numbers[0], numbers[1]
    return None


def number(data: "Dataset", keyword: str) -> float | None:
    """The number that an element holds, or the first of several; None where there is none."""
    numbers = _numbers(data, keyword)
    return numbers[0] if numbers and math.isfinite(numbers[0]) else None


def _decoded(data: "Dataset") -> NDArray[Any]:
    sizes = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
    pixels = math.prod(int(number(data, keyword) or 1) for keyword in sizes)
    if pixels > _MAX_PIXELS:
        raise UnreadableError(f"{pixels} pixels are more than the limit of {_MAX_PIXELS} (decompression bombs)")
    try:
        with _quiet():
            _state_syntax(data)
            decoded: NDArray[Any] = data.pixel_array
    except Exception as error:  # decoders raise anything
        if "PixelData" not in data:
            raise UnreadableError("holds no pixels") from error
        needed = pixels * (number(data, "BitsAllocated") or 0)
        if not _is_compressed(data) and len(data.PixelData or b"") * 8 < needed:
            raise ShortPixelsError from error
        raise UnreadableError(f"its pixels cannot be decoded: {_reason(error)}") from error
    return decoded


def _state_syntax(data: "Dataset") -> None:
    """A file without the usual preamble does not say how it is written: pydicom found out."""
    uid = need("pydicom.uid")
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit


def _is_compressed(data: "Dataset") -> bool:
    try:
        return bool(data.file_meta.TransferSyntaxUID.is_compressed)
    except (AttributeError, ValueError):  # a syntax that pydicom does not know
        return True


def _interpretation(data: "Dataset") -> str:
    return str(data.get("PhotometricInterpretation", "")).strip().upper()


def _understand(data: "Dataset") -> None:
    """Have pydicom convert elements now; forget those that it cannot."""
    tags = _tags()
    for tag in [tag for tag in data.keys() if int(tag) in tags]:  # noqa: SIM118  # iterating a Dataset converts them all
        try:
            data[tag]
        except Exception:  # whatever a conversion raises
            del data[tag]


@cache
def _tags() -> frozenset[int]:
    tag_for_keyword = need("pydicom.datadict").tag_for_keyword
    return frozenset(tag_for_keyword(keyword) for keyword in _READ_AT_ONCE)


def _numbers(data: "Dataset", keyword: str) -> list[float]:
    """The numbers of an element, none where it is absent, blank or no number."""
    value = data.get(keyword)
    try:
        return [float(value)] if isinstance(value, str | float | int) else [float(part) for part in value or ()]
    except (TypeError, ValueError):
        return []


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
