"""The law without each of its terms: what each is worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_app.analysis.design import SHARPNESS, SIZE
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.likelihood_ratio import bootstrap_test
from lightning_app.analysis.mixed_model import MixedFit, fit_random_intercept

DIMENSION = "d"
"""What is left out where log N has one slope for all data sets in place of one over d."""


@dataclass(frozen=True)
class Comparison:
    """The law without one of its terms.

    Attributes:
        without: What is left out: "" for the whole law, "log K_F", "log N / d", or "d": log N takes the place of
            (log N)/d, so that more images help every data set alike.
        aic: Akaike's criterion, −2 · log-likelihood + 2 · parameters, by maximum likelihood.
        likelihood_ratio: 2 · (log-likelihood of the whole law less that of this one); None for the whole law and for
            "d", which is no special case of it.
        p: Of the hypothesis that the term is 0, by parametric bootstrap; None where there is no ratio.
        p_chi2: The same by the χ² distribution, which rejects too often with few data sets.
        loo_error: Root mean square of log L − prediction over data sets left out in turn, each counting alike; None
            where a data set alone tells one of the coefficients.
    """

    without: str
    aic: float
    likelihood_ratio: float | None
    p: float | None
    p_chi2: float | None
    loo_error: float | None


def compare_without(fit: MixedFit, log_n: Array, *, draws: int, seed: int) -> Iterator[Comparison]:
    """The whole law; without log K_F; without d; and without (log N)/d.

    Args:
        fit: The whole law.
        log_n: Logarithm of the training images of every run, ``(n,)``. Where it is the same in all of them, there is
            nothing to put in the place of (log N)/d.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    yield Comparison("", _aic(fit, fit.x), None, None, None, _left_out_error(fit, fit.x))
    for term in (SHARPNESS, DIMENSION, SIZE):
        if term == DIMENSION:
            if np.ptp(log_n) > 0:
                x = fit.x.copy()
                x[:, fit.names.index(SIZE)] = log_n
                yield Comparison(term, _aic(fit, x), None, None, None, _left_out_error(fit, x))
            continue
        x = np.delete(fit.x, fit.names.index(term), axis=1)
        test = bootstrap_test(fit.x, fit.y, fit.groups, fit.names, [term], draws=draws, seed=seed)
        error = _left_out_error(fit, x)
        yield Comparison(term, test.aic_reduced, test.statistic, test.p, test.p_chi2, error)


def _fitted(fit: MixedFit, x: Array, rows: Any = slice(None), *, reml: bool) -> MixedFit:
    return fit_random_intercept(x[rows], fit.y[rows], fit.groups[rows], [str(i) for i in range(x.shape[1])], reml=reml)


def _aic(fit: MixedFit, x: Array) -> float:
    found = _fitted(fit, x, reml=False)
    return 2 * (len(found.names) + 2 - found.log_likelihood)


def _left_out_error(fit: MixedFit, x: Array) -> float | None:
    squares = []
    for group in range(fit.n_groups):
        own = fit.groups == group
        try:
            beta = _fitted(fit, x, ~own, reml=True).beta
        except ValueError:  # one of the coefficients is gone with the data set
            return None
        squares.append(float(np.square(fit.y[own] - x[own] @ beta).mean()))
    return float(np.sqrt(np.mean(squares)))
