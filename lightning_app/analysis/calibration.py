"""Calibration of forecasts: every data set forecast by a law that has not seen it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lightning_app.analysis.design import design
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.law import NotIdentified, ScalingLaw, fit_points


@dataclass(frozen=True)
class Calibration:
    """How often the forecast intervals held what they were to hold.

    Attributes:
        confidence: What the intervals claim.
        inside: By data set left out: the part of its records inside their intervals, 0 … 1. Records of a network that
            the others do not have are not judged.
        sets_inside: How many of these data sets have their mean log loss inside the interval for it.
        low: Lower end of the exact 95 % interval (Clopper–Pearson) of the probability that a data set is inside. It
            takes data sets as independent, which the overlap of the fits makes only nearly true.
        high: Its upper end.
        widen: Factor that would have made the intervals hold the ``confidence`` part of the records; 1 where they did.
        not_judged: Data sets that could not be forecast from the others, and why.
    """

    confidence: float
    inside: dict[str, float]
    sets_inside: int
    low: float
    high: float
    widen: float
    not_judged: dict[str, str]

    @property
    def sets(self) -> int:
        """How many data sets were left out in turn."""
        return len(self.inside)

    @property
    def coverage(self) -> float:
        """Part of the records inside, every data set counting alike; NaN where none was judged."""
        return float(np.mean(list(self.inside.values()))) if self.inside else np.nan


def calibrate(law: ScalingLaw, confidence: float = 0.95) -> Calibration:
    """Leave every data set out in turn, refit, and forecast its records.

    ``widen`` is the smallest factor, at least 1, with which ``confidence`` of the records would have been inside, every
    data set counting alike: it widens intervals that have proved too narrow, and never narrows any, as a few data sets
    cannot show that an interval is too wide. Without assumptions k data sets can vouch for no more than k / (k + 1):
    beyond that an interval rests on the normal distribution of what data sets differ by.

    Args:
        law: The law; its ``records`` are refitted.
        confidence: Of the intervals, between 0 and 1.
    """
    records = law.records
    shares: dict[str, float] = {}
    not_judged: dict[str, str] = {}
    scores, weights = [], []
    sets_inside = 0
    for name in law.data_sets:
        own = records[records["data"] == name]
        try:
            seen = fit_points(records[records["data"] != name], compare=False)
        except NotIdentified as error:
            not_judged[name] = str(error)
            continue
        own = own[_known(own, law, seen)]
        if own.empty:
            not_judged[name] = "without it the law does not know its domain, or its networks"
            continue
        x = design(
            seen.domains,
            seen.backbones,
            n_train=own["n_train"].to_numpy(),
            d=own["d"].to_numpy(),
            k_f=own["K_F"].to_numpy(),
            domain=own["domain"].tolist(),
            backbone=own["backbone"].tolist(),
        )
        missed = np.log(own["loss"].to_numpy(np.float64)) - x @ seen.beta
        t = float(stats.t.ppf((1 + confidence) / 2, len(seen.data_sets) - seen.between))
        score = np.abs(missed) / (t * _stderr(seen, x, 1))
        mean_score = np.abs(missed.mean()) / (t * _stderr(seen, x.mean(axis=0, keepdims=True), len(own)))
        shares[name] = float((score <= 1).mean())
        sets_inside += bool(mean_score[0] <= 1)
        scores.append(score)
        weights.append(np.full(len(score), 1 / len(score)))
    n_sets = len(shares)
    return Calibration(
        confidence,
        shares,
        sets_inside,
        float(stats.beta.ppf(0.025, sets_inside, n_sets - sets_inside + 1)) if sets_inside else 0.0,
        float(stats.beta.ppf(0.975, sets_inside + 1, n_sets - sets_inside)) if sets_inside < n_sets else 1.0,
        max(1.0, _quantile(np.concatenate(scores), np.concatenate(weights), confidence)) if scores else 1.0,
        not_judged,
    )


def _known(own: pd.DataFrame, law: ScalingLaw, seen: ScalingLaw) -> "pd.Series[bool]":
    """Which runs are of a domain and a network that the law knows without them."""
    of_domain = own["domain"].isin(seen.domains) | (len(law.domains) == 1)
    return of_domain & (own["backbone"].isin(seen.backbones) | (len(law.backbones) == 1))


def _stderr(law: ScalingLaw, x: Array, n_runs: int) -> Array:
    """Standard error of the mean log loss of so many runs on a new data set, for every row of the design."""
    of_coefficients = np.einsum("ij,jk,ik->i", x, law.covariance, x)
    stderr: Array = np.sqrt(of_coefficients + law.var_data_set + law.var_residual / n_runs)
    return stderr


def _quantile(values: Array, weights: Array, level: float) -> float:
    """Smallest of the values that is no less than a part of the weight."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(reached, level * (1 - 1e-12))])
