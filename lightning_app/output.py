"""Files that a user asks for: refused before any work is done, and written whole."""

import os
from pathlib import Path

from lightning_app.mistakes import mistake
from lightning_app.run import write_bytes


def check_place(file: str) -> None:
    """Refuse a file that cannot be written.

    Raises:
        InputError: It is a folder, or its folder does not exist.
    """
    place = os.path.abspath(file)
    if os.path.isdir(place):
        raise mistake(f"cannot write {file!r}: that is a folder; name a file in it")
    if not os.path.isdir(os.path.dirname(place)):
        raise mistake(f"cannot write {file}: there is no folder {os.path.dirname(place)}")


def write_output(file: str, content: str | bytes) -> None:
    """Write a file so that it is seen whole or not at all; text as UTF-8.

    Raises:
        InputError: It cannot be written.
    """
    place = Path(os.path.realpath(file))  # a link stays a link
    data = content.encode() if isinstance(content, str) else content
    try:
        if place.exists() and not place.is_file():  # a pipe or a device
            place.write_bytes(data)
        else:
            write_bytes(place, data)
    except OSError as error:
        raise mistake(f"cannot write {file}: {error.strerror}") from error
