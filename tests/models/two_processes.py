"""One of two processes that train on attacked images together; test_adversarial_training.py starts them.

Argument: the folder where results go.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from datamodules import TableDataModule, write_table
from models import AdversarialTraining, ImageClassifier
from tests.models.helpers import make_model, make_trainer

LAST_RESORT = 280  # seconds after which a process that waits for the other one ends itself


class Noted(AdversarialTraining):
    """Keeps the seeds that it was given."""

    seeds: list[int] = []  # noqa: RUF012  # one per process

    def attacked(self, network: nn.Module, images: Tensor, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        self.seeds.extend(seeds)
        return super().attacked(network, images, labels, seeds)


def train(folder: Path, batch_size: int, **options: Any) -> tuple[ImageClassifier, list[int]]:
    """Two epochs on sixteen images; the model, and the seeds of the images that were attacked here."""
    seed_everything(0, verbose=False)
    noise = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), dtype=np.uint8)
    rows = [(image, {"label": i % 2, "group": i}) for i, image in enumerate(noise)]
    place = folder / str(options.get("devices", 1)) / str(batch_size)
    if not place.exists():
        write_table(place, rows)
    data = TableDataModule(str(place), n_train=16, n_val=0, n_test=4, image_size=16, batch_size=batch_size)
    model = make_model(
        "test_vit",
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        adversarial_training=Noted("pgd", steps=2),
    )
    Noted.seeds.clear()
    trainer = make_trainer(max_epochs=2, limit_val_batches=0, default_root_dir=folder, **options)
    trainer.fit(model, datamodule=data)
    return model, list(Noted.seeds)


def main(folder: Path) -> None:
    import os

    rank = int(os.environ["RANK"])
    model, seeds = train(folder / f"rank{rank}", batch_size=4, strategy="ddp", devices=2)
    torch.save({"weights": dict(model.state_dict()), "seeds": seeds}, folder / f"{rank}.pt")


if __name__ == "__main__":
    signal.alarm(LAST_RESORT)
    main(Path(sys.argv[1]))
