"""Named grids of runs, declared beside the configuration that they vary."""

import difflib
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

import datamodules
from datamodules import TableDataModule
from metrics import InputError

_NOT_OF_A_RUN = ("name", "runs", "rerun", "config", "grids", "ckpt_path")

Choices = dict[str, Any]
"""Values by option, as on the command line: {data.init_args.n_train: 500}."""


@dataclass
class Combinations:
    """Options and their values, combined.

    Attributes:
        set: Options that have one value throughout.
        cells: Options and their values, cell by cell, where there is no rule to them.
        zip: Options whose values go together: the first of each, the second of each, ….
        product: Options of which every combination is made, the last one varying fastest, e.g.
            {model.backbone: [resnet18, vgg13], data.init_args.n_train: [100, 500]}.
    """

    set: dict[str, Any] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    zip: dict[str, list[Any]] = field(default_factory=dict)
    product: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Rule(Combinations):
    """What holds for some of the cells of a block only.

    Attributes:
        where: Which: options and the value, or list of values, that one of a cell's must be. A class is named by its
            name; `domain` (natural or medical) is that of the cell's data set.
        skip: Leave these cells out.
    """

    where: dict[str, Any] = field(default_factory=dict)
    skip: bool = False


@dataclass
class Block(Combinations):
    """Some cells of a grid. A grid is a list of blocks, run one after another.

    Attributes:
        when: Rules, applied in their order to the cells of the block.
    """

    when: list[Rule] = field(default_factory=list)


def expand(blocks: Iterable[Block], base: Mapping[str, Any]) -> list[Choices]:
    """The cells of a grid.

    Args:
        blocks: The grid.
        base: The resolved configuration that the cells vary; decides what is asked by a rule and chosen by no block.

    Returns:
        Choices of every cell, in order.

    Example:
        >>> sizes = Block(product={"model.backbone": ["resnet18", "vgg13"], "data.n_train": [100, 500]})
        >>> sizes.when = [Rule(where={"model.backbone": "vgg13", "data.n_train": 500}, skip=True)]
        >>> [list(cell.values()) for cell in expand([sizes], {})]
        [['resnet18', 100], ['resnet18', 500], ['vgg13', 100]]
    """
    cells = []
    for block in blocks:
        varied = _combined(block, [{}])
        for rule in block.when:
            after: list[Choices] = []
            for cell in varied:
                if not _matches(cell, rule.where, base):
                    after.append(cell)
                elif not rule.skip:
                    after += _combined(rule, [cell])
            varied = after
        cells += varied
    return cells


def full_option(option: str) -> str:
    """The option of a data set by its full name: on the command line, ``init_args`` may be left out.

    Example:
        >>> full_option("data.n_train"), full_option("data.init_args.n_train"), full_option("model.backbone")
        ('data.init_args.n_train', 'data.init_args.n_train', 'model.backbone')
    """
    first, _, rest = option.partition(".")
    if first == "data" and rest and rest.partition(".")[0] not in ("init_args", "class_path"):
        return f"data.init_args.{rest}"
    return option


def name_of(value: Any) -> Any:
    """A class by its name alone; any other value as it is.

    Example:
        >>> name_of({"class_path": "datamodules.MNIST5k", "init_args": {}}), name_of(500)
        ('MNIST5k', 500)
    """
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        return str(value["class_path"]).rpartition(".")[2]
    return value


def as_text(value: Any) -> str:
    """A value as it is written on the command line.

    Example:
        >>> as_text("vgg13"), as_text([3, 8]), as_text(None), as_text(1e-6)
        ('vgg13', '[3, 8]', 'null', '1.0e-06')
    """
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n").strip()


def value_in(config: Mapping[str, Any], option: str) -> Any:
    """The value of a dotted option; None where there is none."""
    place: Any = config
    for part in option.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def _combined(how: Combinations, cells: list[Choices]) -> list[Choices]:
    together = [dict(zip(how.zip, values, strict=True)) for values in zip(*how.zip.values(), strict=True)] or [{}]
    every = [dict(zip(how.product, values, strict=True)) for values in itertools.product(*how.product.values())]
    return [
        {full_option(key): value for part in (cell, how.set, *parts) for key, value in part.items()}
        for cell in cells
        for parts in itertools.product(how.cells or [{}], together, every)
    ]


