"""The right to work on a run: who gets it, when it is taken over, and how its loss is noticed."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_app import lease as module
from lightning_app.lease import Busy, Holder, Lease, Watch, holder, holders

LEASES = Path("leases")
PATIENCE = 60  # seconds that a test waits for another thread or process; it never takes as long


class Clock:
    """Stands in for the time: whoever sleeps, moves it; and something happens meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody waits."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hearts beat fast."""
    monkeypatch.setattr(module, "BEAT", 0.01)


@pytest.fixture
def lease() -> Iterator[Lease]:
    """The right to work on the run "a"."""
    lease = Lease.acquire(LEASES, "a")
    yield lease
    lease.release()


def names() -> list[str]:
    return sorted(os.listdir(LEASES))


def foreign(beat: int, generation: int = 1, **said: Any) -> None:
    """Writes the lease of a process of another machine."""
    who = {"host": "node7", "machine": "another", "pid": 4711, "start": "1", "since": "2026-01-31 12:00"}
    LEASES.mkdir(exist_ok=True)
    text = json.dumps(who | {"beat": beat, "progress": {}} | said)
    (LEASES / f"a.{generation}").write_text(f"{text}\nremains of a longer line")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_another_process(code: str) -> subprocess.Popen[str]:
    """Starts a process that has only the lease's module, and waits for the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"from lightning_app.lease import *\n{code}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_one_process_at_a_time(lease: Lease) -> None:
    with pytest.raises(Busy) as busy:
        Lease.acquire(LEASES, "a")
    assert busy.value.holder.pid == os.getpid()
    other = Lease.acquire(LEASES, "a.b")  # another key, though its files begin alike
    other.release()
    lease.release()
    successor = Lease.acquire(LEASES, "a")
    lease.release()  # once more, to no effect
    assert successor.check()
    successor.release()


def test_the_message_says_who_where_since_when_and_what_to_do() -> None:
    busy = Busy("0123456789ab", Holder("node7", 4711, "2026-01-31 12:00", 3, {}, dead=False))
    assert str(busy) == (
        "run 0123456789ab is being worked on by process 4711 on node7 since 2026-01-31 12:00 UTC: "
        "wait for it, or end that process and start again"
    )
    again = pickle.loads(pickle.dumps(busy))
    assert (str(again), again.holder) == (str(busy), busy.holder)


def test_what_is_given_back_leaves_nothing_where_nothing_came_before(clock: Clock) -> None:
    Lease.acquire(LEASES, "a").release()
    assert names() == []
    foreign(1)
    lease = Lease.acquire(LEASES, "a")
    assert names() == ["a.1", "a.3"]
    lease.release()
    lease.release()
    assert names() == ["a.1", "a.3", "a.4"]
    assert holder(LEASES, "a") is None
    assert holders(LEASES) == {}
    lease = Lease.acquire(LEASES, "a")
    assert names() == ["a.1", "a.3", "a.4", "a.5"]
    lease.release()


def test_nobody_holds_anything_where_there_is_no_folder() -> None:
    assert holder(LEASES, "a") is None
    assert holders(LEASES) == {}


@pytest.mark.usefixtures("brisk")
def test_others_see_who_it_is_and_how_far(lease: Lease) -> None:
    lease.say(epoch=3, epochs=10, step=120)
    until(lambda: (found := holder(LEASES, "a")) and found.progress == {"epoch": 3, "epochs": 10, "step": 120})
    found = holder(LEASES, "a")
    assert found is not None
    assert found == holders(LEASES)["a"]
    assert (found.pid, found.alive, found.dead) == (os.getpid(), True, False)
    until(lambda: (now := holder(LEASES, "a")) and now.beat > found.beat)


def test_a_thousand_leases_cost_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        foreign(number)
        (LEASES / "a.1").rename(LEASES / f"run{number}.{1 + number % 2}")
    (LEASES / "a note.txt").touch()
    listings = iter([os.listdir])  # for one
    monkeypatch.setattr(os, "listdir", lambda path: next(listings)(path))
    found = holders(LEASES)
    assert {key: holder.beat for key, holder in found.items()} == {f"run{n}": n for n in range(0, 1000, 2)}


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_process_is_succeeded_at_once(reaped: bool) -> None:
    process = in_another_process(
        "lease = Lease.acquire(Path('leases'), 'a'); print('ready', flush=True); time.sleep(600)"
    )
    try:
        found = holder(LEASES, "a")
        assert found is not None
        assert (found.pid, found.alive) == (process.pid, True)
        process.send_signal(signal.SIGSTOP)  # suspended is not dead
        with pytest.raises(Busy):
            Lease.acquire(LEASES, "a")
        process.kill()
        if reaped:
            process.wait()
        until(lambda: (left := holder(LEASES, "a")) and left.dead)
        lease = Lease.acquire(LEASES, "a")
        assert names() == ["a.1", "a.3"]
        lease.release()
    finally:
        process.kill()
        process.communicate()


def test_another_process_with_the_number_of_a_dead_one_does_not_hold_its_lease(lease: Lease) -> None:
    said = json.loads((LEASES / "a.1").read_text())
    lease.release()
    (LEASES / "a.1").write_text(json.dumps(said | {"start": "17"}) + "\n")
    found = holder(LEASES, "a")
    assert found is not None
    assert found.dead
    Lease.acquire(LEASES, "a").release()


def test_a_process_that_cannot_be_looked_into_counts_by_its_beat(
    lease: Lease, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_start", lambda pid: None)  # another user's, where /proc hides those
    found = holder(LEASES, "a")
    assert found is not None
    assert (found.alive, found.dead) == (False, False)
    successor = Lease.acquire(LEASES, "a")
    assert clock.now >= module.STALE
    assert not lease.check()
    successor.release()


def test_a_living_process_of_another_machine_keeps_its_lease(clock: Clock) -> None:
    foreign(7)
    clock.meanwhile = lambda: foreign(7 + int(clock.now / module.BEAT))
    with pytest.raises(Busy, match="process 4711 on node7"):
        Lease.acquire(LEASES, "a")
    assert clock.now <= 2 * module.BEAT
    assert names() == ["a.1"]


def test_a_process_of_another_machine_that_shows_no_life_for_a_minute_is_succeeded(clock: Clock) -> None:
    foreign(7)
    lease = Lease.acquire(LEASES, "a")
    assert module.STALE <= clock.now <= module.STALE + module.BEAT
    assert names() == ["a.1", "a.3"]
    assert (LEASES / "a.1").stat().st_size == 0  # tells its owner, should it be alive
    lease.release()


@pytest.mark.parametrize("content", ["", "{", '{"host": "no', "[1]", "7", '{"pid": "x"}', "\0" * 40, "\xff"])
def test_what_cannot_be_read_is_succeeded_after_a_minute(content: str, clock: Clock) -> None:
    LEASES.mkdir()
    (LEASES / "a.1").write_bytes(content.encode("latin-1"))
    found = holder(LEASES, "a")
    assert found is not None
    assert (found.host, found.pid, found.alive, found.dead) == ("", 0, False, False)
    lease = Lease.acquire(LEASES, "a")
    assert module.STALE <= clock.now <= module.STALE + module.BEAT
    lease.release()


@pytest.mark.parametrize("beat", [0, 5])
def test_what_was_only_not_yet_written_is_somebody_s(beat: int, clock: Clock) -> None:
    LEASES.mkdir()
    (LEASES / "a.1").touch()
    clock.meanwhile = lambda: foreign(beat) if clock.now > 20 else None
    with pytest.raises(Busy, match="process 4711 on node7"):
        Lease.acquire(LEASES, "a")


def test_a_successor_is_named_once_it_has_said_who_it_is(clock: Clock) -> None:
    def meanwhile() -> None:
        if clock.now > 2:
            foreign(0, generation=3)
        elif clock.now > 1:
            (LEASES / "a.3").touch()

    foreign(7)
    clock.meanwhile = meanwhile
    with pytest.raises(Busy, match="process 4711 on node7") as busy:
        Lease.acquire(LEASES, "a")
    assert busy.value.holder.generation == 3


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("said", [{"pid": 2**70}, {"pid": None}, {"start": None}, {"progress": 3}])
def test_a_lease_of_this_machine_with_odd_content_is_succeeded(said: dict[str, Any], lease: Lease) -> None:
    content = json.loads((LEASES / "a.1").read_text())
    lease.release()
    (LEASES / "a.1").write_text(json.dumps(content | said))
    Lease.acquire(LEASES, "a").release()


def test_what_is_given_back_while_one_waits_is_free(clock: Clock) -> None:
    foreign(7)
    clock.meanwhile = (LEASES / "a.1").unlink
    lease = Lease.acquire(LEASES, "a")
    assert names() == ["a.1"]
    assert clock.now < 1
    lease.release()


class TestWatch:
    @staticmethod
    def of(beat: int, generation: int = 1, dead: bool = False, alive: bool = False) -> Holder:
        return Holder("node7", 1, "", beat, {}, dead, alive, generation)

    def asked(self, watch: Watch, clock: Clock, *beats: Holder) -> list[bool]:
        """What a watch says every twenty seconds."""
        answers = []
        for beat in beats:
            answers.append(watch.is_stale("a", beat))
            clock.now += 20
        return answers

    def test_a_beat_that_stands_still_for_a_minute_is_stale(self, clock: Clock) -> None:
        watch = Watch()
        assert self.asked(watch, clock, *[self.of(1)] * 4) == [False, False, False, True]
        assert not watch.is_stale("b", self.of(1))

    def test_any_life_begins_the_minute_anew(self, clock: Clock) -> None:
        one, two, other = self.of(1), self.of(2), self.of(2, generation=3)
        asked = self.asked(Watch(), clock, one, one, one, two, two, two, other, other, other, other)
        assert asked == [False] * 9 + [True]

    def test_while_nobody_looked_nobody_stood_still(self, clock: Clock) -> None:
        watch = Watch()
        assert self.asked(watch, clock, self.of(1)) == [False]
        clock.now += 1000  # the file system was away; the holder could not write either
        assert self.asked(watch, clock, *[self.of(1)] * 4) == [False, False, False, True]

    def test_what_is_known_for_sure_needs_no_minute(self, clock: Clock) -> None:
        assert self.asked(Watch(), clock, self.of(1, dead=True)) == [True]
        assert self.asked(Watch(), clock, *[self.of(1, alive=True)] * 5) == [False] * 5


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("how", ["succeeded", "emptied", "removed"])
def test_a_loss_is_noticed_and_told_once(how: str) -> None:
    told: list[str] = []
    lease = Lease.acquire(LEASES, "a", on_loss=lambda: told.append(threading.current_thread().name))
    assert lease.check()
    if how == "succeeded":
        foreign(0, generation=3)
    elif how == "emptied":  # as the successor does, whose own file NFS may not show yet
        os.truncate(LEASES / "a.1", 0)
    else:
        (LEASES / "a.1").unlink()
    before = names()
    until(lambda: told)
    assert lease.lost
    assert not lease.check()
    lease.release()
    assert told == ["lease"]
    assert names() == before


def test_a_suspended_process_notices_that_it_was_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    process = in_another_process(
        "from lightning_app import lease as module\n"
        "module.BEAT = 0.02\n"
        "module._machine = lambda: {'host': 'node7', 'machine': 'another'}\n"
        "lost = threading.Event()\n"
        "lease = Lease.acquire(Path('leases'), 'a', lost.set)\n"
        "print('ready', flush=True)\n"
        "lost.wait()\n"
        "lease.release()\n"
        "print(lease.lost, flush=True)\n"
    )
    try:
        monkeypatch.setattr(module, "BEAT", 0.02)
        with pytest.raises(Busy):
            Lease.acquire(LEASES, "a")
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(module, "STALE", 0.3)
        lease = Lease.acquire(LEASES, "a")
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=PATIENCE)[0] == "True\n"
        assert names() == ["a.1", "a.3"]
        assert lease.check()
        lease.release()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("brisk")
def test_a_full_disk_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def full(descriptor: int, content: bytes) -> int:
        refused.append(len(content))
        raise OSError(errno.ENOSPC, "No space left on device")

    lease = Lease.acquire(LEASES, "a")
    until(lambda: (found := holder(LEASES, "a")) and found.beat > 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        until(lambda: len(refused) > 3)
    found = holder(LEASES, "a")
    assert found is not None
    until(lambda: (now := holder(LEASES, "a")) and now.beat > found.beat)
    assert not lease.lost
    lease.release()


@pytest.mark.parametrize("call", ["open", "write", "listdir"])
def test_what_fails_in_the_folder_reaches_the_caller_and_leaves_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    LEASES.mkdir()

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left on device"):
            Lease.acquire(LEASES, "a")
    assert names() == []


def test_who_was_suspended_before_its_first_words_were_written_begins_anew(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    write = os.write

    def late(descriptor: int, content: bytes) -> int:
        clock.now += 2 * module.STALE
        foreign(0, generation=3)
        return write(descriptor, content)

    clock.meanwhile = lambda: foreign(int(clock.now), generation=3)
    monkeypatch.setattr(os, "write", late)
    with pytest.raises(Busy, match="process 4711 on node7"):
        Lease.acquire(LEASES, "a")


def test_who_was_succeeded_and_fails_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(descriptor: int, content: bytes) -> int:
        foreign(0, generation=3)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", late)
    with pytest.raises(OSError, match="Input/output error"):
        Lease.acquire(LEASES, "a")
    assert "a.1" in names()


def test_a_folder_that_another_has_just_removed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    makedirs = os.makedirs

    def make(folder: Path, exist_ok: bool) -> None:
        makedirs(folder, exist_ok=exist_ok)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(os, "makedirs", make)
    lease = Lease.acquire(LEASES, "a")
    assert made == [LEASES, LEASES]
    lease.release()


def test_a_file_in_the_place_of_the_folder_is_an_error() -> None:
    LEASES.touch()
    with pytest.raises(NotADirectoryError):
        Lease.acquire(LEASES, "a")


def test_a_forked_process_neither_beats_nor_gives_back() -> None:
    code = (
        "from lightning_app import lease as module\n"
        "module.BEAT = 0.01\n"
        "lease = Lease.acquire(Path('leases'), 'a')\n"
        "print('ready', flush=True)\n"
        "if os.fork() == 0:\n"
        "    lease.release()\n"
        "    print('still there', os.listdir('leases'), flush=True)\n"
        "    input()\n"
        "else:\n"
        "    input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", f"from lightning_app.lease import *\n{code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "still there ['a.1']\n"
        process.kill()  # the parent; the child lives on
        process.wait()
        first = holder(LEASES, "a")
        assert first is not None
        assert first.dead
        time.sleep(0.1)
        assert holder(LEASES, "a") == first
        Lease.acquire(LEASES, "a").release()
    finally:
        process.kill()
        process.stdin.close()  # the child reads the end and goes
        process.stdout.read()
        process.stdout.close()
        process.wait()


def test_no_other_part_of_the_suite_is_imported() -> None:
    code = "import sys, lightning_app.lease; print(sorted({'torch', 'numpy', 'yaml', 'metrics'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
