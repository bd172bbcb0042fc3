"""The raw folder: files in one order whatever the directories say, spreadsheets by column, and a fingerprint."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from datamodules.preparation.raw import Raw
from metrics import InputError

openpyxl = pytest.importorskip("openpyxl")

FILES = ("b/2.png", "a.csv", "b/10.png", "B/1.png", "b/c/1.PNG", "ä/1.dcm")


def _write(names: Iterable[str], content: str = "x") -> None:
    for name in names:
        Path("raw", name).parent.mkdir(parents=True, exist_ok=True)
        Path("raw", name).write_text(content, encoding="utf-8")


def _raw() -> Raw:
    return Raw("raw", Path("scratch"))


def _book(name: str, lines: Iterable[Iterable[Any]]) -> None:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(list(line))
    Path("raw").mkdir(exist_ok=True)
    book.save(f"raw/{name}")


@pytest.fixture
def shuffled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Directories that come in another order for every seed."""
    listed = os.scandir

    def shuffle(seed: int) -> None:
        rng = np.random.default_rng(seed)

        @contextmanager
        def scandir(place: str) -> Iterator[list[os.DirEntry[str]]]:
            with listed(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            yield [found[i] for i in rng.permutation(len(found))]

        monkeypatch.setattr(os, "scandir", scandir)

    return shuffle


def test_files_are_sorted_by_path_whatever_the_order_of_directories(shuffled: Callable[[int], None]) -> None:
    _write(FILES)
    for seed in range(5):
        shuffled(seed)
        assert _raw().files == sorted(FILES)


def test_the_root_is_the_same_whatever_the_order_of_directories(shuffled: Callable[[int], None]) -> None:
    _write(["z/train/1.png", "a/train/1.png", "m/x/train/1.png"])
    for seed in range(5):
        shuffled(seed)
        assert _raw().root("train") == "a"


def test_what_is_hidden_and_what_systems_leave_is_left_out() -> None:
    _write(FILES)
    _write([".DS_Store", "b/._2.png", ".hidden/1.png", "__MACOSX/b/2.png", "b/Thumbs.db"])
    assert _raw().files == sorted(FILES)
    assert _raw().root(".hidden/1.png") == ""
    assert _raw().root("b/2.png") == ""


def test_links_are_followed_but_not_in_circles() -> None:
    _write(["a/1.png", "a/b/2.png"])
    Path("elsewhere").mkdir()
    Path("elsewhere/3.png").touch()
    Path("raw/c").symlink_to(Path("elsewhere").resolve())
    Path("raw/a/circle").symlink_to(Path("raw").resolve())
    Path("raw/a/b/up").symlink_to("..")
    Path("raw/beyond").symlink_to(Path.cwd())
    Path("elsewhere/back").symlink_to(Path("raw/a").resolve())
    files = _raw().files
    assert {"a/1.png", "a/b/2.png", "c/3.png", "c/back/1.png"} <= set(files)
    assert not [file for file in files if "circle" in file or "up/" in file or "beyond" in file]


def test_a_folder_that_is_none_or_cannot_be_listed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no folder nowhere: give .* --raw"):
        Raw("nowhere", Path("scratch"))
    _write(FILES)

    def locked(place: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(InputError, match="raw cannot be listed: Permission denied"):
        _ = _raw().files


def test_files_below_a_folder_with_some_ending() -> None:
    _write(FILES)
    raw = _raw()
    assert raw.below("b") == ["b/10.png", "b/2.png", "b/c/1.PNG"]
    assert raw.below("b/c", ".png") == ["b/c/1.PNG"]
    assert raw.below("", ".dcm", ".CSV") == ["a.csv", "ä/1.dcm"]
    assert raw.below("b/1") == []


def test_files_by_a_key() -> None:
    _write(FILES)

    def stem(file: str) -> str | None:
        return Path(file).stem if file.startswith("b") else None

    assert _raw().index(".png", stem) == {"10": "b/10.png", "2": "b/2.png", "1": "b/c/1.PNG"}
    _write(["b/d/2.png"])
    with pytest.raises(InputError, match=r"raw holds 2 twice \(b/2.png, b/d/2.png\): .*--raw"):
        _raw().index(".png", stem)


@pytest.mark.parametrize(("place", "found"), [("", ""), ("one", "one"), ("one/two", "one/two"), ("1/2/3", None)])
def test_the_root_is_the_folder_or_at_most_two_levels_below(place: str, found: str | None) -> None:
    _write([f"{place}/train/1.png".lstrip("/"), f"{place}/valid/1.png".lstrip("/"), "other/train/1.png"])
    assert _raw().root("train", "valid") == found


def test_a_shallow_root_comes_first() -> None:
    _write(["a/b/train/1.png", "z/train/1.png"])
    assert _raw().root("train") == "z"


def test_a_file_is_found_anywhere_in_any_case() -> None:
    _write(["x/y/Train.CSV", "x/other.csv", "Notes 2019.xlsx"])
    raw = _raw()
    assert raw.find("train.csv") == "x/y/Train.CSV"
    assert raw.find("notes*.xlsx") == "Notes 2019.xlsx"
    assert raw.find("rain.csv") is None
    assert raw.require("TRAIN.csv", "labels") == "x/y/Train.CSV"
    with pytest.raises(InputError, match=r"raw holds no file called test.csv \(the labels\): put it"):
        raw.require("test.csv", "the labels")


def test_copies_of_a_file_are_one_but_two_that_differ_are_refused() -> None:
    _write(["a/train.csv", "b/train.csv"], "same")
    assert _raw().find("train.csv") == "a/train.csv"
    _write(["c/train.csv"], "other")
    with pytest.raises(InputError, match=r"3 different files called train.csv \(a/train.csv, b/train.csv, …\)"):
        _raw().find("train.csv")


def test_rows_are_read_by_the_names_of_columns() -> None:
    text = '\ufeffID , Side|,kl\nb,"two\nlines",4\n\n , ,\n a,, 3 \n'
    _write(["t.csv"], text)
    assert list(_raw().rows("t.csv", ["KL", "id"])) == [(3, ("4", "b")), (6, ("3", "a"))]
    _write(["t.txt"], "ID|SIDE\n1|2\n")
    assert list(_raw().rows("t.txt", ["side", "ID"], delimiter="|")) == [(2, ("2", "1"))]


def test_short_lines_lack_cells_and_long_ones_have_too_many() -> None:
    _write(["t.csv"], "a,b,c\n1\n1,2,3,4\n")
    assert list(_raw().rows("t.csv", ["c", "a"])) == [(2, ("", "1")), (3, ("3", "1"))]


def test_bytes_that_are_no_utf_8_do_not_stop_it() -> None:
    Path("raw").mkdir()
    Path("raw/t.csv").write_bytes(b"id,name\n1,M\xfcller\n")
    assert list(_raw().rows("t.csv", ["id"])) == [(2, ("1",))]


@pytest.mark.parametrize(("text", "columns"), [("id, label\n1,2\n", "id, label"), ("", "none")])
def test_a_missing_column_is_named_with_those_that_there_are(text: str, columns: str) -> None:
    _write(["t.csv"], text)
    with pytest.raises(InputError, match=rf"raw/t.csv has no column 'Path': its columns are {columns}"):
        list(_raw().rows("t.csv", ["Path"]))


def test_rows_that_cannot_be_read_name_the_file() -> None:
    _write(["t.csv"], "id\n" + "x" * (1 << 20) + "y\n")
    with pytest.raises(InputError, match=r"raw/t.csv cannot be read: field larger"):
        list(_raw().rows("t.csv", ["id"]))
    for read in (_raw().rows("no.csv", ["id"]), _raw().sheet("no.xlsx", ["id"]), _raw().lines("no.txt")):
        with pytest.raises(InputError, match=r"raw/no\.\w+ cannot be read: No such file"):
            next(iter(read))


def test_lines_of_a_file_without_a_header() -> None:
    _write(["t.txt"], "\ufeffone,1\r\n\r\n  two \n \nthree")
    assert list(_raw().lines("t.txt")) == [(1, "one,1"), (3, "two"), (5, "three")]


def test_rows_of_a_sheet() -> None:
    _book("t.xlsx", [[" Patient ID", None, "Score", "UID"], ["p1", "x", 3.0, 12], [None] * 4, ["p2", None, 2.5, None]])
    rows = _raw().sheet("t.xlsx", ["score", "Patient ID", "UID"])
    assert list(rows) == [(2, ("3", "p1", "12")), (4, ("2.5", "p2", ""))]
    with pytest.raises(InputError, match=r"raw/t.xlsx has no column 'Slice': its columns are Patient ID, Score, UID"):
        list(_raw().sheet("t.xlsx", ["Slice"]))


def test_a_sheet_that_understates_its_size_is_read_whole() -> None:
    _book("t.xlsx", [["a", "b"], [1, 2], [3, 4]])
    with ZipFile("raw/t.xlsx") as book:
        parts = {name: book.read(name) for name in book.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b'<dimension ref="A1:B3"' in parts[sheet]
    parts[sheet] = parts[sheet].replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"')
    with ZipFile("raw/t.xlsx", "w") as book:
        for name, content in parts.items():
            book.writestr(name, content)
    assert list(_raw().sheet("t.xlsx", ["b", "a"])) == [(2, ("2", "1")), (3, ("4", "3"))]


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_sheet_names_the_file(damage: str) -> None:
    _book("t.xlsx", [["a"], [1]])
    content = Path("raw/t.xlsx").read_bytes()
    damaged = {"truncated": content[: len(content) // 2], "text": b"a,b\n1,2\n", "empty": b""}
    Path("raw/t.xlsx").write_bytes(damaged[damage])
    with pytest.raises(InputError, match=r"raw/t.xlsx cannot be read: \S"):
        list(_raw().sheet("t.xlsx", ["a"]))


def test_the_fingerprint_is_of_data_files_by_size_and_of_spreadsheets_by_content() -> None:
    _write(["a.png", "b.png"], "12345")
    _write(["t.csv"], "id\n1\n")

    def fingerprint(*files: str, read: bool = True) -> dict[str, str | int]:
        raw = _raw()
        if read:
            list(raw.rows("t.csv", ["id"]))
        return raw.fingerprint(files)

    first = fingerprint("a.png", "b.png")
    assert (first["files"], first["bytes"]) == (2, 10)
    assert fingerprint("b.png", "a.png", "b.png") == first
    assert fingerprint("a.png", "b.png", read=False)["digest"] != first["digest"]
    assert fingerprint("a.png")["digest"] != first["digest"]
    _write(["t.csv"], "id\n2\n")
    changed = fingerprint("a.png", "b.png")
    assert changed["digest"] != first["digest"]
    _write(["b.png"], "1234")
    assert fingerprint("a.png", "b.png")["digest"] != changed["digest"]
    absent = fingerprint("a.png", "none.png")
    assert (absent["files"], absent["bytes"]) == (2, 5)


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies() -> None:
    _write(["a.png", "t.txt"])
    first = _raw()
    list(first.lines("t.txt"))
    Path("raw").rename("moved")
    second = Raw(Path("moved").resolve(), Path("scratch"))
    list(second.lines("t.txt"))
    assert first.fingerprint([]) == second.fingerprint([])


def test_a_name_that_is_no_utf_8_has_a_fingerprint() -> None:
    Path("raw").mkdir()
    Path(os.fsdecode(b"raw/\xff.png")).write_text("123")
    raw = _raw()
    assert raw.fingerprint(raw.files)["bytes"] == 3


def test_what_is_skipped_and_noted_is_kept() -> None:
    _write(FILES)
    raw = _raw()
    raw.skip("b", "absent")
    raw.skip("a", "absent")
    raw.note("seen")
    raw.note("seen")
    assert (raw.skipped, dict(raw.notes)) == ([("b", "absent"), ("a", "absent")], {"seen": 2})
