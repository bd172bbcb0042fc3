"""The folder of a report: it appears whole, in place of an earlier one, or not at all."""

import errno
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lightning_app.mistakes import mistake
from lightning_app.report.part import Part
from lightning_app.run import write_bytes

PAGE = "index.html"
_OF_NOBODY = {".DS_Store"}  # macOS leaves it wherever a folder was looked at
_SIGN = '<meta name="generator" content="lightning report">'


def contents(page: str, parts: Sequence[Part], records: str, law: str | None) -> dict[str, bytes]:
    """Every file of a report, by its path in the folder.

    Args:
        page: HTML that links to all the other files: what it does not link to is taken for somebody else's.
        parts: Whose figures and tables are written.
        records: The table that was read, as CSV.
        law: The fitted law as JSON, where there is one.
    """
    files = {PAGE: page, "records.csv": records} | ({} if law is None else {"law.json": law})
    found = {name: text.encode() for name, text in files.items()}
    for part in parts:
        for figure in part.figures:
            found |= {f"figures/{figure.name}.svg": figure.svg.encode(), f"figures/{figure.name}.pdf": figure.pdf}
        for table in part.tables:
            found[f"tables/{table.name}.csv"] = table.frame.to_csv(index=False).encode()
    return found


def check_folder(folder: str) -> None:
    """Refuse a folder that a report cannot be written to.

    Raises:
        InputError: It is a file, the folder that it is to be in does not exist, it is the working directory or around
            it, or it holds anything that no report has written.
    """
    place = Path(os.path.realpath(folder))
    another = "name another with --out, which need not exist"
    if place.exists() and not place.is_dir():
        raise mistake(f"cannot write the report to {folder}: it is a file; {another}")
    if not place.parent.is_dir():
        raise mistake(f"cannot write the report to {folder}: there is no folder {place.parent}")
    here = Path.cwd()
    if place == here or place in here.parents:
        raise mistake(
            f"cannot write the report to {folder}: you are in this folder, and a report takes its place; {another}"
        )
    if place.is_dir():
        try:
            foreign = _foreign(place)
        except OSError as error:
            raise mistake(f"cannot read {error.filename}: {error.strerror}; {another}") from error
        if foreign is not None:
            raise mistake(f"{folder} holds {foreign}, which no report has written and which would be lost: {another}")


def write_folder(folder: str, files: Mapping[str, bytes]) -> None:
    """Write a report: into a new folder beside, which then takes the place of the earlier one.

    Raises:
        InputError: As of :func:`check_folder`, or the folder cannot be written.
    """
    check_folder(folder)
    place = Path(os.path.realpath(folder))  # a link stays a link
    new, earlier = (place.with_name(f".{place.name}.{uuid.uuid4().hex}.{what}") for what in ("partial", "earlier"))
    try:
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(new / name, content)
        earlier.mkdir()
        _put(new, place, earlier)
    except OSError as error:
        raise mistake(
            f"cannot write the report to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    finally:
        for left in (new, earlier):
            shutil.rmtree(left, ignore_errors=True)


def _put(new: Path, place: Path, earlier: Path) -> None:
    """Put the new folder in place, and what was there aside; it comes back where that fails."""
    aside: Path | None = None
    try:
        while True:
            try:
                os.rename(new, place)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            aside = earlier / uuid.uuid4().hex
            with suppress(FileNotFoundError):  # another report is being put in place as well
                os.rename(place, aside)
    except BaseException:
        if aside is not None and aside.exists() and not place.exists():
            os.rename(aside, place)
        raise


def _foreign(place: Path) -> str | None:
    """Something in a folder that was not written by the report that it holds."""
    text = None
    while text != (text := _page(place)):  # another report may be put in place meanwhile
        own = {PAGE, *re.findall(r'href="([^"#]+)"', text)} if _SIGN in text else set()
        own |= {posixpath.dirname(name) for name in own}
        found = {
            Path(folder, name).relative_to(place).as_posix()
            for folder, folders, names in os.walk(place)  # which goes on where a folder vanishes
            for name in (*folders, *names)
            if name not in _OF_NOBODY
        }
    return min(found - own, default=None)


def _page(place: Path) -> str:
    try:
        return (place / PAGE).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        return ""
