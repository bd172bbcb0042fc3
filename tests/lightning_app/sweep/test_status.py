"""How far a grid is."""

import os
import time

import pytest

from lightning_app.lease import Lease
from lightning_app.sweep.ledger import write_failure
from lightning_app.sweep.outcome import Outcome
from lightning_app.sweep.status import show_status
from tests.lightning_app.sweep.test_watch import shown
from tests.lightning_app.sweep.toy_cells import Told, finish, interrupt, terminal, toy_cells

HOUR = Told({f"cell {i}": 3600.0 for i in range(9)})


def test_without_a_terminal_it_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(7)
    for cell in cells[:2]:
        finish(cell, seconds=7200.0)
    interrupt(cells[2])
    write_failure(cells[3], Outcome("crashed", "the roof\nhas come down", 1.0), 2)
    held = Lease.acquire(cells[4].run.leases, cells[4].run.run_id)
    show_status(cells, HOUR)
    held.release()
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "mine · 7 cells: 2 done, 1 running, 1 interrupted, 1 failed, 2 missing",
        "4 to do, about 8.0 h as it runs",
        "",
    ]
    heading, row, *lines = lines[3:]
    assert heading == "running"
    assert row.startswith("  cell 4  starting  ")
    assert f":{os.getpid()}  since 20" in row
    assert lines == ["", "failed", "  cell 3  crashed: the roof has come down"]
    assert last == f"    runs/mine/{3:012x}/log.txt"


def test_where_nobody_works_it_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(toy_cells(3), HOUR)
    assert capsys.readouterr().out.splitlines() == [
        "mine · 3 cells: 3 missing",
        "3 to do, about 3.0 h of one worker; nobody is at it: the same command without --status goes on",
    ]


def test_a_grid_that_is_done_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(2)
    for cell in cells:
        finish(cell)
    show_status(cells, Told({}))
    assert capsys.readouterr().out == "mine · 2 cells: 2 done\n"


def test_in_a_terminal_it_is_kept_up_to_date_until_all_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "stdout", 60)
    cells = toy_cells(3)
    write_failure(cells[0], Outcome("crashed", 20 * "the roof has come down ", 1.0), 2)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        finish(cells[len(waits) + 1])
        waits.append(seconds)

    monkeypatch.setattr(time, "sleep", wait)
    show_status(cells, Told({}))
    assert len(waits) == 2
    text = shown(screen.getvalue())
    for counts in ("1 failed, 2 missing", "1 done, 1 failed, 1 missing", "2 done, 1 failed"):
        assert f"mine · 3 cells: {counts}" in text
    assert max(len(line) for line in text.splitlines()) == 60


def test_whoever_has_seen_enough_has_made_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "stdout", 80)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    show_status(toy_cells(1), Told({}))
    assert "1 missing" in screen.getvalue()
