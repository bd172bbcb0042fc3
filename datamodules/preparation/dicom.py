"""DICOM files: from stored values to units, to grey levels. Needs the extra ``radiology``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.levels import Window
from datamodules.pictures import UnreadableError
from datamodules.preparation.optional import need

if TYPE_CHECKING:
    from pydicom import Dataset

Values = NDArray[np.float64]


def read_dicom(file: Path, *, pixels: bool = True) -> "Dataset":
    """Read a DICOM file; one without the usual preamble is read all the same.

    Args:
        file: The file.
        pixels: Whether its pixels are wanted too; without them reading stops at the header.

    Raises:
        UnreadableError: It is absent, no DICOM file, or damaged.
    """
    pydicom = need("pydicom")
    try:
        data: Dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    except Exception as error:  # a damaged file makes pydicom raise anything
        raise UnreadableError(f"cannot be read as DICOM: {error}") from error
    if "SOPInstanceUID" not in data and "Rows" not in data:
        raise UnreadableError("is no DICOM file")
    return data


def stored_values(data: "Dataset") -> NDArray[Any]:
    """The pixels as they are stored, ``(H, W)``, or ``(frames, H, W)`` for a file of several frames.

    Raises:
        UnreadableError: They are missing, truncated, colour, or compressed in a way for which no decoder is installed.
    """
    try:
        values: NDArray[Any] = data.pixel_array
    except Exception as error:  # decoders raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"its pixels cannot be decoded: {reason}") from error
    if data.get("SamplesPerPixel", 1) != 1:
        raise UnreadableError("holds colour: expected grey values")
    return values


def rescaled(data: "Dataset", values: NDArray[Any]) -> Values:
    """Stored values in the file's own units (Hounsfield for CT): ``slope · v + intercept``, or its lookup table."""
    apply_rescale = need("pydicom.pixels").apply_rescale
    units: Values = np.asarray(apply_rescale(values, data), dtype=np.float64)
    return units


def stated_window(data: "Dataset") -> Window:
    """The range of values that the file says it is to be shown with, in its own units.

    Its (first) window, else all values that its bits can hold: ``0 … 2^bits − 1`` or ``−2^(bits−1) … 2^(bits−1) − 1``,
    rescaled.
    """
    centre, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    if centre is not None and width is not None and width > 0:
        return centre - width / 2, centre + width / 2
    bits = int(data.get("BitsStored") or 16)
    signed = data.get("PixelRepresentation", 0) == 1
    stored = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = sorted(rescaled(data, stored).tolist())
    return low, high


def is_inverted(data: "Dataset") -> bool:
    """Whether the lowest value is meant to be white (``MONOCHROME1``): invert grey levels **after** scaling."""
    return str(data.get("PhotometricInterpretation", "")).strip().upper() == "MONOCHROME1"


def pixel_spacing(data: "Dataset") -> tuple[float, float] | None:
    """Height and width of a pixel in mm: PixelSpacing, else ImagerPixelSpacing; None where there is no such size."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            tall, wide = (float(value) for value in data.get(name) or ())
        except (TypeError, ValueError):
            continue
        if tall > 0 and wide > 0:
            return tall, wide
    return None


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    try:
        return float(value if isinstance(value, str | float | int) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
