"""A table that is being written, in a folder beside its place: can be left at any moment and taken up again."""

import csv
import fcntl
import io
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from datamodules.tables import IMAGES, MANIFEST, Cell, Row, write_header
from metrics import InputError

SUMMARY = "prepare.json"
_JOURNAL = "journal.jsonl"
_LOCK = "lock"
_SCRATCH = "scratch"
_COMMIT_EVERY = 2.0  # seconds of work that a kill may cost


@dataclass
class Progress:
    """How far a table is.

    Attributes:
        pieces: Pieces that are finished.
        images: Images that they gave.
        manifest: Bytes of the manifest.
        shape: Shape of the images, and
        columns: names of the manifest's columns; empty as long as there is no image.
        skipped: (source, reason) of what gave no image.
        notes: How often each note was made.
    """

    pieces: int = 0
    images: int = 0
    manifest: int = 0
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


class PartialTable:
    """An image table in the making. One process at a time holds it.

    Its two files grow; a journal says, after every few seconds of work, how long they were when everything before was
    in them. Whatever lies beyond the last entry is cut off when the work is taken up again, so that a table that was
    interrupted ends with the same bytes as one that was not.

    Args:
        out: Where the table is to be.
        wait: Wait for another process that is making it, instead of refusing.

    Raises:
        InputError: The folder cannot be written, or another process holds it.

    Attributes:
        scratch: A folder for what is slow to work out; it goes when the table is finished.
        done: How far the table is.
    """

    def __init__(self, out: Path, *, wait: bool = False) -> None:
        self.out = out
        self.folder = out.parent / f".{out.name}.preparing"
        self.scratch = self.folder / _SCRATCH
        self.done = Progress()
        self._new = [place for place in out.parents if not place.exists()]
        self._journaled = (0, Counter[str]())  # what of skips and notes the journal knows
        self._committed = time.monotonic()
        while True:
            try:
                self.scratch.mkdir(parents=True, exist_ok=True)
                self._lock = (self.folder / _LOCK).open("w")
            except OSError as error:
                if wait and isinstance(error, FileNotFoundError) and out.parent.is_dir():
                    continue  # it was put in place between the two
                raise InputError(f"cannot write a table at {out}: {error.strerror}") from error
            if _is_ours(self._lock, self.folder / _LOCK, wait):
                break
            self._lock.close()
            if not wait:
                raise InputError(f"another process is preparing {out}: wait for it, or choose another --out")

    @property
    def is_begun(self) -> bool:
        """Whether there is work, of this process or an earlier one, that is worth keeping."""
        return (self.folder / _JOURNAL).exists()

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Take up what an earlier process left, if it was making the same table, or begin anew.

        Args:
            identity: What decides the table: data set, options, fingerprint of the source.
        """
        first = json.dumps(identity, sort_keys=True)
        journal = self.folder / _JOURNAL
        lines = _whole_lines(journal)
        replayed = _replayed(lines[1:]) if lines[:1] == [first] else None
        if replayed is not None and self._has(replayed):
            self.done = replayed
            kept = sum(len(line.encode()) + 1 for line in lines)
        else:
            journal.write_text(first + "\n", encoding="utf-8")
            kept = journal.stat().st_size
        done = self.done
        self._journal = _opened_at(journal, kept)
        self._images = _opened_at(self.folder / IMAGES, _bytes_of(done.shape, done.images))
        self._manifest = _opened_at(self.folder / MANIFEST, done.manifest)
        self._journaled = (len(done.skipped), done.notes.copy())

    def _has(self, done: Progress) -> bool:
        """Whether the two files hold what the journal says."""
        wanted = {IMAGES: _bytes_of(done.shape, done.images), MANIFEST: done.manifest}
        places = {self.folder / name: size for name, size in wanted.items() if size}
        return all(place.is_file() and place.stat().st_size >= size for place, size in places.items())

    def add(self, image: NDArray[np.uint8], row: Row) -> None:
        """Append an image.

        Raises:
            InputError: It has another shape than the first, or its row other columns.
        """
        done = self.done
        if image.dtype != np.uint8 or image.ndim != 3:
            raise InputError(f"{row['source']} is {image.dtype} {image.shape}: expected uint8 (C, H, W)")
        if not done.columns:
            done.shape, done.columns = image.shape, tuple(row)
            write_header(self._images, 0, image.shape)
            self._write_row(list(row))
        if image.shape != done.shape:
            raise InputError(f"{row['source']} has the shape {image.shape}, the first image has {done.shape}")
        if tuple(row) != done.columns:
            raise InputError(f"{row['source']} has the columns {', '.join(row)}, the first {', '.join(done.columns)}")
        self._images.write(np.ascontiguousarray(image).tobytes())
        self._write_row(list(row.values()))
        done.images += 1

    def finished_piece(self) -> None:
        """Everything of one more piece has been added; now and then this is written down."""
        self.done.pieces += 1
        if time.monotonic() - self._committed >= _COMMIT_EVERY:
            self.commit()

    def flush(self) -> None:
        """Make the two files readable as a table, as far as they are."""
        self._images.seek(0)
        write_header(self._images, self.done.images, self.done.shape)
        self._images.seek(0, os.SEEK_END)
        self.commit()

    def commit(self) -> None:
        """Make sure that all that was added survives."""
        for file in (self._images, self._manifest):
            file.flush()
            os.fsync(file.fileno())
        skipped, notes = self._journaled
        entry = {
            "pieces": self.done.pieces,
            "images": self.done.images,
            "manifest": self.done.manifest,
            "shape": self.done.shape,
            "columns": self.done.columns,
            "skipped": self.done.skipped[skipped:],
            "notes": dict(self.done.notes - notes),
        }
        self._journal.write(f"{json.dumps(entry)}\n".encode())
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._journaled = (len(self.done.skipped), self.done.notes.copy())
        self._committed = time.monotonic()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Put the table in its place, whole.

        Raises:
            InputError: Something else has come to lie there.
        """
        self._close_files()
        text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
        (self.folder / SUMMARY).write_bytes(_encoded(text))
        shutil.rmtree(self.scratch)
        try:
            os.rename(self.folder, self.out)
        except OSError as error:
            raise InputError(f"{self.out} cannot be put in place: {error.strerror}") from error
        # Last: killed before this line, nothing has to be done again.
        tidy(self.out)

    def close(self) -> None:
        """Let go of the table; what was committed stays."""
        self._close_files()
        self._lock.close()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._close_files()
        shutil.rmtree(self.folder, ignore_errors=True)
        for place in self._new:
            with suppress(OSError):  # others have come to use it
                place.rmdir()
        self._lock.close()

    def _close_files(self) -> None:
        for name in ("_images", "_manifest", "_journal"):
            if hasattr(self, name):
                with suppress(OSError):  # what is not on the disk was not committed
                    getattr(self, name).close()

    def _write_row(self, cells: Iterable[Cell]) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(cells)
        self.done.manifest += self._manifest.write(_encoded(text.getvalue()))


