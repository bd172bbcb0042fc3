"""Values that are measured once, by whichever process comes first, killed ones and odd disks included."""

import errno
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from callbacks import kept
from callbacks.kept import measured_once
from metrics import InputError

FOLDER = Path("kept")
FILE = FOLDER / "d.json"
CALLS = Path("calls")
SHORT, ENDLESS = 0.3, 60.0

# Python warns that a fork may hang where there are threads; these processes touch nothing but files.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def _measure(seconds: float) -> Callable[[], dict[str, float]]:
    """A measurement that is counted, takes a while, and tells who made it."""

    def measure() -> dict[str, float]:
        with CALLS.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        return {"d": float(os.getpid())}

    return measure


def _calls() -> list[int]:
    return [int(line) for line in CALLS.read_text().splitlines()] if CALLS.exists() else []


def _report(seconds: float) -> None:
    values = measured_once(FILE, _measure(seconds))
    Path(f"{os.getpid()}.got").write_text(json.dumps(values))


def _started(seconds: float) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=_report, args=(seconds,), daemon=True)
    process.start()
    return process


def _results(processes: list[ForkProcess]) -> list[dict[str, float]]:
    for process in processes:
        process.join(ENDLESS)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return [json.loads(Path(f"{process.pid}.got").read_text()) for process in processes]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENDLESS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _left() -> list[str]:
    return sorted(file.name for file in FOLDER.iterdir())


def test_of_many_processes_at_once_one_measures_and_all_have_its_values() -> None:
    found = _results([_started(SHORT) for _ in range(8)])
    (who,) = _calls()
    assert found == [{"d": float(who)}] * 8
    assert measured_once(FILE, _measure(0)) == {"d": float(who)}
    assert _left() == [FILE.name]


def test_where_one_is_killed_another_measures() -> None:
    first = _started(ENDLESS)
    _until(lambda: len(_calls()) == 1)
    others = [_started(SHORT) for _ in range(4)]
    first.join(SHORT)
    assert _calls() == [first.pid]
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    found = _results(others)
    _, who = _calls()
    assert found == [{"d": float(who)}] * 4
    assert _left() == [FILE.name]


def test_a_measurement_that_fails_leaves_the_turn_to_others() -> None:
    def fail() -> dict[str, float]:
        raise InputError("too few images")

    for _ in range(2):
        with pytest.raises(InputError, match="too few images"):
            measured_once(FILE, fail)
        assert _left() == []
    assert measured_once(FILE, lambda: {"d": 2.0}) == {"d": 2.0}


def test_what_a_killed_writer_left_is_written_over() -> None:
    FOLDER.mkdir()
    (FOLDER / f".{FILE.name}").write_text('{"d": 3.14159, "d_std')
    assert measured_once(FILE, lambda: {"d": 2.0}) == {"d": 2.0}
    assert (json.loads(FILE.read_text()), _left()) == ({"d": 2.0}, [FILE.name])


def test_patience_with_a_process_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_PATIENCE", SHORT)
    FOLDER.mkdir()
    with (FOLDER / f".{FILE.name}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert measured_once(FILE, lambda: {"d": 2.0}) == {"d": 2.0}
        assert _left() == [f".{FILE.name}"]  # its own, and only it may remove it
    assert measured_once(FILE, lambda: {"d": 3.0}) == {"d": 3.0}
    assert _left() == [FILE.name]


def test_without_locks_both_measure_and_nothing_is_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)

    def measure() -> dict[str, float]:  # while another process comes and is faster
        assert measured_once(FILE, lambda: {"d": 2.0}) == {"d": 2.0}
        return {"d": 2.0}

    assert measured_once(FILE, measure) == {"d": 2.0}
    assert (json.loads(FILE.read_text()), _left()) == ({"d": 2.0}, [FILE.name])


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_measured() -> None:
    FOLDER.write_text("a file")
    with pytest.raises(InputError, match="cannot keep measured values in kept/deeper: Not a directory"):
        measured_once(FOLDER / "deeper" / FILE.name, _measure(0))
    with pytest.raises(InputError, match="cannot keep measured values in kept: File exists"):
        measured_once(FILE, _measure(0))
    assert _calls() == []


def test_a_full_disk_is_named_and_keeps_nothing() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(InputError, match="cannot keep measured values in kept: File too large"):
            measured_once(FILE, lambda: {"d": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _left() == []
