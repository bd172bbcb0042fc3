"""`lightning measure`: the properties of anybody's images, without training."""

import argparse
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules import (
    Collection,
    TableDataModule,
    from_data_module,
    read_class_folders,
    read_listed,
    read_npz,
    read_table,
)
from datamodules.tables import exists
from lightning_app.measure_json import as_json
from lightning_app.measure_options import options_of, parser
from lightning_app.measure_page import as_page
from lightning_app.measure_table import show_measurement
from lightning_app.measurement import Measurement, check, measure
from lightning_app.parser import SuiteParser, own_classes
from lightning_app.quiet import silence_libraries
from lightning_app.run import write_text
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
        if file is not None and not Path(file).absolute().parent.is_dir():
            raise InputError(f"cannot write {file}: there is no folder {Path(file).absolute().parent}")
    with Stages() as stages:
        collection = _read(given, rest, stages)
        measurement = measure(collection, options, stages.begin)
        if given.html:
            stages.begin("page")
            _write(given.html, as_page(measurement))
    if given.json:
        _write(given.json, json.dumps(as_json(measurement), indent=1, allow_nan=False) + "\n")
    show_measurement(measurement, [("JSON", given.json), ("page", given.html)])
    if given.strict:
        _refuse_leaks(measurement)


def _read(given: argparse.Namespace, rest: list[str], stages: Stages) -> Collection:
    kind = _kind(given)
    if rest and kind != "data module":
        raise InputError(f"there is no option {rest[0]!r}: `lightning measure --help` shows what there is")
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
    return from_data_module(_data_module(given.data, rest), **options)


def _kind(given: argparse.Namespace) -> str:
    place = Path(given.data)
    if place.is_dir():
        if given.labels is not None:
            return "folder with a CSV"
        return "image table" if exists(place) else "folder of class folders"
    if place.is_file():
        if place.suffix != ".npz":
            raise InputError(f"{place} is no folder and no .npz file: give the folder of the pictures")
        return "npz file"
    names = [name for name, kind in own_classes().items() if issubclass(kind, TableDataModule)]
    if place.suffix == ".npz" or "/" in given.data or (given.data not in names and "." not in given.data):
        near = difflib.get_close_matches(given.data, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give a path, or one of {', '.join(sorted(names))}"
        raise InputError(f"there is no file, folder or data set {given.data!r}: {hint}")
    return "data module"


def _data_module(name: str, options: list[str]) -> TableDataModule:
    words = SuiteParser(prog="lightning measure")
    words.add_subclass_arguments(TableDataModule, "data", required=True)
    data: TableDataModule = words.instantiate_classes(words.parse_args(["--data", name, *options])).data
    return data


def _write(file: str, text: str) -> None:
    try:
        write_text(Path(file), text)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from error


def _refuse_leaks(measurement: Measurement) -> None:
    if measurement.audit is None:
        raise InputError("--strict: nothing says which image is in which split, so no leak can be ruled out")
    if not measurement.audit.clean:
        counts = measurement.audit.counts
        raise InputError(
            f"the split leaks: {counts['groups']} groups, {counts['exact']} exact and {counts['near']} near duplicates "
            "lie on both sides; they are listed above"
        )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'ain' else 'a'} {kind}"
