"""Settings in which runs differ that are compared as if they were alike."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, words

_TRAINING = {"name": "experiment", "epochs": "epochs", "batch_size": "batch size", "precision": "precision"}
_TASK = {"image_size": "image size", "channels": "channels", "labelling": "labelling", "num_classes": "classes"}
_MOST = 4  # values that are named


def differing(runs: pd.DataFrame) -> list[str]:
    """What runs were trained with, where that is not the same; and, inside data sets, what they were trained on.

    Args:
        runs: As :func:`load_records` returns them.

    Returns:
        "epochs (24, 120)", "batch size (16 … 512)", "image size in MNIST (28, 64)". Runs that do not say do not count.

    Example:
        >>> differing(pd.DataFrame({"epochs": [9, 100, None], "data": "OAI", "image_size": [64, 32, 64]}))
        ['epochs (9, 100)', 'image size in OAI (32, 64)']
    """
    found = [f"{what} ({said})" for name, what in _TRAINING.items() if (said := _several(words(runs, name)))]
    for data, own in runs.groupby(words(runs, "data", "unknown data set")):
        found += [f"{what} in {data} ({said})" for name, what in _TASK.items() if (said := _several(words(own, name)))]
    return found


def _several(column: Iterable[str]) -> str:
    """The values of a column, if there are several."""
    values = sorted(set(column) - {""})
    if len(values) < 2:
        return ""
    as_numbers = numbers(pd.DataFrame({"value": values}), "value")
    if np.isfinite(as_numbers).all():
        values = [f"{number:g}" for number in sorted(set(as_numbers))]
        return ", ".join(values) if len(values) <= _MOST else f"{values[0]} … {values[-1]}"
    return ", ".join(values) if len(values) <= _MOST else f"{len(values)} different"
