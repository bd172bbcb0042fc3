"""The joint scaling law, fitted to the records of many data sets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class NotIdentified(ValueError):  # noqa: N818  # nothing is wrong: the records are too few or too alike
    """The records cannot tell the coefficients apart: one line that says why and what would help."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient with its interval.

    Attributes:
        name: As in the formula: "intercept", "log N / d", "log K_F", "domain: radiology", "backbone: vgg13".
        value: Estimate.
        stderr: Standard error (CR2).
        df: Degrees of freedom of its t interval (Bell–McCaffrey).
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Of the hypothesis that it is 0.
        others: The interval by other methods, by their names: "Kenward–Roger", "data set as a fixed effect".
    """

    name: str
    value: float
    stderr: float
    df: float
    low: float
    high: float
    p: float
    others: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Comparison:
    """The law without one of its terms.

    Attributes:
        without: What is left out: "log K_F" or "log N / d"; "" for the whole law.
        aic: By maximum likelihood.
        likelihood_ratio: Of the whole law against this one: 2 · (difference of log-likelihoods); 0 for the whole.
        p: Of the hypothesis that the term is 0, by parametric bootstrap; None for the whole.
        p_chi2: The same by the χ² distribution, which rejects too often with few data sets.
        loo_error: Root mean square of log L − prediction over data sets left out in turn, each counting alike.
    """

    without: str
    aic: float
    likelihood_ratio: float
    p: float | None
    p_chi2: float | None
    loo_error: float | None


@dataclass(frozen=True)
class ScalingLaw:
    r"""A fit of :math:`\log L = a + b (\log N)/d + c \log K_F + \text{domain} + \text{backbone} + u_{\text{set}} + e`.

    Attributes:
        response: Column of L.
        dimension: Column of d.
        sharpness: Column of K_F.
        names: Columns of the design.
        beta: Coefficients, ``(p,)``.
        covariance: CR2 covariance of the coefficients, ``(p, p)``.
        between: How many of the coefficients are constant within data sets: what forecasts of new data sets pay for.
        var_data_set: τ².
        var_residual: σ².
        coefficients: With intervals.
        comparisons: The whole law and what it is without each term.
        reliability: Part of the variance of log K_F between data sets that is not the error of the estimates, 0 … 1;
            None where that error is unknown.
        domains: Levels of the domain factor, the baseline first; one where it is not in the law.
        backbones: Levels of the backbone factor; one where it is not in the law.
        data_sets: What was fitted, by name: number of records.
        ranges: Smallest and largest "n_train", "d", "K_F" and "loss" fitted.
        left_out: Records that did not enter, by reason.
        records: What was fitted, one row each: run_id, data, domain, backbone, n_train, d, K_F, loss, fitted, residual.
    """

    response: str
    dimension: str
    sharpness: str
    names: tuple[str, ...]
    beta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    between: int
    var_data_set: float
    var_residual: float
    coefficients: tuple[Coefficient, ...]
    comparisons: tuple[Comparison, ...]
    reliability: float | None
    domains: tuple[str, ...]
    backbones: tuple[str, ...]
    data_sets: dict[str, int]
    ranges: dict[str, tuple[float, float]]
    left_out: dict[str, int]
    records: pd.DataFrame


def fit_scaling_law(records: pd.DataFrame, **options: Any) -> ScalingLaw:
    """To be written."""
    raise NotImplementedError
