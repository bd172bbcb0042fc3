"""Archives: read in place and at any place; damage, links and hostile names do no harm."""

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from datamodules.pictures import UnreadableError
from datamodules.preparation.archives import Member, as_file, naming, read_member, read_range, tar_members
from metrics import InputError

CONTENT = np.random.default_rng(0).integers(0, 7, 300_000, dtype=np.uint8).tobytes()


def _plain(content: bytes = CONTENT) -> tuple[Path, str | None]:
    Path("content").write_bytes(content)
    return Path("content"), None


def _gz(content: bytes = CONTENT) -> tuple[Path, str | None]:
    Path("content.gz").write_bytes(gzip.compress(content))
    return Path("content.gz"), None


def _zip(content: bytes = CONTENT) -> tuple[Path, str | None]:
    with zipfile.ZipFile("content.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other", b"something else")
        archive.writestr("content", content)
    return Path("content.npz"), "content"


KINDS = [_plain, _gz, _zip]
Kind = Callable[..., tuple[Path, str | None]]


@pytest.mark.parametrize("write", KINDS)
def test_ranges_are_those_of_the_content(write: Kind) -> None:
    file, member = write()
    for start, size in [(0, 10), (10, 1000), (200_000, 100_000), (5, 5), (299_999, 1), (0, 300_000), (7, 0)]:
        assert read_range(file, start, size, member) == CONTENT[start : start + size]


@pytest.mark.parametrize("write", KINDS)
def test_what_is_missing_at_the_end_is_noticed(write: Kind) -> None:
    file, member = write()
    with pytest.raises(UnreadableError, match=r"^is cut off: byte 300000 is missing$"):
        read_range(file, 299_990, 11, member)


@pytest.mark.parametrize("write", KINDS)
def test_a_file_that_has_changed_is_read_anew(write: Kind) -> None:
    file, member = write()
    assert read_range(file, 0, 9, member) == CONTENT[:9]
    write(CONTENT[::-1])
    os.utime(file, ns=(1, 1))
    assert read_range(file, 9, 9, member) == CONTENT[::-1][9:18] != CONTENT[9:18]


def test_ranges_that_follow_one_another_are_uncompressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = _gz()
    opened, rewound = Mock(wraps=gzip.open), Mock(side_effect=AssertionError)
    monkeypatch.setattr(gzip, "open", opened)
    monkeypatch.setattr(gzip.GzipFile, "rewind", rewound)
    for start in range(0, 300_000, 50_000):
        assert read_range(file, start, 20_000) == CONTENT[start : start + 20_000]
    opened.assert_called_once()


