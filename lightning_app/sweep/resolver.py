"""From the choices of a cell to its whole configuration, exactly as `fit` would resolve it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from datamodules import TableDataModule
from lightning_app.cli import SuiteCLI, mistakes_in_one_line, start
from lightning_app.grids import Choices, as_text, check_grids
from lightning_app.parser import SuiteParser
from lightning_app.run import Config
from metrics import InputError


class Resolver:
    """Resolves cells of one grid. Hundreds of cells share a few sections, and each of these is parsed once.

    Args:
        files: Configuration files as `fit` takes them; a later one overrides.

    Raises:
        InputError: The files have a mistake.

    Attributes:
        base: The resolved configuration without any choice.
        grids: The grids of the files, as they are written there.
    """

    def __init__(self, files: Sequence[str]) -> None:
        contents = [_read(file) for file in files]
        try:
            start(["fit", *(arg for file in files for arg in ("--config", file))], _ParsedOnly)
        except _Parsed as parsed:
            self._parser = parsed.parser
            found = parsed.config.fit
        self.grids: dict[str, Any] = {}
        for content in contents:
            self.grids = content.pop("grids", None) or self.grids
        self._files = [arg for content in contents for arg in ("--config", yaml.safe_dump(content))]
        # Data sets vary most, and a parser that knows nothing else is ten times as fast.
        data = [{"data": content["data"]} for content in contents if "data" in content]
        self._data_files = [arg for content in data for arg in ("--config", yaml.safe_dump(content))]
        self._data_parser = SuiteParser()
        self._data_parser.add_argument("--config", action="config")
        self._data_parser.add_subclass_arguments(TableDataModule, "data", required=True)
        self.base = self._parsed([])
        check_grids(found.grids, self.base)
        self._known: dict[tuple[str, str], Any] = {}

    def resolve(self, choices: Choices) -> Config:
        """The configuration with some choices made.

        Raises:
            InputError: A choice that its option does not take.
        """
        by_section: dict[str, list[str]] = {}
        for option, value in sorted(
            choices.items(), key=lambda choice: choice[0].count(".")
        ):  # a class, then its options
            text = as_text(value)
            by_section.setdefault(option.partition(".")[0], []).append(f"--{option}={text}")
        return self.base | {section: self._section(section, options) for section, options in by_section.items()}

    def _section(self, section: str, options: list[str]) -> Any:
        key = section, json.dumps(options)
        if key not in self._known:
            self._known[key] = self._data(options) if section == "data" else self._parsed(options)[section]
        return self._known[key]

    def _data(self, options: list[str]) -> Any:
        with mistakes_in_one_line():
            found = self._data_parser.parse_args([*self._data_files, *options])
        return yaml.safe_load(self._data_parser.dump(found, skip_unset=False))["data"]

    def _parsed(self, options: list[str]) -> Config:
        with mistakes_in_one_line():
            found = self._parser.parse_args(["fit", *self._files, *options])
        config: Config = yaml.safe_load(self._parser.dump(found, skip_unset=False))["fit"]
        return config


def _read(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no options: it is to be a configuration as `lightning fit` takes it")
    return content


class _Parsed(Exception):  # noqa: N818  # nothing is wrong: it carries what was parsed
    """Says that the command line is parsed."""

    def __init__(self, parser: Any, config: Any) -> None:
        super().__init__()
        self.parser = parser
        self.config = config


class _ParsedOnly(SuiteCLI):
    """Goes no further than to parse."""

    def parse_arguments(self, parser: Any, args: Any) -> None:
        super().parse_arguments(parser, args)
        raise _Parsed(parser, self.config)
