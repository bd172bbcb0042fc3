"""The cells of a named grid."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lightning_app.cli import resolved_run
from lightning_app.grids import Block, Choices, Rule, as_text, check_grids, expand, full_option, name_of, value_in
from lightning_app.run import Config, Run
from lightning_app.sweep.cells import Cell, Problem
from lightning_app.sweep.resolver import Resolver
from metrics import InputError

_SPEAK_FOR_THEMSELVES = ("data", "model.backbone")  # by their values alone
_LISTED = 12


@dataclass(frozen=True)
class Source:
    """Which grid is meant.

    Attributes:
        files: Configuration files as `fit` takes them; a later one overrides.
        grid: Which of their grids; None takes the only one.
        options: "option=value", for every cell, whatever the grid says.
        runs: Folder of all records; None takes that of the files.
    """

    files: Sequence[str]
    grid: str | None = None
    options: Sequence[str] = ()
    runs: str | None = None


def read_grid(source: Source) -> tuple[str, list[Cell], list[Problem]]:
    """The cells of a grid, each run once.

    Args:
        source: Where it is.

    Returns:
        Its name, its cells in order, and what is wrong with those that have none of their options right.

    Raises:
        InputError: The files or the grid as a whole have a mistake.
    """
    fixed = dict(map(assignment, source.options))
    resolver = Resolver(source.files)
    name = _chosen(source, resolver.grids)
    blocks = [_block(block, name) for block in resolver.grids[name] or []]
    check_grids({name: blocks, "--set": [Block(set=dict.fromkeys(fixed))]}, resolver.base, raw=True)
    choices = [cell | fixed for cell in expand(blocks, resolver.base)]
    titles = _titles(choices)
    cells: dict[str, Cell] = {}
    mistakes: dict[str, list[str]] = {}
    for chosen, title in zip(choices, titles, strict=True):
        try:
            config = resolver.resolve(chosen) | {"name": name}
            if source.runs is not None:
                config |= {"runs": source.runs}
            run = _run(config)
        except InputError as mistake:
            mistakes.setdefault(str(mistake), []).append(title)
            continue
        cells.setdefault(run.run_id, Cell(run, chosen, title, os.getcwd()))
    return name, list(cells.values()), [Problem(text, tuple(titles)) for text, titles in mistakes.items()]


def _run(config: Config) -> Run:
    """The run of a configuration, if it has an identity and an end."""
    if config["seed_everything"] is True:
        raise InputError("seed_everything: true draws another seed each time: give a number")
    if config["trainer"]["fast_dev_run"]:
        raise InputError("trainer.fast_dev_run leaves no record: use trainer.max_epochs=1")
    run = resolved_run("fit", config)
    return replace(run, folder=Path(os.path.abspath(run.folder)))


def select(cells: Sequence[Cell], *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Cell]:
    """Some of the cells.

    Args:
        cells: The cells.
        only: Conditions "option=value[,value]" that must all hold. An option may go by its last part, and a class by
            its name: "backbone=resnet18,resnet34", "data=MNIST5k", "run_id=0123456789ab".
        skip: Conditions of which none may hold.

    Raises:
        InputError: A condition that names no option, or a value that no cell has.
    """
    kept = [_condition(text, cells) for text in only]
    left = [_condition(text, cells) for text in skip]
    return [
        cell
        for cell in cells
        if all(cell.run.run_id in ids for ids in kept) and not any(cell.run.run_id in ids for ids in left)
    ]


def assignment(text: str) -> tuple[str, Any]:
    """Option and value of "option=value"; the value is read as YAML.

    Raises:
        InputError: No "=".

    Example:
        >>> assignment("data.n_train=[100, 250]")
        ('data.init_args.n_train', [100, 250])
    """
    option, equals, value = text.partition("=")
    if not equals or not option:
        raise InputError(f"{text!r} sets nothing: write option=value, e.g. trainer.max_epochs=5")
    try:
        return full_option(option), yaml.safe_load(value)
    except yaml.YAMLError:
        return full_option(option), value


def _condition(text: str, cells: Sequence[Cell]) -> set[str]:
    """The runs that fulfil a condition."""
    option, equals, wanted = text.partition("=")
    if not equals or not wanted:
        raise InputError(f"condition {text!r} says nothing: write option=value[,value], e.g. backbone=resnet18")
    values: dict[str, set[str]] = {}
    for cell in cells:
        for value in _asked(cell, option):
            values.setdefault(value, set()).add(cell.run.run_id)
    if not values:
        names = {path.rpartition(".")[2] for cell in cells for path in _paths(cell.config)}
        near = difflib.get_close_matches(option, names, n=2)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"condition {text!r}: {option!r} is no option of this grid{hint}")
    found: set[str] = set()
    for value in [wanted] if wanted in values else wanted.split(","):
        value = next((known for known in values if _is_number(known, value)), value)
        if value not in values:
            there = ", ".join(sorted(values)[:_LISTED])
            raise InputError(f"condition {text!r}: no cell has {option}={value}; there are {there}")
        found |= values[value]
    return found


def _is_number(known: str, value: str) -> bool:
    """Whether two texts are one number, as 1e-6 and 1.0e-06 are."""
    try:
        return float(known) == float(value)
    except ValueError:
        return False


def _asked(cell: Cell, option: str) -> Iterator[str]:
    """The values of the options that go by a name: whole, or by its last part."""
    if option == "run_id":
        yield cell.run.run_id
    for path in _paths(cell.config):
        if path == full_option(option) or path.rpartition(".")[2] == option:
            yield as_text(name_of(value_in(cell.config, path)))


def _paths(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(prefix + key)
        if isinstance(value, Mapping):
            found += _paths(value, f"{prefix}{key}.")
    return found


def _titles(choices: Sequence[Choices]) -> list[str]:
    """What tells each cell from the others."""
    options = list(dict.fromkeys(option for cell in choices for option in cell))
    seen = {option: {as_text(name_of(cell.get(option))) for cell in choices} for option in options}
    varied = [option for option in options if len(seen[option]) > 1]
    varied.sort(key=lambda option: option not in _SPEAK_FOR_THEMSELVES)
    return [
        " ".join(_said(option, cell[option]) for option in varied if option in cell) or "the run" for cell in choices
    ]


def _said(option: str, value: Any) -> str:
    shown = as_text(name_of(value))
    return shown if option in _SPEAK_FOR_THEMSELVES else f"{option.rpartition('.')[2]}={shown}"


def _chosen(source: Source, grids: Mapping[str, Any]) -> str:
    files = ", ".join(source.files)
    if not grids:
        raise InputError(f"no grids in {files}: declare one under `grids:` (docs/how-to/sweep.md)")
    name = source.grid or (next(iter(grids)) if len(grids) == 1 else None)
    if name is None:
        raise InputError(f"{files} has several grids: choose one with --grid {' | '.join(grids)}")
    if name not in grids:
        near = difflib.get_close_matches(name, grids, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(grids)}"
        raise InputError(f"there is no grid {name!r} in {files}: {hint}")
    return name


def _block(content: Any, name: str) -> Block:
    """A block as it is written; the parser lets pass what is null or empty."""
    try:
        return Block(**{**content, "when": [Rule(**rule) for rule in content.get("when") or []]})
    except (AttributeError, TypeError) as error:
        raise InputError(f"grid {name!r} has a block that is none: {error}; docs/how-to/sweep.md shows one") from error
