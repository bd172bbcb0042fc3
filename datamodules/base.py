"""The data module that every data set shares: table → task → split → subset → pixels."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.images import Batches, ImageSet, resize, set_channels
from datamodules.splits import Rows, Split, reference_sample, split_by_group, training_subset
from datamodules.tables import ImageTable, Sample, exists, write_table
from datamodules.tasks import Classes, task_labels
from metrics import InputError

Domain = Literal["natural", "medical"]

_DEFAULT_REFERENCE = 1000
_MIN_SIDE = 8
_EVAL_BATCH = 100
_DEFAULT_BATCH = 40


class TableDataModule(LightningDataModule):
    """Any image table: a training subset of chosen size, and fixed validation and test sets.

    A data set that can make its own table is a subclass with three constants and :meth:`samples`.

    Args:
        table: Folder of the image table (images.npy and manifest.csv).
        domain: natural or medical; kept in the record. Data sets that come with the suite know their own.
        labelling: Column of the manifest that holds the labels.
        classes: The task: one label per class, e.g. [3, 8], or several taken together, e.g.
            [[0, 1, 2], [7, 8, 9]]; default every label of the labelling.
        n_train: Training images, class-balanced; null takes all that can be balanced.
        n_val: Validation images; 0 for none.
        n_test: Test images; the same whatever n_train is.
        n_reference: Size of the reference sample on which data_ref/ is measured; default 1,000, or
            fewer where the training pool is smaller.
        image_size: Side in pixels that images are resampled to (bilinear).
        channels: keep, 1 (grey) or 3 (colour).
        antialias: Average over source pixels when shrinking.
        batch_size: Training images per step and process; default as in the paper for the backbone.
        split_seed: Seed of validation, test and reference sets.
        subset_seed: Seed of the order that training subsets are cut from.

    Raises:
        InputError: Sizes that cannot be had (with counts), classes that do not exist, constant images.

    Example:
        >>> import tempfile
        >>> noise = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     table = write_table(place + "/t", [(x, {"label": i % 2, "group": i}) for i, x in enumerate(noise)])
        ...     data = TableDataModule(place + "/t", n_train=6, n_val=2, n_test=4, image_size=8)
        ...     len(data.train_set), len(data.val_set), len(data.test_set), data.input_shape
        (6, 2, 4, (1, 8, 8))
    """

    default_table: ClassVar[str | None] = None
    """Where the table is kept when no folder is given; None asks for one."""
    default_domain: ClassVar[Domain] = "natural"
    default_classes: ClassVar[Classes | None] = None
    """The task when no classes are given; None takes every label."""

    def __init__(
        self,
        table: str | None = None,
        domain: Domain | None = None,
        labelling: str = "label",
        classes: list[int | list[int]] | None = None,
        n_train: int | None = 500,
        n_val: int = 100,
        n_test: int = 300,
        n_reference: int | None = None,
        image_size: int = 224,
        channels: Literal["keep", 1, 3] = "keep",
        antialias: bool = True,
        batch_size: int | None = None,
        split_seed: int = 0,
        subset_seed: int = 0,
    ) -> None:
        super().__init__()
        folder = table or self.default_table
        if folder is None:
            raise InputError("no table: give the folder of an image table (docs/how-to/own-data.md shows how)")
        if image_size < _MIN_SIDE:
            raise InputError(f"image_size={image_size} is too small: choose at least {_MIN_SIDE} pixels")
        if batch_size is not None and batch_size < 2:
            raise InputError(f"batch_size={batch_size} is too small: batch normalisation needs at least 2 images")
        for option, seed in (("split_seed", split_seed), ("subset_seed", subset_seed)):
            if seed < 0:
                raise InputError(f"{option}={seed} is out of range: choose 0 or more")
        self.table_folder = Path(folder)
        self.name = self.table_folder.name if type(self) is TableDataModule else type(self).__name__
        self.domain: Domain = domain or self.default_domain
        self.labelling = labelling
        self.classes: Classes | None = self.default_classes if classes is None else classes
        self.n_train, self.n_val, self.n_test, self.n_reference = n_train, n_val, n_test, n_reference
        self.image_size = image_size
        self.channels = channels
        self.antialias = antialias
        self.batch_size = batch_size
        self.split_seed, self.subset_seed = split_seed, subset_seed
        self._sets: dict[str, ImageSet] = {}
        self._num_classes = 0

    def samples(self) -> Iterator[Sample]:
        """Images and manifest rows of a data set that can make its own table; others have none."""
        raise InputError(f"no image table at {self.table_folder}: write one first (docs/how-to/own-data.md shows how)")

    def prepare_data(self) -> None:
        """Writes the table where it is missing and the data set can make it."""
        if not exists(self.table_folder):
            write_table(self.table_folder, self.samples())

    def setup(self, stage: str | None = None) -> None:
        """Chooses the images and brings them into memory; a second call changes nothing."""
        if self._sets:
            return
        table = ImageTable.open(self.table_folder)
        labels = task_labels(table.labels(self.labelling), self.classes, f"{self.name} ({self.labelling})")
        groups = table.groups
        split = split_by_group(labels, groups, n_val=self.n_val, n_test=self.n_test, seed=self.split_seed)
        chosen = {
            "train": training_subset(split.train, labels, self.n_train, seed=self.subset_seed),
            "val": split.val,
            "test": split.test,
            "reference": self._reference(split, labels),
        }
        self._sets = {part: self._load(table, labels, groups, rows) for part, rows in chosen.items()}
        self._num_classes = int(labels.max()) + 1

    @property
    def num_classes(self) -> int:
        """Classes of the task; reads the table on first use."""
        self._ready()
        return self._num_classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the images; reads the table on first use."""
        channels, height, width = self.train_set.images.shape[1:]
        return channels, height, width

    @property
    def train_set(self) -> ImageSet:
        """The training subset."""
        return self._ready()["train"]

    @property
    def val_set(self) -> ImageSet:
        """The validation images; may be empty."""
        return self._ready()["val"]

    @property
    def test_set(self) -> ImageSet:
        """The test images."""
        return self._ready()["test"]

    @property
    def reference_set(self) -> ImageSet:
        """A fixed sample of the training pool: the same for every n_train, subset_seed and backbone."""
        return self._ready()["reference"]

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Shuffled batches of the training subset."""
        return self._loader(self.train_set, self.batch_size or _DEFAULT_BATCH, shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]] | list[DataLoader[dict[str, Tensor]]]:
        """Batches of the validation images; none where there are none."""
        if len(self.val_set):
            return self._loader(self.val_set, _EVAL_BATCH, shuffle=False)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.VALIDATING:
            raise InputError("n_val=0 leaves no images to validate on: choose more")
        return []

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the test images."""
        if not len(self.test_set):
            raise InputError("n_test=0 leaves no images to test on: choose more")
        return self._loader(self.test_set, _EVAL_BATCH, shuffle=False)

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the test images."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Turns 8-bit images into floats in [0, 1], on the device."""
        return {**batch, "image": batch["image"].float() / 255}

    def _ready(self) -> dict[str, ImageSet]:
        if not self._sets:
            self.prepare_data()
            self.setup()
        return self._sets

    def _reference(self, split: Split, labels: Rows) -> Rows:
        rows = reference_sample(split.train, labels, self.n_reference, seed=self.split_seed)
        return rows if self.n_reference is not None else rows[:_DEFAULT_REFERENCE]

    def _load(self, table: ImageTable, labels: Rows, groups: Rows, rows: Rows) -> ImageSet:
        raw = torch.from_numpy(table.images[rows])
        flat = raw.flatten(1)
        constant = np.flatnonzero((flat == flat[:, :1]).all(dim=1).numpy())
        if len(constant):
            raise InputError(
                f"{len(constant)} of {len(rows)} images in {table.folder} are constant "
                f"(first: row {rows[constant[0]]}): they show nothing; leave them out of the table"
            )
        if table.images.shape[1] not in (1, 3) and self.channels != "keep":
            raise InputError(f"channels={self.channels} needs images of 1 or 3 channels, got {table.images.shape[1]}")
        images = resize(raw, self.image_size, antialias=self.antialias)
        if self.channels != "keep":
            images = set_channels(images, self.channels)
        return ImageSet(images, torch.from_numpy(labels[rows]), torch.from_numpy(rows), torch.from_numpy(groups[rows]))

    def _loader(self, images: ImageSet, batch_size: int, *, shuffle: bool) -> DataLoader[dict[str, Tensor]]:
        trainer = self.trainer
        sampler = Batches(
            images,
            batch_size,
            shuffle=shuffle,
            seed=int(os.environ.get("PL_GLOBAL_SEED", "0")),  # what seed_everything was given
            processes=trainer.world_size if trainer else 1,
            process=trainer.global_rank if trainer else 0,
        )
        # The sampler hands out whole batches; its own generator keeps the loader off the global one.
        return DataLoader(images, batch_size=None, sampler=sampler, generator=torch.Generator())
