"""The base of probes that attack the network: which images, from which seeds, with which copy of the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from callbacks.probe import Images, Probe, Prospect, Subject
from metrics import Attack, Frozen, InputError, Precision, computes_in_bf16, frozen_copy, require_at_least, seed_of


@dataclass(frozen=True)
class Batch:
    """Images to attack.

    Attributes:
        model: The judge of what fools it, in float32 or better.
        network: What gradients are taken from.
        images: ``(n, C, H, W)`` in [0, 1], on the model's device.
        labels: ``(n,)`` int64.
        seeds: One per image, which depends on nothing but the probe's seed and the image's place in its set.
    """

    model: nn.Module
    network: Frozen
    images: Tensor
    labels: Tensor
    seeds: list[int]


class AttackProbe(Probe):
    """Attacks a fixed part of the evaluation images.

    In ``test`` the images are test images; elsewhere validation images, or test images where there are none.

    Args:
        n_images: How many images are attacked (a seeded choice); null takes all.
        seed: Seed of the choice and of whatever is random in an attack.
        batch_size: Images per forward pass.
        precision: Of the gradients that attacks follow: float32, bf16, or auto, which is bf16 where the hardware
            multiplies it. What counts as fooled, and the losses, are computed in float32 in any case.
        every_n_epochs: Measure after every so many epochs; null about twenty times in a run, and after the last.

    Raises:
        InputError: A number out of range, or more images than there are.
    """

    def __init__(
        self, n_images: int | None, seed: int, batch_size: int, precision: Precision, every_n_epochs: int | None
    ) -> None:
        super().__init__(every_n_epochs)
        require_at_least(0, seed=seed)
        require_at_least(1, n_images=n_images, batch_size=batch_size)
        self.n_images = n_images
        self.seed = seed
        self.batch_size = batch_size
        self.precision = precision

    def check(self, prospect: Prospect) -> None:
        """Checks that there are enough images to attack."""
        if not prospect.n_evaluation:
            raise InputError("there are no images to attack: set n_val or n_test above 0")
        # Training that cannot be tested is better not begun.
        available = min(prospect.n_evaluation, prospect.n_test or prospect.n_evaluation)
        if self.n_images is not None and self.n_images > available:
            raise InputError(
                f"n_images={self.n_images} is more than the {available} evaluation images there are: "
                "lower it, or raise n_val and n_test"
            )

    def map_batches(self, subject: Subject, compute: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Compute something for every image that is attacked, in order, whatever the number of processes.

        Args:
            subject: What is attacked.
            compute: Returns tensors with one row per image of the batch.

        Returns:
            The tensors of all images, on the CPU, the same on every process.
        """
        images = subject.evaluation_set
        chosen = Part(images, self._positions(images))
        exact = subject.model.dtype in (torch.float32, torch.float64)
        judge = subject.model if exact else frozen_copy(subject.model).float()
        made: list[Frozen] = []

        def attacked(pixels: Tensor, labels: Tensor, positions: list[int]) -> Mapping[str, Tensor]:
            if not made:
                bf16 = computes_in_bf16(self.precision, pixels.device)
                made.append(frozen_copy(judge, pixels, bf16=bf16))
            seeds = [seed_of(self.seed, int(chosen.positions[i])) for i in positions]
            return compute(Batch(judge, made[0], pixels, labels, seeds))

        return subject.map_images(chosen, attacked, self.batch_size)

    @property
    def chosen(self) -> tuple[int | None, int]:
        """What decides which images are attacked, and from which seeds."""
        return self.n_images, self.seed

    def n_attacked(self, n_evaluation: int) -> int:
        """How many images are attacked, of so many."""
        return self.n_images or n_evaluation

    def _positions(self, images: Images) -> Tensor:
        order = np.random.default_rng(self.seed).permutation(len(images))
        return torch.from_numpy(np.sort(order[: self.n_images]))


class Part:
    """Some of a set of images."""

    def __init__(self, whole: Images, positions: Tensor) -> None:
        self.positions = positions
        self.images = whole.images[positions]
        self.labels = whole.labels[positions]
        self.fingerprint = ""

    def __len__(self) -> int:
        return len(self.labels)


def passes_at(attack: Attack) -> int:
    """Forward passes of one image that an attack costs at one strength, a gradient counting as two; at most, for auto.

    Example:
        >>> passes_at(Attack("fgsm")), passes_at(Attack("pgd", steps=10, restarts=2))
        (3, 42)
    """
    if attack.name == "fgsm":
        return 3
    auto = 2 * 100 * 2 + 4 * 100 + 5000 if attack.name == "auto" else 0  # APGD twice, FAB with two classes, Square
    return attack.restarts * (2 * attack.steps + 1) + auto


def deciding(attack: Attack) -> object:
    """What of an attack decides what it finds: FGSM has no steps."""
    return attack.label if attack.name == "fgsm" else attack
