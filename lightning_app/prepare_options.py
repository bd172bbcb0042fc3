"""The command line of `lightning prepare`: what all data sets share, and the options of one."""

import argparse
import dataclasses
import textwrap
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser

from datamodules.recipes import RECIPES, presets, recipe_class
from lightning_app.arguments import CommandParser

_ALL = (
    ("--raw", "DIR", "folder of the raw files, or its parent"),
    ("--out", "DIR", "folder of the image table"),
    ("--workers", "N", "processes that decode (default: one per processor)"),
)
_LINE, _INDENT = 100, 16


def overview() -> str:
    """The help page that lists the data sets."""
    titles: dict[str, list[str]] = {}
    for name in RECIPES:
        titles.setdefault(recipe_class(name).title, []).append(name)
    sets = "\n".join(line for title, names in titles.items() for line in _listed(names, title))
    return (
        "usage: lightning prepare NAME --raw DIR [--out DIR] [options]\n\n"
        "Turns the raw download of a data set into an image table, which `fit` and `measure` read. It can be\n"
        "stopped at any time: the same command goes on where it was.\n\n"
        f"data sets:\n{sets}\n\n"
        "Where to get one, and its options: lightning prepare NAME --help\n"
    )


def parser(name: str) -> argparse.ArgumentParser:
    """The options of one data set."""
    kind = recipe_class(name)
    words = CommandParser(
        prog=f"lightning prepare {name}",
        description=textwrap.fill(f"{kind.title}. {kind.access}", _LINE),
    )
    for option, meta, meaning in _ALL:
        words.add_argument(option, metavar=meta, help=meaning, type=int if meta == "N" else str)
    words.add_argument("--skip-unreadable", action="store_true", help="leave files out that cannot be read")
    own = words.add_argument_group("options of this data set")
    meanings = {p.arg_name: p.description or "" for parent in kind.__mro__ for p in _documented(parent)}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name not in presets(name):
            _add(own, field, hints[field.name], " ".join(meanings[field.name].split()))
    return words


def options_of(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """What of a command line says how the data set is read."""
    fields = [field.name for field in dataclasses.fields(recipe_class(name)) if field.name not in presets(name)]
    values = {field: getattr(given, field) for field in fields}
    return {field: tuple(value) if isinstance(value, list) else value for field, value in values.items()}


def _listed(names: list[str], title: str) -> list[str]:
    """The names of a data set and, beside or below them, what it is."""
    if len(names) == 1:
        return [f"  {names[0]:<{_INDENT - 2}}{title}"]
    wrapped = textwrap.wrap(" ".join(names), _LINE - _INDENT)
    return [f"  {title}:", *(" " * _INDENT + line for line in wrapped)]


def _documented(kind: type) -> list[docstring_parser.DocstringParam]:
    return docstring_parser.parse(kind.__doc__ or "").params


def _add(group: Any, field: "dataclasses.Field[Any]", hint: Any, meaning: str) -> None:
    """One option, from the type of a field."""
    option = f"--{field.name.replace('_', '-')}"
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    kind = kinds[0]
    shown = f"{meaning.rstrip('.')} (default: {field.default})" if field.default not in (None, False) else meaning
    shown = shown.replace("%", "%%")
    if kind is bool:
        group.add_argument(option, action="store_true", help=shown)
    elif get_origin(kind) is Literal:
        choices = get_args(kind)
        group.add_argument(option, choices=choices, type=type(choices[0]), default=field.default, help=shown)
    elif get_origin(kind) is tuple:
        group.add_argument(option, nargs="+", metavar="NAME", default=field.default, help=shown)
    else:
        group.add_argument(option, metavar=kind.__name__.upper(), type=kind, default=field.default, help=shown)
