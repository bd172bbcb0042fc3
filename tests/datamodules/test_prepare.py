"""Preparation: whole or not at all, the same bytes whatever happens on the way."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules import ImageTable
from datamodules.preparation import partial
from datamodules.preparation.prepare import prepare
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Piece
from metrics import InputError
from tests.datamodules.toy_recipe import Toy, make_toy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    make_toy(tmp_path / "raw")
    return tmp_path / "raw"


def _bytes(table: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(table.iterdir())}


def _killed(raw: Path, out: Path, where: str, moment: int, workers: int = 1) -> int:
    """How a process ended that prepares the toy and kills itself."""
    command = [sys.executable, "-m", "tests.datamodules.toy_recipe", raw, out, where, str(moment), str(workers)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def test_the_table_holds_every_image_and_the_summary_counts_them(raw: Path) -> None:
    told: list[tuple[int, int]] = []
    summary = prepare(Toy(), raw, Path("out"), workers=1, progress=lambda done, total: told.append((done, total)))
    table = ImageTable.open("out")
    numbers = [n for n in range(60) if n % 6]
    pixels = np.arange(16).reshape(1, 4, 4) + np.array(numbers)[:, None, None, None]
    np.testing.assert_array_equal(table.images, pixels)
    assert table.labels("label").tolist() == [n % 2 for n in numbers]
    assert table.columns["source"].tolist() == [f"{n // 5:02}.txt#{n % 5}" for n in numbers]
    assert told == [(i, 12) for i in range(1, 13)]
    assert summary == json.loads(Path("out/prepare.json").read_text())
    assert (summary["images"], summary["shape"], summary["groups"]) == (50, [1, 4, 4], 12)
    assert summary["labels"] == {"label": {"0": 20, "1": 30}}
    assert summary["skipped"] == {"blank line": 10}
    assert summary["skipped_sources"][0] == ["00.txt#0", "blank line"]
    assert summary["options"] == {"side": 4, "shade": 0}
    assert summary["source"]["files"] == 12
    assert sorted(file.name for file in Path("out").iterdir()) == ["images.npy", "manifest.csv", "prepare.json"]
    assert sorted(file.name for file in Path().iterdir()) == ["out", "raw"]


def test_several_processes_make_the_same_bytes(raw: Path) -> None:
    for workers in (1, 3):
        prepare(Toy(), raw, Path(f"out{workers}"), workers=workers)
    assert _bytes(Path("out1")) == _bytes(Path("out3"))


def test_the_order_of_directories_has_no_effect(raw: Path, shuffled_directories: Callable[[int], None]) -> None:
    prepare(Toy(), raw, Path("sorted"), workers=1)
    for seed in range(3):
        shuffled_directories(seed)
        prepare(Toy(), raw, Path(f"out{seed}"), workers=1)
        assert _bytes(Path(f"out{seed}")) == _bytes(Path("sorted"))


@pytest.mark.parametrize(
    ("where", "moment"),
    [
        ("write", 1), ("write", 23), ("write", 50), ("before commit", 1), ("before commit", 7),
        ("after commit", 1), ("after commit", 12), ("rename", 1), ("tidy", 1),
    ],
)  # fmt: skip
def test_a_killed_preparation_goes_on_to_the_same_bytes(
    raw: Path, where: str, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Toy(), raw, Path("whole"), workers=1)
    assert _killed(raw, Path("out").absolute(), where, moment) == -signal.SIGKILL
    assert Path("out").exists() == (where == "tidy")
    decoded: list[str] = []
    original = Toy.decode
    monkeypatch.setattr(
        Toy, "decode", lambda self, folder, piece: decoded.append(piece.source) or original(self, folder, piece)
    )
    prepare(Toy(), raw, Path("out"), workers=1)
    assert _bytes(Path("out")) == _bytes(Path("whole"))
    assert sorted(path.name for path in Path().iterdir()) == ["out", "raw", "whole"]
    finished = {"write": (moment - 1) * 12 // 50, "before commit": moment - 1, "after commit": moment}.get(where, 12)
    assert len(decoded) == 12 - finished


def test_one_killed_again_and_again_goes_on_to_the_same_bytes(raw: Path) -> None:
    prepare(Toy(), raw, Path("whole"), workers=1)
    for moment in (3, 1, 4):
        assert _killed(raw, Path("out").absolute(), "after commit", moment, workers=2) == -signal.SIGKILL
    prepare(Toy(), raw, Path("out"), workers=2)
    assert _bytes(Path("out")) == _bytes(Path("whole"))


def test_the_processes_of_a_killed_preparation_end(raw: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.datamodules.toy_recipe", raw, tmp_path / "out", "after commit", "1", "2"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        process.wait(timeout=60)
    for _ in range(300):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("processes are left")


def test_a_damaged_journal_costs_only_what_it_does_not_say(raw: Path) -> None:
    prepare(Toy(), raw, Path("whole"), workers=1)
    _killed(raw, Path("out").absolute(), "after commit", 5)
    journal = Path(".out.preparing/journal.jsonl")
    text = journal.read_text()
    journal.write_text(text[:-20])
    prepare(Toy(), raw, Path("out"), workers=1)
    assert _bytes(Path("out")) == _bytes(Path("whole"))


@pytest.mark.parametrize("change", ["options", "files", "content"])
def test_work_that_was_left_is_not_continued_with_something_else(raw: Path, change: str) -> None:
    _killed(raw, Path("out").absolute(), "after commit", 5)
    if change == "files":
        (raw / "99.txt").write_text("7\n")
    elif change == "content":
        (raw / "00.txt").write_text("1111\n1111\n1111\n1111\n")
    recipe = Toy(shade=9) if change == "options" else Toy()
    prepare(recipe, raw, Path("out"), workers=1)
    prepare(recipe, raw, Path("anew"), workers=1)
    assert _bytes(Path("out")) == _bytes(Path("anew"))


def test_a_finished_table_is_left_alone(raw: Path) -> None:
    first = prepare(Toy(), raw, Path("out"), workers=1)
    times = {file.name: file.stat().st_mtime_ns for file in Path("out").iterdir()}
    assert prepare(Toy(), raw, Path("out"), workers=1) == first
    assert {file.name: file.stat().st_mtime_ns for file in Path("out").iterdir()} == times
    assert sorted(path.name for path in Path().iterdir()) == ["out", "raw"]


def test_a_finished_table_is_not_taken_for_another(raw: Path) -> None:
    prepare(Toy(), raw, Path("out"), workers=1)
    with pytest.raises(InputError, match="out was prepared with shade=0, not 3: choose another --out, or delete it"):
        prepare(Toy(shade=3), raw, Path("out"), workers=1)
    (raw / "99.txt").write_text("7\n")
    with pytest.raises(InputError, match=r"from other raw files \(12 files then, 13 now\)"):
        prepare(Toy(), raw, Path("out"), workers=1)
    Path("out/prepare.json").unlink()
    with pytest.raises(InputError, match="was not prepared by this command"):
        prepare(Toy(), raw, Path("out"), workers=1)
    assert not list(Path().glob(".out*"))


def test_an_unreadable_file_stops_it_and_work_is_kept(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "_COMMIT_EVERY", 0.0)
    (raw / "07.txt").write_text("1\nbad\n")
    with pytest.raises(InputError, match=r"raw/07.txt cannot be read: it is bad; --skip-unreadable leaves such"):
        prepare(Toy(), raw, Path("out"), workers=1)
    assert not Path("out").exists()
    told: list[int] = []
    summary = prepare(
        Toy(), raw, Path("out"), workers=1, skip_unreadable=True, progress=lambda done, _: told.append(done)
    )
    assert told == [8, 9, 10, 11, 12]
    assert summary["skipped"]["it is bad"] == 1
    assert "07.txt" not in ImageTable.open("out").columns["group"]


def test_an_unreadable_file_stops_several_processes(raw: Path) -> None:
    (raw / "07.txt").write_text("1\nbad\n")
    with pytest.raises(InputError, match=r"raw/07.txt cannot be read: it is bad"):
        prepare(Toy(), raw, Path("out"), workers=2)


def test_constant_images_are_skipped_and_notes_counted(raw: Path) -> None:
    (raw / "00.txt").write_text("flat\n250\n251\n")
    summary = prepare(Toy(), raw, Path("out"), workers=1)
    assert summary["skipped"]["constant image: every pixel has the same value"] == 1
    assert summary["notes"] == {"bright": 2}


def test_notes_and_skips_survive_a_kill(raw: Path) -> None:
    (raw / "00.txt").write_text("250\n\n251\n")
    whole = prepare(Toy(), raw, Path("whole"), workers=1)
    _killed(raw, Path("out").absolute(), "after commit", 2)
    assert prepare(Toy(), raw, Path("out"), workers=1) == whole
    assert whole["notes"] == {"bright": 2}


def test_two_at_once_do_not_get_in_each_other_s_way(raw: Path) -> None:
    held = partial.PartialTable(Path("out"))
    with pytest.raises(InputError, match="another process is preparing out: wait for it"):
        prepare(Toy(), raw, Path("out"), workers=1)
    held.close()
    prepare(Toy(), raw, Path("out"), workers=1)
    assert len(ImageTable.open("out")) == 50


def test_nothing_is_left_where_there_is_nothing_to_prepare(raw: Path) -> None:
    with pytest.raises(InputError, match="there is no folder nowhere: give the folder of the raw files with --raw"):
        prepare(Toy(), Path("nowhere"), Path("out"))
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds nothing of Toy\. Make it yourself\."):
        prepare(Toy(), Path("empty"), Path("out"))
    (Path("empty") / "0.txt").write_text("\n\nflat\n")
    with pytest.raises(InputError, match=r"empty gives no image of Toy \(2 x blank line; 1 x constant image"):
        prepare(Toy(), Path("empty"), Path("out"), workers=1)
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "raw"]


def test_other_people_s_folders_are_not_touched(raw: Path) -> None:
    Path("out").mkdir()
    prepare(Toy(), raw, Path("out"), workers=1)  # an empty one is taken
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="mine exists and is no image table"):
        prepare(Toy(), raw, Path("mine"))
    with pytest.raises(InputError, match="workers=0 is out of range"):
        prepare(Toy(), raw, Path("other"), workers=0)


def test_images_that_do_not_fit_together_are_refused(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: Toy, folder: Path, piece: Piece[int]) -> Iterator[Found]:
        side = 4 + piece.facts // 5
        image = np.arange(side**2, dtype=np.uint8).reshape(1, side, side)
        yield image, {"label": 0, "group": "g", "split": "", "source": piece.source}

    monkeypatch.setattr(Toy, "decode", decode)
    with pytest.raises(InputError, match=r"05.txt has the shape \(1, 5, 5\), the first image has \(1, 4, 4\)"):
        prepare(Toy(), raw, Path("out"), workers=1)


def test_tables_of_variants_have_folders_of_their_own() -> None:
    assert (Toy().folder, Toy(side=9).folder, Toy(shade=3).folder) == ("data/toy", "data/toy", "data/toy-3")


def test_shuffling_shuffles(raw: Path, shuffled_directories: Callable[[int], None]) -> None:
    before = os.listdir(raw)
    shuffled_directories(1)
    assert os.listdir(raw) != before
    assert sorted(os.listdir(raw)) == sorted(before)
    with os.scandir(raw) as entries:
        assert [entry.name for entry in entries] == os.listdir(raw)


def test_a_script_without_a_guard_can_prepare(raw: Path) -> None:
    """Each process that decodes would run the script once more, and wait for what it is itself to do."""
    script = Path("script.py")
    script.write_text(
        "from pathlib import Path\n"
        "from datamodules.preparation.prepare import prepare\n"
        "from tests.datamodules.toy_recipe import Toy\n"
        f"prepare(Toy(), Path({str(raw)!r}), Path('out'), workers=2, wait=True)\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert len(ImageTable.open("out")) == 50


@pytest.mark.parametrize("damage", ["shorter", "garbled"])
def test_work_whose_remains_are_damaged_is_begun_anew(raw: Path, damage: str) -> None:
    prepare(Toy(), raw, Path("whole"), workers=1)
    _killed(raw, Path("out").absolute(), "after commit", 5)
    if damage == "shorter":
        os.truncate(".out.preparing/images.npy", 200)
    else:
        journal = Path(".out.preparing/journal.jsonl")
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join([*lines[:2], lines[2][:9], *lines[3:]]) + "\n")
    prepare(Toy(), raw, Path("out"), workers=1)
    assert _bytes(Path("out")) == _bytes(Path("whole"))


def test_a_full_disk_costs_one_line_and_the_work_goes_on(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(Toy(), raw, Path("whole"), workers=1)
    monkeypatch.setattr(partial, "_COMMIT_EVERY", 0.0)
    original, left = partial.PartialTable.add, iter(range(30))

    def add(self: partial.PartialTable, *sample: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *sample)

    with monkeypatch.context() as full:
        full.setattr(partial.PartialTable, "add", add)
        with pytest.raises(InputError, match="out cannot be written: No space left on device; once that is mended"):
            prepare(Toy(), raw, Path("out"), workers=1)
    prepare(Toy(), raw, Path("out"), workers=1)
    assert _bytes(Path("out")) == _bytes(Path("whole"))


def test_names_that_are_no_text_appear_by_their_code(raw: Path) -> None:
    strange = Path(os.fsdecode(b"\xff.txt"))
    (raw / strange).write_text("1\n\n")
    summary = prepare(Toy(), raw, Path("out"), workers=1)
    assert ImageTable.open("out").columns["group"][-1] == "\\udcff.txt"
    assert summary["skipped_sources"][-1][0].endswith(".txt#1")


@pytest.mark.parametrize("place", ["link", "."])
def test_the_place_may_be_a_link_or_the_folder_that_one_is_in(
    raw: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    if place == ".":
        monkeypatch.chdir("empty")
    prepare(Toy(), raw, Path(place), workers=1)
    assert len(ImageTable.open(raw.parent / "empty")) == 50


def test_a_file_that_vanished_is_named_before_anything_is_done(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Toy.pieces

    def pieces(self: Toy, source: Raw) -> list[Piece[int]]:
        source.listed["03.txt"] = "list.csv, line 4"
        found = listed(self, source)
        (raw / "03.txt").unlink(missing_ok=True)
        return found or []

    monkeypatch.setattr(Toy, "pieces", pieces)
    with pytest.raises(InputError, match=r"raw/03.txt cannot be read: .* absent \(listed in list.csv, line 4\)"):
        prepare(Toy(), raw, Path("out"), workers=1)
    assert sorted(path.name for path in Path().iterdir()) == ["raw"]
