"""Never two holders of one right, in whatever order processes take their steps, and wherever they are killed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from lightning_app import lease as module
from lightning_app.lease import Busy, Holder, Lease

LEASES = Path("leases")
NO_PROGRESS: Any = ()  # can be hashed

Answers = tuple[Any, ...]


class Step(NamedTuple):
    """What a process does next: a look at, or a change of, one file."""

    what: str
    generation: int = 0


class Process:
    """Runs the real code as far as what the file system has answered so far takes it.

    It stands in for os and time, answers from the past, and stops the code at its first new question.
    """

    class Stop(BaseException):
        """As if the process had been killed before the next step."""

    def __init__(self, number: int, answers: Answers) -> None:
        self.number = number
        self.answers = answers
        self.asked = 0
        self.next: Step | None = None
        self.slept = 0
        self.path = SimpleNamespace(exists=lambda file: self.ask("exists", file))

    def ask(self, what: str, file: Path | None = None) -> Any:
        if self.next is None and self.asked < len(self.answers):
            answer = self.answers[self.asked]
            self.asked += 1
            if isinstance(answer, type):
                raise answer
            return answer
        # A second question comes from code that cleans up; a killed process does not.
        self.next = self.next or Step(what, int(file.suffix[1:]) if file else 0)
        raise self.Stop

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def listdir(self, folder: Path) -> list[str]:
        return [f"a.{generation}" for generation in self.ask("list")]

    def makedirs(self, folder: Path, exist_ok: bool) -> None:
        pass

    def open(self, file: Path, flags: int, mode: int = 0) -> Path:
        what = "look" if not flags & os.O_CREAT else "create" if flags & os.O_EXCL else "mark"
        self.size = self.ask(what, file)
        return file

    def fstat(self, file: Path) -> Any:
        return SimpleNamespace(st_size=self.size)

    def write(self, file: Path, content: bytes) -> None:
        self.ask("write", file)

    def close(self, file: Path) -> None:
        pass

    def truncate(self, file: Path, size: int) -> None:
        self.ask("empty", file)

    def unlink(self, file: Path) -> None:
        self.ask("remove", file)

    def getpid(self) -> int:
        return self.number

    def read(self, folder: Path, key: str, generation: int) -> Holder | None:
        holder: Holder | None = self.ask("read", folder / f"{key}.{generation}")
        return holder

    def sleep(self, seconds: float) -> None:
        self.ask("sleep")
        self.slept += 1

    def monotonic(self) -> float:
        return self.slept * module.STALE / 2


@pytest.fixture
def next_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Answers], Step | None]:
    """What a process does next that was answered so; None where it has come to the end."""
    known: dict[tuple[int, Answers], Step | None] = {}
    nothing = SimpleNamespace(start=lambda: None, join=lambda: None)
    monkeypatch.setattr(
        module,
        "threading",
        SimpleNamespace(Event=Event, Thread=lambda **_: nothing, current_thread=lambda: None),
    )
    monkeypatch.setattr(module, "_machine", dict)
    monkeypatch.setattr(module, "_start", lambda pid: None)

    def next_step(number: int, answers: Answers) -> Step | None:
        if (number, answers) not in known:
            process = Process(number, answers)
            with monkeypatch.context() as patch:
                patch.setattr(module, "os", process)
                patch.setattr(module, "time", process)
                patch.setattr(module, "_read", process.read)
                try:
                    lease = Lease.acquire(LEASES, "a")
                    process.ask("work")
                    lease.release()
                except (Busy, Process.Stop):
                    pass
            known[number, answers] = process.next
        return known[number, answers]

    return next_step


class State(NamedTuple):
    """A moment.

    Attributes:
        files: By generation, who wrote it: the number of a process, -1 for one that was killed long ago, None for
            nobody yet.
        ever: The generations that there have been.
        answers: Of each process: what it was answered since it began to try; None where it was killed.
        tries: How often each will try yet.
        lies: How often each will yet be shown a wrong listing.
    """

    files: frozenset[tuple[int, int | None]]
    ever: frozenset[int]
    answers: tuple[Answers | None, ...]
    tries: tuple[int, ...]
    lies: tuple[int, ...]

    def of(self, number: int, **new: Any) -> "State":
        """The moment in which something is new of one process."""
        changed: dict[str, Any] = {}
        for name, value in new.items():
            old = getattr(self, name)
            changed[name] = (*old[:number], value, *old[number + 1 :])
        return self._replace(**changed)


class World:
    """All that can become of some processes of one machine, or of one each, that want one right."""

    def __init__(self, next_step: Callable[[int, Answers], Step | None], one_machine: bool) -> None:
        self.next_step = next_step
        self.one_machine = one_machine
        self.works = 0  # moments in which somebody has the right

    def explore(self, first: State) -> None:
        """Goes through every state that can be reached."""
        seen, waiting = {first}, [first]
        while waiting:
            state = waiting.pop()
            at_work = [number for number in range(len(state.answers)) if self.has_the_right(state, number)]
            assert len(at_work) < 2, state
            self.works += len(at_work)
            later = {later for number in range(len(state.answers)) for later in self.later(state, number)}
            if not later:  # whoever comes next can have it
                highest = max(state.files, default=(0, None))
                assert highest[0] % 2 == 0 or not self.lives(state, highest[1]), state
            waiting.extend(later - seen)
            seen |= later

    def step(self, state: State, number: int) -> Step | None:
        answers = state.answers[number]
        return None if answers is None or not state.tries[number] else self.next_step(number, answers)

    def has_the_right(self, state: State, number: int) -> bool:
        step = self.step(state, number)
        return step is not None and (step.what == "work" or "worked" in (state.answers[number] or ()))

    def lives(self, state: State, number: int | None) -> bool:
        return number is not None and number >= 0 and state.answers[number] is not None

    def later(self, state: State, number: int) -> Iterator[State]:
        """What one process makes of a moment."""
        answers = state.answers[number]
        if answers is None or not state.tries[number]:
            return
        step = self.next_step(number, answers)
        if step is None:
            yield state.of(number, answers=(), tries=state.tries[number] - 1)
            return
        yield state.of(number, answers=None)  # killed
        if step.what == "sleep" and any(
            step is not None and step.what == "write"
            for step in map(lambda n: self.step(state, n), range(len(state.tries)))
        ):
            return  # to write one line does not take a minute
        if step.what == "list" and state.lies[number]:
            for shown in [(), *((generation,) for generation in state.ever)]:
                yield state.of(number, answers=(*answers, shown), lies=state.lies[number] - 1)
        files = dict(state.files)
        answer = self.take(step, state, number, files)
        yield state._replace(files=frozenset(files.items()), ever=state.ever.union(files)).of(
            number, answers=(*answers, answer)
        )

    def take(self, step: Step, state: State, number: int, files: dict[int, int | None]) -> Any:
        """Does what a process does next, and answers."""
        what, generation = step
        if what == "list":
            return tuple(files)
        if what == "exists":
            return generation in files
        if what == "read":
            return self.read(state, number, generation)
        if what == "create" and generation in files:
            return FileExistsError
        if what in ("create", "mark"):
            files.setdefault(generation, None)
        elif what in ("sleep", "work"):
            return "worked" if what == "work" else None
        elif generation not in files:
            return FileNotFoundError
        elif what == "look":
            return int(files[generation] is not None)
        elif what == "remove":
            del files[generation]
        else:
            files[generation] = {"write": number, "empty": None}[what]
        return None

    def read(self, state: State, number: int, generation: int) -> Holder | None:
        """What a process sees of the owner of a generation."""
        files = dict(state.files)
        if generation not in files:
            return None
        owner = files[generation]
        if owner is None:
            return Holder("", 0, "", -1, NO_PROGRESS, dead=False, generation=generation)
        lives = self.lives(state, owner)
        beat = len(state.answers[number] or ()) if lives else 0
        known = {"dead": self.one_machine and not lives, "alive": self.one_machine and lives}
        return Holder("", owner, "", beat, NO_PROGRESS, generation=generation, **known)


@pytest.mark.parametrize("before", [{}, {1: -1}])
@pytest.mark.parametrize(
    ("one_machine", "processes", "tries", "lies"),
    [
        (True, 2, 1, 1),
        (True, 2, 2, 0),
        pytest.param(True, 3, 1, 0, marks=pytest.mark.slow),
        pytest.param(False, 2, 1, 1, marks=pytest.mark.slow),
        pytest.param(False, 2, 2, 0, marks=pytest.mark.slow),
    ],
)
def test_in_every_order_of_steps_one_at_a_time_has_the_right(
    one_machine: bool,
    processes: int,
    tries: int,
    lies: int,
    before: dict[int, int | None],
    next_step: Callable[[int, Answers], Step | None],
) -> None:
    world = World(next_step, one_machine)
    generations = frozenset(before)
    world.explore(
        State(frozenset(before.items()), generations, ((),) * processes, (tries,) * processes, (lies,) * processes)
    )
    assert world.works


HAMMER = """
import random, signal
from lightning_app import lease as module
from lightning_app.lease import *

