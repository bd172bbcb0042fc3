"""A handful of one's own runs, with which a forecast begins where they are."""

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, words
from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.levels import check_backbone
from lightning_app.mistakes import mistake


def own_runs(law: ScalingLaw, runs: pd.DataFrame | None, backbone: str | None = None) -> pd.DataFrame:
    """The own runs that count.

    Args:
        law: Says what their loss is called.
        runs: As :func:`load_records` returns them; ``n_train`` and the law's ``response`` are enough. None is no runs.
        backbone: The network of runs that do not say.

    Returns:
        Columns n_train, loss and backbone (None where it is unknown), of those that have finished ``fit``, where that
        is said, with a finite loss above 0.

    Raises:
        InputError: A column is missing, none counts, or they are of several data sets, of networks that the law does
            not know, or among those that it was fitted to.
    """
    if runs is None:
        return pd.DataFrame({"n_train": [], "loss": [], "backbone": []})
    for column in ("n_train", law.response):
        if column not in runs:
            raise mistake(f"own runs have no column {column!r}: they need n_train and {law.response}")
    known = set(law.records["run_id"]) & set(words(runs, "run_id"))
    if known:
        raise mistake(
            f"{len(known)} of the own runs ({min(known)}, …) are among those that the law was fitted to, and would "
            "count twice: fit the law without them"
        )
    sets = sorted(set(words(runs, "data")))
    if len(sets) > 1:
        raise mistake(f"own runs are of {len(sets)} data sets ({', '.join(sets[:3])}): give those of one")
    n, loss = numbers(runs, "n_train"), numbers(runs, law.response)
    counts = np.isfinite(n) & (n >= 1) & np.isfinite(loss) & (loss > 0)
    counts &= (words(runs, "status", "finished") == "finished") & (words(runs, "command", "fit") == "fit")
    if not counts.any():
        raise mistake(f"none of the {len(runs)} own runs has finished with n_train and a {law.response} above 0")
    networks = [name or backbone for name in words(runs, "backbone")]
    for name in dict.fromkeys(networks):
        check_backbone(law, name)
    return pd.DataFrame({"n_train": n, "loss": loss, "backbone": pd.Series(networks, runs.index, dtype=object)})[counts]
