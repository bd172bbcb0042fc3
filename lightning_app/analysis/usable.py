"""Which records enter a fit, and why the others do not."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, words

NO_FIT = ("failed", "not finished", "not a fit")
"""Reasons why records are no results."""

_MOST_IMAGES = 1e15  # beyond, floats skip whole numbers


@dataclass(frozen=True)
class Usable:
    """What enters a fit.

    Attributes:
        frame: The rows that do, as they are in the records; the numbers that are fitted as float64.
        left_out: How many rows do not, by reason, in plain words.
    """

    frame: pd.DataFrame
    left_out: dict[str, int]


def usable(records: pd.DataFrame, *, response: str, dimension: str, sharpness: str) -> Usable:
    """Choose the records that a fit of log loss on (log N)/d and log K_F can take.

    Args:
        records: As :func:`load_records` returns them. A column that is not there counts as one without values.
        response: Column of the loss.
        dimension: Column of d.
        sharpness: Column of K_F.

    Returns:
        Finished runs of ``fit`` with a data set, N, a loss, d and K_F, all finite and above 0. A record that lacks
        several of them counts once, by the first.

    Example:
        >>> row = {"run_id": "a", "status": "finished", "command": "fit", "data": "MNIST", "n_train": 500}
        >>> rows = [row | {"test/loss": 0.3}, row | {"run_id": "b", "test/loss": None}, {"status": "failed"}]
        >>> found = usable(pd.DataFrame(rows), response="test/loss", dimension="data/d_mle", sharpness="data/K_F")
        >>> len(found.frame), found.left_out
        (0, {'failed': 1, 'test loss is missing or not finite': 1, 'no d_data': 1})
    """
    loss = response.replace("/", " ")
    size, losses, d, k_f = (numbers(records, name) for name in ("n_train", response, dimension, sharpness))
    status, command, data = (words(records, name) for name in ("status", "command", "data"))
    reasons = {
        "failed": status == "failed",
        _lacking("status", status) or "not finished": status != "finished",
        _lacking("command", command) or "not a fit": command != "fit",
        "no name of a data set": data == "",
        "no number of training images": ~size.between(1, _MOST_IMAGES),
        f"{loss} is missing or not finite": ~np.isfinite(losses),
        f"{loss} is not above 0": losses <= 0,
        "no d_data": ~(np.isfinite(d) & (d > 0)),
        "K_F is infinite or 0": np.isinf(k_f) | (k_f <= 0) | _not_finite(records, sharpness),
        "no K_F": np.isnan(k_f),
    }
    remaining = pd.Series(data=True, index=records.index)
    left_out = {}
    for reason, applies in reasons.items():
        if number := int((remaining & applies).sum()):
            left_out[reason] = number
        remaining &= ~applies
    run_id = words(records, "run_id")[remaining]
    again = run_id.duplicated() & (run_id != "")
    if again.any():  # a cell of two grids, or a copied experiment
        left_out["the same run under another name"] = int(again.sum())
    fitted = {"n_train": size, response: losses, dimension: d, sharpness: k_f}
    return Usable(records.assign(**fitted)[remaining][~again], left_out)


def _lacking(name: str, column: "pd.Series[str]") -> str:
    """That nothing is known because there is no such column; "" where there is."""
    return f"there is no column {name}" if len(column) and (column == "").all() else ""


def _not_finite(records: pd.DataFrame, name: str) -> Any:
    """Where a record says that a number was measured and was infinite: it keeps no infinite numbers."""
    return words(records, "not_finite").str.contains(json.dumps(name), regex=False)
