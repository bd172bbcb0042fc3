"""Fetching raw files that anybody may have: verified by their checksums, and never left half there."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from metrics import InputError

# RuntimeError: a wrong checksum, or too many redirections.
_FAILURES = (OSError, RuntimeError, ValueError, HTTPException)


@dataclass(frozen=True)
class Remote:
    """A file to be fetched.

    Attributes:
        name: What it is called here.
        urls: Where it can be had; the first that gives it is taken.
        md5: Its checksum.
    """

    name: str
    urls: Sequence[str]
    md5: str


def fetch(remotes: Iterable[Remote], folder: Path, access: str) -> None:
    """Fetch files into a folder; those that are there already, and whole, are kept.

    A file gets its name only after its checksum was found right.

    Args:
        remotes: The files.
        folder: Where to; created.
        access: How to get them by hand, in whole sentences.

    Raises:
        InputError: One cannot be had; says which, why, and what to do instead.
    """
    from torchvision.datasets.utils import check_integrity  # here, since importing it takes seconds

    for remote in remotes:
        if not check_integrity(folder / remote.name, remote.md5):
            failures = _fetch(remote, folder)
            if failures:
                raise InputError(
                    f"{remote.name} cannot be downloaded ({'; '.join(failures)}): "
                    f"get it by hand and give its folder to `lightning prepare` with --raw. {access}"
                )


def _fetch(remote: Remote, folder: Path) -> list[str]:
    """Fetch a file from the first place that gives it; what was wrong with each where none does."""
    from torchvision.datasets.utils import download_url

    half = folder / f".{remote.name}.{os.getpid()}.part"  # two processes may fetch at once
    failures = []
    for url in remote.urls:
        try:
            download_url(url, folder, half.name, remote.md5)
            os.replace(half, folder / remote.name)
            return []
        except _FAILURES as error:
            failures.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
        finally:
            with suppress(OSError):
                half.unlink()
    return failures