@pytest.mark.parametrize("write", [_gz, _zip])
@pytest.mark.parametrize("damage", [lambda old: old[: len(old) // 2], lambda old: b"\0" * len(old), lambda old: b""])
def test_damage_is_one_line_and_does_not_last(write: Kind, damage: Callable[[bytes], bytes]) -> None:
    file, member = write()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UnreadableError, match=r"^[^\n]+$"):
        read_range(file, 250_000, 1000, member)
    plain, _ = _plain()
    assert read_range(plain, 1, 5) == CONTENT[1:6]
    write()
    assert read_range(file, 250_000, 1000, member) == CONTENT[250_000:251_000]


def test_an_absent_file_is_a_reason() -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_range(Path("absent.gz"), 0, 1)


def test_a_reason_outside_of_decoding_names_the_file() -> None:
    with pytest.raises(InputError, match=r"^some/file cannot be read: because$"), naming(Path("some/file")):
        raise UnreadableError("because")


def _tar(files: dict[str, bytes], mode: str = "w", *, links: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]  # any mode as text
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE) if links else ():
            member = tarfile.TarInfo("a.JPEG")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return buffer.getvalue()


FILES = {"z/b.JPEG": b"second" * 200, "a.JPEG": b"first", "../../c.JPEG": b"third" * 500}


def _content(archive: Path, member: Member) -> bytes:
    with as_file(archive, member) as copy:
        return copy.read_bytes()


def test_members_are_files_by_name() -> None:
    archive = Path("pictures.tar")
    archive.write_bytes(_tar(FILES, links=True))
    members = tar_members(archive)
    assert [member.name for member in members] == ["a.JPEG", "b.JPEG", "c.JPEG"]
    assert [_content(archive, member) for member in members] == [b"first", b"second" * 200, b"third" * 500]


def test_members_of_an_archive_in_an_archive() -> None:
    archive = Path("train.tar")
    archive.write_bytes(_tar({"n2.tar": _tar({"x.JPEG": b"other"}), "n1.tar": _tar(FILES)}))
    first, second = tar_members(archive)
    assert (first.name, second.name) == ("n1.tar", "n2.tar")
    inner = tar_members(archive, first)
    assert {member.name: _content(archive, member) for member in inner} == {
        name.rpartition("/")[2]: content for name, content in FILES.items()
    }
    assert [_content(archive, member) for member in tar_members(archive, second)] == [b"other"]


def test_a_copy_lies_elsewhere_and_goes() -> None:
    archive = Path("pictures.tar")
    archive.write_bytes(_tar({"../../c.JPEG": b"third"}))
    (member,) = tar_members(archive)
    with as_file(archive, member) as copy:
        assert copy.read_bytes() == b"third"
        assert "c.JPEG" not in copy.name
        place = copy
    assert not place.exists()
    assert [path.name for path in Path().iterdir()] == ["pictures.tar"]
    assert not Path("../../c.JPEG").exists()


def test_every_cut_through_an_archive_is_noticed() -> None:
    whole = _tar(FILES)
    end = whole.rstrip(b"\0")  # the last block of content is filled up with zeros
    archive = Path("cut.tar")
    for length in range(0, len(end), 100):
        archive.write_bytes(whole[:length])
        with pytest.raises(UnreadableError):
            tar_members(archive)


def test_a_cut_through_an_inner_archive_is_noticed() -> None:
    inner = _tar(FILES)
    archive = Path("train.tar")
    for length in range(0, len(inner.rstrip(b"\0")), 512):
        archive.write_bytes(_tar({"n1.tar": inner[:length], "n2.tar": inner}))
        first, second = tar_members(archive)
        with pytest.raises(UnreadableError):
            tar_members(archive, first)
        assert len(tar_members(archive, second)) == 3


def test_a_damaged_header_is_noticed() -> None:
    content = bytearray(_tar(FILES))
    second = content.index(b"a.JPEG")
    content[second : second + 20] = b"x" * 20
    Path("damaged.tar").write_bytes(content)
    with pytest.raises(UnreadableError, match=f"is cut off or damaged at byte {second}"):
        tar_members(Path("damaged.tar"))


@pytest.mark.parametrize("content", [gzip.compress(_tar(FILES)), b"", b"no archive" * 100])
def test_what_is_no_plain_archive_is_refused(content: bytes) -> None:
    Path("some.tar").write_bytes(content)
    with pytest.raises(UnreadableError):
        tar_members(Path("some.tar"))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_one_file_of_an_archive(mode: str) -> None:
    Path("some.tar.gz").write_bytes(_tar({"docs/data_batch_1.txt": b"no", "x/data_batch_1": b"yes"}, mode))
    assert read_member(Path("some.tar.gz"), "data_batch_1", at_most=3) == b"yes"


def test_one_file_that_is_absent_or_too_large_or_a_link() -> None:
    archive = Path("some.tar.gz")
    archive.write_bytes(_tar({"large": bytes(1000)}, "w:gz", links=True))
    with pytest.raises(UnreadableError, match="large in it has 1000 bytes: expected at most 999"):
        read_member(archive, "large", at_most=999)
    for name in ("data_batch_1", "a.JPEG"):
        with pytest.raises(UnreadableError, match=f"holds no {name}"):
            read_member(archive, name, at_most=10)


@pytest.mark.parametrize("length", [0, 10, 60])
def test_one_file_of_an_archive_that_is_cut_off(length: int) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    Path("some.tar.gz").write_bytes(_tar({"x/data_batch_1": noise}, "w:gz")[:length])
    with pytest.raises(UnreadableError, match=r"^[^\n]+$"):
        read_member(Path("some.tar.gz"), "data_batch_1", at_most=10_000)
