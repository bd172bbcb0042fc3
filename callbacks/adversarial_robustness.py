"""How small a change fools the network: accuracy and loss under attack."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from callbacks.attack_probe import AttackProbe, Batch, deciding, passes_at
from callbacks.probe import Readings, Subject, readings
from metrics import (
    Attack,
    AttackName,
    InputError,
    Norm,
    Outcomes,
    Precision,
    attacked_outcomes,
    check_eps,
    outcomes,
    robustness,
)


class AdversarialRobustness(AttackProbe):
    """Attacks a fixed part of the evaluation images and logs what becomes of accuracy and loss.

    In ``test`` the images are test images; elsewhere validation images, or test images where there are none.

    Logged for each attack and ε: ``robust/<attack>_<eps>/acc``, ``/acc_of_correct`` (among images that were right
    before), ``/loss`` and ``/loss_increase``, with ``_stderr`` over images; and ``robust/clean/acc`` and ``/loss`` of
    the same images unattacked. In L2 ``<attack>`` is ``fgsm_l2``, …. Accuracies are nested: an image that is fooled at
    one ε stays fooled at every larger one.

    Args:
        attacks: fgsm, pgd, auto; see :class:`metrics.Attack`. ``auto`` is for final evaluations: it takes minutes.
        eps: Radii in grey levels of 255.
        norm: linf or l2, of the ball that these are the radii of.
        steps: Steps of PGD.
        step_size: Size of one such step in units of ε; null is 2.5 / steps.
        restarts: Random starts of PGD; the worst of them counts, for each image.
        with_loss: False leaves losses out: images that are wrong already are then not attacked at all.
        n_images: How many images are attacked (a seeded choice); null takes all.
        seed: Seed of the choice and of whatever is random in an attack.
        batch_size: Images per forward pass.
        precision: Of the gradients that attacks follow: float32, bf16, or auto, which is bf16 where the hardware
            multiplies it. What counts as fooled, and the losses, are computed in float32 in any case.
        every_n_epochs: Measure after every so many epochs; null about twenty times in a run, and after the last.

    Raises:
        InputError: Unknown attack, a number out of range, or more images than there are.
    """

    def __init__(
        self,
        attacks: Sequence[AttackName] = ("fgsm",),
        eps: Sequence[float] = (1, 2, 4, 8),
        norm: Norm = "linf",
        steps: int = 10,
        step_size: float | None = None,
        restarts: int = 1,
        with_loss: bool = True,
        n_images: int | None = 100,
        seed: int = 0,
        batch_size: int = 100,
        precision: Precision = "auto",
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(n_images, seed, batch_size, precision, every_n_epochs)
        self.attacks = tuple(Attack(name, norm, steps, step_size, restarts) for name in dict.fromkeys(attacks))
        self.eps = tuple(dict.fromkeys(eps))
        for radius in self.eps:
            check_eps(radius, norm)
        names = [f"{radius:g}" for radius in self.eps]
        if len(set(names)) < len(names):
            raise InputError(f"eps={list(self.eps)} agree in the six digits that names have: leave out what is alike")
        self.with_loss = with_loss

    def measure(self, subject: Subject) -> Readings:
        """Clean and attacked outcomes of the same images."""
        rows = self.map_batches(subject, self._outcomes)
        clean = Outcomes(rows["clean/loss"], rows["clean/correct"])
        found: Readings = {}
        for name in ["clean", *(f"{attack.label}_{eps:g}" for attack in self.attacks for eps in self.eps)]:
            result = robustness(clean, Outcomes(rows[f"{name}/loss"], rows[f"{name}/correct"]))
            found |= readings(f"robust/{name}/acc", result.acc)
            if name == "clean" or self.with_loss:
                found |= readings(f"robust/{name}/loss", result.loss)
            if name == "clean":
                continue
            if result.acc_of_correct is not None:
                found |= readings(f"robust/{name}/acc_of_correct", result.acc_of_correct)
            if self.with_loss:
                found |= readings(f"robust/{name}/loss_increase", result.loss_increase)
        return found

    def logs(self) -> Mapping[str, object]:
        """Names of the unattacked images, and of every attack at every ε."""
        shared = self.precision, self.with_loss, self.chosen
        return {"robust/clean": self.chosen} | {
            f"robust/{attack.label}_{eps:g}": (deciding(attack), eps, shared)
            for attack in self.attacks
            for eps in self.eps
        }

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """A gradient with respect to the image costs two passes, each set of outcomes one."""
        each = 1 + sum(passes_at(attack) * len(self.eps) for attack in self.attacks)
        shared = 2 * (len(self.eps) - 1) * sum(attack.name == "fgsm" for attack in self.attacks)  # one gradient for all
        return float(self.n_attacked(n_evaluation) * (each - shared) + 2)  # 2 to make the frozen copy

    def _outcomes(self, batch: Batch) -> dict[str, Tensor]:
        clean = outcomes(batch.model, batch.images, batch.labels)
        rows = {"clean/loss": clean.loss, "clean/correct": clean.correct}
        for attack in self.attacks:
            after = attacked_outcomes(
                batch.model,
                batch.images,
                batch.labels,
                clean,
                attack=attack,
                eps=self.eps,
                seeds=batch.seeds,
                network=batch.network,
                with_loss=self.with_loss,
            )
            for eps, found in after.items():
                rows |= {f"{attack.label}_{eps:g}/loss": found.loss, f"{attack.label}_{eps:g}/correct": found.correct}
        return rows
