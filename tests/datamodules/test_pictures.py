"""One picture file: the pixels of every format, the rule for more than 8 bits, and a reason for every bad file."""

import gc
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.pictures import Facts, Header, UnreadableError, read_header, read_picture

Pixels = NDArray[np.uint8]

GREY: Pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR: Pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP: NDArray[np.uint16] = np.array([[0, 1, 128, 129, 257], [300, 4095, 16384, 65407, 65535]], dtype=np.uint16)
PALETTE: Pixels = np.random.default_rng(2).integers(0, 256, (256, 3), dtype=np.uint8)


def _read(file: Path, **options: Any) -> tuple[Pixels, Facts]:
    """The picture, after what its header promises was compared with what it holds."""
    pixels, facts = read_picture(file, **options)
    header = read_header(file)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (header.height, header.width)
    assert pixels.shape[0] == (1 if facts.grey else 3)
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    return pixels, facts


def _indexed(palette: Pixels) -> Image.Image:
    image = Image.fromarray(GREY).convert("P")
    image.putdata(GREY.flatten().tolist())
    image.putpalette(palette.flatten().tolist())
    return image


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(pixels: NDArray[Any], colour_type: int, behind: bytes = b"") -> bytes:
    """A PNG by hand, for what Pillow cannot write: 16-bit colour, and chunks behind the pixels."""
    height, width = pixels.shape[:2]
    bits = 8 * pixels.dtype.itemsize
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(lines))
        + behind
        + _png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "lzw.tif", "x.pgm", "x.gif", "X.PNG"])
def test_grey_pixels_stay_as_they_are(name: str) -> None:
    Image.fromarray(GREY).save(name, compression="tiff_lzw" if "lzw" in name else None)
    pixels, facts = _read(Path(name))
    np.testing.assert_array_equal(pixels[0], GREY)
    assert facts == Facts(grey=True)


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.ppm", "x.webp"])
def test_colour_pixels_stay_as_they_are(name: str) -> None:
    Image.fromarray(COLOUR).save(name, lossless=True)
    pixels, facts = _read(Path(name))
    np.testing.assert_array_equal(pixels, COLOUR.transpose(2, 0, 1))
    assert facts == Facts(grey=False)


def test_jpeg_is_as_near_as_jpeg_is() -> None:
    smooth = np.add.outer(np.arange(0, 160, 5), np.arange(0, 80, 2)).astype(np.uint8)
    Image.fromarray(smooth).save("x.jpg", quality=95)
    pixels, facts = _read(Path("x.jpg"))
    assert np.abs(pixels[0].astype(int) - smooth).max() <= 4
    assert facts.grey


def test_a_wrong_extension_does_not_matter() -> None:
    Image.fromarray(GREY).save("x.png")
    os.rename("x.png", "x.jpg")
    np.testing.assert_array_equal(_read(Path("x.jpg"))[0][0], GREY)


def test_one_bit_is_black_and_white() -> None:
    Image.fromarray(GREY > 127).save("x.png")
    np.testing.assert_array_equal(_read(Path("x.png"))[0][0], np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.bmp", "x.tif"])
def test_palettes_are_looked_up(name: str) -> None:
    _indexed(PALETTE).save(name)
    pixels, facts = _read(Path(name))
    np.testing.assert_array_equal(pixels, PALETTE[GREY].transpose(2, 0, 1))
    assert facts == Facts(grey=False)


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.bmp", "x.tif"])
def test_a_palette_of_grey_is_grey(name: str) -> None:
    levels = np.random.default_rng(3).permutation(256).astype(np.uint8)
    _indexed(np.repeat(levels[:, None], 3, axis=1)).save(name)
    pixels, facts = _read(Path(name))
    np.testing.assert_array_equal(pixels[0], levels[GREY])
    assert facts == Facts(grey=True)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("RGBA", COLOUR.transpose(2, 0, 1)),
        ("LA", GREY[None]),
        ("bytes", PALETTE[GREY].transpose(2, 0, 1)),
        ("index", PALETTE[GREY].transpose(2, 0, 1)),
        ("key", COLOUR.transpose(2, 0, 1)),
        ("grey key", GREY[None]),
    ],
)
def test_transparent_pixels_keep_their_colour(kind: str, expected: Pixels) -> None:
    alpha = np.zeros_like(GREY)
    if kind == "RGBA":
        Image.fromarray(np.dstack([COLOUR, alpha])).save("x.png")
    elif kind == "LA":
        Image.fromarray(np.dstack([GREY, alpha])).save("x.png")
    elif kind == "bytes":
        _indexed(PALETTE).save("x.png", transparency=bytes(range(256)))
    elif kind == "index":
        _indexed(PALETTE).save("x.png", transparency=int(GREY[0, 0]))
    elif kind == "key":
        Image.fromarray(COLOUR).save("x.png", transparency=tuple(COLOUR[0, 0].tolist()))
    else:
        Image.fromarray(GREY).save("x.png", transparency=int(GREY[0, 0]))
    pixels, facts = _read(Path("x.png"))
    np.testing.assert_array_equal(pixels, expected)
    assert facts == Facts(grey=len(expected) == 1, transparent=True)


