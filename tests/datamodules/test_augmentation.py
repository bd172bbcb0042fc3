"""Random changes of training images against numpy's padding; per image, whatever the batch; in training only."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from datamodules import ImageTable, TableDataModule
from datamodules.augmentation import Augmentation
from metrics import InputError

SIZES: dict[str, Any] = {"n_train": 40, "n_val": 10, "n_test": 20, "image_size": 16, "batch_size": 10}


def _possible(image: NDArray[np.uint8], shift: int, *, flip: bool) -> Counter[bytes]:
    """Everything that may become of an image ``(C, H, W)``, and in how many ways."""
    wide = np.pad(image, ((0, 0), (shift, shift), (shift, shift)), mode="reflect")
    height, width = image.shape[1:]
    found: Counter[bytes] = Counter()
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            moved = wide[:, shift - down : shift - down + height, shift - right : shift - right + width]
            found[moved.tobytes()] += 1
            if flip:
                found[np.ascontiguousarray(moved[:, :, ::-1]).tobytes()] += 1
    return found


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 2), (True, 6)])
def test_images_are_moved_and_mirrored_each_way_as_often(flip: bool, shift: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 7, 9), dtype=np.uint8)
    possible = _possible(image, shift, flip=flip)
    n = 40 * possible.total()
    assert possible.total() == (2 * shift + 1) ** 2 * (1 + flip)
    images = torch.from_numpy(image).expand(n, -1, -1, -1)
    changed = Augmentation(flip, shift)(images, range(n))
    assert (changed.dtype, changed.shape) == (images.dtype, images.shape)
    counts = Counter(each.numpy().tobytes() for each in changed)
    assert set(counts) == set(possible)
    chi2 = sum((counts[each] - 40 * ways) ** 2 / (40 * ways) for each, ways in possible.items())
    assert chi2 < len(possible) + 5 * (2 * len(possible)) ** 0.5


def test_an_image_changes_by_its_own_seed_whatever_the_batch() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8))
    augmentation, seeds = Augmentation(flip=True, shift=3), [7 * i for i in range(30)]
    whole = augmentation(images, seeds)
    parts = [augmentation(images[i : i + 7], seeds[i : i + 7]) for i in range(0, 30, 7)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(augmentation(images.float(), seeds), whole.float())


@pytest.mark.parametrize(("shift", "match"), [(-1, "shift=-1"), (16, "shift=16 moves images of 16 pixels out")])
def test_shifts_that_cannot_be(tiny_table: ImageTable, shift: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        TableDataModule(str(tiny_table.folder), **SIZES, augmentation=Augmentation(shift=shift))


class _Seen(LightningModule):
    """Keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[tuple[int, Tensor]]] = {"train": [], "val": [], "test": []}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self._keep("train", batch)
        return self.weight.square()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._keep("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._keep("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def _keep(self, stage: str, batch: dict[str, Tensor]) -> None:
        self.seen[stage] += list(zip(batch["index"].tolist(), batch["image"], strict=True))


@pytest.mark.filterwarnings("ignore:.*log_every_n_steps", "ignore:.*tensorboard")
def test_training_sees_other_images_in_every_epoch_and_evaluation_never(tiny_table: ImageTable) -> None:
    data = TableDataModule(str(tiny_table.folder), **SIZES, augmentation=Augmentation(flip=True, shift=2))
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    model = _Seen()
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    for stage, images in (("val", data.val_set), ("test", data.test_set)):
        assert all(torch.equal(image, images.images[i] / 255) for i, image in model.seen[stage])
    epochs = [dict(model.seen["train"][:40]), dict(model.seen["train"][40:])]
    assert set(epochs[0]) == set(epochs[1]) == set(range(40))
    same = sum(torch.equal(epochs[0][i], epochs[1][i]) for i in range(40))
    assert same < 8  # 1 in 50 is expected
    for i, original in enumerate(data.train_set.images.numpy()):
        for epoch in epochs:
            seen = (epoch[i] * 255).round().to(torch.uint8).numpy().tobytes()
            assert seen in _possible(original, 2, flip=True)
