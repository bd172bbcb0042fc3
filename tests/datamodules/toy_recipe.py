"""A data set of nothing but numbers, for tests of the machinery; a script that prepares it and may kill itself."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.pictures import UnreadableError
from datamodules.preparation import partial
from datamodules.preparation.prepare import prepare
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, Piece, Recipe, Skip


@dataclass(frozen=True, kw_only=True)
class Toy(Recipe[int]):
    """Every ``<n>.txt`` holds some numbers: an image each. A blank line is skipped, "bad" cannot be read.

    Args:
        side: Side of the images.
        shade: Added to every pixel.
    """

    name = "toy"
    title = "Toy"
    access = "Make it yourself."
    variants = ("shade",)

    side: int = 4
    shade: int = 0

    def pieces(self, raw: Raw) -> list[Piece[int]]:
        return [Piece(file, (file,), i) for i, file in enumerate(raw.below("", ".txt"))]

    def decode(self, folder: Path, piece: Piece[int]) -> Iterator[Found]:
        for i, line in enumerate((folder / piece.files[0]).read_text().splitlines()):
            source = f"{piece.source}#{i}"
            if line == "bad":
                raise UnreadableError("it is bad")
            if not line:
                yield Skip(source, "blank line")
                continue
            image = np.arange(self.side**2, dtype=np.uint8).reshape(1, self.side, self.side) * (line != "flat")
            level = 0 if line == "flat" else int(line)
            if level > 200:
                yield Note("bright")
            yield image + np.uint8(self.shade + level % 200), {
                "label": level % 2, "group": piece.source, "split": "", "source": source
            }  # fmt: skip


def make_toy(folder: Path, files: int = 12) -> None:
    """Numbers of which every sixth is blank."""
    folder.mkdir(parents=True)
    for n in reversed(range(files)):
        numbers = [str(n * 5 + i) if (n * 5 + i) % 6 else "" for i in range(5)]
        (folder / f"{n:02}.txt").write_text("\n".join(numbers) + "\n")


def _kill_at(moment: int, where: str) -> None:
    """Make this process kill itself when it comes to some place for the n-th time."""
    passed = 0
    owner, name = {
        "write": (partial.PartialTable, "add"),
        "before commit": (partial.PartialTable, "commit"),
        "after commit": (partial.PartialTable, "finished_piece"),
        "rename": (partial.os, "rename"),
        "tidy": (partial, "tidy"),
    }[where]
    original = getattr(owner, name)

    def counted(*args: object) -> object:
        nonlocal passed
        passed += 1
        if passed == moment and where != "after commit":
            os.kill(os.getpid(), signal.SIGKILL)
        result: object = original(*args)
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


if __name__ == "__main__":
    from tests.datamodules import toy_recipe  # by its name, which other processes know it by

    raw, out, where, moment, workers = sys.argv[1:]
    partial._COMMIT_EVERY = 0.0  # every piece
    _kill_at(int(moment), where)
    prepare(toy_recipe.Toy(), Path(raw), Path(out), workers=int(workers))
