"""What has become of cells, from files alone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_app import lease
from lightning_app.lease import Lease
from lightning_app.run import Run
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.ledger import Ledger, State, clear_failure, write_failure
from lightning_app.sweep.outcome import Outcome
from metrics import InputError
from tests.lightning_app.sweep.toy_cells import RECORD, finish, interrupt, toy_cells

CRASH = Outcome("crashed", "the roof has come down", 3.0)


def states(ledger: Ledger) -> list[State]:
    return [entry.state for entry in ledger.look().values()]


def test_each_state_is_told_from_what_is_in_the_folder() -> None:
    cells = toy_cells(5)
    finish(cells[0])
    interrupt(cells[1])
    write_failure(cells[2], CRASH, attempts=2)
    held = Lease.acquire(cells[3].run.leases, cells[3].run.run_id)
    ledger = Ledger(cells)
    entries = ledger.look()
    assert list(entries) == [cell.run.run_id for cell in cells]
    assert states(ledger) == ["done", "interrupted", "failed", "running", "missing"]
    assert entries[cells[0].run.run_id].record == RECORD
    failure, holder = entries[cells[2].run.run_id].failure, entries[cells[3].run.run_id].holder
    assert failure is not None
    assert failure["message"] == CRASH.message
    assert holder is not None
    assert holder.pid == os.getpid()
    held.release()
    assert states(ledger)[3] == "missing"


def test_what_was_reached_last_counts() -> None:
    (cell,) = toy_cells(1)
    ledger = Ledger([cell])
    interrupt(cell)
    write_failure(cell, CRASH, attempts=1)
    assert states(ledger) == ["failed"]
    held = Lease.acquire(cell.run.leases, cell.run.run_id)
    assert states(ledger) == ["running"]
    finish(cell)
    assert states(ledger) == ["done"]
    held.release()
    assert states(ledger) == ["done"]


def test_a_holder_that_was_killed_holds_nothing() -> None:
    (cell,) = toy_cells(1)
    interrupt(cell)
    script = (
        "import os, sys; from pathlib import Path; from lightning_app.lease import Lease;"
        "Lease.acquire(Path(sys.argv[1]), sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(cell.run.leases), cell.run.run_id], check=False)
    assert list(lease.holders(cell.run.leases)) == [cell.run.run_id]
    assert states(Ledger([cell])) == ["interrupted"]


def test_a_holder_elsewhere_that_falls_silent_counts_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = toy_cells(1)
    held = Lease.acquire(cell.run.leases, cell.run.run_id)
    held.release()
    silent = {"host": "far", "machine": "another", "pid": 1, "start": "1", "since": "", "beat": 7, "progress": {}}
    (cell.run.leases / f"{cell.run.run_id}.3").write_text(json.dumps(silent))
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ledger, found = Ledger([cell]), []
    for now[0] in range(0, 100, 20):
        found += states(ledger)
    assert found == ["running", "running", "running", "missing", "missing"]


def test_a_record_is_read_again_only_where_it_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = toy_cells(2)
    read: list[Path] = []

    def read_text(file: Path, **_: str) -> str:
        read.append(file)
        return file.read_bytes().decode()

    monkeypatch.setattr(Path, "read_text", read_text)
    ledger = Ledger(cells)
    for cell in cells:
        finish(cell)
    ledger.look()
    ledger.look()
    assert len(read) == 2
    cells[0].run.result.unlink()
    assert states(ledger) == ["missing", "done"]
    finish(cells[0], seconds=61.0)
    os.utime(cells[0].run.result, ns=(1, 1))
    entry = ledger.look()[cells[0].run.run_id]
    assert entry.record is not None
    assert entry.record["seconds"] == 61.0
    assert len(read) == 3


def test_a_damaged_record_is_named() -> None:
    (cell,) = toy_cells(1)
    finish(cell)
    cell.run.result.write_text('{"epochs": 2, "fir')
    with pytest.raises(InputError, match=rf"{cell.run.result}: it is damaged; delete it"):
        Ledger([cell]).look()


def test_a_failure_says_what_tables_need_and_can_be_forgotten() -> None:
    (cell,) = toy_cells(1)
    write_failure(cell, CRASH, attempts=2)
    (file,) = cell.run.folder.iterdir()
    failure = json.loads(file.read_text())
    assert {key: failure[key] for key in ("run_id", "name", "status", "kind", "message", "attempts", "log")} == {
        "run_id": cell.run.run_id,
        "name": "mine",
        "status": "failed",
        "kind": "crashed",
        "message": "the roof has come down",
        "attempts": 2,
        "log": "log.txt",
    }
    identity = {key: failure[key] for key in ("backbone", "data", "n_train", "seed")}
    assert identity == {"backbone": "resnet18", "data": "MNIST5k", "n_train": 100, "seed": 0}
    clear_failure(cell.run)
    clear_failure(cell.run)
    assert states(Ledger([cell])) == ["missing"]


def test_a_table_of_ones_own_is_called_by_its_folder() -> None:
    (cell,) = toy_cells(1)
    data = {"class_path": "datamodules.TableDataModule", "init_args": {"table": "tables/knees", "n_train": None}}
    run = Run(cell.run.name, cell.run.run_id, cell.run.folder, cell.config | {"data": data})
    write_failure(Cell(run, {}, "", "."), CRASH, attempts=1)
    assert json.loads((run.folder / "failed.json").read_text())["data"] == "knees"


def test_a_full_disk_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = toy_cells(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_failure(cell, CRASH, attempts=1)
    assert list(cell.run.folder.iterdir()) == []


def test_looking_does_without_torch() -> None:
    script = "import sys, lightning_app.sweep.ledger; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
