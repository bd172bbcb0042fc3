"""What an attack looks like: accuracy over ε, and images that fooled the network."""

import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from callbacks.adversarial_robustness import AdversarialRobustness
from callbacks.attack_probe import AttackProbe, Batch, passes_at
from callbacks.probe import Prospect, Readings, Subject, probes_of
from metrics import Assault, Attack, AttackName, InputError, Norm, Precision, check_eps, require_at_least

_NEVER = 10**9  # epochs: while the network trains
_SHOWN = ("clean", "moved", "before", "after")


class AttackPanels(AttackProbe):
    """Draws accuracy over ε, and attacked images with what the network says of them, at the end of a run.

    Measures nothing that is logged. At the end of ``fit``, and in ``validate`` and ``test``, two figures are written
    into the folder ``figures`` of the run and given to every logger that takes images (W&B does):

    - ``accuracy_over_eps_<part>.png``: what every :class:`AdversarialRobustness` of the run has just measured;
    - ``attacked_images_<part>.png``: some images that were right before the attack, in a seeded order, those that fool
      the network first: the image, what was added to it, and the sum, with prediction and probability.

    ``<part>`` is ``val`` or ``test``, whichever images are attacked.

    Args:
        attack: fgsm, pgd or auto, of the images shown.
        eps: Its radius in grey levels of 255.
        norm: linf or l2.
        steps: Steps of PGD.
        step_size: Size of one such step in units of ε; null is 2.5 / steps.
        restarts: Random starts of PGD.
        n_examples: How many images are shown.
        n_images: How many images are attacked to choose from, or all where there are fewer.
        seed: Seed of every choice and of whatever is random in the attack.
        batch_size: Images per forward pass.
        precision: Of the gradients that attacks follow: float32, bf16, or auto.
        folder: Where the figures go; default the run's own.
        part: What the attacked images are called; default val or test.

    Raises:
        InputError: Unknown attack, or a number out of range.
    """

    def __init__(
        self,
        attack: AttackName = "pgd",
        eps: float = 8,
        norm: Norm = "linf",
        steps: int = 10,
        step_size: float | None = None,
        restarts: int = 1,
        n_examples: int = 4,
        n_images: int = 50,
        seed: int = 0,
        batch_size: int = 100,
        precision: Precision = "auto",
        folder: str | None = None,
        part: str | None = None,
    ) -> None:
        super().__init__(n_images, seed, batch_size, precision, every_n_epochs=_NEVER)
        require_at_least(1, n_examples=n_examples)
        check_eps(eps, norm)
        self.attack = Attack(attack, norm, steps, step_size, restarts)
        self.eps = eps
        self.n_examples = n_examples
        self.folder = folder
        self.part = part

    def check(self, prospect: Prospect) -> None:
        """Checks that there are images to attack."""
        if not prospect.n_evaluation:
            super().check(prospect)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws what the last epoch has come to."""
        self._run(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: other probes may have to measure yet."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws in ``validate``."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._run(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: other probes may have to measure yet."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws in ``test``."""
        self._run(trainer, pl_module)

    def measure(self, subject: Subject) -> Readings:
        """Attacks on every process, draws on the first."""
        rows = self.map_batches(subject, self._attacked)
        if subject.trainer.is_global_zero:
            for name, png in self._figures(subject, rows):
                self._publish(subject.trainer, name, png)
        return {}

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """A gradient with respect to the image costs two passes, each set of outcomes one."""
        return float(self.n_attacked(n_evaluation) * (2 + passes_at(self.attack)))

    def n_attacked(self, n_evaluation: int) -> int:
        """How many images are attacked, of so many."""
        return min(super().n_attacked(n_evaluation), n_evaluation)

    def _attacked(self, batch: Batch) -> dict[str, Tensor]:
        assault = Assault(
            self.attack, batch.model, batch.images, batch.labels, seeds=batch.seeds, network=batch.network
        )
        moved = assault.at(torch.full((len(batch.images),), self.eps / 255, dtype=torch.float64)).images
        with torch.no_grad():
            before, after = (batch.model(images).double().softmax(dim=1) for images in (batch.images, moved))
        return {"clean": batch.images, "moved": moved, "label": batch.labels, "before": before, "after": after}

    def _figures(self, subject: Subject, rows: dict[str, Tensor]) -> Iterator[tuple[str, bytes]]:
        from callbacks.attack_figures import Curve, Example, draw_curves, draw_examples  # loads matplotlib

        testing = subject.evaluation_set is subject.data.test_set
        part = self.part or ("test" if testing else "val")
        of = getattr(subject.data, "name", None)
        title = f"{part} images of {of}" if of else f"{part} images"
        curves = [Curve(*found) for found in _measured(subject.trainer)]
        if curves:
            yield f"accuracy_over_eps_{part}", draw_curves(curves, title)
        shown = self._chosen(rows)
        if shown:
            names = getattr(subject.data, "class_names", None)
            names = names or [f"class {i}" for i in range(rows["before"].shape[1])]
            examples = [Example(int(rows["label"][i]), *(rows[name][i] for name in _SHOWN)) for i in shown]
            yield f"attacked_images_{part}", draw_examples(examples, self.attack, self.eps, names, title)

    def _chosen(self, rows: dict[str, Tensor]) -> list[int]:
        """Images that were right, in a seeded order, those that are no longer first."""
        right, stands = (rows[name].argmax(dim=1) == rows["label"] for name in ("before", "after"))
        order = np.random.default_rng(self.seed).permutation(len(right)).tolist()
        return sorted((i for i in order if right[i]), key=lambda i: bool(stands[i]))[: self.n_examples]

    def _publish(self, trainer: Trainer, name: str, png: bytes) -> None:
        folder = _folder(trainer) if self.folder is None else Path(self.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / f"{name}.png", png)
        except OSError as error:
            raise InputError(f"cannot write figures to {folder}: {error.strerror}") from error
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image(key=f"figures/{name}", images=[Image.open(io.BytesIO(png))])
                logger.log_metrics({"epoch": float(trainer.current_epoch)})  # the row that they are shown at


def _measured(trainer: Trainer) -> Iterator[tuple[Attack, dict[float, tuple[float, float]]]]:
    """Accuracy by ε, and its standard error, of every attack that was measured on the network as it is now."""
    for probe in probes_of(trainer):
        if not isinstance(probe, AdversarialRobustness) or not probe.readings:
            continue
        if trainer.state.fn == TrainerFn.FITTING and not probe.is_due(trainer.current_epoch, trainer.max_epochs):
            continue  # what it knows is of an earlier epoch
        for attack in probe.attacks:
            names = {0.0: "clean"} | {float(eps): f"{attack.label}_{eps:g}" for eps in probe.eps}
            yield attack, {eps: _accuracy(probe.readings, f"robust/{name}/acc") for eps, name in names.items()}


def _accuracy(readings: Readings, name: str) -> tuple[float, float]:
    return readings[name], readings.get(f"{name}_stderr", 0.0)


def _folder(trainer: Trainer) -> Path:
    """``figures`` in the run's folder, by the rule that Lightning follows for checkpoints."""
    for logger in trainer.loggers:
        if logger.save_dir is not None:
            version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
            return Path(logger.save_dir, str(logger.name), version, "figures")
    return Path(trainer.default_root_dir, "figures")


def _write(file: Path, content: bytes) -> None:
    """Put a file in its place, whole."""
    beside = file.with_name(f".{file.name}.{uuid.uuid4().hex}.partial")
    try:
        beside.write_bytes(content)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
