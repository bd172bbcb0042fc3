"""The folder of a raw download: finding files in it, reading its spreadsheets, and what is said on the way."""

import csv
import fnmatch
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.preparation.optional import need
from metrics import InputError

_JUNK = ("Thumbs.db", "__MACOSX")  # beside what is hidden
_LARGEST_FIELD = 1 << 20  # characters in a cell
Cells = tuple[str, ...]


class Raw:
    """A folder of raw files. Everything it lists is sorted, so that the order of directories has no effect.

    Args:
        folder: The folder; names of files are relative to it, with forward slashes.
        scratch: A folder for what is slow to work out and worth keeping until the table is finished.

    Raises:
        InputError: No such folder.

    Attributes:
        skipped: What was skipped so far, as (source, reason), in order.
        notes: What was noted so far, and how often.
        listed: Where a source is listed, for messages: spreadsheet and line, as far as a recipe says so.
        absent: Files that :meth:`fingerprint` did not find.
    """

    def __init__(self, folder: str | Path, scratch: Path) -> None:
        self.folder = Path(folder)
        self.scratch = scratch
        self.skipped: list[tuple[str, str]] = []
        self.notes: Counter[str] = Counter()
        self.listed: dict[str, str] = {}
        self.absent: set[str] = set()
        self._read: dict[str, str] = {}  # digest of the files that were read whole
        if not self.folder.is_dir():
            raise InputError(f"there is no folder {self.folder}: give the folder of the raw files with --raw")

    def skip(self, source: str, reason: str) -> None:
        """Say that something does not become an image; the same words for the same reason."""
        self.skipped.append((source, reason))

    def note(self, text: str) -> None:
        """Say that something was decided that a reader of the numbers should know; counted by its text."""
        self.notes[text] += 1

    @cached_property
    def files(self) -> list[str]:
        """Every file below the folder, sorted by its path; hidden files and what systems leave behind are left out.

        Links are followed, but not to a folder that they lie in.

        Raises:
            InputError: A folder cannot be listed.
        """
        return sorted(self._walk("", {_identity(above) for above in self.folder.resolve().parents}))

    def below(self, folder: str, *endings: str) -> list[str]:
        """The files below a folder ("" for all) whose names end in one of some endings, in any case of letters."""
        prefix = f"{folder}/" if folder else ""
        ends = tuple(ending.lower() for ending in endings) or ("",)
        return [file for file in self.files if file.startswith(prefix) and file.lower().endswith(ends)]

    def index(self, ending: str, key: Callable[[str], str | None]) -> dict[str, str]:
        """Files of an ending by a key that is made of their path; those whose key is None are left out.

        Raises:
            InputError: Two files have the same key.
        """
        found: dict[str, str] = {}
        for file in self.below("", ending):
            name = key(file)
            if name is None:
                continue
            if name in found:
                raise InputError(
                    f"{self.folder} holds {name} twice ({found[name]}, {file}): give the folder of one copy with --raw"
                )
            found[name] = file
        return found

    def root(self, *names: str) -> str | None:
        """The folder that holds all of some names: the raw folder itself ("") or one at most two levels below.

        The shallowest is taken, then the first by name; None where there is none.
        """
        level = [""]
        for depth in range(3):
            if depth:
                level = [child for place in level for child in self._folders(place)]
            for place in level:
                if all((self.folder / place / name).exists() for name in names):
                    return place
        return None

    def find(self, pattern: str) -> str | None:
        """The file of that name anywhere below, in any case of letters, ``*`` for anything; None if there is none.

        Raises:
            InputError: There are several, and their contents differ.
        """
        wanted = pattern.lower()
        found = [file for file in self.files if fnmatch.fnmatchcase(file.rpartition("/")[2].lower(), wanted)]
        if not found:
            return None
        if len({self._digest(file) for file in found}) > 1:
            raise InputError(
                f"{self.folder} holds {len(found)} different files called {pattern} ({found[0]}, {found[1]}"
                f"{', …' if len(found) > 2 else ''}): keep the right one"
            )
        return found[0]

    def require(self, pattern: str, what: str) -> str:
        """Like :meth:`find`, but it must be there.

        Raises:
            InputError: It is not; says what it is.
        """
        found = self.find(pattern)
        if found is None:
            raise InputError(f"{self.folder} holds no file called {pattern} ({what}): put it anywhere below")
        return found

    def lines(self, file: str) -> Iterator[tuple[int, str]]:
        """The lines of a text file without a header: the number of each, and its text, stripped; no blank ones.

        Raises:
            InputError: The file cannot be read.
        """
        self._digest(file)
        with (self.folder / file).open(encoding="utf-8-sig", errors="replace") as text:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, line.strip()

    def rows(self, file: str, columns: Sequence[str], *, delimiter: str = ",") -> Iterator[tuple[int, Cells]]:
        """The rows of a text table: the number of each line, and its cells under some columns, stripped.

        Columns are found by name, in any case of letters; blank lines are passed over.

        Raises:
            InputError: The file cannot be read, or a column is missing; names those that there are.
        """
        self._digest(file)
        csv.field_size_limit(_LARGEST_FIELD)
        try:
            with (self.folder / file).open(newline="", encoding="utf-8-sig", errors="replace") as text:
                reader = csv.reader(text, delimiter=delimiter)
                header = next(reader, [])
                lines = ((reader.line_num, line) for line in reader)
                yield from _chosen(f"{self.folder / file}", header, lines, columns)
        except (OSError, csv.Error) as error:
            raise InputError(f"{self.folder / file} cannot be read: {error}") from error

    def sheet(self, file: str, columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        """The rows of the first sheet of an ``.xlsx`` file, like :meth:`rows`; whole numbers have no decimals.

        Needs the extra ``radiology``.

        Raises:
            InputError: The file cannot be read, or a column is missing.
        """
        self._digest(file)
        openpyxl = need("openpyxl")
        try:
            with (self.folder / file).open("rb") as opened:
                book = openpyxl.load_workbook(opened, read_only=True, data_only=True)
                sheet = book.worksheets[0]
                sheet.reset_dimensions()  # exported sheets may understate them
                lines = sheet.iter_rows(values_only=True)
                header = [_text(value) for value in next(lines, ())]
                numbered = ((i, [_text(value) for value in line]) for i, line in enumerate(lines, start=2))
                yield from _chosen(f"{self.folder / file}", header, numbered, columns)
        except InputError:
            raise
        except Exception as error:  # a damaged archive makes openpyxl raise anything
            raise InputError(f"{self.folder / file} cannot be read: {error}") from error

    def identify(self, file: str) -> None:
        """Let the content of a file enter the fingerprint, not only its size: for small ones that hold labels."""
        self._digest(file)

    def fingerprint(self, files: Iterable[str]) -> dict[str, str | int]:
        """What identifies the raw data: digest of names and sizes of data files and of the contents of spreadsheets.

        Args:
            files: The data files, relative to the folder.

        Returns:
            ``digest``, ``files`` (how many) and ``bytes`` (of data files that are there).
        """
        digest, count, total = hashlib.blake2b(digest_size=16), 0, 0
        for file, content in sorted(self._read.items()):
            digest.update(os.fsencode(f"{file}\0{content}\n"))
        for file in sorted(set(files)):
            place = self.folder / file
            size = place.stat().st_size if place.is_file() else -1
            if size < 0:
                self.absent.add(file)
            digest.update(os.fsencode(f"{file}\0{size}\n"))
            count, total = count + 1, total + max(size, 0)
        return {"digest": digest.hexdigest(), "files": count, "bytes": total}

    def _digest(self, file: str) -> str:
        if file not in self._read:
            if (self.folder / file).exists() and not (self.folder / file).is_file():
                raise InputError(f"{self.folder / file} cannot be read: it is no file")
            try:
                with (self.folder / file).open("rb") as content:
                    self._read[file] = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            except OSError as error:
                raise InputError(f"{self.folder / file} cannot be read: {error.strerror}") from error
        return self._read[file]

    def _folders(self, place: str) -> list[str]:
        names = sorted(name for name, is_folder in self._listed(place) if is_folder)
        return [f"{place}/{name}".lstrip("/") for name in names]

    def _walk(self, place: str, above: set[tuple[int, int]]) -> Iterator[str]:
        own = _identity(f"{self.folder}/{place}")
        if own in above:
            return  # a link to a folder that it lies in
        for name, is_folder in self._listed(place):
            path = f"{place}/{name}" if place else name
            if is_folder:
                yield from self._walk(path, above | {own})
            else:
                yield path

    def _listed(self, place: str) -> list[tuple[str, bool]]:
        """The names in a folder, and whether each is one itself."""
        try:
            with os.scandir(f"{self.folder}/{place}") as entries:
                return [(entry.name, _is_folder(entry)) for entry in entries if not _is_junk(entry.name)]
        except OSError as error:
            raise InputError(f"{self.folder / place} cannot be listed: {error.strerror}") from error


def _identity(folder: str | Path) -> tuple[int, int]:
    """What a folder is, whatever path leads to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name in _JUNK


def _chosen(
    where: str, header: Sequence[str], lines: Iterable[tuple[int, Sequence[str]]], columns: Sequence[str]
) -> Iterator[tuple[int, Cells]]:
    names = [name.strip().casefold() for name in header]
    positions = []
    for column in columns:
        if column.casefold() not in names:
            shown = ", ".join(name.strip() for name in header if name.strip()) or "none"
            raise InputError(f"{where} has no column {column!r}: its columns are {shown}")
        positions.append(names.index(column.casefold()))
    for number, line in lines:
        cells = line if len(line) >= len(header) else [*line, *[""] * (len(header) - len(line))]
        chosen = tuple([cells[position].strip() for position in positions])  # a list: half the time of a generator
        if any(chosen) or "".join(line).strip():
            yield number, chosen


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
