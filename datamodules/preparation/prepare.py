"""From a raw download to an image table: streaming, on all processors, continued where it was stopped."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datamodules.pictures import UnreadableError
from datamodules.preparation.partial import SUMMARY, PartialTable, tidy
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Note, Piece, Recipe, Skip
from datamodules.preparation.workers import available_processors, map_in_order
from datamodules.tables import ImageTable, exists
from metrics import InputError, Progress, require_at_least

Summary = dict[str, Any]

_FORMAT = 1  # of the table; a table of another format is not continued
_LIBRARIES = ("numpy", "pillow", "pydicom", "nibabel", "scikit-image", "scipy", "openpyxl")
_CONSTANT = "constant image: every pixel has the same value"


def prepare(
    recipe: Recipe[Any],
    raw: Path,
    out: Path,
    *,
    workers: int | None = None,
    skip_unreadable: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the image table of a data set.

    The table depends on the raw files and the options of the recipe only: not on the order of directories, the number
    of processes, or how often the work was stopped and started again. It is made in a folder beside its place,
    ``.<name>.preparing``, and appears whole; where the same table is there already, nothing is done.

    Args:
        recipe: How the raw files are read.
        raw: Their folder.
        out: Folder of the table.
        workers: Processes that decode; default one per processor.
        skip_unreadable: Leave files out that cannot be read, and count them, instead of stopping at the first.
        wait: Wait for another process that is making the same table, instead of refusing.
        progress: Told after every piece of work.

    Returns:
        What ``prepare.json`` holds: data set, options, fingerprint of the source, counts of images, groups, labels and
        splits, what was skipped and why, notes, versions of the libraries.

    Raises:
        InputError: Raw files that are not there or cannot be read, or another table (or something else) at ``out``.
    """
    require_at_least(1, workers=workers)
    if out.is_symlink() or not out.name:  # what is renamed at the end has to be the folder itself
        out = out.resolve()
    if out.exists() and not exists(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is no image table: choose another --out, or move it away")
    if exists(out):
        with tempfile.TemporaryDirectory() as scratch:
            return _same(out, _listed(recipe, Raw(raw, Path(scratch)), skip_unreadable)[0])
    table = PartialTable(out, wait=wait)
    try:
        source = Raw(raw, table.scratch)
        identity, pieces = _listed(recipe, source, skip_unreadable)
        if exists(out):  # another process was waited for
            table.discard()
            return _same(out, identity)
        table.begin(identity)
    except InputError:
        if table.is_begun:
            table.close()
        else:
            table.discard()
        raise
    try:
        _decode_all(recipe, source, pieces, table, workers or available_processors(), skip_unreadable, progress)
        if not table.done.images:
            reasons = "; ".join(f"{count} x {reason}" for reason, count in _by_reason(source, table).items())
            table.discard()
            raise InputError(f"{raw} gives no image of {recipe.title} ({reasons or 'nothing was found'})")
        table.flush()
        summary = identity | _described(recipe, source, table)
        table.finish(summary)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror or error}; once that is mended, the same command goes on"
        ) from error
    finally:
        table.close()
    return _read_summary(out)


def obtained(recipe: Recipe[Any], raw: Path | None) -> Path:
    """The folder of the raw files: the one that is given, or ``data/raw/<name>``, into which they are downloaded.

    Raises:
        InputError: No folder is given and they do not download themselves; says where to get them.
    """
    if raw is not None:
        return raw
    if not recipe.downloads:
        raise InputError(f"{recipe.title} does not download itself: give its folder with --raw. {recipe.access}")
    folder = Path("data/raw") / recipe.name
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        recipe.download(folder)
    except InputError:
        for place in new:
            with suppress(OSError):  # something has come to lie there
                place.rmdir()
        raise
    return folder


def read_summary(table: Path) -> Summary | None:
    """What ``prepare.json`` says of a table; None for a table that was made otherwise.

    Raises:
        InputError: It cannot be read.
    """
    return _read_summary(table) if (table / SUMMARY).is_file() else None


def _listed(recipe: Recipe[Any], source: Raw, skip_unreadable: bool) -> tuple[Summary, list[Piece[Any]]]:
    """What decides a table, and the pieces of work that it takes."""
    try:
        pieces = recipe.pieces(source)
    except OSError as error:
        raise InputError(f"{error.filename or source.folder}: {error.strerror or error}") from error
    if not pieces:
        raise InputError(f"{source.folder} holds nothing of {recipe.title}. {recipe.access}")
    files = source.fingerprint(file for piece in pieces for file in piece.files)
    if source.absent and not skip_unreadable:
        piece, file = next((piece, file) for piece in pieces for file in piece.files if file in source.absent)
        listed = f" (listed in {source.listed[piece.source]})" if piece.source in source.listed else ""
        raise InputError(
            f"{source.folder / file} cannot be read: the file is absent{listed}; "
            f"--skip-unreadable leaves out such files, {len(source.absent)} in all"
        )
    return {"format": _FORMAT, "data_set": recipe.name, "options": asdict(recipe), "source": files}, pieces


