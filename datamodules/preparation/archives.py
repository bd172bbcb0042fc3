"""Reading inside archives and compressed files, in place: nothing is written to where an archive says."""

import atexit
import gzip
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from datamodules.pictures import UnreadableError
from metrics import InputError

# RuntimeError: encrypted, or compressed in a way that Python does not know.
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
"""What reading a damaged archive raises."""

_BLOCK = 512  # bytes, of a tar archive
_MOST = 1 << 28  # bytes of a picture

_Content = tuple[Path, str | None, int, int]
_kept: dict[_Content, BinaryIO] = {}  # at most one


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Outside of :meth:`Recipe.decode`, a file that cannot be read stops everything: say which."""
    try:
        yield
    except UnreadableError as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def read_range(file: Path, start: int, size: int, member: str | None = None) -> bytes:
    """Some bytes of a file, uncompressed where it is a ``.gz``, or of one member of a zip archive.

    Compressed data can only be read from the start onwards. The stream is therefore kept open: ranges that follow one
    another cost no more than reading all of them at once.

    Raises:
        UnreadableError: It is absent, damaged, or ends before.
    """
    try:
        stream = _stream(file, member)
        stream.seek(start)
        content = stream.read(size)
    except DAMAGE as error:
        _let_go()
        raise UnreadableError(_reason(error)) from error
    if len(content) < size:
        raise UnreadableError(f"is cut off: byte {start + len(content)} is missing")
    return content


@dataclass(frozen=True)
class Member:
    """A file in a tar archive that is not compressed.

    Attributes:
        name: Its name without the folders; only ever compared, never a place to write to.
        offset: Where in the archive its bytes begin.
        size: Number of its bytes.
    """

    name: str
    offset: int
    size: int


def tar_members(archive: Path, inside: Member | None = None) -> list[Member]:
    """The files in a tar archive that is not compressed, sorted by name; folders, links and devices are left out.

    Args:
        archive: The archive.
        inside: A member of it, if that is the tar archive to be listed.

    Raises:
        UnreadableError: It is absent, cut off, compressed, or no tar archive.
    """
    try:
        with archive.open("rb") as file:
            file.seek(inside.offset if inside else 0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                members = [
                    Member(_base(member), member.offset_data, member.size)
                    for member in tar
                    if member.isreg() and not member.issparse()
                ]
                end = tar.offset
            file.seek(end)
            # tarfile takes a damaged header for the end, which is marked by zeros.
            whole = file.read(_BLOCK) == bytes(_BLOCK) and (inside is None or end < inside.offset + inside.size)
    except DAMAGE as error:
        raise UnreadableError(_reason(error)) from error
    if not whole:
        raise UnreadableError(f"is cut off or damaged at byte {end}")
    return sorted(members, key=lambda member: member.name)


@contextmanager
def as_file(archive: Path, member: Member) -> Iterator[Path]:
    """A member of a tar archive as a file of its own, for a while, where the system keeps temporary files.

    Raises:
        UnreadableError: The archive is absent, or ends before.
    """
    if member.size > _MOST:
        raise UnreadableError(f"{member.name} in it has {member.size} bytes: expected at most {_MOST}")
    with tempfile.NamedTemporaryFile() as copy:
        copy.write(read_range(archive, member.offset, member.size))
        copy.flush()
        yield Path(copy.name)


def read_member(archive: Path, name: str, *, at_most: int) -> bytes:
    """A file in a tar archive, compressed or not.

    Args:
        archive: The archive.
        name: Name of the file without its folders.
        at_most: Bytes that it may have.

    Raises:
        UnreadableError: The archive is absent or damaged, or has no such file, or a larger one.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and _base(member) == name:
                    if member.size > at_most:
                        raise UnreadableError(f"{name} in it has {member.size} bytes: expected at most {at_most}")
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    with content:
                        return content.read()
    except DAMAGE as error:
        raise UnreadableError(_reason(error)) from error
    raise UnreadableError(f"holds no {name}")


def _base(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2]


def _stream(file: Path, member: str | None) -> BinaryIO:
    status = file.stat()
    content = (file, member, status.st_size, status.st_mtime_ns)
    if content not in _kept:
        _let_go()
        _kept[content] = _opened(file, member)
    return _kept[content]


def _opened(file: Path, member: str | None) -> BinaryIO:
    if member is not None:
        with zipfile.ZipFile(file) as archive:
            return cast(BinaryIO, archive.open(member))  # stays readable when the archive is closed
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


@atexit.register
def _let_go() -> None:
    for stream in _kept.values():
        stream.close()
    _kept.clear()


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or " ".join(str(error).split()) or type(error).__name__
