"""The LightningModule that trains a backbone to classify images."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from metrics import InputError, seed_of
from models.adversarial_training import AdversarialTraining
from models.backbones import PENULTIMATE, Backbone

Batch = Mapping[str, Tensor]
"""``image`` float (n, c, h, w) in [0, 1], ``label`` int64 (n,), ``index`` int64 (n,), −1 for padding."""

_WEIGHT_DECAY = 1e-4
_FUSED = ("cpu", "cuda", "mps")  # devices with an Adam in one kernel
_STAGES = ("train", "val", "test")
_NO_ATTACK = AdversarialTraining()


def default_learning_rate(backbone: str) -> float:
    """The paper's learning rate for Adam: 1e-4 for VGG, 1e-3 for every other family.

    Example:
        >>> default_learning_rate("vgg16"), default_learning_rate("resnet18")
        (0.0001, 0.001)
    """
    return 1e-4 if backbone.startswith("vgg") else 1e-3


class ImageClassifier(LightningModule):
    """Trains a timm backbone from scratch with cross-entropy.

    Args:
        backbone: resnet18, resnet34, resnet50, vgg13, vgg16, vgg19, or any other timm model.
        num_classes: Number of classes. On the command line the data set sets it.
        input_shape: (channels, height, width) of the images. On the command line the data set sets it.
        drop_rate: Dropout before the classifier; default 0.5 for VGG, 0 for others.
        mean: Subtracted from pixels in [0, 1] inside the model.
        std: Pixels are divided by it after that.
        optimizer: Optimiser; default Adam with weight decay 1e-4 and learning rate 1e-3 (VGG: 1e-4).
        lr_scheduler: Learning-rate schedule; default none.
        adversarial_training: Train on attacked images, e.g. {attack: fgsm, eps: 4}; default off. train/loss and
            train/acc are then those of the attacked images.
        compiled: Train through torch.compile: slower for a minute, then faster, mostly on GPUs; sums are rounded in
            another order. What is measured is not compiled.

    Raises:
        InputError: As :class:`models.backbones.Backbone`, or std that is not positive.

    Example:
        >>> model = ImageClassifier("test_resnet", num_classes=2, input_shape=(1, 32, 32))
        >>> model(torch.zeros(4, 1, 32, 32)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        num_classes: int = 2,
        input_shape: tuple[int, int, int] = (3, 224, 224),
        drop_rate: float | None = None,
        mean: float = 0.5,
        std: float = 0.5,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        adversarial_training: AdversarialTraining = _NO_ATTACK,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        if not std > 0:
            raise InputError(f"std={std:g} is out of range: pixels are divided by it, choose std > 0")
        shape = cast(tuple[int, int, int], tuple(input_shape))  # a checkpoint holds a list
        self.architecture = {
            "backbone": backbone,
            "num_classes": num_classes,
            "input_shape": list(shape),
            "drop_rate": drop_rate,
            "mean": mean,
            "std": std,
        }
        self.backbone = Backbone(backbone, num_classes=num_classes, input_shape=shape, drop_rate=drop_rate)
        self.mean, self.std = mean, std
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.adversarial_training = adversarial_training
        self.compiled = compiled
        # torchmetrics weigh by samples: exact over batches of any size and any number of processes.
        self.scores = nn.ModuleDict()
        for stage in _STAGES:
            self.scores[f"{stage}/loss"] = MeanMetric(nan_strategy="disable")  # a loss that is not finite must show
            self.scores[f"{stage}/acc"] = MeanMetric()  # unlike torchmetrics' accuracy it takes batches without images

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "ImageClassifier":
        """Rebuild the model that a checkpoint holds, weights and all.

        Args:
            path: A checkpoint that a run of this project wrote; read with ``weights_only=True``.

        Raises:
            InputError: The file does not exist or is no such checkpoint.
        """
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            model = cls(**checkpoint["architecture"])
            model.load_state_dict(checkpoint["state_dict"])
        except Exception as error:  # whatever a file that is something else makes torch raise
            raise InputError(f"{path} is no checkpoint of this project: {error or type(error).__name__}") from error
        return model

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: ``(n, c, h, w)``, floating point in [0, 1].

        Returns:
            ``(n, num_classes)``.
        """
        logits: Tensor = self.backbone(self._normalized(images))
        return logits

    def features(self, images: Tensor, layers: Iterable[str] = (PENULTIMATE,)) -> dict[str, Tensor]:
        """What the named layers make of images in [0, 1]; see :meth:`models.backbones.Backbone.features`."""
        return self.backbone.features(self._normalized(images), layers)

    @property
    def depths(self) -> Mapping[str, float]:
        """Relative depth of every layer; see :attr:`models.backbones.Backbone.depths`."""
        return self.backbone.depths

    def depth_profile(self) -> list[str]:
        """Layers for a profile over depth; see :meth:`models.backbones.Backbone.depth_profile`."""
        return self.backbone.depth_profile()

    def check_layers(self, layers: Iterable[str]) -> None:
        """Refuse unknown layers; see :meth:`models.backbones.Backbone.check_layers`."""
        self.backbone.check_layers(layers)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of the step, in nats; of the attacked images in adversarial training."""
        images = batch["image"]
        if self.adversarial_training.attack is not None:
            seeds = self._image_seeds(batch["index"])
            images = self.adversarial_training.attacked(self, images, batch["label"], seeds)
        logits = self._compiled_forward(images) if self.compiled else self(images)
        losses = F.cross_entropy(logits.float(), batch["label"], reduction="none")
        self._score("train", logits, losses, batch["label"])
        return _mean_over_processes(losses)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to ``val/loss`` and ``val/acc``."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to ``test/loss`` and ``test/acc``."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities ``(n, num_classes)`` of the batch."""
        probabilities: Tensor = self._exact_logits(batch["image"]).float().softmax(dim=1)
        return probabilities[batch["index"] >= 0]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The given optimiser and schedule, or the paper's."""
        if self.optimizer is None:
            rate = default_learning_rate(self.backbone.name)
            optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY, fused=self.device.type in _FUSED
            )
        else:
            optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        scheduler = self.lr_scheduler(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": scheduler.monitor},
            }
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to rebuild the network."""
        checkpoint["architecture"] = self.architecture

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another model.

        Raises:
            InputError: The checkpoint holds another network, and says which, or weights of another version's.
        """
        theirs = checkpoint.get("architecture")
        if theirs is None:
            raise InputError("the checkpoint does not say which network it holds: it is not from this project")
        different = [key for key, ours in self.architecture.items() if theirs.get(key) != ours]
        if different:
            listed = ", ".join(f"{key}={theirs.get(key)} (here {self.architecture[key]})" for key in different)
            raise InputError(f"the checkpoint is of another model: {listed}; give the options that it was trained with")
        shapes, own = (
            {name: tensor.shape for name, tensor in state.items()}
            for state in (checkpoint["state_dict"], self.state_dict())
        )
        if shapes != own:
            name = next(name for name in (*own, *shapes) if shapes.get(name) != own.get(name))
            raise InputError(
                "the checkpoint was written by another version of this project, or of timm: its weights are not "
                f"those of this {self.backbone.name} (first: {name}); use that version, or train anew"
            )

    @cached_property
    def _compiled_forward(self) -> Callable[[Tensor], Tensor]:
        return torch.compile(self.forward)

    def _normalized(self, images: Tensor) -> Tensor:
        """Pixels as the network takes them, in its own precision."""
        return ((images - self.mean) / self.std).to(next(self.backbone.parameters()).dtype)

    def _image_seeds(self, index: Tensor) -> list[int]:
        """A seed for each image of a batch, of the run and the epoch: whatever the batch, the process or a restart."""
        run = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # what seed_everything was given
        return [seed_of(run, self.current_epoch, image) for image in index.tolist()]

    def _evaluate(self, stage: str, batch: Batch) -> None:
        real = batch["index"] >= 0
        logits, labels = self._exact_logits(batch["image"])[real], batch["label"][real]
        self._score(stage, logits, F.cross_entropy(logits.float(), labels, reduction="none"), labels)

    def _exact_logits(self, images: Tensor) -> Tensor:
        """Logits in the precision of the weights: half precision is for training, and not for what is measured."""
        with torch.autocast(self.device.type, enabled=False):
            logits: Tensor = self(images)
        return logits

    def _score(self, stage: str, logits: Tensor, losses: Tensor, labels: Tensor) -> None:
        right = (
            logits.argmax(dim=1) == labels
        ) & losses.isfinite()  # the largest of numbers that are none is the first
        for name, values in ((f"{stage}/loss", losses.detach()), (f"{stage}/acc", right.float())):
            score = cast(MeanMetric, self.scores[name])
            score.update(values)
            self.log(name, score, on_step=False, on_epoch=True)


def _mean_over_processes(losses: Tensor) -> Tensor:
    """What this process adds to the mean over the step's images: DDP averages it, whatever the shares are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return losses.mean()
    n = torch.tensor(len(losses), device=losses.device)
    torch.distributed.all_reduce(n)
    return losses.sum() * torch.distributed.get_world_size() / n
