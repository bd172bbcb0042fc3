"""What `lightning measure` shows in the terminal."""

import os
from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_app.measurement import Measurement
from lightning_app.plain import listed, number, printable
from metrics import Estimate, TwinLeak

_LISTED = 8  # leaks of a kind
Row = tuple[str, str, str, str]


def show_measurement(measurement: Measurement, files: Iterable[tuple[str, str | None]]) -> None:
    """Print one table, what to know about it, and where the files are.

    Args:
        measurement: What was measured.
        files: Pairs of what, and the path, or None where it was not asked for.
    """
    console = Console(highlight=False, emoji=False)
    _, channels, height, width = measurement.collection.images.shape
    title = (
        f"{measurement.collection.name} · {len(measurement.collection):,} images, "
        f"{width}×{height}, {'grey' if channels == 1 else 'colour' if channels == 3 else f'{channels} channels'}"
    )
    table = Table(title=_literal(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("± s.e.", justify="right", style="dim")
    table.add_column("", style="dim")
    for row in [*_dimension_rows(measurement), *_sharpness_rows(measurement), *_count_rows(measurement)]:
        table.add_row(*map(_literal, row))
    console.print()
    console.print(table)
    for line in [*_leaks(measurement), *_remarks(measurement)]:
        console.print(_literal(line), soft_wrap=True)
    for what, file in files:
        if file is not None:
            console.print(f"{what:<6} {_literal(os.path.relpath(file))}", soft_wrap=True)


def _dimension_rows(measurement: Measurement) -> Iterator[Row]:
    if measurement.dimensions is not None:
        for estimator, estimate in measurement.dimensions.values.items():
            about = {"mle": f"intrinsic dimension, MLE, k = {measurement.options.k}", "twonn": "TwoNN"}
            yield _row(f"d_{estimator}", estimate, about.get(estimator, estimator))


def _sharpness_rows(measurement: Measurement) -> Iterator[Row]:
    if measurement.sharpness is None:
        return
    found, everything = measurement.sharpness.of_samples, measurement.sharpness.of_all
    samples = f"{measurement.options.trials} samples of " if found.stderr is not None else ""
    yield _row("K_F", found, f"{samples}M = {found.n_used:,} images, pixels in [0, 1]")
    yield "K_F per pixel", number(found.per_pixel), "", "K_F · √(values per image)"
    yield "K_F / 255", number(found.value / 255), "", "for pixels in 0 … 255, as in the paper"
    if everything.n_used != found.n_used:
        yield "K_F of all", number(everything.value), "", f"all {everything.n_used:,} images"
    median = measurement.sharpness.of_images.quantiles([0.5])[0]
    yield "median K", number(median), "", "1 / distance to another class, median"


def _count_rows(measurement: Measurement) -> Iterator[Row]:
    collection = measurement.collection
    counts = [f"{name} {(collection.labels == i).sum():,}" for i, name in enumerate(collection.class_names)]
    yield "classes", str(len(counts)), "", listed(counts)
    if collection.groups is not None:
        yield "groups", f"{len(set(collection.groups.tolist())):,}", "", "patients, volumes or lesions"
    if collection.splits is not None:
        splits = collection.splits.tolist()
        names = collection.split_names
        yield "splits", str(len(names)), "", listed([f"{name} {splits.count(name):,}" for name in names])
    if measurement.dimensions is not None:
        yield "duplicates", f"{measurement.dimensions.n_duplicates:,}", "", "exact, left out of d"
    if measurement.sharpness is not None:
        conflicts = measurement.sharpness.of_all.n_conflicts
        yield "conflicts", f"{conflicts:,}", "", "equal pixels, other label, not in K_F"
    if measurement.audit is not None:
        leaks = measurement.audit.counts
        about = f"across splits: {leaks['groups']} groups, {leaks['exact']} exact, {leaks['near']} near"
        yield "leaks", f"{sum(leaks.values()):,}", "", about
    if collection.skipped:
        yield "unreadable", f"{len(collection.skipped):,}", "", "files, left out"


def _leaks(measurement: Measurement) -> Iterator[str]:
    audit, collection = measurement.audit, measurement.collection
    if audit is None or collection.splits is None or audit.clean:
        return
    splits, names = collection.splits, collection.split_names
    if audit.groups:
        groups = [
            f"{measurement.group_names[leak.group]} ({', '.join(names[split] for split in leak.splits)})"
            for leak in audit.groups
        ]
        yield f"groups on several sides: {listed(groups)}"

    def pair(twin: TwinLeak) -> str:
        return (" ~ " if twin.distance else " = ").join(
            f"{collection.sources[i]} ({splits[i]})" for i in (twin.i, twin.j)
        )

    for what, twins in (("exact duplicates", audit.exact), ("near duplicates", audit.near)):
        for twin in twins[:_LISTED]:
            yield f"{what}: {pair(twin)}"
        if len(twins) > _LISTED:
            yield f"{what}: {len(twins) - _LISTED} more; --json FILE lists every one"
    yield ""


def _remarks(measurement: Measurement) -> Iterator[str]:
    collection = measurement.collection
    if measurement.sharpness is not None:
        pair = measurement.sharpness.pairs[0]
        sides = [f"{collection.sources[i]} ({collection.class_names[collection.labels[i]]})" for i in (pair.i, pair.j)]
        yield f"sharpest pair: {sides[0]} and {sides[1]}"
    for note in collection.notes:
        yield f"note: {note}"
    for problem in measurement.missing:
        yield f"not measured: {problem}"
    if collection.skipped:
        yield f"unreadable: {listed(collection.skipped, 3)}"


def _row(name: str, estimate: Estimate, about: str) -> Row:
    return name, number(estimate.value), "" if estimate.stderr is None else number(estimate.stderr), about


def _literal(text: str) -> str:
    """Names may hold what the terminal would take for markup."""
    return escape(printable(text))
