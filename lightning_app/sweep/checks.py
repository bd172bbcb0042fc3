"""Whether every cell of a grid can run: found out before the first one starts, and without reading a pixel."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback

from callbacks import Probe
from callbacks.probe import Prospect, check_names
from datamodules import ImageTable, TableDataModule
from datamodules.tables import exists
from lightning_app.cli import mistakes_in_one_line
from lightning_app.parser import SuiteParser
from lightning_app.run import as_list
from lightning_app.sweep.cells import Cell, Problem
from metrics import InputError, Progress
from models import ImageClassifier, default_batch_size

_MAX_MESSAGE = 400
_DECIDE = ("setup", "train_set", "val_set", "test_set", "reference_set", "num_classes", "input_shape")
"""What a data module of somebody's own may replace, so that the plan says nothing of it."""

T = TypeVar("T")
Section = Mapping[str, Any]


def check_cells(cells: Sequence[Cell], progress: Progress | None = None) -> list[Problem]:
    """Find out what keeps cells from running; nothing is written, downloaded or trained.

    What only a table decides is left out where that table is still to be made (:func:`missing_tables`); then
    :func:`make_tables` finds it.

    Args:
        cells: The cells.
        progress: Told after every cell.

    Returns:
        Every problem with the cells that have it, in the order of the cells; empty where all can run.
    """
    checker = _Checker()
    order = sorted(range(len(cells)), key=lambda i: checker.folder(cells[i]))  # one table at a time is held open
    found: dict[int, list[str]] = {}
    for done, i in enumerate(order, start=1):
        found[i] = list(checker.mistakes(cells[i]))
        if progress is not None:
            progress(done, len(cells))
    titles: dict[str, list[str]] = {}
    for i, cell in enumerate(cells):
        for message in found[i]:
            titles.setdefault(message, []).append(cell.title)
    return [Problem(message, tuple(concerned)) for message, concerned in titles.items()]


def missing_tables(cells: Sequence[Cell]) -> list[Path]:
    """Folders of the tables that are missing and will be made, or downloaded, when the sweep starts."""
    checker = _Checker()
    found: dict[Path, None] = {}
    for cell in cells:
        with suppress(InputError), _in_one_line(cell.title):  # this is a problem, and check_cells names it
            data = checker.data(cell)
            if not checker.has_table(data):
                found[data.table_folder] = None
    return list(found)


def make_tables(cells: Sequence[Cell], progress: Progress | None = None) -> list[Problem]:
    """Make every table that is missing, once, before many processes come for it; then check the cells that had to wait.

    Args:
        cells: The cells, without problems so far.
        progress: Told after every table.

    Returns:
        Tables that could not be made, and what is wrong with cells whose tables were.
    """
    checker = _Checker()
    users: dict[tuple[type, Path], list[Cell]] = {}
    for cell in cells:
        data = checker.data(cell)
        users.setdefault((type(data), data.table_folder), []).append(cell)
    problems = []
    waited: list[Cell] = []
    for done, own in enumerate(users.values(), start=1):
        data = checker.data(own[0])
        missing = not exists(data.table_folder)
        try:
            with _in_one_line(str(data.name)):
                data.prepare_data()  # where the table is there, it may still not be that of the raw files
        except InputError as mistake:
            problems.append(Problem(str(mistake), tuple(cell.title for cell in own)))
        else:
            waited += own if missing else []
        if progress is not None:
            progress(done, len(users))
    return problems + check_cells(waited)


@dataclass(frozen=True)
class _Outlook:
    """What a data set will hand out; as a rule, and without counts, where only its table or its own code knows."""

    input_shape: tuple[int, int, int] = (3, 224, 224)
    num_classes: int = 2
    counts: Mapping[str, int] | None = None


