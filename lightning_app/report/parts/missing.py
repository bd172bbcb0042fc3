"""Part 8: what is missing, so that nothing is dropped in silence."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, whole, words
from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.usable import NO_FIT, usable
from lightning_app.plain import listed, number
from lightning_app.report.context import Context, count
from lightning_app.report.part import Part, Table

_NAME, _TITLE = "missing", "What is missing"
_SHOWN = 30
_FEW = 100
_SAMPLES = {
    "n_test": "test images",
    "data/n_images": "training images whose dimension is estimated",
    "data_ref/n_images": "reference images whose dimension is estimated",
}
_CELL = ("data", "labelling", "classes", "pair", "backbone", "n_train")


def make(context: Context, others: Sequence[Part]) -> Part:
    """Make the part from the records, and from what the other parts could not do."""
    fits = context.fits
    tables = (
        _failed(context.records),
        _left_out(context, others),
        _not_fitted(fits, context.interpolated),
        _small(fits),
        _numbers(fits, context.attack),
        _codes(context.records),
    )
    return Part(_NAME, _TITLE, tuple(_text(context)), tables=tuple(table for table in tables if len(table.frame)))


def _text(context: Context) -> Iterator[str]:
    records, fits = context.records, context.fits
    found = "; ".join(_found(context)) or (
        f"no cell failed, and every network interpolated (training loss of at most {number(context.interpolated)})"
    )
    yield f"{found[0].upper()}{found[1:]}."
    yield (
        "The theorem behind the laws assumes networks that interpolate: that fit their training images. Those that do "
        "not are in the figures and fits all the same; the table below says which they are."
    )
    if context.repeats:
        yield (
            f"{count(context.repeats, 'record')} of runs that lie in another experiment as well were left out: each "
            "run counts once."
        )
    seeds = fits.groupby([words(fits, name) for name in _CELL], sort=False).size()
    if (seeds > 1).any():
        yield (
            f"{count(int((seeds > 1).sum()), 'cell')} of {len(seeds):,} were run more than once, up to {seeds.max()} "
            f"times, with other seeds or options; {_once(seeds)}."
        )
    if changed := int((words(records, "codes").str.count(",") > 0).sum()):  # a list as JSON
        yield f"{count(changed, 'run')} went on, after an interruption, with another version of the code."


def _once(seeds: "pd.Series[int]") -> str:
    """What that is worth."""
    once = int((seeds == 1).sum())
    how = "how much of a difference is chance can be told for"
    return f"{how} these alone, and not for the other {once:,}" if once else f"{how} all of them"


def _found(context: Context) -> Iterator[str]:
    records, fits = context.records, context.fits
    status, command = words(records, "status"), words(records, "command")
    if absent := [name for name, column in (("status", status), ("command", command)) if (column == "").all()]:
        yield f"there is no column {absent[0]}, so that no run is known to be a finished one of `fit`"
        return
    if fits.empty:
        yield "no run of `fit` has finished"
    if failed := int((status == "failed").sum()):
        yield f"{count(failed, 'cell')} failed"
    lost = {why: number for why, number in _reasons(context).items() if why not in NO_FIT}
    if lost:
        why = "; ".join(f"{why}: {number:,}" for why, number in lost.items())
        how = "are not in the" if isinstance(context.law, ScalingLaw) else "cannot be in a"
        yield f"{sum(lost.values()):,} of {count(len(fits), 'finished run')} {how} joint fit ({why})"
    if others := int(((status == "finished") & (command != "fit")).sum()):
        yield f"{count(others, 'record')} of other commands not looked at"
    loss = numbers(fits, "train/loss")
    if above := int((loss > context.interpolated).sum()):
        yield (
            f"{above:,} of {count(len(fits), 'finished run')} did not interpolate (training loss above "
            f"{number(context.interpolated)})"
        )
    if unknown := int(loss.isna().sum()):
        yield f"the training loss of {count(unknown, 'finished run')} is not known"


def _failed(records: pd.DataFrame) -> Table:
    failed = records[words(records, "status") == "failed"]
    names = {"name": "experiment", "data": "data set", "backbone": "backbone", "kind": "kind", "message": "message"}
    frame = pd.DataFrame({what: words(failed, name) for name, what in names.items()})
    frame.insert(3, "N", whole(numbers(failed, "n_train")))
    frame = frame.assign(attempts=whole(numbers(failed, "attempts")), run=words(failed, "run_id"))
    note = "They were given up: their results are not missing at random."
    return Table("failed", "Cells that failed", frame, note, _SHOWN)


def _left_out(context: Context, others: Sequence[Part]) -> Table:
    """What each part left out, and the joint fit by reason."""
    rows: list[dict[str, Any]] = [
        {"where": "Joint fit", "what": f"not in it: {why}", "records": count}
        for why, count in _reasons(context).items()
    ]
    rows += [
        {"where": part.title, "what": sentence.replace("`", ""), "records": None}
        for part in others
        for sentence in part.cannot
    ]
    frame = pd.DataFrame(rows, columns=["where", "what", "records"]).astype({"records": "Int64"})
    return Table("left-out", "What was left out, or could not be said", frame)


def _reasons(context: Context) -> dict[str, int]:
    """Why records are not in the joint fit, or could not be in one."""
    law = context.law
    if isinstance(law, ScalingLaw):
        return law.left_out
    response, dimension, sharpness = "test/loss", "data_ref/d_mle", "data_ref/K_F"
    return usable(context.records, response=response, dimension=dimension, sharpness=sharpness).left_out


def _not_fitted(fits: pd.DataFrame, threshold: float) -> Table:
    """Runs that did not interpolate, by data set and backbone."""
    named = fits.assign(loss=numbers(fits, "train/loss"), **{name: words(fits, name) for name in ("data", "backbone")})
    rows = []
    for (data, backbone), own in named.groupby(["data", "backbone"]):
        above = own["loss"] > threshold
        if above.any() or own["loss"].isna().any():
            rows.append(
                {
                    "data set": data,
                    "backbone": backbone,
                    "runs": len(own),
                    f"training loss above {number(threshold)}": int(above.sum()),
                    "training loss unknown": int(own["loss"].isna().sum()),
                    "largest training loss": own["loss"].max(),
                }
            )
    title = "Networks that did not fit their training images"
    return Table("not-interpolated", title, pd.DataFrame(rows), shown=_SHOWN)


def _small(fits: pd.DataFrame) -> Table:
    """Samples so small that what is measured on them is mostly chance."""
    rows = []
    for column, what in _SAMPLES.items():
        sizes = numbers(fits, column)
        few = sizes < _FEW
        if few.any():
            sets = sorted(set(words(fits, "data")[few]))
            rows.append({"sample": what, "smallest": sizes.min(), "runs": int(few.sum()), "data sets": listed(sets)})
    frame = pd.DataFrame(rows)
    return Table(
        "small-samples",
        "Small samples",
        frame.assign(smallest=whole(frame["smallest"])) if rows else frame,
        f"Fewer than {_FEW} images: what is measured on them is largely chance.",
    )


def _numbers(fits: pd.DataFrame, attack: str) -> Table:
    """What the parts need, and how many runs have it."""
    needed = {
        "test/loss": "test loss",
        "train/loss": "training loss",
        "data/d_mle": "d_data of the training subset",
        "data/K_F": "K_F of the training subset",
        "data_ref/d_mle": "d_data of the reference sample",
        "data_ref/K_F": "K_F of the reference sample",
        "repr/d_mle": "d_repr",
        f"robust/{attack}/loss_increase": f"loss increase under {attack}",
        "robust/radius": "minimal radius",
    }
    infinite = words(fits, "not_finite")
    rows = []
    for column, what in needed.items():
        values = numbers(fits, column)
        known = int(np.isfinite(values).sum())
        wild = int((np.isinf(values) | infinite.str.contains(json.dumps(column), regex=False)).sum())
        if known < len(fits):
            rows.append({"quantity": what, "column": column, "known": known, "not finite": wild})
    frame = pd.DataFrame(rows)
    if len(frame):
        frame["not measured"] = len(fits) - frame["known"] - frame["not finite"]
    return Table("not-measured", "Quantities that not every run has", frame, "Of finished runs of `fit`.")


def _codes(records: pd.DataFrame) -> Table:
    """Versions of the code, where there are several."""
    named = pd.DataFrame({name: words(records, name) for name in ("version/code", "started")})
    versions = named[named["version/code"] != ""].groupby("version/code")["started"]
    if versions.ngroups < 2:
        return Table("codes", "", pd.DataFrame())
    rows: list[dict[str, Any]] = [
        {"code": code, "records": len(started), "first started": started.min(), "last started": started.max()}
        for code, started in versions
    ]
    frame = pd.DataFrame(rows).sort_values("first started", ignore_index=True)
    note = "Runs of different versions are compared here as if they were of one."
    return Table("codes", "Versions of the code", frame, note, _SHOWN)
