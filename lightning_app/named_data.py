"""Data sets by name, as `lightning measure` takes them; importing this loads Lightning."""

import difflib
import importlib

from datamodules import TableDataModule
from lightning_app.parser import SuiteParser, own_classes
from metrics import InputError


def check_name(name: str) -> None:
    """Refuse a name that is none of a data set.

    Raises:
        InputError: With the nearest name that there is.
    """
    names = [known for known, kind in own_classes().items() if issubclass(kind, TableDataModule)]
    if name not in names and not _is_data_module(name):
        near = difflib.get_close_matches(name.rpartition(".")[2], names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give a path, or one of {', '.join(sorted(names))}"
        raise InputError(f"there is no file, folder or data set {name!r}: {hint}")


def make_data(name: str, options: list[str]) -> TableDataModule:
    """A data module by its name or class path, with options like ``--data.n_train 100``.

    Raises:
        InputError: An option that it does not have, or what it refuses.
    """
    words = SuiteParser(prog="lightning measure")
    words.add_subclass_arguments(TableDataModule, "data", required=True)
    chosen = words.parse_args(["--data", name, *options])
    try:
        data: TableDataModule = words.instantiate_classes(chosen).data
    except ValueError as error:
        if isinstance(error.__cause__, InputError):  # the parser wraps what a class raises
            raise error.__cause__ from None
        raise
    return data


def _is_data_module(path: str) -> bool:
    """Whether a class path leads to a data module."""
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    except Exception as error:  # whatever the module does when it is imported
        raise InputError(f"the module {module!r} cannot be imported: {error}") from error
    return isinstance(found, type) and issubclass(found, TableDataModule)
