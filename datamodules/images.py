"""Images in memory, ready to be measured or fetched a batch at a time."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, DistributedSampler

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


class Batches(DistributedSampler[ImageSet]):
    """Indices of whole batches for one process, the same for a given seed and epoch on every machine.

    Batches of a process differ by at most one image in size. In training none has a single image, for which batch
    normalisation would fail (with batches of two, one may have three for that). Every process gets equally many
    batches: training repeats a few images to fill them up, evaluation marks the filling with :data:`PADDING`.

    Args:
        images: The images to draw from.
        batch_size: Largest batch, per process.
        shuffle: A new order every epoch (training), or the order as it is (evaluation).
        seed: Seed of the orders.
        processes: Number of processes.
        process: Which of them this is.
    """

    def __init__(
        self, images: ImageSet, batch_size: int, *, shuffle: bool, seed: int = 0, processes: int = 1, process: int = 0
    ) -> None:
        # DistributedSampler adds the epoch to its seed: spread seeds, lest seed 0 in epoch 1 be seed 1 in epoch 0.
        spread = int(np.random.SeedSequence(seed).generate_state(1)[0])
        super().__init__(images, num_replicas=processes, rank=process, shuffle=shuffle, seed=spread)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]  # lists of indices, not indices
        """Batches of indices of this process in this epoch.

        A generator on purpose: it reads the epoch at the first batch. In a run that is continued, Lightning
        creates the iterator before it sets the epoch.
        """
        own = torch.tensor(list(super().__iter__()))
        if not self.shuffle:
            position = torch.arange(len(own)) * self.num_replicas + self.rank
            own[position >= len(self.dataset)] = PADDING  # type: ignore[arg-type]  # an ImageSet has a length
        yield from (batch.tolist() for batch in own.tensor_split(len(self)))

    def __len__(self) -> int:
        """Number of batches."""
        batches = -(-self.num_samples // self.batch_size)
        return max(1, min(batches, self.num_samples // 2)) if self.shuffle else batches


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
