"""The loop, with an engine that does what the test says."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightning_app.lease import Holder, Lease
from lightning_app.run import Run
from lightning_app.sweep import sweeper
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.outcome import Kind, Outcome
from lightning_app.sweep.sweeper import Summary, Sweep


def make_cells(count: int) -> list[Cell]:
    config = {
        "model": {"backbone": "resnet18"},
        "data": {"class_path": "datamodules.MNIST5k", "init_args": {"n_train": 1}},
        "seed_everything": 0,
    }
    runs = [Run("mine", f"{i:012x}", Path("runs/mine").absolute() / f"{i:012x}", config) for i in range(count)]
    return [Cell(run, {}, f"cell {i}", ".") for i, run in enumerate(runs)]


def finish(cell: Cell) -> None:
    cell.run.folder.mkdir(parents=True, exist_ok=True)
    cell.run.result.write_text(json.dumps({"run_id": cell.run.run_id}))


class Scripted:
    """An engine of which each attempt ends as foreseen, and else well."""

    def __init__(self, plan: Mapping[int, Sequence[Kind]] | None = None, places: int = 2) -> None:
        self.plan = {key: list(kinds) for key, kinds in (plan or {}).items()}
        self.places = places
        self.started: list[str] = []
        self.running: list[Cell] = []
        self.most = 0
        self.stopped = False

    @property
    def free(self) -> int:
        return self.places - len(self.running)

    def start(self, cell: Cell) -> None:
        self.started.append(cell.title)
        self.running.append(cell)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> list[tuple[Cell, Outcome]]:
        ended = []
        for cell in self.running:
            kinds = self.plan.get(int(cell.run.run_id, 16), [])
            kind = kinds.pop(0) if kinds else "finished"
            if kind == "finished":
                finish(cell)
            ended.append((cell, Outcome(kind, "" if kind == "finished" else f"it was {kind}", 1.0)))
        self.running = []
        return ended

    def stop(self) -> None:
        self.stopped = True


class Silent:
    """Somebody who watches and remembers."""

    def __init__(self) -> None:
        self.said: dict[str, list[Any]] = defaultdict(list)

    def finished(self, cell: Cell, record: Mapping[str, Any], seconds: float) -> None:
        self.said["finished"].append(cell.title)

    def failed(self, cell: Cell, outcome: Outcome, again: bool) -> None:
        self.said["failed"].append((cell.title, outcome.kind, again))

    def elsewhere(self, cell: Cell, holder: Holder) -> None:
        self.said["elsewhere"].append(cell.title)

    def update(self, **how: Any) -> None:
        self.said["update"].append(how)


def run(cells: Sequence[Cell], engine: Scripted) -> tuple[Summary, Silent]:
    watch = Silent()
    summary = Sweep(cells, engine, watch).run()
    assert engine.stopped
    return summary, watch


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "_LOOK_EVERY", 0.0)


def test_every_cell_is_run_once_and_no_more_at_a_time_than_there_is_room() -> None:
    engine = Scripted(places=2)
    summary, watch = run(make_cells(5), engine)
    assert engine.started == [f"cell {i}" for i in range(5)]
    assert engine.most == 2
    assert watch.said["finished"] == engine.started
    assert [len(summary.done), len(summary.before), len(summary.failed), summary.stopped] == [5, 0, 0, ""]


def test_what_is_done_is_left_alone() -> None:
    cells = make_cells(4)
    for cell in cells[:3]:
        finish(cell)
    engine = Scripted()
    summary, _ = run(cells, engine)
    assert engine.started == ["cell 3"]
    assert [cell.title for cell in summary.before] == ["cell 0", "cell 1", "cell 2"]


@pytest.mark.parametrize("kind", ["crashed", "hung", "memory"])
def test_a_failure_is_tried_once_more(kind: Kind) -> None:
    summary, watch = run(cells := make_cells(3), Scripted({1: [kind]}))
    assert watch.said["failed"] == [("cell 1", kind, True)]
    assert len(summary.done) == 3
    assert not (cells[1].run.folder / "failed.json").exists()


@pytest.mark.parametrize("kind", ["crashed", "hung", "memory"])
def test_a_second_failure_is_written_down_and_the_others_go_on(kind: Kind) -> None:
    summary, watch = run(cells := make_cells(3), Scripted({0: [kind, kind]}))
    assert watch.said["failed"] == [("cell 0", kind, True), ("cell 0", kind, False)]
    assert [(cell.title, outcome.kind) for cell, outcome in summary.failed] == [("cell 0", kind)]
    assert [cell.title for cell in summary.done] == ["cell 1", "cell 2"]
    failure = json.loads((cells[0].run.folder / "failed.json").read_text())
    assert (failure["kind"], failure["message"], failure["attempts"]) == (kind, f"it was {kind}", 2)


def test_a_mistake_is_not_tried_again() -> None:
    summary, watch = run(make_cells(2), Scripted({0: ["refused"]}))
    assert watch.said["failed"] == [("cell 0", "refused", False)]
    assert len(summary.failed) == len(summary.done) == 1


def test_a_lost_machine_is_not_the_cells_fault() -> None:
    summary, watch = run(make_cells(2), Scripted({0: ["lost", "lost", "lost", "crashed"]}))
    assert [again for _, _, again in watch.said["failed"]] == [True] * 4
    assert len(summary.done) == 2


def test_a_cell_that_takes_every_machine_with_it_is_given_up() -> None:
    summary, _ = run(make_cells(1), Scripted({0: ["lost"] * 100}))
    assert [outcome.kind for _, outcome in summary.failed] == ["lost"]


def test_a_full_disk_stops_the_sweep() -> None:
    summary, _ = run(make_cells(9), engine := Scripted({0: ["disk"]}))
    assert summary.stopped == "it was disk"
    assert len(engine.started) == 2
    assert summary.failed == []


def test_a_disk_on_which_a_failure_cannot_be_noted_stops_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sweeper, "write_failure", full)
    summary, _ = run(make_cells(9), Scripted({0: ["refused"]}))
    assert "No space left" in summary.stopped
    assert len(summary.failed) == 1


def test_a_cell_of_another_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = make_cells(3)
    lease = Lease.acquire(cells[0].run.leases, cells[0].run.run_id)
    engine, watch = Scripted(), Silent()
    looks = 0

    def look(ledger: Any, *, real: Any = sweeper.Ledger.look) -> Any:
        nonlocal looks
        looks += 1
        if looks == 5:
            finish(cells[0])
            lease.release()
        return real(ledger)

    monkeypatch.setattr(sweeper.Ledger, "look", look)
    summary = Sweep(cells, engine, watch).run()
    assert engine.started == ["cell 1", "cell 2"]
    assert [cell.title for cell in summary.elsewhere] == watch.said["elsewhere"] == ["cell 0"]


def test_a_cell_that_another_process_left_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = make_cells(2)
    lease = Lease.acquire(cells[0].run.leases, cells[0].run.run_id)
    engine = Scripted({0: ["busy"]})

    def look(ledger: Any, *, real: Any = sweeper.Ledger.look) -> Any:
        if len(engine.started) == 1:
            lease.release()
        return real(ledger)

    monkeypatch.setattr(sweeper.Ledger, "look", look)
    summary, _ = run(cells, engine)
    assert engine.started[0] == "cell 1"
    assert set(engine.started[1:]) == {"cell 0"}
    assert len(summary.done) == 2


def test_interruption_stops_the_engine() -> None:
    class Interrupted(Scripted):
        def wait(self, seconds: float) -> list[tuple[Cell, Outcome]]:
            raise KeyboardInterrupt

    engine = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        Sweep(make_cells(2), engine, Silent()).run()
    assert engine.stopped