def _decode_all(
    recipe: Recipe[Any],
    source: Raw,
    pieces: list[Piece[Any]],
    table: PartialTable,
    workers: int,
    skip_unreadable: bool,
    progress: Progress | None,
) -> None:
    decode = partial(_decode, recipe, source.folder, skip_unreadable)
    left = pieces[table.done.pieces :]
    try:
        for found in map_in_order(decode, left, min(workers, max(1, len(left)))):
            for item in found:
                if isinstance(item, Skip):
                    table.done.skipped.append((item.source, item.reason))
                elif isinstance(item, Note):
                    table.done.notes[item.text] += 1
                else:
                    table.add(*item)
            table.finished_piece()
            if progress is not None:
                progress(table.done.pieces, len(pieces))
    except BrokenProcessPool as error:
        raise InputError(
            "a process that decodes was ended, perhaps because memory ran out: "
            "the same command continues; give fewer --workers"
        ) from error


def _decode(recipe: Recipe[Any], folder: Path, skip_unreadable: bool, piece: Piece[Any]) -> list[Found]:
    """What one piece gives: all of it or, where it cannot be read, nothing."""
    try:
        return [_checked(item) for item in recipe.decode(folder, piece)]
    except UnreadableError as error:
        if skip_unreadable:
            return [Skip(piece.source, str(error))]
        file = piece.files[0] if len(piece.files) == 1 else piece.source
        raise InputError(f"{folder / file} cannot be read: {error}; --skip-unreadable leaves such files out") from error


def _checked(item: Found) -> Found:
    if isinstance(item, tuple) and item[0].min() == item[0].max():
        return Skip(str(item[1]["source"]), _CONSTANT)
    return item


def _same(out: Path, identity: Mapping[str, Any]) -> Summary:
    """The summary of a table that is there already, if it is the one that was asked for."""
    there = read_summary(out)
    wanted = json.loads(json.dumps(identity))
    if there is None:
        raise InputError(f"{out} holds a table that was not prepared by this command: choose another --out")
    if there.get("data_set") != wanted["data_set"]:
        raise InputError(f"{out} holds a table of {there.get('data_set')}: choose another --out, or delete it")
    options = there.get("options", {})
    for name, value in wanted["options"].items():
        if options.get(name) != value:
            raise InputError(
                f"{out} was prepared with {name}={options.get(name)}, not {value}: choose another --out, or delete it"
            )
    if any(there.get(key) != wanted[key] for key in wanted):
        raise InputError(
            f"{out} was prepared from other raw files ({there.get('source', {}).get('files')} files then, "
            f"{wanted['source']['files']} now): choose another --out, or delete it"
        )
    tidy(out)
    return there


def _described(recipe: Recipe[Any], source: Raw, table: PartialTable) -> Summary:
    opened = ImageTable.open(table.folder)
    names = recipe.label_names()
    notes = source.notes + table.done.notes
    return {
        "title": recipe.title,
        "images": len(opened),
        "shape": list(opened.images.shape[1:]),
        "groups": len(set(opened.columns["group"].tolist())),
        "labels": {name: _counts(opened, name) for name in opened.labellings},
        "label_names": {name: {str(label): what for label, what in names[name].items()} for name in names},
        "splits": dict(sorted(Counter(opened.columns["split"].tolist()).items())),
        "notes": dict(sorted(notes.items())),
        "skipped": dict(_by_reason(source, table)),
        "skipped_sources": source.skipped + table.done.skipped,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _counts(table: ImageTable, labelling: str) -> dict[str, int]:
    """Images per label, in order; blank last."""
    counted = Counter(table.columns[labelling].tolist())
    return {cell or "blank": counted[cell] for cell in sorted(counted, key=lambda cell: (not cell, int(cell or 0)))}


def _by_reason(source: Raw, table: PartialTable) -> dict[str, int]:
    return dict(Counter(reason for _, reason in source.skipped + table.done.skipped).most_common())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read_summary(table: Path) -> Summary:
    try:
        summary: Summary = json.loads((table / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{table / SUMMARY} cannot be read: {error}") from error
    return summary
