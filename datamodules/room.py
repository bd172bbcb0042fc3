"""Room for images: in memory, or in a file that the system reads and writes a page at a time."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import torch
from torch import Tensor

from metrics import InputError


def room(shape: Sequence[int], place: Path | None) -> Tensor:
    """Room for 8-bit images.

    Args:
        shape: ``(n, C, H, W)``.
        place: None for memory; else the folder of a file without a name, or the system's folder for such files where
            that cannot be written. The file goes when the last process that has it ends, however it ends.

    Returns:
        A uint8 tensor of that shape, of any content.

    Raises:
        InputError: There is no room for the file.
    """
    size = math.prod(shape)
    if place is None or not size:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    try:
        with _file(place) as file:
            if hasattr(os, "posix_fallocate"):  # a disk that is full later would end the process without a word
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="r+", shape=tuple(shape)))
    except OSError as error:
        raise InputError(
            f"no room for {size / 1e9:.1f} GB of images beside the table ({error.strerror}): "
            "make room, lower n_train or image_size, or raise memory_limit to keep them in memory"
        ) from error


def _file(place: Path) -> IO[bytes]:
    try:
        return TemporaryFile(dir=place)
    except OSError:  # the table may lie where nothing can be written
        return TemporaryFile()
