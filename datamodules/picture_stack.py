"""Many picture files: decoded by several threads, in order, into one tensor."""

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.images import resize, set_channels
from datamodules.levels import Window
from datamodules.pictures import FULL_RANGE, Facts, Header, UnreadableError, read_header, read_picture
from metrics import InputError, Progress

Channels = Literal["keep", 1, 3]
"""Called with the number of pictures that are done, and of all."""

_MIXED_SIDE = 224  # pixels; what most backbones were trained on
_POORLY_USED = 16384  # a 16-bit value; fewer than 64 of the 256 grey levels lie below
_NAMED = 5  # files named in an error
_AHEAD = 2  # pictures per thread that may wait to be fetched

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class PictureStack:
    """Pictures of one size.

    Attributes:
        images: ``(n, C, H, W)`` uint8, C = 1 or 3.
        kept: ``(n,)`` which of the files they are, ascending.
        skipped: The unreadable files: "path: reason".
        notes: What was done to the pictures, for a reader of their numbers.
    """

    images: Tensor
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def read_stack(
    folder: Path,
    files: Sequence[str],
    *,
    image_size: int | None = None,
    channels: Channels = "keep",
    window: Window | None = None,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> PictureStack:
    """Decode pictures and give them one size.

    Sizes are read from the headers first, so that every picture is resampled as soon as it is decoded: besides the
    result, only a few pictures are in memory at a time.

    Args:
        folder: What the names are relative to.
        files: Names of the files, at least one.
        image_size: Side in pixels of the squares that pictures are resampled to (bilinear, averaging over source
            pixels when shrinking). Default: the size they have, and 224 where sizes differ.
        channels: keep (grey where every picture is grey, else colour), 1 (grey) or 3 (colour).
        window: The values of 16- and 32-bit grey pictures that become 0 and 255; default 0 and 65535 for 16 bits, in
            every picture, whatever values it holds. See :func:`datamodules.pictures.read_picture`.
        skip_unreadable: Leave unreadable files out and list them, rather than stop.
        progress: Called after each picture. Where an unreadable file turns out to have been the one of another size,
            the count starts anew.

    Raises:
        InputError: Unreadable files, with their number and the first few reasons, or nothing but unreadable files;
            more pixels than there is memory for; an image_size below 1; a window that is none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for i in range(3):
        ...         Image.new("L", (4, 2), 100 * i).save(f"{place}/{i}.png")
        ...     stack = read_stack(Path(place), ["0.png", "1.png", "2.png"])
        >>> stack.images.shape, stack.images[:, 0, 0, 0].tolist(), stack.notes
        (torch.Size([3, 1, 2, 4]), [0, 100, 200], ())
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size={image_size} is too small: choose at least 1 pixel")
    if window is not None and not (math.isfinite(window[0]) and math.isfinite(window[1]) and window[0] < window[1]):
        raise InputError(f"window={window} is none: give two numbers, the value of black and the larger one of white")
    heads: dict[int, Header] = {}
    failures: dict[int, UnreadableError] = {}
    with warnings.catch_warnings():
        # Pillow warns of oddities that do no harm to the pixels. What does is refused, and not by a warning, since
        # threads share the filters.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for i, head in enumerate(_in_order(read_header, [folder / name for name in files])):
            if isinstance(head, UnreadableError):
                failures[i] = head
            else:
                heads[i] = head
        while heads:
            shape = _common_shape(heads, image_size, channels)
            images, facts, late = _decode(folder, files, list(heads), shape, window, progress)
            failures |= late
            heads = {i: head for i, head in heads.items() if i not in late}
            if not skip_unreadable or not heads or _common_shape(heads, image_size, channels)[1:] == shape[1:]:
                break
    reasons = [f"{files[i]}: {failures[i]}" for i in sorted(failures)]
    if reasons and (not skip_unreadable or not heads):
        named = "; ".join(reasons[:_NAMED]) + ("; …" if len(reasons) > _NAMED else "")
        mend = "" if not heads else ": mend them, or leave them out with --skip-unreadable"
        raise InputError(f"{len(reasons)} of {len(files)} pictures in {folder} cannot be read{mend} ({named})")
    if channels == "keep" and all(fact.grey for fact in facts):
        images = images[:, :1].contiguous()  # palettes that turned out grey, or the colour was in unreadable files
    notes = (*_size_notes(heads, images), *_channel_notes(facts, images), *_depth_notes(facts, window))
    return PictureStack(images, np.array(list(heads), dtype=np.int64), tuple(reasons), notes)


def _common_shape(heads: dict[int, Header], image_size: int | None, channels: Channels) -> tuple[int, int, int]:
    """``(C, H, W)`` that pictures with these headers are brought to."""
    depth = channels if channels != "keep" else 1 if all(head.grey for head in heads.values()) else 3
    sizes = {(head.height, head.width) for head in heads.values()}
    if image_size is None and len(sizes) == 1:
        return depth, *sizes.pop()
    side = image_size or _MIXED_SIDE
    return depth, side, side


def _decode(
    folder: Path,
    files: Sequence[str],
    rows: list[int],
    shape: tuple[int, int, int],
    window: Window | None,
    progress: Progress | None,
) -> tuple[Tensor, list[Facts], dict[int, UnreadableError]]:
    """The pictures of those rows that can be decoded, and why others cannot."""
    try:
        images = torch.empty(len(rows), *shape, dtype=torch.uint8)
    except RuntimeError:  # the allocator's
        size = len(rows) * math.prod(shape) / 1e9
        raise InputError(
            f"{len(rows)} pictures of {shape[2]}x{shape[1]} need {size:.0f} GB of memory: choose a smaller image_size"
        ) from None
    facts: list[Facts] = []
    failures: dict[int, UnreadableError] = {}
    outcomes = _in_order(partial(_shaped, shape=shape, window=window), [folder / files[i] for i in rows])
    for done, (row, outcome) in enumerate(zip(rows, outcomes, strict=True), len(files) - len(rows) + 1):
        if isinstance(outcome, UnreadableError):
            failures[row] = outcome
        else:
            images[len(facts)] = outcome[0]
            facts.append(outcome[1])
        if progress is not None:
            progress(done, len(files))
    return images[: len(facts)], facts, failures


def _shaped(path: Path, *, shape: tuple[int, int, int], window: Window | None) -> tuple[Tensor, Facts]:
    """One picture, ``shape``."""
    pixels, facts = read_picture(path, window=window)
    image = torch.from_numpy(pixels)[None]
    depth, height, width = shape
    if image.shape[2:] != (height, width):
        if height != width:
            raise UnreadableError("a note behind its pixels turns it by 90°: save it anew, or choose an image_size")
        image = resize(image, height, antialias=True)
    return set_channels(image, depth)[0], facts


def _in_order(work: Callable[[Path], _T], paths: Sequence[Path]) -> Iterator[_T | UnreadableError]:
    """Results in the order of the paths, made by as many threads as there are processors (Pillow lets them run)."""

    def attempt(path: Path) -> _T | UnreadableError:
        try:
            return work(path)
        except UnreadableError as error:
            return error

    threads = os.cpu_count() or 1
    pending: deque[Future[_T | UnreadableError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for path in paths:
            pending.append(pool.submit(attempt, path))
            if len(pending) > _AHEAD * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _size_notes(heads: dict[int, Header], images: Tensor) -> Iterator[str]:
    height, width = images.shape[2:]
    sizes = sorted({(head.width, head.height) for head in heads.values()}, key=lambda size: (math.prod(size), size))
    if sizes == [(width, height)]:
        return
    names = [f"{w}x{h}" for w, h in sizes]
    source = names[0] if len(names) == 1 else f"{len(names)} sizes, {names[0]} … {names[-1]},"
    yield f"resampled from {source} to {width}x{height} (width x height)"


def _channel_notes(facts: list[Facts], images: Tensor) -> Iterator[str]:
    grey = sum(fact.grey for fact in facts)
    if images.shape[1] == 3 and grey:
        yield f"{grey} of {len(facts)} pictures are grey: shown as colour, three equal channels"
    if images.shape[1] == 1 and grey < len(facts):
        yield f"{len(facts) - grey} of {len(facts)} pictures are colour: turned to grey (ITU-R 601 luma)"
    transparent = sum(fact.transparent for fact in facts)
    if transparent:
        yield (
            f"{transparent} of {len(facts)} pictures are partly transparent: transparency is dropped, "
            "pixels keep the colour beneath it"
        )


def _depth_notes(facts: list[Facts], window: Window | None) -> Iterator[str]:
    upper = sum(fact.upper_bits for fact in facts)
    if upper:
        yield f"{upper} of {len(facts)} pictures are 16-bit colour: their upper 8 bits are read, and no window applies"
    found = [fact.window for fact in facts if fact.window is not None]
    if window is not None and not found:
        yield f"window={window} changed nothing: no grey picture has more than 8 bits"
    if found and len(found) < len(facts):
        yield f"{len(found)} of {len(facts)} pictures have more than 8 bits: the others are not windowed"
    if found and window is None:
        low, high = min(low for low, _ in found), max(high for _, high in found)
        if low < high < _POORLY_USED:
            levels = round(high * 255 / FULL_RANGE[1]) - round(low * 255 / FULL_RANGE[1]) + 1
            yield (
                f"16-bit values lie in {low} … {high}, so at most {levels} of 256 grey levels are used: "
                f"window=({low}, {high}) would use all"
            )