class _Checker:
    """Looks at cells, and once only at what they have in common."""

    def __init__(self) -> None:
        self._parsers = {part: SuiteParser() for part in ("data", "model", "callback")}
        self._parsers["data"].add_subclass_arguments(TableDataModule, "data")
        self._parsers["model"].add_class_arguments(ImageClassifier, "model")
        self._parsers["callback"].add_argument("--callback", type=Callback)
        self._known: dict[str, Any] = {}
        self._table: ImageTable | None = None

    def data(self, cell: Cell) -> TableDataModule:
        """The data module of a cell.

        Raises:
            InputError: One of its options is wrong.
        """
        section = cell.config["data"]
        options = section["init_args"]
        if options.get("batch_size") == default_batch_size(cell.config["model"]["backbone"]):
            # Filled in for the network: but for that, cells with different ones have the same data.
            section = section | {"init_args": options | {"batch_size": None}}
        data: TableDataModule = self._once(["data", section], _name(section), partial(self._made, "data", section))
        return data

    def folder(self, cell: Cell) -> str:
        """Where its table is, or is to be."""
        try:
            return str(self.data(cell).table_folder)
        except InputError:
            return ""

    def has_table(self, data: TableDataModule) -> bool:
        """Whether the table is there.

        Raises:
            InputError: It is not, and cannot be made.
        """
        if _replaces(data, "prepare_data", but_not="has_table"):
            return exists(data.table_folder)  # it may make its table in a way of its own
        return data.has_table()

    def mistakes(self, cell: Cell) -> Iterator[str]:
        """Everything that is wrong with a cell."""
        outlook, network = _Outlook(), None
        try:
            data = self.data(cell)
            outlook = self._once(["outlook", id(data)], str(data.name), partial(self._outlook, data))
        except InputError as mistake:
            yield str(mistake)
        model = cell.config["model"] | {"num_classes": outlook.num_classes, "input_shape": list(outlook.input_shape)}
        try:
            network = self._once(["model", model], "model", partial(self._network, model))
        except InputError as mistake:
            yield str(mistake)
        probes = []
        for entry in as_list(cell.config["trainer"]["callbacks"]):
            try:
                probe = self._once(["callback", entry], _name(entry), partial(self._made, "callback", entry))
                probes.append(probe)
                if isinstance(probe, Probe) and network is not None and outlook.counts is not None:
                    prospect = _prospect(network, outlook.counts)
                    self._once(["check", entry, model, outlook.counts], _name(entry), partial(probe.check, prospect))
            except InputError as mistake:
                yield str(mistake)
        try:
            check_names(probes)
        except InputError as mistake:
            yield str(mistake)

    def _outlook(self, data: TableDataModule) -> _Outlook:
        there = self.has_table(data)
        if any(_replaces(data, name, but_not="plan") for name in _DECIDE):
            return _Outlook()
        if not there:
            channels = _Outlook.input_shape[0] if data.channels == "keep" else data.channels
            return _Outlook((channels, data.image_size, data.image_size))
        if self._table is None or self._table.folder != data.table_folder:
            self._table = ImageTable.open(data.table_folder)
        plan = data.plan(self._table)
        return _Outlook(plan.input_shape, plan.num_classes, {part: len(rows) for part, rows in plan.rows.items()})

    def _network(self, section: Section) -> ImageClassifier:
        """The network, without memory for its weights."""
        with torch.device("meta"):
            model: ImageClassifier = self._made("model", section)
        try:
            model.configure_optimizers()
        except ValueError as error:
            raise InputError(f"model.optimizer or model.lr_scheduler: {error}") from error
        except Exception:
            return model  # it may need weights, or a device that is not here
        return model

    def _made(self, part: str, section: Section) -> Any:
        """What a section of a configuration describes."""
        parser = self._parsers[part]
        return parser.instantiate_classes(parser.parse_object({part: section}))[part]

    def _once(self, key: list[Any], name: str, make: Callable[[], T]) -> T:
        """What is made, or why it cannot be: the first answer holds for every later question with the same key."""
        text = json.dumps(key, sort_keys=True, default=str)
        if text not in self._known:
            try:
                with _in_one_line(name):
                    self._known[text] = make()
            except InputError as mistake:
                self._known[text] = mistake
        found: T | InputError = self._known[text]
        if isinstance(found, InputError):
            raise InputError(str(found))
        return found


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Makes whatever a class of somebody's own raises a mistake of the user.

    Raises:
        InputError: The mistake.
    """
    try:
        with mistakes_in_one_line():
            yield
    except InputError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the parser wraps it
            cause = cause.__cause__
        raise InputError(" ".join(f"{name}: {type(cause).__name__}: {cause}".split())[:_MAX_MESSAGE]) from error


def _replaces(data: TableDataModule, name: str, *, but_not: str) -> bool:
    """Whether a class has its own version of one thing, of which the inherited version of another knows nothing."""
    kinds = type(data).__mro__
    return _place(kinds, name) < _place(kinds, but_not)


def _place(kinds: Sequence[type], name: str) -> int:
    return next(i for i, kind in enumerate(kinds) if name in vars(kind))


def _prospect(network: ImageClassifier, counts: Mapping[str, int]) -> Prospect:
    n_train, n_val, n_test, n_reference = (counts[part] for part in ("train", "val", "test", "reference"))
    return Prospect(network, n_train, n_val or n_test, n_test, n_reference)


def _name(section: Section) -> str:
    return str(section["class_path"])
