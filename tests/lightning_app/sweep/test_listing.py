"""What a dry run prints."""

import pytest

from lightning_app.sweep.ledger import Ledger, write_failure
from lightning_app.sweep.listing import show_cells
from lightning_app.sweep.outcome import Outcome
from tests.lightning_app.sweep.toy_cells import Told, finish, interrupt, terminal, toy_cells


def test_every_cell_has_a_line_and_the_totals_follow(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(4, "resnet18 MNIST5k seed_everything={}")
    finish(cells[0])
    interrupt(cells[1])
    write_failure(cells[2], Outcome("crashed", "", 1.0), 2)
    show_cells(cells, Ledger(cells).look(), Told({cell.title: 3600.0 for cell in cells}), workers=2)
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "1  resnet18 MNIST5k seed_everything=0  000000000000  done",
        "2  resnet18 MNIST5k seed_everything=1  000000000001  interrupted  60 min",
        "3  resnet18 MNIST5k seed_everything=2  000000000002  failed       60 min",
        "4  resnet18 MNIST5k seed_everything=3  000000000003  missing      60 min",
        "",
        "4 cells: 1 done, 1 interrupted, 1 failed, 1 missing",
        "3 to do: 3.0 h of one worker, 1.5 h with 2 workers side by side",
    ]


def test_nobody_is_asked_how_long_what_is_done_takes(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(1)
    finish(cells[0])

    class Refusing(Told):
        def seconds(self, cell: object) -> float:
            raise AssertionError(cell)

    show_cells(cells, Ledger(cells).look(), Refusing({}), workers=2)
    assert capsys.readouterr().out.endswith("1 cell: 1 done\nnothing to do\n")


def test_what_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(3)
    show_cells(cells, Ledger(cells).look(), Told({"cell 1": 40.0}), workers=1)
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "cell", "0", "000000000000", "missing", "–"]
    assert second.split()[-2:] == ["40", "s"]
    assert last == "1 to do: 40 s of one worker, 40 s with 1 worker side by side; beside them 2 of unknown length"
    show_cells(cells, Ledger(cells).look(), Told({}), workers=1)
    assert "not known before the first has finished" in capsys.readouterr().out


def test_a_long_title_is_whole_in_a_file_and_gives_way_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = toy_cells(2, "[red]resnet18 " + 90 * "x" + " {}\n")
    show_cells(cells, Ledger(cells).look(), Told({}), workers=1)
    assert f"{cells[1].title.strip()}  {cells[1].run.run_id}" in capsys.readouterr().out
    screen = terminal(monkeypatch, "stdout", width=60)
    show_cells(cells, Ledger(cells).look(), Told({cell.title: 40.0 for cell in cells}), workers=1)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("1  [red]resnet18 xxx")
    assert lines[0].endswith("…  missing  40 s")
    assert len(lines[0]) == len(lines[1]) == 60
