"""All records of a folder of runs."""

import json
import sys
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning_app.mistakes import mistake
from lightning_app.record import Record
from lightning_app.run import FAILED, RESULT

_ORDER = ("name", "data", "backbone", "n_train", "seed", "run_id")
_READERS = 16  # on a network's file system every look at a file is a wait


def read_records(runs: Path, names: Collection[str] = ()) -> list[Record]:
    """Every record below a folder of runs.

    A cell of a grid that was given up counts as well, by its ``failed.json``: results are not missing at random. What
    cannot be read is named on stderr and left out.

    Args:
        runs: Folder of all records: ``<name>/<run_id>/result.json``.
        names: Experiments to read; all of them by default.

    Returns:
        The records, as ``in_order`` puts them. The folder says which name a record has, so that a copy of an experiment
        under another name is another experiment.

    Raises:
        InputError: No such folder, no such experiment, or no record.
    """
    try:
        experiments = {folder.name: folder for folder in _folders(runs)}
        for name in names:
            if name not in experiments:
                raise mistake(f"there is no experiment {name!r} in {runs}: choose from {', '.join(experiments)}")
        folders = [folder for name in names or experiments for folder in _folders(experiments[name])]
    except FileNotFoundError as error:
        raise mistake(f"there is no folder {error.filename}: give that of all records, or of one experiment") from error
    except OSError as error:
        raise mistake(f"cannot read {error.filename}: {error.strerror}") from error
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(_read, folders))
    for complaint in found:
        if isinstance(complaint, str):
            print(complaint, file=sys.stderr)
    records = [record for record in found if isinstance(record, dict)]
    if not records:
        where = " and ".join(f"{runs}/{name}/*/{RESULT}" for name in names or ["*"])
        raise mistake(f"there are no records: looked for {where}; `lightning fit` leaves them")
    return in_order(records)


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records in order of name, data set, backbone, n_train, seed and run id; numbers before words before nothing."""
    return sorted(records, key=lambda record: [_sortable(record.get(name)) for name in _ORDER])


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read(folder: Path) -> Record | str | None:
    """The record of a run, or why what is there is none; None where nothing is there yet."""
    for file in (folder / RESULT, folder / FAILED):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"left out {file}: {error.strerror}"
        except ValueError:
            return f"left out {file}: it is damaged"
        if not isinstance(content, dict) or "run_id" not in content:
            return f"left out {file}: it is no record"
        return content | {"name": folder.parent.name}
    return None


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return 0, value
    return (2, "") if value is None else (1, str(value))
