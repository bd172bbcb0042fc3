"""Forecasts for a new data set: the loss at N, or the N that reaches a loss, with prediction intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from lightning_app.analysis.agreement import Agreement, agreement
from lightning_app.analysis.belief import Images, belief
from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.levels import check_backbone, check_domain
from lightning_app.analysis.own_runs import own_runs
from lightning_app.mistakes import mistake

REACH = {"n_train": 2.0, "d": 1.25, "K_F": 1.5}
"""How far beyond the range of the records a forecast may go, as a factor."""


@dataclass(frozen=True)
class Forecast:
    """A forecast for one run on a data set that the law was not fitted to.

    Attributes:
        asked: What the value is: the "loss" at N, or the "n" that reaches a loss.
        given: The N, or the loss, that was asked for.
        value: The loss or N: the median of what is expected. N need not be whole.
        low: Lower end of the prediction interval. For N: 0 where no size is too small to be expected.
        high: Upper end. For N: infinite where no size is certain to be enough.
        confidence: Of the interval.
        df: Degrees of freedom of its t distribution: data sets less coefficients that are constant within data sets.
        stderr: Standard error of log loss there, without ``widened``.
        widened: Factor by which the interval is wider than that of the t distribution: ``widen``, times that of
            ``agreement``.
        shares: Of the variance, by what it comes from; they add up to 1. "data set": data sets of equal d and K_F
            differ; "run to run"; "coefficients" of the law; "d_data" and "K_F": the errors of one's own measurements;
            "network": none was named. With own runs one may be slightly below 0: what is unknown is then correlated.
        own_runs: How many runs of one's own have updated it.
        outside: What lies farther outside the fitted ranges than ``REACH``, in words; empty without ``extrapolate``.
        agreement: Whether the own runs are what the law lets one expect; None without own runs.
    """

    asked: Literal["loss", "n"]
    given: float
    value: float
    low: float
    high: float
    confidence: float
    df: int
    stderr: float
    widened: float
    shares: dict[str, float]
    own_runs: int
    outside: tuple[str, ...]
    agreement: Agreement | None = None


def forecast(
    law: ScalingLaw,
    *,
    d_data: float,
    k_f: float,
    n: float | None = None,
    loss: float | None = None,
    domain: str | None = None,
    backbone: str | None = None,
    runs: pd.DataFrame | None = None,
    confidence: float = 0.95,
    extrapolate: bool = False,
    d_data_stderr: float = 0.0,
    k_f_stderr: float = 0.0,
    widen: float = 1.0,
) -> Forecast:
    r"""Forecast the test loss of one run on a new data set, or the training images that a loss takes.

    .. math:: \log L \in x^\top \hat\beta \pm t_{\mathrm{df}} \sqrt{x^\top C x + \tau^2 + \sigma^2 + \delta^2}

    with the covariance C of the coefficients, the variance τ² between data sets of equal properties, σ² from run to
    run, and what the errors of d and K_F add to first order,
    :math:`\delta^2 = (b \log N / d^2)^2 s_d^2 + (c / K_F)^2 s_K^2`. An N is found where the middle of this band meets
    the loss; its interval is every N whose band holds the loss. Runs of one's own on the same data set update all of it
    at once, by conditioning the joint normal distribution of what is unknown on them (best linear unbiased prediction;
    the variances stay as fitted, and so do the degrees of freedom, which errs on the wide side). Where they contradict
    the law the interval is widened, see :func:`lightning_app.analysis.agreement.agreement`.

    Args:
        law: From :func:`lightning_app.analysis.law.fit_scaling_law`.
        d_data: Intrinsic dimension of the images, measured as the law's ``dimension``.
        k_f: Label sharpness, measured as the law's ``sharpness``.
        n: Training images, at least 1.
        loss: Test loss, above 0. Exactly one of ``n`` and ``loss``.
        domain: One of ``law.domains``; needed where there are several, and whatever it is where it is no factor.
        backbone: One of ``law.backbones``; without it any of them: the mean over them, and their variance in the
            interval.
        runs: Own runs on this data set: ``n_train``, the law's ``response`` and, if given, ``backbone``. What has no
            finite loss or is no finished ``fit`` does not count.
        confidence: Of the interval, between 0 and 1.
        extrapolate: Answer even farther outside the fitted ranges than ``REACH``, and say what is.
        d_data_stderr: Standard error of ``d_data``.
        k_f_stderr: Standard error of ``k_f``.
        widen: Factor for the width of the interval, at least 1: from
            :func:`lightning_app.analysis.calibration.calibrate`.

    Raises:
        InputError: A value out of range, a domain or backbone that the law does not know, a forecast far outside the
            fitted ranges, or a loss that more images do not reach.
    """
    _check(n, loss, confidence, d_data=d_data, k_f=k_f, d_data_stderr=d_data_stderr, k_f_stderr=k_f_stderr, widen=widen)
    check_domain(law, domain)
    check_backbone(law, backbone)
    own = own_runs(law, runs, backbone)
    df = len(law.data_sets) - law.between
    before = belief(law, Images(d_data, d_data_stderr, k_f, k_f_stderr, domain))
    agrees = agreement(before, own, df) if len(own) else None
    widened = widen * (agrees.widen if agrees else 1)
    factor = widened * float(stats.t.ppf((1 + confidence) / 2, df))
    band = before.after(own).band(backbone)
    if n is not None:
        log_n = math.log(n)
        mean, stderr = band.at(log_n)
        logs = mean, mean - factor * stderr, mean + factor * stderr
    else:
        assert loss is not None  # _check has seen to it
        logs = band.meets(math.log(loss), factor)
        log_n = logs[0]
        _, stderr = band.at(log_n)
    value, low, high = map(_exp, logs)
    outside = _outside(law, value if n is None else n, d_data, k_f, own["n_train"].tolist())
    if outside and not extrapolate:
        raise mistake(
            f"far outside what was fitted: {'; '.join(outside)}; a forecast there would be an extrapolation, which "
            "--extrapolate (in Python: extrapolate=True) allows"
        )
    return Forecast(
        "n" if n is None else "loss",
        float(n or loss or 0),
        value,
        low,
        high,
        confidence,
        df,
        stderr,
        widened,
        band.shares(log_n),
        len(own),
        tuple(outside),
        agrees,
    )


def _outside(law: ScalingLaw, n: float, d: float, k_f: float, own_sizes: Sequence[float]) -> list[str]:
    sizes = {"N": n}
    if len(set(own_sizes)) == 1:
        sizes |= {"the own N": own_sizes[0]}
    elif own_sizes:
        sizes |= {"the smallest own N": min(own_sizes), "the largest own N": max(own_sizes)}
    found = []
    for name, values, form in (("n_train", sizes, ",.0f"), ("d", {"d": d}, ".3g"), ("K_F", {"K_F": k_f}, ".3g")):
        low, high = law.ranges[name]
        for what, value in values.items():
            if not low / REACH[name] <= value <= high * REACH[name]:
                found.append(f"{what} = {value:{form}}, where the records have {low:{form}} to {high:{form}}")
    return found


def _check(n: float | None, loss: float | None, confidence: float, **numbers: float) -> None:
    if (n is None) == (loss is None):
        raise mistake("give exactly one of n (the loss is forecast) and loss (the number of images is)")
    if n is not None and not 1 <= n < math.inf:
        raise mistake(f"n={n} is out of range: choose 1 or more")
    if loss is not None and not 0 < loss < math.inf:
        raise mistake(f"loss={loss} is out of range: choose a number above 0")
    if not 0 < confidence < 1:
        raise mistake(f"confidence={confidence} is out of range: choose a number between 0 and 1, for instance 0.95")
    least = {"d_data": "above 0", "k_f": "above 0", "d_data_stderr": "0 or more", "k_f_stderr": "0 or more"}
    for name, value in numbers.items():
        allowed = least.get(name, "1 or more")
        fits = {"above 0": value > 0, "0 or more": value >= 0, "1 or more": value >= 1}[allowed]
        if not fits or math.isinf(value):
            raise mistake(f"{name}={value} is out of range: choose a number that is {allowed}")


def _exp(x: float) -> float:
    """The exponential, infinite where it is too large."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