def test_transparency_that_is_not_made_use_of_is_not_mentioned() -> None:
    Image.fromarray(np.dstack([COLOUR, np.full_like(GREY, 255)])).save("x.png")
    assert _read(Path("x.png"))[1] == Facts(grey=False)


def test_cmyk_becomes_rgb() -> None:
    ink = np.random.default_rng(4).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    Image.fromarray(ink, "CMYK").save("x.tif")
    light = (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255
    assert np.abs(_read(Path("x.tif"))[0].transpose(1, 2, 0) - light).max() <= 1


@pytest.mark.parametrize("name", ["x.png", "x.tif", "lzw.tif", "big-endian.tif", "x.pgm"])
def test_sixteen_bits_lose_the_lower_eight_by_rounding(name: str) -> None:
    if name.startswith("big"):
        Image.frombytes("I;16B", DEEP.shape[::-1], DEEP.astype(">u2").tobytes()).save(name)
    else:
        Image.fromarray(DEEP).save(name, compression="tiff_lzw" if "lzw" in name else None)
    pixels, facts = _read(Path(name))
    np.testing.assert_array_equal(pixels[0], (DEEP.astype(int) + 128) // 257)  # 65535 / 255 = 257
    assert facts == Facts(grey=True, window=(0, 65535))


@pytest.mark.parametrize("window", [(0, 65535), (100, 4095), (0, 510), (-1000, 3000), (0.5, 4095.25)])
@pytest.mark.parametrize(
    ("name", "kind"), [("x.png", np.uint16), ("x.tif", np.uint16), ("x.tif", np.int32), ("x.tif", np.float32)]
)
def test_a_window_is_linear_clipped_and_rounded_to_nearest(
    window: tuple[float, float], name: str, kind: type[np.generic]
) -> None:
    Image.fromarray(DEEP.astype(kind)).save(name)
    low, high = map(Fraction, window)
    scaled = [[(int(v) - low) * 255 / (high - low) for v in row] for row in DEEP]
    expected = [[min(max(round(v), 0), 255) for v in row] for row in scaled]
    pixels, facts = _read(Path(name), window=window)
    np.testing.assert_array_equal(pixels[0], expected)
    assert facts == Facts(grey=True, window=(0, 65535))


def test_a_window_leaves_eight_bits_alone() -> None:
    Image.fromarray(GREY).save("x.png")
    np.testing.assert_array_equal(_read(Path("x.png"), window=(0, 10))[0][0], GREY)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bits_need_a_window(kind: type[np.generic]) -> None:
    Image.fromarray(np.array([[-3, 12]], dtype=kind)).save("x.tif")
    with pytest.raises(UnreadableError, match=r"32 bits per pixel .*\(-3 … 12 here\): give a window"):
        read_picture(Path("x.tif"))


def test_values_that_are_no_numbers_are_refused() -> None:
    Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)).save("x.tif")
    with pytest.raises(UnreadableError, match="no numbers"):
        read_picture(Path("x.tif"), window=(0, 1))


def test_of_16_bit_colour_the_upper_bits_are_read() -> None:
    deep = np.random.default_rng(5).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    Path("x.png").write_bytes(_png(deep, colour_type=2))
    pixels, facts = _read(Path("x.png"))
    np.testing.assert_array_equal(pixels, (deep >> 8).transpose(2, 0, 1))
    assert facts == Facts(grey=False, upper_bits=True)


