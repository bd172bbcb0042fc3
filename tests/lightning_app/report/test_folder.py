"""The folder of a report: whole, in place of an earlier one, or as it was."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_app.report.folder import check_folder, contents, write_folder
from lightning_app.report.page import Heading, as_page
from metrics import InputError
from tests.lightning_app.report.made import part

HEADING = Heading("demo", "2 records", "made so", has_law=True)


def made(*names: str, law: str | None = "{}\n") -> dict[str, bytes]:
    parts = [part(name) for name in names]
    return contents(as_page(HEADING, parts), parts, "run_id\na\n", law)


def there(folder: str = "out") -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def litter() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name != "out")


def test_every_figure_and_table_is_a_file() -> None:
    files = made("one", "two")
    assert sorted(files) == [
        *("figures/one-figure.pdf", "figures/one-figure.svg", "figures/two-figure.pdf", "figures/two-figure.svg"),
        *("index.html", "law.json", "records.csv", "tables/one-table.csv", "tables/two-table.csv"),
    ]
    assert files["figures/one-figure.pdf"].startswith(b"%PDF")
    assert files["figures/one-figure.svg"].startswith(b"<svg")
    assert files["tables/one-table.csv"].splitlines()[:2] == [b"what,value", b"row 0,0.0"]
    assert (files["law.json"], files["records.csv"]) == (b"{}\n", b"run_id\na\n")
    assert "law.json" not in made("one", law=None)


def test_earlier_report_is_replaced_with_all_its_files() -> None:
    write_folder("out", made("one", "two"))
    Path("out/.DS_Store").touch()  # what a file browser leaves is nobody's work
    later = made("two", law=None)
    write_folder("out", later)
    assert there() == later
    assert litter() == []


def test_empty_folder_is_taken() -> None:
    Path("out").mkdir()
    write_folder("out", made("one"))
    assert there() == made("one")


def test_link_stays_a_link() -> None:
    Path("disk").mkdir()
    Path("out").symlink_to("disk")
    for name in ("one", "two"):
        write_folder("out", made(name))
    assert Path("out").is_symlink()
    assert there("disk") == made("two")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda: Path("out").touch(), "cannot write the report to out: it is a file; name another with --out"),
        (lambda: _put("out/notes.md"), "out holds notes.md, which no report has written and which would be lost: name"),
        (lambda: _put("out/index.html"), "out holds index.html, which no report has written"),
        (lambda: _put("out/figures/mine.svg", report=True), "out holds figures/mine.svg, which no report has written"),
        (lambda: _put("out/.git/config", report=True), "out holds .git, which no report has written"),
        (lambda: _put("out/.notes", report=True), "out holds .notes, which no report has written"),
        (lambda: _put("out/figures/.notes", report=True), "out holds figures/.notes, which no report has written"),
        (lambda: Path("out/results").mkdir(parents=True), "out holds results, which no report has written"),
        (lambda: _put("out/law.json", report=True), "out holds law.json, which no report has written"),
    ],
)
def test_what_is_not_of_a_report_is_not_touched(prepare: Callable[[], None], message: str) -> None:
    prepare()
    before = there() if Path("out").is_dir() else {}
    for attempt in (lambda: check_folder("out"), lambda: write_folder("out", made("one"))):
        with pytest.raises(InputError) as refused:
            attempt()
        assert str(refused.value).startswith(message)
    assert Path("out").is_file() or there() == before
    assert litter() == []


def test_the_working_directory_and_what_is_around_it_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out/inside").mkdir(parents=True)
    monkeypatch.chdir("out/inside")
    for folder in (".", "..", "../../out", str(Path.cwd())):
        with pytest.raises(InputError, match="you are in this folder, and a report takes its place; name another"):
            check_folder(folder)
    check_folder("new")


def _put(file: str, report: bool = False) -> None:
    if report:
        parts = [part("one")]
        heading = Heading("demo", "2 records", "made so", has_law=False)
        write_folder("out", contents(as_page(heading, parts), parts, "", None))
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("mine")


def test_folder_in_no_folder_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot write the report to no/out: there is no folder .*/no$"):
        check_folder("no/out")


def test_read_only_place_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(
        InputError, match="cannot write the report to out: Read-only file system; choose another folder"
    ):
        write_folder("out", made("one"))
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_full_disk_leaves_what_was_there(earlier: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if earlier:
        write_folder("out", made("one"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot write the report to out: No space left on device"):
        write_folder("out", made("two"))
    assert there() == (made("one") if earlier else {})
    assert litter() == []


class Killed(BaseException):
    """The process is gone."""


def test_stopped_at_any_moment_it_is_the_earlier_report_or_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, later = made("one"), made("two")
    calls = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}
    left = -1

    def stopping(name: str) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            calls[name](*arguments)

        return call

    for name in calls:
        monkeypatch.setattr(os, name, stopping(name))
    write_folder("out", earlier)
    moment, outcomes = 0, []
    while True:
        moment += 1
        left = moment
        try:
            write_folder("out", later)
        except Killed:
            left = -1
            outcomes.append(there() == later)
            assert there() in (earlier, later)
            assert litter() == []
            write_folder("out", earlier)
        else:
            break
    assert moment > 2 * len(later)  # every file and both renames were among the moments
    assert there() == later


def test_reports_written_at_the_same_time_are_not_mixed() -> None:
    reports = [made(name) for name in ("one", "two", "three", "four")]
    wrong: list[BaseException] = []

    def write(files: dict[str, bytes]) -> None:
        try:
            for _ in range(10):
                write_folder("out", files)
        except BaseException as error:  # a thread keeps it to itself
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(files,)) for files in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert there() in reports
    assert litter() == []
