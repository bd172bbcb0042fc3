"""What every test shares: no network, no account, tiny tables, and nothing left behind."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Before anything imports wandb or torch. One thread per process: tests run in parallel processes, and the tiny
# operations of tiny networks spend their time waiting for threads that share a core.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
# Lightning's own command line calls jsonargparse by names that are deprecated since.
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"
# Hypothesis goes without its cache, which it would leave in the folder that the tests were started in.
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.devnull

import torch
from hypothesis import settings

from datamodules import ImageTable, write_table

# The same examples every time, and no clock.
settings.register_profile("tests", deadline=None, database=None, derandomize=True, max_examples=60)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in its own empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny_table(tmp_path: Path) -> ImageTable:
    """Noise around two class means: 120 images of 16x16, two classes, one group per image."""
    rng = np.random.default_rng(7)
    labels = np.arange(120) % 2
    images = (rng.normal(100 + 40 * labels[:, None, None, None], 30, (120, 1, 16, 16))).clip(0, 255).astype(np.uint8)
    rows = ({"label": int(y), "group": f"g{i}", "source": f"noise {i}"} for i, y in enumerate(labels))
    return write_table(tmp_path / "tiny", zip(images, rows, strict=True))


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


class _Entries(list[os.DirEntry[Any]]):
    """What os.scandir returns: to be closed, and to be gone through once."""

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> os.DirEntry[Any]:
        if not self:
            raise StopIteration
        return self.pop(0)

    def __iter__(self) -> "_Entries":  # type: ignore[override]  # an iterator of itself, as the original is
        return self

    def close(self) -> None:
        self.clear()


@pytest.fixture
def shuffled_directories(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the system list the files of every folder in some other order."""
    listed, scanned = os.listdir, os.scandir

    def shuffle(seed: int) -> None:
        def listdir(path: Any = ".") -> list[Any]:
            return random.Random(seed).sample(names := sorted(listed(path)), len(names))

        def scandir(path: Any = ".") -> _Entries:
            with scanned(path) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
            return _Entries(random.Random(seed).sample(ordered, len(ordered)))

        monkeypatch.setattr(os, "listdir", listdir)
        monkeypatch.setattr(os, "scandir", scandir)

    return shuffle
