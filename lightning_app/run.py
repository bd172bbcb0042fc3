"""A run's identity and its folder."""

import copy
import hashlib
import json
import os
import platform
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_app.code_version import code_version

if TYPE_CHECKING:
    from metrics import InputError

Config = dict[str, Any]

CONFIG = "config.yaml"
METRICS = "metrics.csv"
RESULT = "result.json"
FAILED = "failed.json"
STARTS = "starts.jsonl"
LAST = "last.ckpt"

_PARTIAL = re.compile(rf"\.(?!{re.escape(FAILED)}).+\.[0-9a-f]{{32}}\.partial")

_NOT_IDENTITY = (
    # where things are kept, and how they are shown: no number depends on them
    "config",
    "grids",
    "name",
    "runs",
    "rerun",
    "verbose",
    "data.init_args.memory_limit",
    "trainer.default_root_dir",
    "trainer.enable_checkpointing",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.profiler",
)


@dataclass(frozen=True)
class Run:
    """One training (or evaluation) and where its record is kept.

    Attributes:
        name: The experiment that it belongs to.
        run_id: Twelve hex digits: a stable hash of what defines the run.
        folder: ``<runs>/<name>/<run_id>``.
        config: The resolved configuration, runnable again.
    """

    name: str
    run_id: str
    folder: Path
    config: Config

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint, written after every epoch."""
        return self.folder / "checkpoints" / LAST

    @property
    def leases(self) -> Path:
        """Where the processes that work on runs of this experiment say so."""
        return self.folder.parent / ".leases"

    @property
    def result(self) -> Path:
        """The final record; there exactly when the run has finished."""
        return self.folder / RESULT

    def create_folder(self) -> None:
        """Make the folder and write the configuration into it.

        Raises:
            InputError: The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / CONFIG, yaml.safe_dump(self.config, sort_keys=False))
        except OSError as error:
            raise self.unwritable(error) from error

    def note_start(self) -> None:
        """Write down that a process begins, or goes on, with the run, and by which code."""
        start = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "host": platform.node(), "code": code_version()}
        with (self.folder / STARTS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(start) + "\n")

    def starts(self) -> list[dict[str, str]]:
        """Every start of the run so far; one that was cut short while it was written is left out."""
        found = []
        for line in (self.folder / STARTS).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                found.append({name: str(json.loads(line)[name]) for name in ("at", "host", "code")})
        return found

    def unwritable(self, error: OSError) -> "InputError":
        """What to say when the folder cannot be written."""
        from metrics import InputError  # with it comes torch, which looking at runs does without

        return InputError(
            f"cannot write to the runs folder {self.folder}: {error.strerror}; choose another with --runs"
        )


def make_run(runs: str, name: str, command: str, config: Config) -> Run:
    """Identify a run.

    Args:
        runs: Folder of all records.
        name: Name of the experiment.
        command: fit, validate, test or predict: each has a record of its own.
        config: The resolved configuration.

    Raises:
        InputError: A name that is no plain folder name.

    Example:
        >>> a, b = (make_run("runs", "demo", "fit", {"model": {"backbone": x}}) for x in ("vgg13", "vgg16"))
        >>> a.run_id == b.run_id, str(a.folder).startswith("runs/demo/")
        (False, True)
    """
    from metrics import InputError

    if not name or name.startswith(".") or Path(name).name != name:
        raise InputError(f"name={name!r} is no plain folder name: choose letters, digits, - and _")
    run_id = identity(command, config)
    return Run(name, run_id, Path(runs) / name / run_id, config)


def identity(command: str, config: Config) -> str:
    """Twelve hex digits that differ when anything differs that a number depends on."""
    defining = copy.deepcopy(config)
    for key in _NOT_IDENTITY:
        *parents, last = key.split(".")
        place: Any = defining
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    for callback in as_list((defining.get("trainer") or {}).get("callbacks")):
        (callback.get("init_args") or {}).pop("cache_dir", None)
    text = json.dumps([command, defining], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_list(value: Any) -> list[Any]:
    """None, one or several, as a list.

    Example:
        >>> as_list(None), as_list(1), as_list([1, 2])
        ([], [1], [1, 2])
    """
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def write_text(file: Path, text: str) -> None:
    """Write a file so that it is seen whole or not at all, also after a crash."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is seen whole or not at all, also after a crash."""
    beside = file.with_name(f".{file.name}.{uuid.uuid4().hex}.partial")
    try:
        with beside.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync(file.parent)


def remove_partial(folder: Path) -> None:
    """Remove what processes were writing under a folder when they were killed.

    The folder is to belong to this process alone. ``failed.json`` is left: a sweep writes it without that.
    """
    for file in folder.rglob(".*.partial"):
        if _PARTIAL.fullmatch(file.name):
            file.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """See to it that the disk has the folder's new entry; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
