"""`lightning measure`: the properties of anybody's images, without training."""

import argparse
import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules import (
    Collection,
    from_data_module,
    read_class_folders,
    read_listed,
    read_npz,
    read_table,
)
from datamodules.tables import exists
from lightning_app.measure_json import as_json
from lightning_app.measure_options import Options, options_of, parser
from lightning_app.measure_page import as_page
from lightning_app.measure_table import show_measurement
from lightning_app.measurement import Measurement, check, measure
from lightning_app.output import check_place, write_output
from lightning_app.quiet import silence_libraries
from lightning_app.stages import Stages
from metrics import InputError

_PICTURES = ("image_size", "channels", "window", "skip_unreadable")
_TAKEN = {
    "image table": ("labelling", "classes"),
    "folder of class folders": ("classes", *_PICTURES),
    "folder with a CSV": (
        "labels", "path_column", "label_column", "group_column", "split_column", "classes", *_PICTURES
    ),
    "npz file": ("images_key", "labels_key", "classes"),
    "data module": ("classes",),
}  # fmt: skip
"""Which options say how each kind of DATA is read."""


def run_measure(argv: Sequence[str]) -> None:
    """Run `lightning measure` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
    """
    silence_libraries()
    given, rest = parser().parse_known_args(argv)
    options = options_of(given)
    check(options)
    for file in (given.json, given.html):
        if file is not None:
            check_place(file)
    if given.json and given.html and os.path.realpath(given.json) == os.path.realpath(given.html):
        raise InputError(f"--json and --html both name {given.json}: give two files")
    with Stages() as stages:
        collection = _read(given, rest, stages)
        if given.strict:
            _check_splits(collection, options)
        measurement = measure(collection, options, stages.begin)
        if given.html:
            stages.begin("page")
            page = as_page(measurement)
    show_measurement(measurement, [("JSON", given.json), ("page", given.html)])
    if given.json:
        write_output(given.json, json.dumps(as_json(measurement), indent=1, allow_nan=False) + "\n")
    if given.html:
        write_output(given.html, page)
    if given.strict:
        _refuse_leaks(measurement)


def _read(given: argparse.Namespace, rest: list[str], stages: Stages) -> Collection:
    kind = _kind(given)
    for word in rest if kind != "data module" else [word for word in rest if word.startswith("--")]:
        if kind != "data module" or not word.startswith("--data."):
            raise InputError(_unknown(word, given.data))
    said = {name for names in _TAKEN.values() for name in names if getattr(given, name) is not None}
    foreign = sorted(said - set(_TAKEN[kind]))
    if foreign:
        raise InputError(
            f"--{foreign[0].replace('_', '-')} does not apply: {given.data} is read as {_article(kind)}, which takes "
            + ", ".join(f"--{name.replace('_', '-')}" for name in _TAKEN[kind])
        )
    options: dict[str, Any] = {name: getattr(given, name) for name in _TAKEN[kind] if getattr(given, name) is not None}
    if options.get("channels") in ("1", "3"):
        options["channels"] = int(options["channels"])
    if "window" in options:
        options["window"] = tuple(options["window"])
    progress = stages.begin("reading")
    if kind == "image table":
        return read_table(given.data, **options)
    if kind == "npz file":
        return read_npz(given.data, **options)
    if kind == "folder of class folders":
        return read_class_folders(given.data, **options, progress=progress)
    if kind == "folder with a CSV":
        columns = {"path_column": "path", "label_column": "label"}
        return read_listed(given.data, options.pop("labels"), **(columns | options), progress=progress)
    from lightning_app.named_data import make_data

    return from_data_module(make_data(given.data, rest), **options)


def _kind(given: argparse.Namespace) -> str:
    if not given.data:
        raise InputError("DATA is empty: give a folder, a file or the name of a data set")
    place = Path(given.data)
    if os.path.isdir(place):  # unlike Path.is_dir: False for what is too long to be a path
        if given.labels is not None:
            return "folder with a CSV"
        return "image table" if exists(place) else "folder of class folders"
    if os.path.isfile(place):
        if place.suffix != ".npz":
            raise InputError(f"{place} is no folder and no .npz file: give the folder of the pictures")
        return "npz file"
    from lightning_app.named_data import check_name  # loads Lightning, which pictures do not need

    check_name(given.data)
    return "data module"


def _unknown(word: str, data: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} follows {data!r}, but one DATA is measured at a time: put quotes around a path with blanks"
    options = [option for action in parser()._actions for option in action.option_strings]
    near = difflib.get_close_matches(word.partition("=")[0], options, n=1)
    hint = f"did you mean {near[0]}?" if near else "`lightning measure --help` shows what there is"
    return f"there is no option {word!r}: {hint}"


def _check_splits(collection: Collection, options: Options) -> None:
    """Refuse --strict where a leak could go unseen."""
    if not collection.split_names:
        raise InputError(
            "--strict: nothing says which image is in which split, so no leak can be ruled out: "
            "give folders called train, val and test, or --labels with --split-column"
        )
    if options.max_images is not None and options.max_images < len(collection):
        raise InputError(
            f"--strict: max_images={options.max_images} leaves {len(collection) - options.max_images} images unseen, "
            "so no leak can be ruled out: leave --max-images out"
        )


def _refuse_leaks(measurement: Measurement) -> None:
    if measurement.audit is not None and not measurement.audit.clean:
        counts = measurement.audit.counts
        raise InputError(
            f"the split leaks: {counts['groups']} groups, {counts['exact']} exact and {counts['near']} near duplicates "
            "lie on both sides (listed above): keep each on one side"
        )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'ain' else 'a'} {kind}"
