"""Many pictures, one tensor: order, one size, one number of channels, nothing lost in silence."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules import picture_stack
from datamodules.picture_stack import PictureStack, read_stack
from datamodules.pictures import read_header, read_picture
from metrics import InputError

HERE = Path()
GREY, COLOUR = (6, 8), (6, 8, 3)


def _noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _write(pictures: Mapping[str, NDArray[Any]]) -> list[str]:
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(name)
    return list(pictures)


def _truncate(name: str) -> None:
    os.truncate(name, os.path.getsize(name) // 2)


def _same(one: PictureStack, other: PictureStack) -> None:
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.kept, other.kept)
    assert (one.skipped, one.notes) == (other.skipped, other.notes)


@pytest.mark.parametrize("threads", [1, 3, None])
def test_pictures_come_in_the_order_of_their_names(threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    pictures = {f"{i}.png": _noise(COLOUR, seed=i) for i in (4, 2, 9, *range(10, 30))}
    stack = read_stack(HERE, _write(pictures))
    np.testing.assert_array_equal(stack.images.permute(0, 2, 3, 1), list(pictures.values()))
    assert stack.kept.tolist() == list(range(23))
    assert (stack.skipped, stack.notes) == ((), ())


@pytest.mark.parametrize("image_size", [5, 40])
def test_pictures_are_resampled_as_pillow_does(image_size: int) -> None:
    smooth = [Image.fromarray(_noise((4, 5, 3), seed=i)).resize((31, 23), Image.Resampling.BICUBIC) for i in range(3)]
    names = _write({f"{i}.png": np.asarray(picture) for i, picture in enumerate(smooth)})
    stack = read_stack(HERE, names, image_size=image_size)
    for image, picture in zip(stack.images, smooth, strict=True):
        expected = np.asarray(picture.resize((image_size, image_size), Image.Resampling.BILINEAR), dtype=int)
        assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 1  # Pillow rounds twice
    assert stack.notes == (f"resampled from 31x23 to {image_size}x{image_size} (width x height)",)


def test_pictures_that_have_the_size_are_left_alone() -> None:
    stack = read_stack(HERE, _write({"a.png": _noise((9, 9))}), image_size=9)
    np.testing.assert_array_equal(stack.images[0, 0], _noise((9, 9)))
    assert stack.notes == ()


def test_different_sizes_become_224() -> None:
    names = _write({f"{h}x{w}.png": np.full((h, w), 9 * h, dtype=np.uint8) for h, w in ((2, 9), (3, 3), (9, 2))})
    stack = read_stack(HERE, names)
    assert stack.images.shape == (3, 1, 224, 224)
    assert [image.unique().tolist() for image in stack.images] == [[18], [27], [81]]
    assert stack.notes == ("resampled from 3 sizes, 3x3 … 9x2, to 224x224 (width x height)",)


def test_sizes_are_those_after_the_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_noise((8, 6))).save("turned.png", exif=exif)
    stack = read_stack(HERE, ["turned.png", *_write({"plain.png": _noise((6, 8))})])
    np.testing.assert_array_equal(stack.images[:, 0], [np.rot90(_noise((8, 6)), -1), _noise((6, 8))])
    assert stack.notes == ()


@pytest.mark.parametrize(
    ("shapes", "channels", "expected", "note"),
    [
        ([GREY, GREY], "keep", 1, None),
        ([COLOUR, COLOUR], "keep", 3, None),
        ([GREY, COLOUR, GREY], "keep", 3, "2 of 3 pictures are grey: shown as colour, three equal channels"),
        ([GREY, GREY], 3, 3, "2 of 2 pictures are grey: shown as colour, three equal channels"),
        ([COLOUR, GREY], 1, 1, "1 of 2 pictures are colour: turned to grey (ITU-R 601 luma)"),
        ([GREY, GREY], 1, 1, None),
        ([COLOUR, COLOUR], 3, 3, None),
    ],
)
def test_channels(
    shapes: list[tuple[int, ...]], channels: Literal["keep", 1, 3], expected: int, note: str | None
) -> None:
    pictures = {f"{i}.png": _noise(shape, seed=i) for i, shape in enumerate(shapes)}
    stack = read_stack(HERE, _write(pictures), channels=channels)
    for image, pixels in zip(stack.images, pictures.values(), strict=True):
        if expected == 1 and pixels.ndim == 3:
            luma = pixels @ np.array([0.299, 0.587, 0.114])
            assert np.abs(image[0].numpy() - luma).max() < 0.51
        else:
            planes = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]
            np.testing.assert_array_equal(image, np.broadcast_to(planes, (expected, 6, 8)))
    assert stack.notes == ((note,) if note else ())


def test_grey_palettes_are_grey_and_three_equal_channels_stay_colour() -> None:
    Image.fromarray(_noise(GREY)).convert("P").save("grey.gif")
    assert read_stack(HERE, ["grey.gif"]).images.shape == (1, 1, 6, 8)
    assert read_stack(HERE, _write({"rgb.png": np.dstack([_noise(GREY)] * 3)})).images.shape == (1, 3, 6, 8)


def test_dropped_transparency_is_noted() -> None:
    stack = read_stack(HERE, _write({"a.png": _noise(COLOUR), "b.png": _noise((6, 8, 4))}))
    (note,) = stack.notes
    assert note.startswith("1 of 2 pictures are partly transparent")


@pytest.mark.parametrize(
    ("largest", "note"),
    [
        (
            16383,
            "16-bit values lie in 100 … 16383, so at most 65 of 256 grey levels are used: window=(100, 16383) would",
        ),
        (
            514,
            "16-bit values lie in 100 … 514, so at most 3 of 256 grey levels are used: window=(100, 514) would use all",
        ),
        (16384, None),
    ],
)
def test_a_range_that_is_poorly_used_is_noted_for_the_whole_set(largest: int, note: str | None) -> None:
    pictures = {"a.png": np.array([[100, 300]], dtype=np.uint16), "b.png": np.array([[200, largest]], dtype=np.uint16)}
    stack = read_stack(HERE, _write(pictures))
    np.testing.assert_array_equal(stack.images[:, 0, 0], [[0, 1], [1, (largest + 128) // 257]])
    assert len(stack.notes) == (note is not None)
    assert all(found.startswith(str(note)) for found in stack.notes)
    assert read_stack(HERE, list(pictures), window=(0, 1000)).notes == ()


def test_a_window_is_one_for_the_whole_set() -> None:
    names = _write({f"{i}.tif": np.array([[0, 10 * i]], dtype=np.float32) for i in (1, 2)})
    np.testing.assert_array_equal(read_stack(HERE, names, window=(0, 20)).images[:, 0, 0], [[0, 128], [0, 255]])


def test_a_window_that_does_not_apply_is_noted() -> None:
    names = _write({"8.png": _noise((1, 2)), "16.png": np.array([[0, 65535]], dtype=np.uint16)})
    assert read_stack(HERE, names[:1], window=(0, 9)).notes == (
        "window=(0, 9) changed nothing: no grey picture has more than 8 bits",
    )
    assert read_stack(HERE, names, window=(0, 9)).notes == (
        "1 of 2 pictures have more than 8 bits: the others are not windowed",
    )


def test_unreadable_files_stop_it_with_their_number_and_the_first_reasons() -> None:
    names = _write({f"{i}.bmp": _noise(GREY, seed=i) for i in range(9)})
    for name in names[1:3]:
        _truncate(name)
    for name in names[4:]:
        Path(name).write_text("")
    with pytest.raises(InputError) as caught:
        read_stack(HERE, names)
    message = str(caught.value)
    assert message.startswith(
        "7 of 9 pictures in . cannot be read: mend them, or leave them out with --skip-unreadable"
    )
    assert [f"{i}.bmp" in message for i in range(9)] == [False, True, True, False, True, True, True, False, False]
    assert "1.bmp: image file is truncated" in message
    assert "4.bmp: the file is empty" in message
    assert message.endswith("; …)")


def test_unreadable_files_are_left_out_and_listed_on_request() -> None:
    pictures = {f"{i}.bmp": _noise(GREY, seed=i) for i in range(5)}
    names = _write(pictures)
    _truncate("3.bmp")
    Path("1.bmp").write_text("rubbish")
    stack = read_stack(HERE, names, skip_unreadable=True)
    np.testing.assert_array_equal(stack.images[:, 0], [pictures[f"{i}.bmp"] for i in (0, 2, 4)])
    assert stack.kept.tolist() == [0, 2, 4]
    assert [skipped.split(":")[0] for skipped in stack.skipped] == ["1.bmp", "3.bmp"]
    assert stack.notes == ()


@pytest.mark.parametrize("shape", [(9, 9), (6, 9, 3), COLOUR])
def test_unreadable_files_decide_neither_size_nor_channels(shape: tuple[int, ...]) -> None:
    good = {f"{i}.bmp": _noise(GREY, seed=i) for i in range(3)}
    names = _write({**good, "3.bmp": _noise(shape)})
    _truncate("3.bmp")
    stack = read_stack(HERE, names, skip_unreadable=True)
    assert stack.skipped[0].startswith("3.bmp: ")
    _same(PictureStack(stack.images, stack.kept, (), stack.notes), read_stack(HERE, list(good)))
    assert stack.images.shape == (3, 1, *GREY)


@pytest.mark.parametrize("skip_unreadable", [True, False])
def test_nothing_but_unreadable_files_is_refused(skip_unreadable: bool) -> None:
    for name in ("a.png", "b.png"):
        Path(name).write_text("")
    with pytest.raises(InputError, match=r"2 of 2 pictures in \. cannot be read \(a.png: the file is empty; b.png"):
        read_stack(HERE, ["a.png", "b.png"], skip_unreadable=skip_unreadable)


def test_32_bits_without_a_window_are_unreadable() -> None:
    with pytest.raises(InputError, match=r"a.tif: 32 bits per pixel .* give a window"):
        read_stack(HERE, _write({"a.tif": np.zeros((2, 2), dtype=np.float32)}))


def test_an_orientation_that_no_header_told_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _write({"a.png": _noise((6, 8)), "b.png": _noise((8, 6))})
    header = read_header(Path("a.png"))
    monkeypatch.setattr(picture_stack, "read_header", lambda path: header)
    with pytest.raises(InputError, match=r"1 of 2 .*b.png: a note behind its pixels turns it"):
        read_stack(HERE, names)
    assert read_stack(HERE, names, image_size=4).images.shape == (2, 1, 4, 4)


def test_warnings_of_pillow_are_kept_quiet_and_the_filters_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _write({"a.png": _noise(GREY), "b.png": _noise(GREY)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    before = list(warnings.filters)
    with pytest.raises(InputError, match=r"a.png: 48 pixels are more than Pillow's limit of 30"):
        read_stack(HERE, names)
    assert warnings.filters == before


def test_progress_is_told_after_each_picture() -> None:
    names = _write({f"{i}.png": _noise(GREY) for i in range(4)})
    told: list[tuple[int, int]] = []
    read_stack(HERE, names, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_only_a_few_decoded_pictures_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    names = _write({f"{i}.png": _noise(GREY) for i in range(20)})
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    decoded: list[Path] = []

    def counting(path: Path, **options: Any) -> Any:
        decoded.append(path)
        return read_picture(path, **options)

    monkeypatch.setattr(picture_stack, "read_picture", counting)
    waiting: list[int] = []
    read_stack(HERE, names, progress=lambda done, total: waiting.append(len(decoded) - done))
    assert len(decoded) == 20
    assert max(waiting) <= 4


def test_more_than_there_is_memory_for_is_one_line() -> None:
    names = _write({"a.png": _noise(GREY)}) * 3
    with pytest.raises(
        InputError, match=r"3 pictures of 100000000x100000000 need 30000000 GB of memory: choose a small"
    ):
        read_stack(HERE, names, image_size=10**8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size=0 is too small"),
        ({"window": (5, 5)}, r"window=\(5, 5\) is none"),
        ({"window": (9, 5)}, r"window=\(9, 5\) is none"),
        ({"window": (0, float("nan"))}, r"window=\(0, nan\) is none"),
        ({"window": (0, float("inf"))}, r"window=\(0, inf\) is none"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_stack(HERE, _write({"a.png": _noise(GREY)}), **options)
