"""Images in memory, ready to be measured or fetched a batch at a time."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

PADDING = -1
_RESIZE_CHUNK = 64  # images held as floats at a time


@dataclass(frozen=True, eq=False)
class ImageSet(Dataset[dict[str, Tensor]]):
    """Labelled 8-bit images.

    Attributes:
        images: ``(n, C, H, W)`` uint8.
        labels: ``(n,)`` int64, 0 … classes − 1.
        rows: ``(n,)`` int64: the rows of the table that they come from.
        groups: ``(n,)`` int64: numbers of the groups (patients, volumes, lesions) that they belong to.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    groups: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A whole batch at once: ``image`` uint8, ``label``, ``index``.

        An index of :data:`PADDING` fills a batch up; its image is a real one that must not be counted.
        """
        index = torch.as_tensor(indices)
        return {"image": self.images[index], "label": self.labels[index], "index": index}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of shape, pixels and labels, in order: equal for equal content only."""
        digest = hashlib.blake2b(repr(tuple(self.images.shape)).encode(), digest_size=16)
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


class LateImageSet(ImageSet):
    """Images that are read when somebody looks at them.

    Args:
        read: Reads them, once.
        labels: As of :class:`ImageSet`, and so
        rows: and
        groups: are.
    """

    def __init__(self, read: Callable[[], Tensor], labels: Tensor, rows: Tensor, groups: Tensor) -> None:
        vars(self).update(_read=read, labels=labels, rows=rows, groups=groups)  # frozen

    @cached_property
    def images(self) -> Tensor:
        """``(n, C, H, W)`` uint8."""
        images: Tensor = vars(self)["_read"]()
        return images


def resize(images: Tensor, side: int, *, antialias: bool) -> Tensor:
    """Resample 8-bit images to squares, bilinearly.

    Arithmetic is float32 with rounding to the nearest grey level, on any machine the same path.

    Args:
        images: ``(n, C, H, W)`` uint8.
        side: New height and width in pixels.
        antialias: Whether to average over the source pixels when shrinking (no effect when enlarging).

    Returns:
        ``(n, C, side, side)`` uint8.

    Example:
        >>> resize(torch.tensor([[[[0, 255]]]], dtype=torch.uint8).expand(1, 1, 2, 2), 4, antialias=True)[0, 0, 0]
        tensor([  0,  64, 191, 255], dtype=torch.uint8)
    """
    if images.shape[-2:] == (side, side):
        return images.clone()
    result = torch.empty(*images.shape[:2], side, side, dtype=torch.uint8)
    for start in range(0, len(images), _RESIZE_CHUNK):
        chunk = slice(start, start + _RESIZE_CHUNK)
        resampled = F.interpolate(images[chunk].float(), (side, side), mode="bilinear", antialias=antialias)
        result[chunk] = resampled.round().clamp(0, 255).to(torch.uint8)
    return result


def set_channels(images: Tensor, channels: int) -> Tensor:
    """Turn grey images into colour or colour into grey.

    Args:
        images: ``(n, C, H, W)`` uint8, C = 1 or 3.
        channels: 1 or 3. Grey becomes three equal channels; colour becomes its ITU-R 601 luma, rounded.

    Example:
        >>> set_channels(torch.tensor([255, 0, 0], dtype=torch.uint8).reshape(1, 3, 1, 1), 1).item()
        76
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.repeat(1, 3, 1, 1)
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (images.float() * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
