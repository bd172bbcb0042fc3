"""Random changes of training images that leave their labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metrics import require_at_least


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in every training batch; by default nothing, as in the paper.

    Evaluation and probes see the images as they are: d_data and K_F are those of the images without it.

    Args:
        flip: Mirror images left to right, each with probability 1/2. Not for digits, nor where sides mean something.
        shift: Move images by up to so many pixels, in both directions; what comes in is mirrored at the border.

    Raises:
        InputError: A negative shift.

    Example:
        >>> images = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 1, 4).expand(100, 1, 1, 4)
        >>> Augmentation(flip=True)(images, seeds=range(100))[:, 0, 0].unique(dim=0).tolist()
        [[0, 1, 2, 3], [3, 2, 1, 0]]
    """

    flip: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        require_at_least(0, shift=self.shift)

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return self.flip or self.shift > 0

    def __call__(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """Change a batch.

        Args:
            images: ``(n, C, H, W)``, of any type, on any device.
            seeds: One per image: what becomes of it depends on nothing else.

        Returns:
            Images of the same shape and type, made of the same pixel values.
        """
        draws = [self._draw(seed) for seed in seeds]
        flips, *moves = (torch.tensor(column, device=images.device) for column in zip(*draws, strict=True))
        rows, columns = (_sources(n, move) for n, move in zip(images.shape[2:], moves, strict=True))
        columns = torch.where(flips[:, None], columns.flip(1), columns)
        rows = rows[:, None, :, None].expand(-1, images.shape[1], -1, images.shape[3])
        columns = columns[:, None, None, :].expand_as(images)
        return images.gather(2, rows).gather(3, columns)

    def _draw(self, seed: int) -> tuple[bool, int, int]:
        rng = np.random.default_rng(seed)
        down, right = rng.integers(-self.shift, self.shift + 1, 2).tolist()
        return bool(self.flip and rng.random() < 0.5), down, right


def _sources(n: int, moves: Tensor) -> Tensor:
    """For every image, where its rows (or columns) come from: ``(images, n)``."""
    wanted = (torch.arange(n, device=moves.device) - moves[:, None]).abs()
    return (n - 1) - ((n - 1) - wanted).abs()