# How the stored picture is turned to be seen, by the standard's number.
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(np.swapaxes(x, 0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("name", "stored"),
    [("x.png", GREY), ("x.png", COLOUR), ("x.tif", GREY), ("lzw.tif", COLOUR), ("x.webp", COLOUR)],
)
def test_the_orientation_is_applied(orientation: int, name: str, stored: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    compression = "tiff_lzw" if "lzw" in name else None
    Image.fromarray(stored).save(name, exif=exif, lossless=True, compression=compression)
    seen = TURNS[orientation](stored)
    np.testing.assert_array_equal(_read(Path(name))[0], seen[None] if stored is GREY else seen.transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_of_16_bits_and_of_jpegs_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(DEEP).save("x.png", exif=exif)
    np.testing.assert_array_equal(_read(Path("x.png"))[0][0], TURNS[orientation]((DEEP.astype(int) + 128) // 257))
    half = np.zeros((16, 32), dtype=np.uint8)
    half[:8] = 255
    Image.fromarray(half).save("x.jpg", exif=exif)
    np.testing.assert_array_equal(_read(Path("x.jpg"))[0][0] > 127, TURNS[orientation](half) > 127)


def test_an_orientation_behind_the_pixels_is_applied_though_the_header_does_not_know() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Path("x.png").write_bytes(_png(GREY, colour_type=0, behind=_png_chunk(b"eXIf", exif.tobytes()[6:])))
    assert read_header(Path("x.png")) == Header(5, 7, grey=True)
    np.testing.assert_array_equal(read_picture(Path("x.png"))[0][0], np.rot90(GREY, -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_data_do_not_make_a_picture_unreadable(exif: bytes) -> None:
    Image.fromarray(GREY).save("x.png", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(_read(Path("x.png"))[0][0], GREY)


@pytest.mark.parametrize("name", ["x.tif", "x.gif", "x.webp", "x.png"])
def test_several_frames_are_refused(name: str) -> None:
    frames = [Image.fromarray(np.roll(COLOUR, i)) for i in range(3)]
    frames[0].save(name, save_all=True, append_images=frames[1:])
    for read in (read_header, read_picture):
        with pytest.raises(UnreadableError, match="holds 3 frames"):
            read(Path(name))


def test_of_a_phone_picture_the_first_frame_is_read() -> None:
    white, black = (Image.new("L", (16, 8), value) for value in (255, 0))
    white.save("x.jpg", format="MPO", save_all=True, append_images=[black])
    with Image.open("x.jpg") as image:
        assert image.format == "MPO"
    np.testing.assert_array_equal(_read(Path("x.jpg"))[0], np.full((1, 8, 16), 255))


def test_truncated_files_are_refused_and_closed() -> None:
    noise = np.random.default_rng(6).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("x.png", "x.jpg", "x.tif", "x.bmp", "x.gif", "x.webp", "x.ppm"):
        Image.fromarray(noise).save(name)
        for part in (0.9, 0.3):
            os.truncate(name, int(part * os.path.getsize(name)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                with pytest.raises(UnreadableError):
                    read_picture(Path(name))
    gc.collect()  # an open file would warn, and warnings are errors


def test_truncated_files_say_so() -> None:
    Image.fromarray(COLOUR).save("x.bmp")
    os.truncate("x.bmp", 100)
    with pytest.raises(UnreadableError, match="truncated"):
        read_picture(Path("x.bmp"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "cannot be identified as a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "cannot be identified"),
        (b"\x89PNG\r\n\x1a\n", "."),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, reason: str) -> None:
    Path("x.png").write_bytes(content)
    for read in (read_header, read_picture):
        with pytest.raises(UnreadableError, match=reason):
            read(Path("x.png"))


def test_what_is_no_file_is_refused() -> None:
    Path("folder.png").mkdir()
    os.mkfifo("pipe.png")  # would wait for ever to be opened
    Path("link.png").symlink_to("nowhere")
    for name, reason in (("folder.png", "not a file"), ("pipe.png", "not a file"), ("link.png", "No such file")):
        with pytest.raises(UnreadableError, match=reason):
            read_header(Path(name))


@pytest.mark.parametrize("limit", [34, 17])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_decompression_bombs_are_refused(limit: int, action: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of more pixels than the limit Pillow warns, of more than twice the limit it makes an error.
    Image.fromarray(GREY).save("x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(UnreadableError, match=r"35 pixels.*decompression bomb"):
            read_header(Path("x.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 35)
    assert read_header(Path("x.png")) == Header(5, 7, grey=True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_header(Path("x.png")) == Header(5, 7, grey=True)
