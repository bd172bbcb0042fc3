"""The attacks of a command line, made by the probes of a training run."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.attack_probe import AttackProbe
from callbacks.probe import Readings
from datamodules.batches import EvalBatches
from lightning_app.attack.images import Target
from lightning_app.attack.saved import Saved
from lightning_app.cli import mistakes_in_one_line
from lightning_app.run import as_list
from metrics import InputError, Progress

AnyProbe = TypeVar("AnyProbe", bound=AttackProbe)


def probes_of(saved: Saved, kind: type[AnyProbe], changes: dict[str, Any], default: dict[str, Any]) -> list[AnyProbe]:
    """The probes of a kind as the run had them, but for some options; those that become the same, once.

    Args:
        saved: The network and its run.
        kind: The kind.
        changes: Options that are to be other than in the run.
        default: Options where the run has no probe of that kind.

    Raises:
        InputError: What a probe refuses.
    """
    named = [each for each in as_list(saved.trainer.get("callbacks")) if _name(each) == kind.__name__]
    options = [(each.get("init_args") or {}) | changes for each in named] or [default | changes]
    try:
        return [kind(**each) for i, each in enumerate(options) if each not in options[:i]]
    except TypeError as error:
        raise InputError(f"{saved.file} was written by another version of the suite: {error}") from error


def n_attacked(probe: AttackProbe, target: Target) -> int:
    """How many images a probe attacks.

    Raises:
        InputError: There are not so many.
    """
    n, available = probe.n_attacked(len(target.images)), len(target.images)
    if n > available:
        raise InputError(
            f"n_images={n} is more than the {available} {target.part} images of {target.name}: "
            f"add --n-images {available} or less, or --n-images all"
        )
    return n


def evaluate(saved: Saved, target: Target, probes: Sequence[AttackProbe], progress: Progress) -> Readings:
    """Have probes measure, as in the run: through Lightning's own ``test``.

    Args:
        saved: The network and its run.
        target: The images.
        probes: What measures.
        progress: Told of batches.

    Returns:
        Everything that they have measured, by logged name, in full precision.

    Raises:
        InputError: What a probe or Lightning refuses.
    """
    batches = sum(-(-n_attacked(probe, target) // probe.batch_size) for probe in probes)
    settings = saved.trainer
    with mistakes_in_one_line():
        trainer = Trainer(
            accelerator="cpu"
            if settings.get("accelerator") == "cpu"
            else "auto",  # a run from a GPU is welcome anywhere
            devices=1,
            precision=settings.get("precision"),
            deterministic=settings.get("deterministic"),
            benchmark=settings.get("benchmark"),
            callbacks=[*probes, _Told(progress, batches)],
            limit_test_batches=1,  # the probes go through the images themselves
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.test(saved.model, datamodule=_Shown(target), verbose=False)
    return {name: value for probe in probes for name, value in probe.readings.items()}


def _name(section: dict[str, Any]) -> str:
    return str(section["class_path"]).rpartition(".")[2]


class _Shown(LightningDataModule):
    """The images as a data module: whatever a probe asks for, it is them."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.train_set = self.val_set = self.test_set = self.reference_set = target.images
        self.name, self.class_names = target.name, target.class_names

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """One image at a time."""
        order = EvalBatches(self.test_set, 1)
        return DataLoader(self.test_set, batch_size=None, sampler=order, generator=torch.Generator())

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Turns 8-bit images into floats in [0, 1]."""
        return {**batch, "image": batch["image"].float() / 255}


class _Told(Callback):
    """Tells how far the probes are."""

    def __init__(self, progress: Progress, batches: int) -> None:
        self._progress, self._batches, self._done = progress, batches, 0

    def on_probe_batch_end(self, trainer: Trainer) -> None:
        """One more batch; the probes call this."""
        self._done += 1
        self._progress(self._done, self._batches)
