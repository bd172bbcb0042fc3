"""The data module that every data set shares: table → task → split → subset → pixels."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.augmentation import Augmentation
from datamodules.batches import EvalBatches, TrainBatches
from datamodules.class_names import names_of_task
from datamodules.images import ImageSet, LateImageSet, resize, set_channels
from datamodules.levels import by_maximum
from datamodules.preparation.prepare import obtained, prepare, read_summary
from datamodules.preparation.recipe import Protocol, Recipe
from datamodules.recipes import make_recipe, recipe_class
from datamodules.room import room
from datamodules.splits import Rows, reference_sample, split_as_reference, split_by_group, training_subset
from datamodules.tables import ImageTable, Sample, exists, open_images, write_table
from datamodules.tasks import Classes, class_pair, task_labels
from metrics import InputError, require_at_least, seed_of

Domain = Literal["natural", "medical"]

_DEFAULT_REFERENCE = 1000
_MIN_SIDE = 8
_EVAL_BATCH = 100
_DEFAULT_BATCH = 40
_CHUNK = 64  # images that are read and resampled at a time
_GIGABYTE = 1e9


@dataclass(frozen=True, eq=False)
class Plan:
    """Which images of a table are used for what, decided before any pixel is read.

    Attributes:
        table: The table.
        classes: The task: labels of the table, one entry per class; None where it is every label.
        labels: Label of each image of the table under the task, −1 where it takes no part, ``(N,)``.
        rows: Rows of the table by part: train, val, test and reference.
        input_shape: ``(channels, height, width)`` of the images as they will be handed out.
    """

    table: ImageTable
    classes: list[int | list[int]] | None
    labels: Rows
    rows: Mapping[str, Rows]
    input_shape: tuple[int, int, int]

    @property
    def num_classes(self) -> int:
        """Classes of the task."""
        return int(self.labels.max()) + 1


@dataclass(eq=False, repr=False)
class TableDataModule(LightningDataModule):
    """Any image table: a training subset of chosen size, and fixed validation and test sets.

    Where the table knows official splits, the test set comes from the official test images, or else from the
    validation images, if they have enough of every class, and the validation set likewise; what they lack is taken from
    the training images, whole groups at a time.

    A data set is a subclass with some constants. One that can make its own table says how in :meth:`samples`; one that
    is prepared from a download names its ``recipe``; a choice that its labels leave open is made in
    :meth:`read_labels`; what else it refuses, in :meth:`plan`. Further options are further fields.

    Args:
        table: Folder of the image table (images.npy and manifest.csv).
        domain: natural or medical; kept in the record. Data sets that come with the suite know their own.
        labelling: Column of the manifest that holds the labels; default that of the data set.
        classes: The task: one label per class, e.g. [3, 8], or several taken together, e.g.
            [[0, 1, 2], [7, 8, 9]]; default every label of the labelling.
        pair: Instead of classes: which of the pairs that pair_seed draws, 0, 1, 2, …; every class is in one
            pair (with an odd number one is in none).
        protocol: standard, or reference: the selection of the code that was released with arXiv 2401.08865, for
            comparison. The first images of each class in the order of the table, split at random image by image, so
            that groups leak and the test set changes with n_train, and every image scaled by its own maximum.
        n_train: Training images, class-balanced; null takes all that can be balanced.
        n_val: Validation images; 0 for none.
        n_test: Test images; the same whatever n_train is.
        n_reference: Size of the reference sample on which data_ref/ is measured; default 1,000, or
            fewer where the training pool is smaller.
        image_size: Side in pixels that images are resampled to (bilinear).
        channels: keep, 1 (grey) or 3 (colour).
        antialias: Average over source pixels when shrinking.
        memory_limit: Gigabytes that the chosen images may take in memory; what is more lies in a temporary file beside
            the table and is read as it is needed.
        augmentation: What is changed at random in training batches; default nothing.
        batch_size: Training images per step and process; default as in the paper for the backbone.
        global_batch: Whether batch_size counts the images of a step on all processes together, so that a run trains
            alike on any number of them.
        split_seed: Seed of validation, test and reference sets.
        subset_seed: Seed of the order that training subsets are cut from.
        pair_seed: Seed of the class pairs.

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
    default_labelling: ClassVar[str] = "label"
    default_classes: ClassVar[Classes | None] = None
    """The task when no classes are given; None takes every label."""
    recipe: ClassVar[str | None] = None
    """What ``lightning prepare`` calls the data set; None for one that is not prepared from a download."""

    table: str | None = None
    domain: Domain | None = None
    labelling: str | None = None
    classes: list[int | list[int]] | None = None
    pair: int | None = None
    protocol: Protocol = "standard"
    n_train: int | None = 500
    n_val: int = 100
    n_test: int = 300
    n_reference: int | None = None
    image_size: int = 224
    channels: Literal["keep", 1, 3] = "keep"
    antialias: bool = True
    memory_limit: float = 8.0
    augmentation: Augmentation = Augmentation()  # noqa: RUF009  # frozen
    batch_size: int | None = None
    global_batch: bool = False
    split_seed: int = 0
    subset_seed: int = 0
    pair_seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options; a subclass that checks its own calls this first."""
        super().__init__()
        if isinstance(self.augmentation, Mapping):  # a configuration that no parser has read
            self.augmentation = Augmentation(**self.augmentation)
        if self.image_size < _MIN_SIDE:
            raise InputError(f"image_size={self.image_size} is too small: choose at least {_MIN_SIDE} pixels")
        if self.batch_size is not None and self.batch_size < 2:
            raise InputError(f"batch_size={self.batch_size} is too small: batch normalisation needs at least 2 images")
        if self.augmentation.shift >= self.image_size:
            raise InputError(
                f"augmentation.shift={self.augmentation.shift} moves images of {self.image_size} pixels out"
            )
        require_at_least(
            0, pair=self.pair, split_seed=self.split_seed, subset_seed=self.subset_seed, pair_seed=self.pair_seed
        )
        if self.classes is not None and self.pair is not None:
            raise InputError(f"classes={self.classes} and pair={self.pair} both name the task: give one of them")
        self.domain = self.domain or self.default_domain
        self.labelling = self.labelling or self.default_labelling
        if self.classes is None and self.pair is None and self.default_classes is not None:
            self.classes = [entry if isinstance(entry, int) else list(entry) for entry in self.default_classes]
        made = self._recipe()
        folder = self.table or (made.folder if made else self.default_table)
        if folder is None:
            raise InputError("no table: give the folder of an image table (docs/how-to/own-data.md shows how)")
        self.table_folder = Path(folder)
        self.name = self.table_folder.name if type(self) is TableDataModule else type(self).__name__
        self._sets: dict[str, ImageSet] = {}
        self._class_names: tuple[str, ...] = ()
        self._num_classes = 0

    def samples(self) -> Iterator[Sample]:
        """Images and manifest rows of a data set that can make its own table; others have none."""
        raise InputError(f"no image table at {self.table_folder}: write one first (docs/how-to/own-data.md shows how)")

    def read_labels(self, table: ImageTable) -> Rows:
        """The label of every image, −1 where it is not used: a column of the table, unless a subclass has a policy."""
        return table.labels(str(self.labelling))

    def has_table(self) -> bool:
        """Whether the table is there; where it is missing, it is one that the data set can make.

        Raises:
            InputError: It cannot; says where to get the raw files and how to prepare them.
        """
        if exists(self.table_folder):
            return True
        made = self._recipe()
        if made is None:
            if type(self).samples is TableDataModule.samples:
                self.samples()
        elif not made.downloads:
            options = "".join(f" --{name.replace('_', '-')} {getattr(made, name)}" for name in made.unusual_variants)
            raise InputError(
                f"no image table at {self.table_folder}: make it with "
                f"`lightning prepare {made.name} --raw DIR --out {self.table_folder}{options}`. {made.access}"
            )
        return False

    def prepare_data(self) -> None:
        """Makes the table where it is missing and the data set can make it.

        Raises:
            InputError: It cannot, or the raw files cannot be had.
        """
        if self.has_table():
            return
        made = self._recipe()
        if made is None:
            write_table(self.table_folder, self.samples())
        else:
            prepare(made, obtained(made, None), self.table_folder, wait=True)

    def plan(self, table: ImageTable | None = None) -> Plan:
        """Choose the images, without reading one.

        Args:
            table: The table, where it is open already.

        Raises:
            InputError: The table is missing or was made otherwise; sizes or classes that it does not have.
        """
        table = table or ImageTable.open(self.table_folder)
        self._check_variants()
        title = f"{self.name} ({self.labelling})"
        labels = self.read_labels(table)
        classes = self.classes
        if self.pair is not None:
            classes = list(class_pair(labels, self.pair, title, seed=self.pair_seed))
        labels = task_labels(labels, classes, title)
        if self.protocol == "reference":
            split = split_as_reference(
                labels, n_train=self.n_train, n_val=self.n_val, n_test=self.n_test, official=table.splits
            )
            train = split.train
        else:
            split = split_by_group(
                labels, table.groups, n_val=self.n_val, n_test=self.n_test, seed=self.split_seed, official=table.splits
            )
            train = training_subset(split.train, labels, self.n_train, seed=self.subset_seed)
        reference = reference_sample(split.train, labels, self.n_reference, seed=self.split_seed)
        if self.n_reference is None:
            reference = reference[:_DEFAULT_REFERENCE]
        channels = table.images.shape[1]
        if self.channels != "keep":
            if channels not in (1, 3):
                raise InputError(f"channels={self.channels} needs images of 1 or 3 channels, got {channels}")
            channels = self.channels
        return Plan(
            table,
            classes,
            labels,
            {"train": train, "val": split.val, "test": split.test, "reference": reference},
            (channels, self.image_size, self.image_size),
        )

    def setup(self, stage: str | None = None) -> None:
        """Chooses the images and brings them into memory; a second call changes nothing."""
        if self._sets:
            return
        plan = self.plan()
        self.classes = plan.classes
        size = math.prod(plan.input_shape) * sum(map(len, plan.rows.values()))
        place = plan.table.folder if size > self.memory_limit * _GIGABYTE else None
        self._sets = {part: self._set(plan, part, place) for part in plan.rows}
        self._num_classes = plan.num_classes
        self._class_names = names_of_task(self, plan)[0]

    @property
    def num_classes(self) -> int:
        """Classes of the task; reads the table on first use."""
        self._ready()
        return self._num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, class 0 first; reads the table on first use."""
        self._ready()
        return self._class_names

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
        processes, process = self._place()
        size = self.batch_size or _DEFAULT_BATCH
        batches = TrainBatches(
            self.train_set,
            size if self.global_batch else size * processes,
            seed=_seed(),
            processes=processes,
            process=process,
        )
        if self.global_batch and len(batches) != len(TrainBatches(self.train_set, size)):
            raise InputError(
                f"global_batch: steps of batch_size={size} images cannot be shared out among {processes} processes, "
                f"each of which needs two: choose at least {4 * processes}"
            )
        return _loader(self.train_set, batches)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]] | list[DataLoader[dict[str, Tensor]]]:
        """Batches of the validation images; none where there are none."""
        if len(self.val_set):
            return self._in_order(self.val_set)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.VALIDATING:
            raise InputError("n_val=0 leaves no images to validate on: choose more")
        return []

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the test images."""
        if not len(self.test_set):
            raise InputError("n_test=0 leaves no images to test on: choose more")
        return self._in_order(self.test_set)

    def predict_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the test images."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Turns 8-bit images into floats in [0, 1], on the device, after what training changes in them at random."""
        images = batch["image"]
        if self.augmentation and self.trainer is not None and self.trainer.training:
            epoch = self.trainer.current_epoch
            images = self.augmentation(images, [seed_of(_seed(), epoch, image) for image in batch["index"].tolist()])
        return {**batch, "image": images.float() / 255}

    def _ready(self) -> dict[str, ImageSet]:
        if not self._sets:
            self.prepare_data()
            self.setup()
        return self._sets

    def _recipe(self) -> Recipe[Any] | None:
        """How the table is prepared from a download, with the options that decide which table it is."""
        if self.recipe is None:
            return None
        return make_recipe(self.recipe, **{name: getattr(self, name) for name in recipe_class(self.recipe).variants})

    def _check_variants(self) -> None:
        """Refuse a table that was prepared with other options than those of this data set."""
        made, summary = self._recipe(), read_summary(self.table_folder)
        if made is None or summary is None:
            return
        if summary["data_set"] != made.name:
            raise InputError(f"{self.table_folder} holds a table of {summary['data_set']}, not of {made.name}")
        for option in made.variants:
            there, wanted = summary["options"].get(option), getattr(self, option)
            if there != wanted:
                raise InputError(
                    f"{self.table_folder} was prepared with {option}={there}, and {self.name} is to have "
                    f"{option}={wanted}: choose the table or the option to match (usually kept in {made.folder})"
                )

    @cached_property
    def _is_scaled(self) -> bool:
        """Whether the table's images were scaled by their own maxima when they were prepared."""
        summary = read_summary(self.table_folder)
        return summary is not None and summary["options"].get("protocol") == "reference"

    def _set(self, plan: Plan, part: str, place: Path | None) -> ImageSet:
        rows = plan.rows[part]
        columns = map(torch.from_numpy, (plan.labels[rows], rows, plan.table.groups[rows]))
        # Without the plan, whose table is mapped: what was read of that counts as this process's memory.
        read = partial(self._load, plan.table.folder, plan.input_shape, rows, place)
        if part == "reference":  # not every run looks at it
            return LateImageSet(read, *columns)
        return ImageSet(read(), *columns)

    def _load(self, table: Path, shape: tuple[int, int, int], rows: Rows, place: Path | None) -> Tensor:
        mapped = open_images(table)
        images = room((len(rows), *shape), place)
        constant: list[int] = []
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            raw = torch.from_numpy(self._scaled(mapped[some]))
            flat = raw.flatten(1)
            constant += some[(flat == flat[:, :1]).all(dim=1).numpy()].tolist()
            resized = resize(raw, self.image_size, antialias=self.antialias)
            images[start : start + _CHUNK] = set_channels(resized, shape[0])
        if constant:
            raise InputError(
                f"{len(constant)} of {len(rows)} images in {table} are constant "
                f"(first: row {constant[0]}): they show nothing; leave them out of the table"
            )
        return images

    def _scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images of the table on the scale of the protocol."""
        if self.protocol == "reference" and not self._is_scaled:
            for i, image in enumerate(pixels):
                pixels[i] = by_maximum(image)
        return pixels

    def _in_order(self, images: ImageSet) -> DataLoader[dict[str, Tensor]]:
        processes, process = self._place()
        return _loader(images, EvalBatches(images, _EVAL_BATCH, processes=processes, process=process))

    def _place(self) -> tuple[int, int]:
        """How many processes there are, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)


def _seed() -> int:
    """What seed_everything was given."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def _loader(images: ImageSet, batches: TrainBatches | EvalBatches) -> DataLoader[dict[str, Tensor]]:
    # The sampler hands out whole batches; its own generator keeps the loader off the global one.
    return DataLoader(images, batch_size=None, sampler=batches, generator=torch.Generator())
