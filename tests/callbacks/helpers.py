"""A tiny run: a small network, forty small images."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks import AdversarialRobustness, DatasetProperties, Probe, RepresentationDimension
from callbacks.probe import Readings, Subject
from datamodules import ImageTable, TableDataModule
from models import ImageClassifier

# Lightning says so on a machine that has a GPU.
LIGHTNING_WARNINGS = pytest.mark.filterwarnings("ignore:GPU available but not used")


def make_data(table: ImageTable, **options: Any) -> TableDataModule:
    sizes = {"n_train": 40, "n_val": 12, "n_test": 20, "image_size": 16, "batch_size": 16}
    return TableDataModule(str(table.folder), **(sizes | options))


def make_model(data: TableDataModule, backbone: str = "test_resnet", **options: Any) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(backbone, num_classes=data.num_classes, input_shape=data.input_shape, **options)


def make_trainer(*callbacks: Callback, epochs: int = 1, **options: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), **(quiet | options))


def run(stage: str, data: TableDataModule, *callbacks: Callback, model: ImageClassifier | None = None) -> Trainer:
    """One epoch of fit, or validate or test."""
    trainer = make_trainer(*callbacks)
    options = {} if stage == "fit" else {"verbose": False}
    getattr(trainer, stage)(model or make_model(data), datamodule=data, **options)
    return trainer


def all_probes(every_n_epochs: int = 1, n_images: int = 10, layer: str = "layer2") -> list[Probe]:
    return [
        DatasetProperties(k=5, every_n_epochs=every_n_epochs),
        RepresentationDimension((layer, "penultimate"), k=5, every_n_epochs=every_n_epochs),
        AdversarialRobustness(("fgsm", "pgd"), eps=(4,), steps=2, n_images=n_images, every_n_epochs=every_n_epochs),
    ]


class Meddling(Probe):
    """Measures nothing, but disturbs everything that a measurement may touch."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(every_n_epochs)
        self.subjects: list[Subject] = []

    def measure(self, subject: Subject) -> Readings:
        self.subjects.append(subject)
        assert not any(module.training for module in subject.model.modules())
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        subject.model.train()
        subject.model.backbone.network.layer1.eval()
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002  # the global state is what is meddled with
        random.seed(5)
        return {"meddled": float(len(self.subjects))}


class Ordered(Probe):
    """Checks that what is computed in batches, on however many processes, comes back complete and in order."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.sizes: list[int] = []

    def measure(self, subject: Subject) -> Readings:
        def compute(images: Tensor, labels: Tensor, positions: list[int]) -> dict[str, Tensor]:
            self.sizes.append(len(images))
            return {"image": images.flatten(1), "label": labels, "position": torch.tensor(positions)}

        whole = subject.data.train_set
        found = subject.map_images(whole, compute, self.batch_size)
        assert torch.equal(found["image"], whole.images.flatten(1) / 255)
        assert torch.equal(found["label"], whole.labels)
        assert found["position"].tolist() == list(range(len(whole)))
        return {"mapped": float(len(whole))}


class Tripwire(Callback):
    """Whether a run got further than its setup."""

    begun = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.begun = True


class Snapshots(Callback):
    """Notes, whenever probes run, the state that they must leave alone."""

    def __init__(self) -> None:
        self.taken: list[Mapping[str, Any]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.taken.append(state_of(pl_module) | random_state())

    on_validation_epoch_end = on_test_epoch_end = on_train_epoch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.taken.append(state_of(pl_module))


def state_of(module: LightningModule) -> dict[str, Any]:
    return {
        "modes": {name: part.training for name, part in module.named_modules()},
        "trainable": {name: p.requires_grad for name, p in module.named_parameters()},
        "gradients": {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None},
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
    }


def random_state() -> dict[str, Any]:
    _, words, position, *_ = np.random.get_state()  # noqa: NPY002  # the global state is the point
    return {"torch": torch.get_rng_state(), "numpy": [*words.tolist(), position], "python": random.getstate()}


def equal(a: Any, b: Any) -> bool:
    """Whether two nested states are the same, bit for bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)
