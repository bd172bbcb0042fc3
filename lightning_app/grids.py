"""Named grids of runs, declared beside the configuration that they vary."""

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from datamodules import TableDataModule
from metrics import InputError


@dataclass
class Block:
    """Every combination of some options. A grid is a list of blocks, run one after another.

    Attributes:
        product: Options, as on the command line, and the values to combine, e.g.
            {model.backbone: [resnet18, vgg13], data.init_args.n_train: [100, 500]}.
        set: Options that have one value throughout the block.
    """

    product: dict[str, list[Any]] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)


def check_grids(grids: Mapping[str, list[Block]], config: Mapping[str, Any]) -> None:
    """Refuse a grid that varies an option which does not exist.

    Args:
        grids: Blocks by name.
        config: The resolved configuration, with every option in it.

    Raises:
        InputError: Unknown option, with near matches.
    """
    known = set(_paths(config)) | {f"data.init_args.{name}" for name in _data_options()} | {"data"}
    for grid, blocks in grids.items():
        for block in blocks:
            for key, values in [*block.product.items(), *((key, [value]) for key, value in block.set.items())]:
                _check_option(grid, key, known)
                for value in values:
                    _check_value(grid, key, value, known)


def _check_option(grid: str, option: str, known: set[str]) -> None:
    if option not in known:
        near = difflib.get_close_matches(option, known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `lightning fit --help`"
        raise InputError(f"grid {grid!r} varies {option!r}, which is no option: {hint}")


def _check_value(grid: str, key: str, value: Any, known: set[str]) -> None:
    if not isinstance(value, dict):
        return  # the parser has turned a class and its options into a Namespace if they fit together
    if key != "data" and "class_path" in value:
        raise InputError(f"grid {grid!r}: {key} cannot be {value}: no such class, or it has no such options")
    for path in _paths(value):
        _check_option(grid, f"{key}.{path}", known)


def _paths(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        yield key
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in _paths(value))


def _data_options() -> set[str]:
    """Options of every data set that comes with the suite."""
    kinds: list[type] = [TableDataModule, *TableDataModule.__subclasses__()]
    return {name for kind in kinds for name in inspect.signature(kind).parameters}
