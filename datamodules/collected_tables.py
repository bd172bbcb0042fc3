"""A collection of the images of a table or of a data module."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from datamodules.collection import Collection, Names, in_classes, numbered, own_groups
from datamodules.splits import Rows
from datamodules.tables import ImageTable

if TYPE_CHECKING:
    from datamodules.base import TableDataModule

_PARTS = ("train", "val", "test")


def read_table(
    folder: str | Path,
    *,
    labelling: str | None = None,
    classes: Sequence[str] | None = None,
) -> Collection:
    """Read the labelled images of an image table as they are.

    Args:
        folder: Folder of the table (images.npy and manifest.csv).
        labelling: Column of the manifest that holds the labels; default ``label``, or else the first that does. Images
            with a blank label, or −1, are left out.
        classes: Labels to keep, in that order; default all.

    Returns:
        Groups are the column ``group``, splits the column ``split`` if there is one, sources the column ``source``.

    Raises:
        InputError: No table there, an unknown labelling or an unknown class, with those that there are.

    Example:
        >>> import tempfile
        >>> from datamodules import write_table
        >>> pixels = np.zeros((3, 1, 8, 8), dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     rows = [{"label": y, "group": g} for y, g in ((3, "ann"), (8, "bob"), ("", "bob"))]
        ...     table = write_table(place + "/digits", zip(pixels, rows, strict=True))
        ...     digits = read_table(table.folder)
        >>> digits.labels.tolist(), digits.class_names, digits.groups.tolist(), digits.notes
        ([0, 1], ('3', '8'), ['ann', 'bob'], ("1 of 3 images have no label under 'label': left out",))
    """
    table = ImageTable.open(folder)
    if labelling is None:
        labelling = "label" if "label" in table.columns else next(iter(table.labellings), "label")
    labels = table.labels(labelling)
    names = [str(label) if label >= 0 else "" for label in labels]
    rows = np.array(in_classes(names, classes, f"{table.folder} ({labelling})"), dtype=np.int64)
    numbers, class_names = numbered([names[row] for row in rows], classes)
    sources = _sources(table, rows)
    unlabelled = f"{names.count('')} of {len(names)} images have no label under {labelling!r}: left out"
    return Collection(
        name=Path(folder).resolve().name,
        images=torch.from_numpy(table.images[rows]),
        labels=numbers,
        class_names=class_names,
        groups=_groups(table, rows, sources),
        splits=table.columns["split"][rows] if "split" in table.columns else None,
        sources=sources,
        notes=(unlabelled,) if "" in names else (),
    )


def from_data_module(data: "TableDataModule", *, classes: Sequence[str] | None = None) -> Collection:
    """Take the images that a data module trains, validates and tests on, as it hands them out.

    Args:
        data: Any data module over an image table; its table is made where it is missing.
        classes: Names of the classes of its task to keep, in that order; default all. A class of several labels is
            called e.g. "0+1+2".

    Returns:
        Splits are "train", "val" and "test"; groups and sources come from the table.

    Raises:
        InputError: What the data module refuses; an unknown class, with those that there are.

    Example:
        >>> import tempfile
        >>> from datamodules import TableDataModule, write_table
        >>> noise = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     table = write_table(place + "/t", [(x, {"label": i % 2, "group": i}) for i, x in enumerate(noise)])
        ...     data = TableDataModule(place + "/t", n_train=6, n_val=2, n_test=4, image_size=8)
        ...     collection = from_data_module(data)
        >>> len(collection), collection.splits.tolist().count("train")
        (12, 6)
    """
    sets = (data.train_set, data.val_set, data.test_set)
    table = ImageTable.open(data.table_folder)
    if data.classes is None:
        present = data.read_labels(table)
        task = [str(label) for label in np.unique(present[present >= 0])]
    else:
        task = ["+".join(map(str, entry)) if isinstance(entry, Sequence) else str(entry) for entry in data.classes]
    names = [task[label] for part in sets for label in part.labels.tolist()]
    name = str(data.name)
    chosen = np.array(in_classes(names, classes, name), dtype=np.int64)
    rows = np.concatenate([part.rows.numpy() for part in sets])[chosen]
    splits = np.repeat(_PARTS, [len(part) for part in sets])[chosen]
    numbers, class_names = numbered([names[i] for i in chosen], task if classes is None else classes)
    sources = _sources(table, rows)
    images = torch.cat([part.images for part in sets])
    return Collection(
        name=name,
        images=images if classes is None else images[torch.from_numpy(chosen)],
        labels=numbers,
        class_names=class_names,
        groups=_groups(table, rows, sources),
        splits=splits,
        sources=sources,
        notes=tuple(_notes(table, data.input_shape)),
    )


def _notes(table: ImageTable, shape: tuple[int, int, int]) -> Iterator[str]:
    """What the data module made of the images of its table."""
    depth, height, width = table.images.shape[1:]
    if (height, width) != shape[1:]:
        yield f"resampled from {width}x{height} to {shape[2]}x{shape[1]} (width x height)"
    if depth != shape[0]:
        yield (
            "grey images are shown as colour, three equal channels"
            if depth == 1
            else "colour images are turned to grey"
        )


def _sources(table: ImageTable, rows: Rows) -> tuple[str, ...]:
    """Where images came from; those that do not say so are named by their row."""
    said = table.columns["source"][rows].tolist() if "source" in table.columns else [""] * len(rows)
    return tuple(source or f"{table.folder.name}[{row}]" for source, row in zip(said, rows, strict=True))


def _groups(table: ImageTable, rows: Rows, sources: Sequence[str]) -> Names:
    return own_groups(table.columns["group"][rows].tolist(), sources)
