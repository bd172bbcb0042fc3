"""Which images make a batch, and on which process."""

from collections.abc import Iterator

import torch
from torch.utils.data import DistributedSampler

from datamodules.images import PADDING, ImageSet
from metrics import InputError, seed_of

_LEAST = 2  # images of a process at a step: batch normalisation fails on one


class TrainBatches(DistributedSampler[ImageSet]):
    """Batches of a process in training: the steps of an epoch are those of one process, shared out.

    Every image comes once per epoch, in an order that depends on seed and epoch only. Steps differ by at most one
    image in size, and so do the shares of a step. Every share has at least two images, so with a tiny ``step_size`` a
    step may have more.

    Args:
        images: The images to draw from.
        step_size: Most images per step, of all processes together.
        seed: Seed of the orders.
        processes: Number of processes.
        process: Which of them this is.

    Raises:
        InputError: Fewer than two images per process.
    """

    def __init__(
        self, images: ImageSet, step_size: int, *, seed: int = 0, processes: int = 1, process: int = 0
    ) -> None:
        if processes > 1 and min(len(images), step_size) < _LEAST * processes:
            few = "training images" if len(images) < step_size else "images per step"
            raise InputError(
                f"{min(len(images), step_size)} {few} are too few for {processes} processes: each needs {_LEAST} "
                "at every step; raise n_train and batch_size, or lower --trainer.devices"
            )
        # Spread, since DistributedSampler's seeds are meant to have the epoch added.
        super().__init__(images, num_replicas=processes, rank=process, seed=seed_of(seed))
        self._n, self._step_size = len(images), step_size

    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]  # lists of indices, not indices
        """Batches of indices of this process in this epoch.

        A generator on purpose: it reads the epoch at the first batch. In a run that is continued, Lightning
        creates the iterator before it sets the epoch.
        """
        order = torch.randperm(self._n, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        for step in order.tensor_split(len(self)):
            yield step.tensor_split(self.num_replicas)[self.rank].tolist()

    def __len__(self) -> int:
        """Number of steps."""
        return max(1, min(-(-self._n // self._step_size), self._n // (_LEAST * self.num_replicas)))


class EvalBatches(DistributedSampler[ImageSet]):
    """Batches of a process in evaluation: every image on one of the processes, in order.

    Every process gets equally many batches; what fills them up is marked with :data:`PADDING`.

    Args:
        images: The images.
        batch_size: Largest batch of a process; they differ by at most one image in size.
        processes: Number of processes.
        process: Which of them this is.
    """

    def __init__(self, images: ImageSet, batch_size: int, *, processes: int = 1, process: int = 0) -> None:
        super().__init__(images, num_replicas=processes, rank=process, shuffle=False)
        self._n, self._batch_size = len(images), batch_size

    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]  # lists of indices, not indices
        """Batches of indices of this process."""
        own = torch.arange(self.num_samples) * self.num_replicas + self.rank
        for batch in own.where(own < self._n, PADDING).tensor_split(len(self)):
            yield batch.tolist()

    def __len__(self) -> int:
        """Number of batches."""
        return -(-self.num_samples // self._batch_size)
