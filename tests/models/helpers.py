"""Small networks, batches and trainers without a logger."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from models import ImageClassifier

Batch = dict[str, Tensor]


def make_model(backbone: str = "test_resnet", **options: Any) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(backbone, **({"input_shape": (1, 16, 16)} | options))


def make_trainer(**options: Any) -> Trainer:
    return Trainer(
        **{
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        | options
    )


def make_batches(sizes: list[int], padding: int = 0, side: int = 16, seed: int = 0) -> list[Batch]:
    """Batches of noise; the last images of the last batch are padding."""
    generator = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    images = torch.rand(n, 1, side, side, generator=generator)
    labels = torch.randint(2, (n,), generator=generator)
    index = torch.where(torch.arange(n) < n - padding, torch.arange(n), -1)
    parts = (x.split(sizes) for x in (images, labels, index))
    return [{"image": x, "label": y, "index": i} for x, y, i in zip(*parts, strict=True)]


def loader(batches: list[Batch]) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a list is a data set
