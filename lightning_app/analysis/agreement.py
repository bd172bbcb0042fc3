"""Whether own runs are what a law lets one expect of them."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from lightning_app.analysis.belief import Belief

CONTRADICTED = 0.01
"""Own runs with a smaller probability contradict the law."""

_STEPS = 1000  # of the integral that p is: 1e-4 of it are missed


@dataclass(frozen=True)
class Agreement:
    """How far own runs are from what was expected of them.

    Attributes:
        chi2: χ², about the number of runs where they are as expected.
        runs: Their number.
        p: Probability of so large a χ² if the law holds for their data set.
        widen: Factor for the width of intervals: Birge's ratio √(χ² / runs) where p < ``CONTRADICTED``, else 1.
    """

    chi2: float
    runs: int
    p: float
    widen: float


def agreement(before: Belief, runs: pd.DataFrame, df: int) -> Agreement:
    r"""Compare own runs with what was known before them.

    .. math:: \chi^2 = r^\top V^{-1} r, \qquad V = Z \Sigma Z^\top + \sigma^2 I

    with what the runs' log losses miss the law by, r. What is unknown of the data set enters k of the directions of r,
    and its variances are known from few data sets, so χ² is compared with the sum of k · F(k, df) and an independent
    χ² of the other n − k. With one run this is the t test of its prediction interval.

    Where the two disagree, a common factor for all variances is the least that brings them together: χ² / n, Birge's
    ratio squared (Birge 1932, Phys. Rev. 40, 207). The forecast stays where it is, and what own runs miss it by is at
    most one widened σ in the root mean square.

    Args:
        before: What was known without the runs.
        runs: Columns n_train, loss and backbone, at least one row.
        df: Degrees of freedom of the law's forecasts.
    """
    z = before.rows(runs["n_train"].tolist(), runs["backbone"].tolist())
    missed = np.log(runs["loss"].to_numpy(np.float64)) - z @ before.mean
    left = missed - z @ (before.after(runs).mean - before.mean)  # σ² V⁻¹ r
    chi2 = max(0.0, float(missed @ left) / before.noise)
    p = _tail(chi2, int(np.linalg.matrix_rank(z @ before.covariance)), len(runs), df)
    return Agreement(chi2, len(runs), p, math.sqrt(chi2 / len(runs)) if p < CONTRADICTED else 1.0)


def _tail(chi2: float, k: int, n: int, df: int) -> float:
    """Probability that k · F(k, df) and a χ² of n − k degrees of freedom together exceed a number."""
    if k == 0:
        return float(special.chdtrc(n, chi2))
    # The mean over equally likely values of the χ², which is 0 where all n directions are unknown.
    others = special.chdtri(n - k, (np.arange(_STEPS) + 0.5) / _STEPS) if n > k else np.zeros(1)
    return float(special.fdtrc(k, df, np.maximum(chi2 - others, 0) / k).mean())
