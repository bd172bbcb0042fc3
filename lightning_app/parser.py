"""The parser: a mistake costs one line that says what is wrong and what was meant."""

import difflib
import inspect
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

import datamodules
from callbacks import Probe
from datamodules import TableDataModule
from metrics import InputError

_MAX_MESSAGE = 400

for _name in datamodules.__all__:  # a configuration can name a class once it is loaded
    getattr(datamodules, _name)


class SuiteParser(LightningArgumentParser):
    """Lightning's parser with messages for people; option names must be written out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the message, on one line, with near matches where a name is misspelt.

        Raises:
            InputError: The message.
        """
        if not self.exit_on_error:
            super().error(message, ex)  # a parser within: the outermost one explains
        raise InputError(_explain(message, [option for action in self._actions for option in _names(action)])) from ex


def own_classes() -> dict[str, type]:
    """The classes of this suite that a configuration can name, by name."""
    bases: list[type] = [TableDataModule, Probe, Logger]
    return {kind.__name__: kind for base in bases for kind in _family(base)}


def _explain(message: str, options: list[str]) -> str:
    """What jsonargparse means, in one line."""
    key = _first(r'[Pp]arser key "([^"]+)"', message)
    place = f"{key}: " if key else ""
    within = re.search(r"Problem with given class_path '[^']+':\n(.+?)(?:\n    - |\Z)", message, re.DOTALL)
    if within:
        explained = _explain(within[1], options)
        return f"{key}.{explained}" if key and 'Parser key "' in within[1] else f"{place}{explained}"
    choice = re.search(r"Expected a typing\.Literal\[(.+?)\]\. Got value: (.+)", message)
    if choice:
        return f"{place}expected {choice[1].replace(', ', ' or ')}, got {choice[2].strip()!r}"
    unknown = _first(r"does not accept option '([^']+)'", message) or _first(r"Option '([^']+)' is not", message)
    unknown = unknown or _first(r"[Uu]nrecognized arguments: (?:--)?([\w.]+)", message)
    if unknown:
        owned = {name: list(inspect.signature(kind).parameters) for name, kind in own_classes().items()}
        owners = [name for name, parameters in owned.items() if unknown in parameters]
        if owners:
            return f"{place}there is no option {unknown!r} here: it is one of {' and '.join(owners)}"
        return f"{place}there is no option {unknown!r}{_hint(unknown, [*options, *chain(*owned.values())])}"
    name = _first(r"Expected a dot import path string: (\S+)", message)
    if name:
        return f"{place}there is no class {name!r}{_hint(name.rsplit('.')[-1], list(own_classes()))}"
    linked = re.search(r'Linked "([^"]+)"', message)
    if linked:
        return f"{linked[1]} is set by the data set and cannot be given"
    given = re.search(r"(?:Given|Got) value: (.+)", message)
    expected = re.findall(r"Expected (?:a|an) <class '(\w+)'>", message)
    if given and expected:
        kinds = " or ".join("null" if kind == "NoneType" else kind for kind in dict.fromkeys(expected))
        return f"{place}expected {kinds}, got {given[1].strip()!r}"
    return " ".join(message.split())[:_MAX_MESSAGE]


def _hint(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, dict.fromkeys(known), n=2, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else ": `lightning fit --help` lists what there is"


def _names(action: Any) -> Iterator[str]:
    """Option names of a parser's action, those of its subcommands included."""
    yield from (option.removeprefix("--") for option in action.option_strings)
    if isinstance(action.choices, dict):
        for parser in action.choices.values():
            for inner in parser._actions:
                yield from _names(inner)


def _family(base: type) -> Iterator[type]:
    """A class of this suite and its subclasses, those of other packages left out."""
    own = ("callbacks", "datamodules", "lightning_app")
    if base.__module__.split(".")[0] in own and not inspect.isabstract(base):
        yield base
    children: list[type] = base.__subclasses__()
    for child in children:
        yield from _family(child)


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None
