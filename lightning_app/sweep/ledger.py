"""What has become of every cell of a grid, as its run folder tells."""

import errno
import json
import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lightning_app.lease import Holder, Watch, holders
from lightning_app.mistakes import mistake
from lightning_app.run import FAILED, Run, write_text
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.outcome import Outcome

State = Literal["done", "running", "interrupted", "failed", "missing"]

LOG = "log.txt"

_READERS = 16  # on a network's file system every look at a file is a wait


@dataclass(frozen=True)
class Entry:
    """What has become of a cell.

    Attributes:
        state: done (its record is there) · running (somebody works on it, as far as is known) · failed (given up) ·
            interrupted (there is a checkpoint to go on from) · missing (there is not).
        record: The final record of one that is done.
        failure: What was written down when it was given up; only of one that has failed.
        holder: Who works on it; only of one that is running.
    """

    state: State
    record: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    holder: Holder | None = None


class Ledger:
    """Looks at the run folders of cells, again and again; a record that has not changed is read once.

    Whether a process of another machine still works on a cell shows over time: where it has been silent for a minute,
    the cell no longer counts as running.

    Args:
        cells: The cells, whose run folders need not exist.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._runs = [cell.run for cell in cells]
        self._leases = Watch()
        self._read: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def look(self) -> dict[str, Entry]:
        """What has become of each cell, by run id.

        Raises:
            InputError: A record, or the folder of leases, that cannot be read.
        """
        # Leases first: one that ends meanwhile has left its record by the time that is looked for.
        held: dict[str, Holder] = {}
        for folder in {run.leases for run in self._runs}:
            try:
                found = holders(folder)
            except OSError as error:
                raise mistake(f"cannot read {folder}: {error.strerror}") from error
            held |= {key: it for key, it in found.items() if not self._leases.is_stale(key, it)}
        with ThreadPoolExecutor(_READERS) as readers:
            entries = readers.map(lambda run: self._entry(run, held.get(run.run_id)), self._runs)
            return {run.run_id: entry for run, entry in zip(self._runs, entries, strict=True)}

    def _entry(self, run: Run, holder: Holder | None) -> Entry:
        record = self._content(run.result)
        if record is not None:
            return Entry("done", record=record)
        if holder is not None:
            return Entry("running", holder=holder)
        failure = self._content(run.folder / FAILED)
        if failure is not None:
            return Entry("failed", failure=failure)
        return Entry("interrupted" if run.checkpoint.exists() else "missing")

    def _content(self, file: Path) -> dict[str, Any] | None:
        """What a file says, read anew only where it was replaced; None where there is none."""
        try:
            stat = file.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            known = self._read.get(file)
            if known is None or known[0] != stamp:
                known = self._read[file] = (stamp, _checked(json.loads(file.read_text(encoding="utf-8"))))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ESTALE:  # on NFS: gone since it was opened
                return None
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise mistake(f"cannot read {file}: {why}; delete it, and the run is made again") from error
        return known[1]


def _checked(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and content:
        return content
    raise ValueError(content)


def write_failure(cell: Cell, outcome: Outcome, attempts: int) -> None:
    """Write down, in one piece, that a cell has been given up.

    Args:
        cell: The cell.
        outcome: How its last attempt ended.
        attempts: How often it was tried.

    Raises:
        OSError: The run folder cannot be written.
    """
    failure = {
        "run_id": cell.run.run_id,
        "name": cell.run.name,
        "status": "failed",
        "kind": outcome.kind,
        "message": outcome.message,
        "attempts": attempts,
        "log": LOG,
        "host": platform.node(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **_identity(cell.config),
    }
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    write_text(cell.run.folder / FAILED, json.dumps(failure, indent=1) + "\n")


def clear_failure(run: Run) -> None:
    """Forget that a run has failed: it is tried again."""
    (run.folder / FAILED).unlink(missing_ok=True)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What tables list a run under, named as in records."""
    data = config["data"]
    kind = data["class_path"].rpartition(".")[2]
    options = data["init_args"]
    return {
        "backbone": config["model"]["backbone"],
        "data": Path(options["table"]).name if kind == "TableDataModule" and options["table"] else kind,
        "labelling": options.get("labelling"),
        "classes": options.get("classes"),
        "pair": options.get("pair"),
        "n_train": options["n_train"],
        "seed": config["seed_everything"],
    }
