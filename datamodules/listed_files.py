"""A collection of the pictures that a CSV file lists."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.collection import Collection, in_classes, numbered, own_groups
from datamodules.levels import Window
from datamodules.picture_stack import Channels, read_stack
from datamodules.pictures import EXTENSIONS
from metrics import InputError, Progress


@dataclass(frozen=True)
class _Entry:
    """One row of the CSV file; cells that it lacks are blank."""

    row: int
    path: str
    label: str
    group: str
    split: str


def read_listed(
    folder: str | Path,
    csv_file: str | Path,
    *,
    path_column: str,
    label_column: str,
    group_column: str | None = None,
    split_column: str | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | None = None,
    channels: Channels = "keep",
    window: Window | None = None,
    skip_unreadable: bool = False,
    progress: Progress | None = None,
) -> Collection:
    r"""Read the pictures that a CSV file lists, in the order of their paths.

    Paths are relative to the folder, or absolute and inside it. An extension may be missing where only one picture has
    that name. Rows with a blank label are left out.

    Args:
        folder: Where the pictures lie.
        csv_file: Comma-separated, UTF-8, the first row names the columns.
        path_column: Column of the paths.
        label_column: Column of the labels: any text.
        group_column: Column of the patient, volume or lesion. An image where it is blank is a group of its own.
        split_column: Column of the split: any text, blank where an image is in none.
        classes: Labels to keep, in that order; default all, in order. Pictures of others need not be there.
        image_size: See :func:`datamodules.picture_stack.read_stack`, as for the options below.
        channels: keep, 1 (grey) or 3 (colour).
        window: Values of 16- and 32-bit pictures that become 0 and 255.
        skip_unreadable: Leave unreadable files out and list them, rather than stop. Absent files always stop it.
        progress: Called with the number of pictures that are done, and of all.

    Returns:
        Sources are paths relative to the folder.

    Raises:
        InputError: A column that is not there, with those that are; a file that is absent, listed twice or outside the
            folder, with its row (the first row is row 1); an unknown class; unreadable files.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for i in range(2):
        ...         Image.new("L", (4, 4), 100 * i).save(f"{place}/{i}.png")
        ...     _ = (Path(place) / "list.csv").write_text("file,finding,patient\n1.png,none,ann\n0.png,nodule,bob\n")
        ...     scans = read_listed(
        ...         place, place + "/list.csv", path_column="file", label_column="finding", group_column="patient"
        ...     )
        >>> scans.sources, scans.labels.tolist(), scans.class_names, scans.groups.tolist()
        (('0.png', '1.png'), [0, 1], ('nodule', 'none'), ['bob', 'ann'])
    """
    folder, csv_file = Path(folder), Path(csv_file)
    entries = _entries(csv_file, path_column, label_column, group_column, split_column)
    chosen = [
        entries[i] for i in in_classes([entry.label for entry in entries], classes, f"{csv_file} ({label_column})")
    ]
    listed = _located(folder, csv_file, chosen)
    files = sorted(listed)
    stack = read_stack(
        folder,
        files,
        image_size=image_size,
        channels=channels,
        window=window,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )
    sources = tuple(files[i] for i in stack.kept)
    kept = [listed[source] for source in sources]
    labels, class_names = numbered([entry.label for entry in kept], classes)
    notes = list(stack.notes)
    unlabelled = sum(not entry.label for entry in entries)
    if unlabelled:
        notes.append(f"{unlabelled} of {len(entries)} rows of {csv_file.name} have no label: left out")
    return Collection(
        name=folder.resolve().name,
        images=stack.images,
        labels=labels,
        class_names=class_names,
        groups=own_groups([entry.group for entry in kept], sources) if group_column is not None else None,
        splits=np.array([entry.split for entry in kept], dtype=np.str_) if split_column is not None else None,
        sources=sources,
        skipped=stack.skipped,
        notes=tuple(notes),
    )


def _entries(
    csv_file: Path, path_column: str, label_column: str, group_column: str | None, split_column: str | None
) -> list[_Entry]:
    try:
        with csv_file.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets add a mark
            reader = csv.DictReader(file, restval="")
            names = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{csv_file} cannot be read: {error}") from error
    wanted = (path_column, label_column, group_column, split_column)
    for name in wanted:
        if name is not None and name not in names:
            raise InputError(f"{csv_file} has no column {name!r}: choose from {', '.join(names) or '(no columns)'}")

    def cell(row: dict[str, str], name: str | None) -> str:
        return row[name].strip() if name is not None else ""

    return [_Entry(number, *(cell(row, name) for name in wanted)) for number, row in rows]


def _located(folder: Path, csv_file: Path, entries: Sequence[_Entry]) -> dict[str, _Entry]:
    """The entry of each file, by its path relative to the folder."""
    found: dict[str, _Entry] = {}
    absent: list[_Entry] = []
    for entry in entries:
        if not entry.path:
            raise InputError(f"row {entry.row} of {csv_file} has a label but names no file: leave the label blank too")
        name = _relative(folder, entry.path)
        if name is None:
            raise InputError(
                f"{entry.path!r} in row {entry.row} of {csv_file} leads outside {folder}: "
                "give the folder that holds all pictures"
            )
        if not os.path.isfile(folder / name):  # unlike Path.is_file: False for what is too long to be a path
            longer = [name + extension for extension in EXTENSIONS if os.path.isfile(folder / (name + extension))]
            if len(longer) != 1:
                absent.append(entry)
                continue
            name = longer[0]
        if name in found:
            raise InputError(
                f"{name} is listed twice in {csv_file}: in rows {found[name].row} and {entry.row}; leave one"
            )
        found[name] = entry
    if absent:
        raise InputError(
            f"{len(absent)} of {len(entries)} files that {csv_file} lists are not in {folder} "
            f"(first: {absent[0].path!r} in row {absent[0].row}): paths must be relative to that folder"
        )
    return found


def _relative(folder: Path, path: str) -> str | None:
    """The path relative to the folder, as plain as it can be written; None where it leads outside."""
    root = os.path.abspath(folder)
    place = os.path.normpath(os.path.join(root, path))  # absolute paths stay what they are
    return Path(place).relative_to(root).as_posix() if Path(place).is_relative_to(root) else None
