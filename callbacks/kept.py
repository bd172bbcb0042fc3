"""Measured values that are kept on disk: measured by one process, whoever asks for them and when."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from metrics import InputError, map_shared, n_processes

_PATIENCE = 300.0  # seconds; the other processes of a distributed run, which wait meanwhile, give up after ten minutes
_PAUSE = 0.1

Values = dict[str, float]


def measured_once(file: Path, measure: Callable[[], Values]) -> Values:
    """Read values, or measure and keep them.

    Where several processes come for the same values, the first measures and the others wait for it; where it ends
    without a result, the next one measures. On a file system without locks, all measure: time is lost, nothing else.

    A collective: in a distributed run every process must call it; they measure together, or none does.

    Args:
        file: Where the values are kept.
        measure: Works them out.

    Raises:
        InputError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     [measured_once(Path(place) / "d.json", lambda: {"d": value}) for value in (2.5, 7.0)]
        [{'d': 2.5}, {'d': 2.5}]
    """
    known = _known(file)
    if known is None:
        with _Turn(file) as turn:
            _on_first(turn.take)
            known = _known(file)
            if known is None:
                values = known = measure()
                _on_first(lambda: turn.keep(values))
    return known


class _Turn:
    """The right to measure. Its lock is the very file that will hold the values, under another name.

    So the lock is gone as soon as the values are there, and a process that is killed leaves nothing but what the next
    one takes up.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._beside = file.with_name(f".{file.name}")
        self._lock: TextIO | None = None

    def __enter__(self) -> "_Turn":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            with suppress(OSError):
                if _is_at(self._lock, self._beside):  # nothing was kept
                    self._beside.unlink()
            with suppress(OSError):  # what a full disk did not take
                self._lock.close()

    def take(self) -> None:
        """Wait until it is this process's turn, or the values are there, or patience ends."""
        deadline = time.monotonic() + _PATIENCE
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            while _read(self._file) is None and time.monotonic() < deadline:
                lock = self._beside.open("a", encoding="utf-8")
                if _locked(lock) and _is_at(lock, self._beside):
                    self._lock = lock
                    return
                lock.close()
                time.sleep(_PAUSE)
        except OSError as error:
            raise self._refusal(error) from error

    def keep(self, values: Values) -> None:
        """Put the values in their place, whole."""
        if self._lock is None:
            return
        try:
            self._lock.truncate(0)
            self._lock.write(json.dumps(values))
            self._lock.flush()
            with suppress(FileNotFoundError):  # without locks, another may have been faster
                os.replace(self._beside, self._file)
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> InputError:
        return InputError(f"cannot keep measured values in {self._file.parent}: {error.strerror}")


def _known(file: Path) -> Values | None:
    """What any process of a distributed run can read; the same on all of them."""
    found = map_shared(lambda _: _read(file), range(n_processes()))
    return next((values for values in found if values is not None), None)


def _on_first(do: Callable[[], None]) -> None:
    """Has the first process do something; what it raises, all raise."""
    map_shared(lambda rank: do() if rank == 0 else None, range(n_processes()))


def _read(file: Path) -> Values | None:
    """What is kept in a file; None where there is none, or something else, so that it is measured anew."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(values, dict) and values and all(isinstance(value, float) for value in values.values())
    return values if whole else None


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _is_at(lock: TextIO, path: Path) -> bool:
    """Whether a file is still the one that others find."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