def _encoded(text: str) -> bytes:
    """UTF-8; bytes of file names that are none appear by their code."""
    return text.encode("utf-8", "backslashreplace")


def tidy(table: Path) -> None:
    """Remove from a finished table what only its making needed."""
    for name in (_JOURNAL, _LOCK):
        (table / name).unlink(missing_ok=True)


def _is_ours(lock: TextIO, path: Path, wait: bool) -> bool:
    """Whether the lock could be had, and still is the one that others look for."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False  # the table has just been put in place


def _whole_lines(journal: Path) -> list[str]:
    """What the journal says; a last line that was cut short is left out."""
    if not journal.is_file():
        return []
    return journal.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


def _replayed(lines: Iterable[str]) -> Progress | None:
    """How far a journal says that the table is; None where it is damaged."""
    done = Progress()
    try:
        for line in lines:
            entry = json.loads(line)
            done.pieces, done.images, done.manifest = entry["pieces"], entry["images"], entry["manifest"]
            done.shape, done.columns = tuple(entry["shape"]), tuple(entry["columns"])
            done.skipped += [(source, reason) for source, reason in entry["skipped"]]
            done.notes.update(entry["notes"])
    except (ValueError, KeyError, TypeError):
        return None
    return done


def _opened_at(path: Path, size: int) -> BinaryIO:
    """A file to be appended to, without what lies beyond a size."""
    path.touch()
    file = path.open("r+b")
    file.truncate(size)
    file.seek(size)
    return file


def _bytes_of(shape: tuple[int, ...], count: int) -> int:
    """The length of ``images.npy`` when it holds some images."""
    if not shape:
        return 0
    header = io.BytesIO()
    write_header(header, count, shape)
    return header.tell() + count * math.prod(shape)
