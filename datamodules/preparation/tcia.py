"""Collections of The Cancer Imaging Archive: series of DICOM files, found by what the files say of themselves.

The names of files and folders differ with how and when a collection was downloaded, and some are misspelt.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.levels import Window
from datamodules.pictures import UnreadableError
from datamodules.preparation.dicom import Stored, number, read_dicom, rescaled, stored_values
from datamodules.preparation.raw import Raw

if TYPE_CHECKING:
    from pydicom import Dataset

NOT_ON_DISK = "not on disk"  # parts of a collection may be downloaded


@dataclass(frozen=True)
class Series:
    """The files of one series, wherever they lie.

    Attributes:
        instances: SOPInstanceUIDs of the files that were looked into: in each folder at least the first and the last.
        files: All of them, relative to the raw folder, sorted.
    """

    instances: frozenset[str]
    files: tuple[str, ...]


def find_series(raw: Raw) -> dict[str, Series]:
    """Every series below the raw folder, by its SeriesInstanceUID.

    A folder holds one series if its first and its last file belong to the same; otherwise every file is looked into.
    Only files called ``.dcm`` are taken. A folder of which none can be read is skipped there.
    """
    folders: dict[str, list[str]] = {}
    for file in raw.below("", ".dcm"):
        folders.setdefault(file.rpartition("/")[0], []).append(file)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for folder, files in folders.items():
        parts = list(_parts(raw.folder, files))
        if not parts:
            raw.skip(folder or ".", "none of its files can be read as DICOM")
        for series, instances, members in parts:
            known = found.setdefault(series, (set(), set()))
            known[0].update(instances)
            known[1].update(members)
    return {uid: Series(frozenset(found[uid][0]), tuple(sorted(found[uid][1]))) for uid in sorted(found)}


def read_series(
    folder: Path,
    files: Iterable[str],
    *,
    wanted: Container[str] | None = None,
    decode: Callable[["Dataset"], Stored] = stored_values,
) -> list[tuple["Dataset", Stored]]:
    """The headers and pixels of a series, in the order of its files; each SOPInstanceUID once.

    Args:
        folder: The raw folder.
        files: Relative to it.
        wanted: SOPInstanceUIDs of those that are to be read; default all.
        decode: How pixels are decoded.

    Raises:
        UnreadableError: A file is damaged; names it.
    """
    read: dict[str, tuple[Dataset, Stored]] = {}
    for file in files:
        try:
            data = read_dicom(folder / file)
            uid = instance_uid(data)
            if uid not in read and (wanted is None or uid in wanted):
                values = decode(data)
                data.pop("PixelData", None)  # it would be in memory twice
                read[uid] = (data, values)
        except UnreadableError as error:
            raise UnreadableError(f"{file}: {error}") from error
    return list(read.values())


def instance_uid(data: "Dataset") -> str:
    """The SOPInstanceUID of a file, by which spreadsheets name it."""
    return _uid(data, "SOPInstanceUID")


def by_number(series: Iterable[tuple["Dataset", Stored]]) -> list[tuple["Dataset", Stored]]:
    """Files in the order of their InstanceNumber; those without one come last, in the order they have."""
    numbers = ((number(data, "InstanceNumber"), data, values) for data, values in series)
    ordered = sorted(numbers, key=lambda item: math.inf if item[0] is None else item[0])
    return [(data, values) for _, data, values in ordered]


def by_position(series: Iterable[tuple["Dataset", Stored]]) -> list[tuple["Dataset", Stored]]:
    """Slices in the order of their positions along the normal of the first one; by number where one has no position."""
    slices = by_number(series)
    heights = [_height(data, slices[0][0]) for data, _ in slices]
    if any(math.isnan(height) for height in heights):
        return slices
    return [slices[i] for i in np.argsort(heights, kind="stable")]


def series_window(series: Sequence[tuple["Dataset", Stored]], lowest: float = 0.1, highest: float = 99.9) -> Window:
    """The window between two percentiles of all values of a series, in units: MR has no scale of its own.

    The same as ``percentile_window`` of everything at once, without having it in memory.
    """
    units, counts = [], []
    for data, values in series:
        low = int(values.min())
        occurrences = np.bincount(values.ravel().astype(np.intp) - low)
        occurring = np.flatnonzero(occurrences)
        units.append(rescaled(data, occurring + low))
        counts.append(occurrences[occurring])
    order = np.argsort(np.concatenate(units))
    ordered, before = np.concatenate(units)[order], np.concatenate(counts)[order].cumsum()

    def percentile(share: float) -> float:
        rank = share / 100 * (before[-1] - 1)
        below, above = ordered[np.searchsorted(before, [math.floor(rank), math.ceil(rank)], side="right")].tolist()
        return float(below + (above - below) * (rank - math.floor(rank)))

    return percentile(lowest), percentile(highest)


def _parts(folder: Path, files: Sequence[str]) -> Iterator[tuple[str, set[str], Sequence[str]]]:
    """The series of a folder: identifier, instances that were seen, files."""
    ends = [next(_headers(folder, files), None), next(_headers(folder, files[::-1]), None)]
    seen = [(_uid(header, "SeriesInstanceUID"), instance_uid(header)) for _, header in filter(None, ends)]
    if len({series for series, _ in seen}) == 1:
        yield seen[0][0], {instance for _, instance in seen}, files
    elif seen:
        for file, header in _headers(folder, files):
            yield _uid(header, "SeriesInstanceUID"), {instance_uid(header)}, [file]


def _headers(folder: Path, files: Iterable[str]) -> Iterator[tuple[str, "Dataset"]]:
    """The files that can be read."""
    for file in files:
        try:
            yield file, read_dicom(folder / file, pixels=False)
        except UnreadableError:
            continue


def _uid(data: "Dataset", keyword: str) -> str:
    return str(data.get(keyword) or "").strip(" \0")


def _height(data: "Dataset", first: "Dataset") -> float:
    """Position along the normal of the first slice, in mm; nan where it is not stated."""
    try:
        along_row, along_column = np.asarray(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        position = np.asarray(data.ImagePositionPatient, dtype=np.float64)
        return float(np.cross(along_row, along_column) @ position)
    except (AttributeError, TypeError, ValueError):
        return math.nan
