"""What a sweep shows while it runs, and when it ends."""

import re
from pathlib import Path

import pytest

from lightning_app.lease import Holder
from lightning_app.sweep.outcome import Outcome
from lightning_app.sweep.sweeper import Summary
from lightning_app.sweep.watch import Watch
from tests.lightning_app.sweep.toy_cells import RECORD, Told, terminal, toy_cells

CRASH = Outcome("crashed", "the roof\n has come down", 3.0)
HOLDER = Holder("node17", 4711, "2026-01-31 12:00", 3, {}, dead=False)


def test_without_a_terminal_every_event_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(11)
    with Watch(cells, Told({})) as watch:
        watch.update(running=[(cells[0], {"epoch": 0, "epochs": 2, "step": 3})], waiting=cells[1:], done=0, failed=0)
        watch.finished(cells[0], RECORD, 12.0)
        watch.finished(cells[10], RECORD | {"data/d_mle": None, "test/acc": 1.0}, 130.0)
        watch.failed(cells[1], CRASH, again=True)
        watch.failed(cells[1], CRASH, again=False)
        watch.elsewhere(cells[2], HOLDER)
        watch.note("two\nlines")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "✓  1/11  cell 0   test acc 0.983   loss 0.0508  d 7.25    K_F 0.0123  fgsm_2 0.95      12 s",
        "✓  2/11  cell 10  test acc 1       loss 0.0508  d –       K_F 0.0123  fgsm_2 0.95     2 min",
        "↻        cell 1   crashed: the roof has come down; once more",
        f"✗  3/11  cell 1   crashed: the roof has come down; see runs/mine/{1:012x}/log.txt",
        "→        cell 2   process 4711 on node17 is at it",
        "two lines",
    ]


def test_numbers_that_were_not_measured_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = toy_cells(1)
    with Watch([cell], Told({})) as watch:
        watch.finished(cell, {"test/acc": 0.5, "seconds": 1.0}, 1.0)
    assert capsys.readouterr().err == "✓ 1/1  cell 0  test acc 0.5        1 s\n"


def shown(screen: str) -> str:
    """Without the terminal's own codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_in_a_terminal_nothing_is_wider_than_it(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "stderr", width)
    cells = toy_cells(24, "resnet18 BrainSlices n_train=1000 seed_everything={}")
    running = [(cell, {"epoch": 1, "epochs": 3, "step": 9}) for cell in cells[1:3]]
    with Watch(cells, Told({cell.title: 60.0 for cell in cells})) as watch:
        watch.finished(cells[0], RECORD, 12.0)
        watch.failed(cells[3], Outcome("memory", 30 * "very long ", 1.0), again=False)
        watch.update(running=running, waiting=cells[4:], done=1, failed=1)
    lines = re.split("[\r\n]+", shown(screen.getvalue()))
    assert max(map(len, lines)) == width
    (finished,) = [line for line in lines if line.startswith("✓")]
    assert finished.startswith("✓  1/24  resnet18 Brain")
    assert finished.endswith(" 12 s")
    assert "test acc 0.983" in finished
    assert ("K_F" in finished) == (width > 80)
    assert [line for line in lines if line.startswith("✗  2/24  resnet18")]
    bar = lines[-1] if lines[-1].strip() else lines[-2]
    assert "━ 1/24 · 1 failed · " in bar
    assert bar.rstrip().endswith("…")


def test_the_bar_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, "stderr", 100)
    cells = toy_cells(8)
    with Watch(cells, Told({cell.title: 60.0 for cell in cells})) as watch:
        watch.finished(cells[0], RECORD, 120.0)  # twice as long as was thought
        running = [(cells[1], {"epoch": 1, "epochs": 2, "step": 9}), (cells[2], {"epoch": 1, "epochs": 2, "step": 9})]
        watch.update(running=running, waiting=cells[3:], done=1, failed=0)
    assert "1/8 · 6 min left · cell 1 epoch 2/2 · cell 2 epoch 2/2" in shown(screen.getvalue())


def test_the_summary_counts_and_names_every_failure(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(6)
    watch = Watch(cells, Told({}))
    watch.summary(Summary([cells[0]], cells[1:3], [cells[3]], [(cells[4], CRASH), (cells[5], CRASH)]))
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[0].startswith("6 cells: 2 done, 1 done before, 1 done elsewhere, 2 failed, in ")
    assert lines[1:4] == ["✗ cell 4", "  crashed: the roof has come down", f"  runs/mine/{4:012x}/log.txt"]
    assert lines[4] == "✗ cell 5"
    assert lines[7:] == [
        "records      runs/mine/*/result.json",
        "one table    lightning report --table mine.csv --name mine",
        "go on        the same command: what is done stays, what has failed is tried again",
    ]


def test_the_summary_of_a_sweep_without_trouble_is_three_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = toy_cells(1)
    Path("below").mkdir()
    monkeypatch.chdir("below")
    Watch(cells, Told({})).summary(Summary(done=cells))
    first, records, table = capsys.readouterr().out.splitlines()
    assert first.startswith("1 cell: 1 done, in ")
    assert records == "records      ../runs/mine/*/result.json"
    assert table == "one table    lightning report --table mine.csv --name mine --runs ../runs"


def test_a_sweep_that_was_stopped_says_why_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    cells = toy_cells(3)
    Watch(cells, Told({})).summary(Summary(done=cells[:1], stopped="[Errno 28] No space left on device"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 cells: 1 done, 2 left to do, in ")
    assert lines[1] == "stopped: [Errno 28] No space left on device"
    assert lines[-1].startswith("go on ")
