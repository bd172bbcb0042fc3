"""The exclusive right to work on a run, among processes of machines that share a file system.

A folder holds files ``<key>.<generation>``. An odd generation belongs to the process that created it; an even one says
that the right was given back. Who finds the highest generation g to be even creates g + 1; who finds its owner gone
creates g + 2; and whoever has created an odd one has the right, since only one can (``O_EXCL``). It is given back by
creating g + 1 or, by the owner of generation 1, by removing that file. Nothing else is ever removed.

There are never two holders. The first file above g is g + 1, created by its owner as it leaves, or g + 2, created by
one who found the owner gone: while the owner of g is at work, nothing above g can come to be. Nor can anything below,
where every odd generation exists. And with generation 1 everything is removed, as nobody can have meant to create more
than 1. A listing that is out of date, or was made while files came and went, does no harm: what it makes somebody want
to create exists. Two must not be able to create one file, that is all: so it is on local file systems and on NFS, also
where their locks are not to be trusted.

Whether an owner is gone is known at once on its own machine, by its process number and when it was started. Of another
machine it is known that its beat stood still for a minute by one's own clock; clocks are not compared. An owner that
was only suspended for so long has lost the right, and notices at its next beat.
"""

import errno
import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEAT = 5.0  # seconds from one sign of life to the next
STALE = 60.0  # seconds without one after which an owner on another machine counts as gone
_UNREADABLE = -1  # in place of a beat
_NAME = re.compile(r"(.+)\.([1-9][0-9]*)")


@dataclass(frozen=True)
class Holder:
    """Who holds the right to work on a run.

    Attributes:
        host: Name of the machine; empty where the file says nothing (yet).
        pid: Number of the process; 0 where the file says nothing.
        since: When it began, in UTC, for people: "2026-01-31 12:00".
        beat: Changes as long as it is alive.
        progress: How far it says it is: epoch, epochs, batches.
        dead: It ran on this machine and is gone. False where that cannot be known.
        alive: It runs on this machine. False where that cannot be known.
        generation: Tells it from earlier and later holders.
    """

    host: str
    pid: int
    since: str
    beat: int
    progress: Mapping[str, int]
    dead: bool
    alive: bool = False
    generation: int = 1


class Busy(Exception):  # noqa: N818  # nothing is wrong: somebody else is at it
    """Another process holds the right.

    Attributes:
        holder: Which.
    """

    def __init__(self, key: str, holder: Holder) -> None:
        super().__init__(key, holder)
        self.holder = holder

    def __str__(self) -> str:
        who = self.holder
        return (
            f"run {self.args[0]} is being worked on by process {who.pid} on {who.host} since {who.since} UTC: "
            "wait for it, or end that process and start again"
        )


