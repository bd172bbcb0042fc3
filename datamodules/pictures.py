"""One picture file: from whatever format it has to 8-bit pixels, by one stated rule."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from datamodules.levels import Window, to_levels

EXTENSIONS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".jp2"),
)
"""Endings, in lower case, of the files in a folder that are taken for pictures."""

FULL_RANGE = (0, 65535)
"""The window of 16-bit pictures when none is given: the same for every picture of every data set."""

# Others can run programs (EPS) or are no pictures (PDF): a file is never taken for them, whatever it is called.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
_SIXTEEN_BITS_AS_32 = ("PNG", "PPM")  # formats whose 16-bit values Pillow may hand out as 32-bit integers
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class UnreadableError(Exception):
    """A file that is no readable picture; the message is the reason."""


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded.

    Attributes:
        height: In pixels, after its EXIF orientation.
        width: In pixels, after its EXIF orientation.
        grey: Whether it has one channel, transparency not counted. A palette may turn out to be grey when it is read.
    """

    height: int
    width: int
    grey: bool


@dataclass(frozen=True)
class Facts:
    """What happened to a picture on its way to 8 bits.

    Attributes:
        grey: Whether it has one channel, transparency not counted.
        window: Its smallest and largest value, where it had more than 8 bits; else None.
        transparent: Whether transparency was dropped that some pixel made use of.
        upper_bits: Whether it was 16-bit colour, of which Pillow hands out the upper 8 bits only.
    """

    grey: bool
    window: Window | None = None
    transparent: bool = False
    upper_bits: bool = False


def read_header(path: Path) -> Header:
    """Size and kind of a picture, without decoding it.

    Raises:
        UnreadableError: No picture, an empty file, several frames, or more pixels than Pillow deems safe.
    """
    with _opened(path) as image:
        height, width = image.height, image.width
        # Pillow gives the size of a TIFF as it is after its orientation.
        if image.format != "TIFF" and _orientation(image) in _TURNED:
            height, width = width, height
        return Header(height, width, _is_grey(image))


def read_picture(path: Path, *, window: Window | None = None) -> tuple[NDArray[np.uint8], Facts]:
    """Decode a picture to 8 bits.

    Pixels of 8 bits and fewer stay as they are. Those of 16- and 32-bit grey pictures become

    ``round(255 · (v − low) / (high − low))``, clipped to 0 … 255 (halves to the even number).

    Palettes are looked up, CMYK becomes RGB, transparency is dropped and leaves the colour that a pixel has beneath
    it, and the EXIF orientation is applied.

    Args:
        path: The file.
        window: (low, high) of grey pictures with more than 8 bits; default 0 … 65535 for 16 bits. 32-bit pictures
            have no range of their own and need one.

    Returns:
        ``(C, H, W)``, C = 1 or 3, and what was done.

    Raises:
        UnreadableError: No picture, an empty or truncated file, several frames, more pixels than Pillow deems safe,
            or 32 bits without a window.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     file = Path(place) / "scan.png"
        ...     Image.fromarray(np.array([[0, 1000, 4095]], dtype=np.uint16)).save(file)
        ...     read_picture(file)[0].tolist(), read_picture(file, window=(0, 4095))[0].tolist()
        ([[[0, 4, 16]]], [[[0, 62, 255]]])
    """
    picture, facts = decode_picture(path, window=window)
    pixels = np.asarray(picture)
    return (pixels[None] if facts.grey else pixels.transpose(2, 0, 1)).copy(), facts


def decode_picture(path: Path, *, window: Window | None = None) -> tuple[Image.Image, Facts]:
    """Like :func:`read_picture`, as an image of Pillow's: mode ``L`` where it is grey, else ``RGB``.

    Raises:
        UnreadableError: As there.
    """
    with _opened(path) as image:
        depth = _depth(image)
        upper_bits = depth == 8 and ";16" in str(image.tile[:1])
        image.load()
        with suppress(Exception):  # damaged EXIF data: the pixels are intact
            # In place: a TIFF is turned when it is loaded, and only the image itself knows that.
            ImageOps.exif_transpose(image, in_place=True)
        grey = _is_grey(image) or _has_grey_palette(image)
        if depth == 8:
            picture, transparent = _eight_bits(image, grey)
            return picture, Facts(grey, transparent=transparent, upper_bits=upper_bits)
        values = np.asarray(image)
    if np.isnan(values).any():
        raise UnreadableError("holds values that are no numbers")
    low, high = values.min().item(), values.max().item()
    if depth == 16:
        return Image.fromarray(_levels(window or FULL_RANGE)[values]), Facts(grey, window=(low, high))
    if window is None:
        raise UnreadableError(f"32 bits per pixel have no range of their own ({low:g} … {high:g} here): give a window")
    return Image.fromarray(to_levels(values, window)), Facts(grey, window=(low, high))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """A picture of one frame; whatever Pillow makes of a bad one becomes a reason."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not a file")
        if status.st_size == 0:
            raise UnreadableError("the file is empty")
        # Opened here, so that it is closed whatever happens in Pillow.
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            _check_pixels(image)
            # Phones put a preview or a depth map behind the picture proper (MPO): that one is the first frame.
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            if frames > 1:
                raise UnreadableError(f"holds {frames} frames: save each as a picture of its own")
            yield image
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        raise UnreadableError(f"cannot be identified as a picture ({', '.join(_FORMATS)})") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise anything
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableError(reason or str(error) or type(error).__name__) from error


def _check_pixels(image: Image.Image) -> None:
    """Refuse what Pillow only warns of."""
    pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise UnreadableError(f"{pixels} pixels are more than Pillow's limit of {limit} (decompression bombs)")


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation as far as it is known before the pixels are decoded."""
    with suppress(Exception):  # damaged EXIF data
        # The method of the base class: PNGs have their own, which decodes the pixels to see what lies behind them.
        orientation: int | None = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        return orientation
    return None


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def _has_grey_palette(image: Image.Image) -> bool:
    palette = image.getpalette()
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]


def _depth(image: Image.Image) -> int:
    """Bits that a grey value needs: 8, 16 or 32."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS_AS_32):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _eight_bits(image: Image.Image, grey: bool) -> tuple[Image.Image, bool]:
    """The picture in grey or RGB, and whether transparency was dropped that was made use of."""
    transparent = False
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        transparent = bool(np.asarray(image.getchannel("A")).min() < 255)
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode), transparent


@lru_cache(maxsize=2)
def _levels(window: Window) -> NDArray[np.uint8]:
    """The grey level of every 16-bit value."""
    return to_levels(np.arange(65536), window)
