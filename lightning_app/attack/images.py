"""Which images are attacked: a part of the run's own, or others that fit its network."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from datamodules import Collection, ImageSet, TableDataModule, from_data_module, read_class_folders, read_table
from datamodules.class_names import Names, names_of_task
from datamodules.images import resize, set_channels
from datamodules.picture_stack import Channels
from datamodules.tables import exists
from lightning_app.attack.classes import numbered_as
from lightning_app.attack.saved import Saved
from lightning_app.cli import mistakes_in_one_line
from lightning_app.named_data import check_name, make_data
from lightning_app.parser import SuiteParser
from lightning_app.run import Config
from metrics import InputError, Progress

_OPTIONS = ("classes", "labelling", "image_size", "channels")
_TAKEN = {
    "the images of the run": (),
    "an image table": _OPTIONS,
    "a folder of class folders": ("classes", "image_size", "channels"),
    "a data set by name": ("classes",),
}
"""Which options say how each kind of images is read."""

_CHANNELS: dict[str, Channels] = {"1": 1, "3": 3}
_SPLITS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class Target:
    """Images to attack.

    Attributes:
        name: Of the data set.
        part: train, val or test; all, where nothing says which image is in which.
        images: The images, labelled as the network numbers its classes.
        class_names: What each of these is called.
        notes: What was done to the images.
    """

    name: str
    part: str
    images: ImageSet
    class_names: Names
    notes: tuple[str, ...] = ()


def read_target(given: argparse.Namespace, rest: Sequence[str], saved: Saved, progress: Progress) -> Target:
    """Read the images that a command line says.

    Args:
        given: The command line.
        rest: Its words that the parser does not know: options of a data set.
        saved: The network that the images must fit.
        progress: Told of pictures that are read.

    Raises:
        InputError: Images that are not there, or do not fit the network: what would make them.
    """
    kind = _kind(given.data)
    for word in rest:
        if kind != "a data set by name" or (word.startswith("-") and not word.startswith("--data.")):
            raise InputError(f"there is no option {word!r}: `lightning attack --help` shows what there is")
    said = {name: getattr(given, name) for name in _OPTIONS if getattr(given, name) is not None}
    for name in said.keys() - set(_TAKEN[kind]):
        raise InputError(f"--{name.replace('_', '-')} does not apply to {kind}: leave it out")
    if given.data is None:
        return _own(saved, given.split or "test")
    collection = _read(kind, given.data, list(rest), said, progress)
    labels, names = numbered_as(collection, given.classes, saved.num_classes, _known(saved))
    _check_shape(collection, saved, "--data." if kind == "a data set by name" else "--")
    rows = _part(collection, given.split)
    images = ImageSet(collection.images[rows], torch.from_numpy(labels)[rows], rows, rows)
    part = (given.split or "test") if collection.split_names else "all"
    return Target(collection.name, part, images, names, collection.notes)


def _kind(data: str | None) -> str:
    if data is None:
        return "the images of the run"
    if os.path.isdir(data):
        return "an image table" if exists(data) else "a folder of class folders"
    if os.path.isfile(data):
        raise InputError(
            f"--data {data} is a file: give a folder of class folders, an image table, or a data set by name"
        )
    check_name(data)
    return "a data set by name"


def _own(saved: Saved, part: str) -> Target:
    """A part of the images that the network was trained and tested on."""
    if not saved.config:
        raise InputError(
            f"no config.yaml of a run lies beside or above {saved.checkpoint}: say with --data which images to attack"
        )
    data = _configured(saved.config["data"])
    images: ImageSet = getattr(data, f"{part}_set")
    theirs, ours = (data.num_classes, data.input_shape), (saved.num_classes, saved.input_shape)
    if theirs != ours:
        raise InputError(
            f"{saved.file} is not of the run of {saved.checkpoint}: its images are of {theirs[0]} classes and shape "
            f"{theirs[1]}, the network takes {ours[0]} and {ours[1]}; say with --data which images to attack"
        )
    if not len(images):
        raise InputError(f"the run has no {part} images (n_{part}=0): choose another --split")
    return Target(str(data.name), part, images, names_of_task(data, data.plan())[0])


def _known(saved: Saved) -> list[Names]:
    """What the network's classes are called, as far as its own images are still there to say so."""
    if not saved.config:
        return []
    try:
        data = _configured(saved.config["data"])
        return names_of_task(data, data.plan())
    except InputError:
        return []


def _configured(section: Config) -> TableDataModule:
    """The data module that a configuration describes."""
    words = SuiteParser(prog="lightning attack")
    words.add_subclass_arguments(TableDataModule, "data", required=True)
    with mistakes_in_one_line():
        data: TableDataModule = words.instantiate_classes(words.parse_object({"data": section})).data
    return data


def _read(kind: str, data: str, rest: list[str], said: Config, progress: Progress) -> Collection:
    channels = _CHANNELS.get(said.pop("channels", ""), "keep")
    if kind == "a data set by name":
        return from_data_module(make_data(data, rest), **said)
    if kind == "a folder of class folders":
        return read_class_folders(data, **said, channels=channels, progress=progress)
    side = said.pop("image_size", None)
    table = read_table(data, **said)
    if side is not None:
        table = replace(table, images=resize(table.images, side, antialias=True))
    if channels != "keep" and table.images.shape[1] in (1, 3):
        table = replace(table, images=set_channels(table.images, channels))
    return table


def _check_shape(collection: Collection, saved: Saved, option: str) -> None:
    """Refuse images of another shape than the network was trained on."""
    channels, height, width = collection.images.shape[1:]
    needed = saved.input_shape
    mends = []
    if channels != needed[0]:
        mends.append(f"{option}channels {needed[0]}")
    if (height, width) != needed[1:]:
        mends.append(f"{option}image{'_' if '.' in option else '-'}size {needed[1]}")
    if mends:
        raise InputError(
            f"the images of {collection.name} have {channels} channels of {height}x{width} pixels, the network takes "
            f"{needed[0]} of {needed[1]}x{needed[2]}: add {' '.join(mends)}"
        )


def _part(collection: Collection, part: str | None) -> torch.Tensor:
    """Positions of the images of a part; of all, where nothing is known of parts."""
    if not collection.split_names:
        if part is not None:
            raise InputError(
                f"--split {part}: nothing says which image of {collection.name} is in which split; leave it out"
            )
        return torch.arange(len(collection))
    assert collection.splits is not None  # there are names
    rows = np.flatnonzero(np.isin(collection.splits, _SPLITS[part or "test"]))
    if not len(rows):
        there = ", ".join(collection.split_names)
        raise InputError(f"{collection.name} has no {part or 'test'} images, but {there}: choose by --split")
    return torch.from_numpy(rows)