module.BEAT, module.STALE = 0.02, 0.5
LEASES = Path("leases")


def work():
    me = Path(f"process {os.getpid()}")
    me.write_text(str(os.getpid()))
    while True:
        try:
            lease = Lease.acquire(LEASES, "a")
        except Busy:
            time.sleep(0.001)
            continue
        try:
            os.link(me, "at work")
        except FileExistsError:
            other = int(Path("at work").read_text())
            assert module._start(other) in (None, "ended"), f"{os.getpid()} and {other} are at work"
            os.unlink("at work")
            os.link(me, "at work")
        with open("times", "a") as times:
            times.write(".")
        time.sleep(random.uniform(0, 0.003))
        os.unlink("at work")
        lease.release()


def process():
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            Path("failed").write_text(repr(error))
        os._exit(1)
    return pid


Path("times").touch()
pids = [process() for _ in range(4)]
kills = 0
while (kills < 100 or os.path.getsize("times") < 100) and not Path("failed").exists():
    time.sleep(random.uniform(0, 0.04))
    victim = random.randrange(len(pids))
    os.kill(pids[victim], signal.SIGKILL)
    os.waitpid(pids[victim], 0)
    pids[victim] = process()
    kills += 1
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(Path("failed").read_text() if Path("failed").exists() else "fine")
"""


def test_processes_that_are_killed_at_any_moment_work_one_at_a_time() -> None:
    done = subprocess.run([sys.executable, "-c", HAMMER], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("fine\n", "")
    generations = [int(name.rpartition(".")[2]) for name in os.listdir(LEASES)]
    assert max(generations) > 3  # it was taken over from the dead
