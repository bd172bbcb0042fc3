"""Small data in groups, by formulas, on which R was asked what our fits are compared with.

Numbers from R (4.2; lme4 1.1-31, clubSandwich 0.5.8, pbkrtest 0.5.2) were got from these data, written with 17 digits::

    d <- read.csv("data.csv")  # y, group, and the columns of x
    control <- lmerControl(optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-14, ftol_abs = 1e-14, xtol_rel = 0,
                                                                   ftol_rel = 0, maxeval = 1e5))
    fit <- lmer(y ~ 0 + ... + (1 | group), d, control = control)  # REML = FALSE for maximum likelihood
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GroupedData:
    x: Array
    y: Array
    groups: NDArray[np.int64]
    names: tuple[str, ...]


def _data(sizes: list[int], columns: str, between: float) -> GroupedData:
    """Columns: 1, t (moves within groups), z (does not), a (a dummy of the first half of groups), s (of group 0), b."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    i, g = np.arange(len(groups)), groups.astype(float)
    made = {
        "1": np.ones(len(i)),
        "t": np.sin(1.7 * i) + 0.5 * np.cos(2 * g),
        "z": np.sin(3 * g + 1),
        "a": (2 * groups < len(sizes)).astype(float),
        "s": (groups == 0).astype(float),
        "b": (i % 3 == 1).astype(float),
    }
    y = 1 + made["t"] - made["z"] + between * np.cos(5 * g) + 0.8 * np.sin(11 * i**1.5)
    return GroupedData(np.stack([made[c] for c in columns], axis=1), y, groups, tuple(columns))


DATA = {
    "balanced": _data([5] * 6, "1tz", 1.0),
    "unbalanced": _data([1, 2, 3, 5, 8, 4, 7, 1], "1ta", 1.0),
    "alone in its domain": _data([4, 6, 5, 3, 6, 2, 4], "1tsb", 1.5),
    "like the law": _data([12, 12, 9, 12, 12, 4, 12, 12, 12, 6, 12], "1tzab", 0.6),
    "no variance between groups": _data([4, 3, 6, 5, 4, 2], "1tz", 0.0),
    "four groups": _data([3, 7, 2, 4], "1z", 1.0),
}