class Watch:
    """Tells by its own clock whose beat stands still.

    It is to be asked at least every ``STALE / 2`` seconds: after a longer gap it begins anew, because a file system
    that did not answer for a while kept the holder from beating as well.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[int, int], float, float]] = {}

    def is_stale(self, key: str, holder: Holder) -> bool:
        """Whether a holder is gone, as far as is known.

        Args:
            key: What it holds.
            holder: As read just now.
        """
        now, beat = time.monotonic(), (holder.generation, holder.beat)
        last, since, looked = self._seen.get(key, (None, now, now))
        if beat != last or now - looked > STALE / 2:
            since = now
        self._seen[key] = beat, since, now
        return holder.dead or (not holder.alive and now - since >= STALE)


class Lease:
    """The right to work on a run, held until it is given back or this process ends. Made by `acquire`.

    A process forked from the holder does not hold it.

    Attributes:
        lost: Another machine took this process for dead and has taken over: write nothing more.
    """

    def __init__(self, folder: Path, key: str, generation: int, on_loss: Callable[[], None] | None) -> None:
        self.lost = False
        self._folder = folder
        self._key = key
        self._generation = generation
        self._on_loss = on_loss
        self._pid = os.getpid()
        self._who: dict[str, Any] = {
            **_machine(),
            "pid": self._pid,
            "start": _start(self._pid),
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        }
        self._beat = 0
        self._progress: dict[str, int] = {}
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lease", daemon=True)

    @classmethod
    def acquire(cls, folder: Path, key: str, on_loss: Callable[[], None] | None = None) -> "Lease":
        """Get the right to work on a run: at once, or after a minute where a process of another machine left it.

        Args:
            folder: Where the leases of an experiment are; made where it is missing.
            key: The run.
            on_loss: Called once, by another thread, when the right is lost.

        Raises:
            Busy: Another process has it, and is alive.
            OSError: The folder cannot be written.
        """
        watch, first, pause = Watch(), None, 0.01
        while True:
            highest = max(_generations(folder).get(key, [0]))
            wanted = highest + 1 if highest % 2 == 0 else None
            found = None if wanted else _read(folder, key, highest)
            if found is not None:
                beat = (found.generation, found.beat)
                first = first or beat
                if watch.is_stale(key, found) and _read(folder, key, highest) == found:
                    wanted = highest + 2
                elif found.alive or (found.beat != _UNREADABLE and beat != first):
                    raise Busy(key, found)
            if wanted:
                lease = cls(folder, key, wanted, on_loss)
                if lease._create():
                    if highest % 2:  # its owner may be alive after all: it finds its file empty
                        with suppress(OSError):
                            os.truncate(_file(folder, key, highest), 0)
                    return lease
            time.sleep(pause)
            pause = min(2 * pause, BEAT / 10)

    def _create(self) -> bool:
        """Create the file; whether it was this process that did."""
        os.makedirs(self._folder, exist_ok=True)
        try:
            descriptor = os.open(self._file(0), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except (FileExistsError, FileNotFoundError):  # another was faster, or has just removed the folder
            return False
        try:
            try:
                os.write(descriptor, self._line())
            finally:
                os.close(descriptor)  # some file systems say only now that the disk is full
        except BaseException:
            with suppress(OSError):
                self._give_back()
            raise
        if not self.check():  # this took so long that another found the file empty for a minute
            return False
        self._thread.start()
        return True

    def say(self, **progress: int) -> None:
        """Tell how far the run is: epoch, epochs, batches. It is written with the next beat."""
        self._progress = progress

    def check(self) -> bool:
        """Look whether the right is still held, as before something is written that only the holder may write."""
        try:
            descriptor = os.open(self._file(0), os.O_RDONLY)  # to look it up is not enough: NFS has a memory
            try:
                emptied = os.fstat(descriptor).st_size == 0
            finally:
                os.close(descriptor)
            self.lost = self.lost or emptied or os.path.exists(self._file(2))
        except FileNotFoundError:
            self.lost = True
        except OSError:
            pass  # nothing is known as long as the file system does not answer
        return not self.lost

    def release(self) -> None:
        """Give the right back. What was not given back is found to be free once this process has ended."""
        if os.getpid() != self._pid or self._released.is_set():
            return
        self._released.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self.check():
            with suppress(OSError):
                self._give_back()

    def _give_back(self) -> None:
        if self._generation == 1 and not os.path.exists(self._file(2)):
            os.unlink(self._file(0))
        else:
            os.close(os.open(self._file(1), os.O_CREAT | os.O_WRONLY, 0o666))

    def _live(self) -> None:
        """Show signs of life; the thread's whole work."""
        while not self._released.wait(BEAT):
            if not self.check():
                if self._on_loss is not None:
                    self._on_loss()
                return
            self._beat += 1
            with suppress(OSError):  # a full disk does not end the run
                self._write()

    def _write(self) -> None:
        """Renew the file in place, if it still is there."""
        descriptor = os.open(self._file(0), os.O_WRONLY)
        try:
            os.write(descriptor, self._line())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _file(self, later: int) -> Path:
        """The file of the own generation, or of one so much later."""
        return _file(self._folder, self._key, self._generation + later)

    def _line(self) -> bytes:
        """The file's first line; what lies behind it, of a longer one before, does not count."""
        return json.dumps(self._who | {"beat": self._beat, "progress": self._progress}).encode() + b"\n"


def holder(folder: Path, key: str) -> Holder | None:
    """Who holds the right to work on a run; None where nobody does."""
    highest = max(_generations(folder).get(key, [0]))
    return _read(folder, key, highest) if highest % 2 else None


def holders(folder: Path) -> dict[str, Holder]:
    """Who holds what in a folder."""
    highest = {key: max(generations) for key, generations in _generations(folder).items()}
    found = {key: _read(folder, key, generation) for key, generation in highest.items() if generation % 2}
    return {key: holder for key, holder in found.items() if holder is not None}


def _file(folder: Path, key: str, generation: int) -> Path:
    return folder / f"{key}.{generation}"


def _generations(folder: Path) -> dict[str, list[int]]:
    """The generations that there are of every key."""
    found: dict[str, list[int]] = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if match := _NAME.fullmatch(name):
                found.setdefault(match[1], []).append(int(match[2]))
    return found


def _read(folder: Path, key: str, generation: int) -> Holder | None:
    """What the owner of a generation says of itself; None where the file is gone."""
    try:
        text = _file(folder, key, generation).read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise
    try:
        said: dict[str, Any] = json.loads(text.partition(b"\n")[0])
        alive = _is_alive(said)
        return Holder(
            host=str(said["host"]),
            pid=int(said["pid"]),
            since=str(said["since"]),
            beat=int(said["beat"]),
            progress=dict(said["progress"]),
            dead=alive is False,
            alive=alive is True,
            generation=generation,
        )
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError):  # cut short, or not yet written
        return Holder("", 0, "", _UNREADABLE, {}, dead=False, generation=generation)


def _machine() -> dict[str, str]:
    """What machine this is: within it process numbers mean the same."""
    host = platform.node()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"host": host, "machine": f"{boot} {os.readlink('/proc/self/ns/pid')}"}
    except OSError:  # not Linux
        return {"host": host, "machine": f"{uuid.getnode():x}"}


def _is_alive(said: Mapping[str, Any]) -> bool | None:
    """Whether a process lives, by what it said of itself; None where that cannot be known."""
    if any(said[key] != value for key, value in _machine().items()):
        return None
    try:
        os.kill(said["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, but it is there
    start = _start(said["pid"])
    return None if start is None else start == said["start"]


def _start(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; None where the system does not tell."""
    try:
        # The name of the program, in brackets, may hold anything.
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode()
    except OSError:
        return None
    state, *fields = stat.split()
    return "ended" if state in "ZX" else fields[18]
