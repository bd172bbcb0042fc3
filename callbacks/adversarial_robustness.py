"""How small a change fools the network: accuracy and loss under attack."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from callbacks.probe import Images, Probe, Prospect, Readings, Subject, readings
from metrics import (
    AttackName,
    InputError,
    Outcomes,
    attacked_outcomes,
    check_attack,
    outcomes,
    require_at_least,
    robustness,
)


class AdversarialRobustness(Probe):
    """Attacks a fixed part of the evaluation images and logs what becomes of accuracy and loss.

    In ``test`` the images are test images; elsewhere validation images, or test images where there are none.

    Logged: ``robust/<attack>_<eps>/acc``, ``/loss`` and ``/loss_increase`` with ``_stderr`` over images, and
    ``robust/clean/acc`` and ``/loss`` of the same images unattacked.

    Args:
        attacks: fgsm, pgd, or both; see :func:`metrics.adversarial_images`.
        eps: L∞ radii in grey levels of 255.
        steps: Steps of PGD.
        n_images: How many images are attacked (a seeded choice); null takes all.
        seed: Seed of the choice and of PGD's random starts.
        batch_size: Images per forward pass.
        every_n_epochs: Measure after every so many epochs.

    Raises:
        InputError: Unknown attack, ε or steps out of range, or more images than there are.
    """

    def __init__(
        self,
        attacks: Sequence[AttackName] = ("fgsm", "pgd"),
        eps: Sequence[float] = (1, 2, 4, 8),
        steps: int = 10,
        n_images: int | None = 100,
        seed: int = 0,
        batch_size: int = 100,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(every_n_epochs)
        for attack in attacks:
            for radius in eps:
                check_attack(attack, radius, steps)
        require_at_least(0, seed=seed)
        require_at_least(1, n_images=n_images, batch_size=batch_size)
        self.attacks: tuple[AttackName, ...] = tuple(attacks)
        self.eps = tuple(eps)
        self.steps = steps
        self.n_images = n_images
        self.seed = seed
        self.batch_size = batch_size

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

    def measure(self, subject: Subject) -> Readings:
        """Clean and attacked outcomes of the same images."""
        images = subject.evaluation_set
        chosen = _Part(images, self._positions(images))

        def compute(pixels: Tensor, labels: Tensor, positions: list[int]) -> dict[str, Tensor]:
            clean = outcomes(subject.model, pixels, labels)
            rows = {"clean/loss": clean.loss, "clean/correct": clean.correct}
            seeds = [_image_seed(self.seed, int(chosen.positions[i])) for i in positions]
            for attack in self.attacks:
                for eps in self.eps:
                    attacked = attacked_outcomes(
                        subject.model, pixels, labels, attack=attack, eps=eps, steps=self.steps, seeds=seeds
                    )
                    rows[f"{attack}_{eps:g}/loss"] = attacked.loss
                    rows[f"{attack}_{eps:g}/correct"] = attacked.correct
            return rows

        rows = subject.map_images(chosen, compute, self.batch_size)
        clean = Outcomes(rows["clean/loss"], rows["clean/correct"])
        found: Readings = {}
        for name in ["clean", *(f"{attack}_{eps:g}" for attack in self.attacks for eps in self.eps)]:
            result = robustness(clean, Outcomes(rows[f"{name}/loss"], rows[f"{name}/correct"]))
            found |= readings(f"robust/{name}/acc", result.acc) | readings(f"robust/{name}/loss", result.loss)
            if name != "clean":
                found |= readings(f"robust/{name}/loss_increase", result.loss_increase)
        return found

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """A gradient with respect to the image costs two passes, each set of outcomes one."""
        gradients = {"fgsm": 1, "pgd": self.steps}
        attacked = sum(2 * gradients[attack] + 1 for attack in self.attacks) * len(self.eps)
        return float((self.n_images or n_evaluation) * (1 + attacked))

    def _positions(self, images: Images) -> Tensor:
        order = np.random.default_rng(self.seed).permutation(len(images))
        return torch.from_numpy(np.sort(order[: self.n_images]))


class _Part:
    """Some of a set of images."""

    def __init__(self, whole: Images, positions: Tensor) -> None:
        self.positions = positions
        self.images = whole.images[positions]
        self.labels = whole.labels[positions]
        self.fingerprint = ""

    def __len__(self) -> int:
        return len(self.labels)


def _image_seed(seed: int, position: int) -> int:
    """A seed for one image that depends on nothing else."""
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
