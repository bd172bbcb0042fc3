"""Downloads: verified, whole or not there at all, and one line that says what to do where they fail."""

import hashlib
from pathlib import Path

import pytest

from datamodules.preparation.downloads import Remote, fetch
from metrics import InputError
from tests.raw.served import served

CONTENT = bytes(range(256)) * 400
MD5 = hashlib.md5(CONTENT).hexdigest()
ACCESS = "Ask the authors."


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder that is served."""
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "digits.gz").write_bytes(CONTENT)
    return folder


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_is_fetched_once(there: Path) -> None:
    here = Path("data/raw")
    with served(there) as (address, asked):
        remote = Remote("mine.gz", [f"{address}/digits.gz"], MD5)
        fetch([remote], here, ACCESS)
    assert (here / "mine.gz").read_bytes() == CONTENT
    assert _left(here) == ["mine.gz"]
    assert set(asked) == {"/digits.gz"}
    fetch([remote], here, ACCESS)  # nobody is there to ask any more


def test_a_wrong_checksum_is_refused_and_leaves_nothing(there: Path) -> None:
    here = Path("raw")
    with served(there) as (address, _), pytest.raises(InputError) as caught:
        fetch([Remote("mine.gz", [f"{address}/digits.gz"], "0" * 32)], here, ACCESS)
    message = str(caught.value)
    assert message.startswith(f"mine.gz cannot be downloaded ({address}/digits.gz: ")
    assert message.endswith("): get it by hand and give its folder to `lightning prepare` with --raw. Ask the authors.")
    assert "\n" not in message
    assert _left(here) == []


def test_half_a_file_is_refused_and_leaves_nothing(there: Path) -> None:
    here = Path("raw")
    with served(there) as (address, asked), pytest.raises(InputError, match=r"half/digits\.gz"):
        fetch([Remote("mine.gz", [f"{address}/half/digits.gz"], MD5)], here, ACCESS)
    assert set(asked) == {"/half/digits.gz"}
    assert _left(here) == []


def test_the_next_place_is_tried(there: Path) -> None:
    here = Path("raw")
    with served(there) as (address, asked):
        places = [f"{address}/{name}/digits.gz" for name in ("none", "half")] + [f"{address}/digits.gz"]
        fetch([Remote("mine.gz", places, MD5)], here, ACCESS)
    assert (here / "mine.gz").read_bytes() == CONTENT
    assert list(dict.fromkeys(asked)) == ["/none/digits.gz", "/half/digits.gz", "/digits.gz"]


def test_what_was_wrong_with_every_place_is_said(there: Path) -> None:
    with served(there) as (address, _), pytest.raises(InputError, match=r"/a: HTTP Error 404.*; .*/b: HTTP Error 404"):
        fetch([Remote("mine.gz", [f"{address}/a", f"{address}/b"], MD5)], Path("raw"), ACCESS)


def test_no_network_is_one_line(there: Path) -> None:
    with served(there) as (address, _):
        pass  # it has stopped
    with pytest.raises(InputError, match=r"^mine\.gz cannot be downloaded \(http://127[^\n]*refused[^\n]*$"):
        fetch([Remote("mine.gz", [f"{address}/digits.gz"], MD5)], Path("raw"), ACCESS)


def test_what_an_earlier_attempt_left_is_replaced(there: Path) -> None:
    here = Path("raw")
    here.mkdir()
    (here / "mine.gz").write_bytes(CONTENT[:100])
    with served(there) as (address, _):
        fetch([Remote("mine.gz", [f"{address}/digits.gz"], MD5)], here, ACCESS)
    assert (here / "mine.gz").read_bytes() == CONTENT
    assert _left(here) == ["mine.gz"]


def test_a_folder_that_cannot_be_made_is_named(there: Path) -> None:
    Path("taken").write_text("a file")
    with served(there) as (address, _), pytest.raises(InputError, match=r"mine\.gz cannot be downloaded.*taken"):
        fetch([Remote("mine.gz", [f"{address}/digits.gz"], MD5)], Path("taken/raw"), ACCESS)