def _matches(cell: Choices, where: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    return all(_is_one_of(_value(cell, key, base), wanted) for key, wanted in where.items())


def _is_one_of(value: Any, wanted: Any) -> bool:
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(value == choice or name_of(value) == name_of(choice) for choice in choices)


def _value(cell: Choices, option: str, base: Mapping[str, Any]) -> Any:
    """What an option is in a cell: chosen by it, or as in the configuration."""
    if option == "domain":
        given = _value(cell, "data.domain", base)
        kind = getattr(datamodules, str(name_of(_value(cell, "data", base))), None)
        return given or getattr(kind, "default_domain", None)
    option = full_option(option)
    if option in cell:
        return name_of(cell[option])
    for parent in _parents(option):
        if parent in cell:  # a class that the cell chooses, with options of its own
            inner = (
                value_in(cell[parent], option.removeprefix(f"{parent}.")) if isinstance(cell[parent], dict) else None
            )
            if inner is not None:
                return name_of(inner)
    return name_of(value_in(base, option))


def _parents(option: str) -> Iterator[str]:
    while "." in option:
        option = option.rpartition(".")[0]
        yield option


def check_grids(grids: Mapping[str, list[Block]], config: Mapping[str, Any], *, raw: bool = False) -> None:
    """Refuse grids that vary options which do not exist, or have values that cannot be combined.

    Args:
        grids: Blocks by name.
        config: The resolved configuration, with every option in it.
        raw: Whether values are as they are written, and not yet parsed: classes are not looked at then.

    Raises:
        InputError: Every mistake, with near matches.
    """
    known = set(_paths(config)) | {f"data.init_args.{name}" for name in _data_options()} | {"data"}
    mistakes = [
        f"grid {grid!r} {mistake}" for grid, blocks in grids.items() for mistake in _mistakes(blocks, known, raw)
    ]
    if mistakes:
        raise InputError("; ".join(dict.fromkeys(mistakes)))


def _mistakes(blocks: list[Block], known: set[str], raw: bool) -> Iterator[str]:
    for block in blocks:
        for part in (block, *block.when):
            empty = [name for name in ("set", "cells", "zip", "product") if getattr(part, name) is None]
            if empty:
                yield f"has nothing under {empty[0]!r}: leave it out, or say what belongs there"
                continue
            lengths = {key: len(values) for key, values in part.zip.items()}
            if len(set(lengths.values())) > 1:
                counted = ", ".join(f"{key}: {length}" for key, length in lengths.items())
                yield f"zips lists of different lengths ({counted})"
            for key, values in (part.product | part.zip).items():
                if not values:
                    yield f"has no value for {key!r}"
            for key, value in _all_choices(part):
                yield from _option_mistakes(key, None if raw else value, known)
        for rule in block.when:
            if not rule.where:
                yield "has a rule without `where`: say which cells it is for"
            for key in rule.where:
                if key != "domain":
                    yield from _option_mistakes(key, None, known)


def _all_choices(part: Combinations) -> Iterator[tuple[str, Any]]:
    yield from part.set.items()
    for cell in part.cells:
        yield from cell.items()
    for key, values in (*part.zip.items(), *part.product.items()):
        yield from ((key, value) for value in values)


def _option_mistakes(key: str, value: Any, known: set[str]) -> Iterator[str]:
    option = full_option(key)
    if option.partition(".")[0] in _NOT_OF_A_RUN:
        yield f"varies {key!r}, which is the same for all runs of a grid: give it to the command"
    elif option not in known:
        near = difflib.get_close_matches(option, known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `lightning fit --help`"
        yield f"varies {key!r}, which is no option: {hint}"
    elif isinstance(value, dict):  # the parser has turned a class and its options into a Namespace if they fit together
        if key != "data" and "class_path" in value:
            yield f"has {key} = {value}: no such class, or it has no such options"
        else:
            for path in _paths(value):
                yield from _option_mistakes(f"{key}.{path}", None, known)


def _paths(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        yield key
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in _paths(value))


def _data_options() -> set[str]:
    """Options of every data set that comes with the suite."""
    kinds: list[type] = [getattr(datamodules, name) for name in datamodules.DATA_MODULES]
    return {name for kind in (TableDataModule, *kinds) for name in inspect.signature(kind).parameters}
