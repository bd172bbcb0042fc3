"""Images that do not fit into memory: the same numbers, from a file that nobody sees."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import ImageTable, TableDataModule
from datamodules.room import room
from metrics import InputError

SIZES = {"n_train": 40, "n_val": 0, "n_test": 20, "image_size": 12}


def _is_in_a_file(images: torch.Tensor) -> bool:
    """Whether its memory is that of a file, by the system's own account."""
    address = images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, inode = line.split()[:5]
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return inode != "0"
    raise AssertionError("memory of no mapping")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_images_beyond_the_limit_are_in_a_file_and_the_same(tiny_table: ImageTable) -> None:
    before = sorted(tiny_table.folder.iterdir())
    within, beyond = (
        TableDataModule(str(tiny_table.folder), **SIZES, memory_limit=limit)  # type: ignore[arg-type]  # all are int
        for limit in (1.0, 1e-6)
    )
    for part in ("train_set", "val_set", "test_set", "reference_set"):
        one, other = getattr(within, part), getattr(beyond, part)
        assert one.fingerprint == other.fingerprint
        assert torch.equal(one.images, other.images)
        if len(one):
            assert not _is_in_a_file(one.images)
            assert _is_in_a_file(other.images)
    batches = [list(map(dict, data.train_dataloader())) for data in (within, beyond)]
    for one, other in zip(*batches, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("image", "label", "index"))
    assert sorted(tiny_table.folder.iterdir()) == before


def test_the_limit_is_that_of_all_parts_together(tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Path | None] = []

    def noted(shape: Any, place: Path | None) -> torch.Tensor:
        places.append(place)
        return room(shape, place)

    monkeypatch.setattr("datamodules.base.room", noted)
    size = (40 + 20 + 100) * 12 * 12  # training, test and reference images
    for limit in (size, size - 1):
        data = TableDataModule(str(tiny_table.folder), **SIZES, memory_limit=limit / 1e9)  # type: ignore[arg-type]
        data.setup()
        assert data.reference_set.images.dtype == torch.uint8  # read now
    assert set(places[:4]) == {None}
    assert set(places[4:]) == {tiny_table.folder}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    images = room((3, 1, 4, 4), tmp_path / "absent")
    images[:] = 7
    assert int(images.sum()) == 7 * 48


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"no room for 2\.0 GB.*No space left.*memory_limit"):
        room((2000, 1, 1000, 1000), tmp_path)
