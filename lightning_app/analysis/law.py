"""The joint scaling law, fitted to the records of many data sets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lightning_app.analysis.cluster_robust import cluster_robust
from lightning_app.analysis.coefficients import Coefficient, coefficients_of
from lightning_app.analysis.comparisons import Comparison, compare_without
from lightning_app.analysis.design import SHARPNESS, columns
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.identification import NotIdentified, check_identified
from lightning_app.analysis.mixed_model import MixedFit, fit_random_intercept
from lightning_app.analysis.points import design_of, factors_of, not_comparable, points_of
from lightning_app.analysis.reliability import reliability
from lightning_app.analysis.usable import usable

__all__ = ["Coefficient", "Comparison", "NotIdentified", "ScalingLaw", "fit_points", "fit_scaling_law"]

_LEAST_RELIABLE = 0.5


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
        between: How many of the coefficients only data sets can tell, as they are constant within each: what forecasts
            of new data sets pay for.
        var_data_set: τ².
        var_residual: σ².
        coefficients: With intervals; the last backbone's among them, which has no column.
        comparisons: The whole law and what it is without each term.
        reliability: Part of the variance of log K_F between data sets that is not the error of the estimates, 0 … 1;
            None where that error is unknown.
        domains: Levels of the domain factor, the baseline first; one where it is not in the law.
        backbones: Levels of the backbone factor, whose effects add up to 0; one where it is not in the law.
        data_sets: What was fitted, by name: number of records.
        ranges: Smallest and largest "n_train", "d", "K_F" and "loss" fitted.
        left_out: Records that did not enter, by reason.
        notes: What is not in the law and why, a sentence each.
        records: What was fitted, one row each: run_id, data, domain, backbone, n_train, d, K_F, K_F_stderr, loss,
            fitted (log L without the data set's own intercept), residual (of log L).
    """

    response: str
    dimension: str
    sharpness: str
    names: tuple[str, ...]
    beta: Array
    covariance: Array
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
    notes: tuple[str, ...]
    records: pd.DataFrame

    def coefficient(self, name: str) -> Coefficient:
        """The coefficient of that name."""
        return next(found for found in self.coefficients if found.name == name)

    @property
    def corrected(self) -> tuple[float, float, float] | None:
        """What c and the ends of its interval would be if K_F were known without error: they over ``reliability``.

        The method of moments (Carroll, Ruppert, Stefanski & Crainiceanu 2006, Measurement Error in Nonlinear Models,
        ch. 3). The interval takes the reliability as known, which with few data sets it is not. None where it is
        unknown, or below 1/2: then the quotient says more about the errors than about c.
        """
        if self.reliability is None or self.reliability < _LEAST_RELIABLE:
            return None
        c = self.coefficient(SHARPNESS)
        return c.value / self.reliability, c.low / self.reliability, c.high / self.reliability


def fit_scaling_law(
    records: pd.DataFrame,
    *,
    response: str = "test/loss",
    dimension: str = "data_ref/d_mle",
    sharpness: str = "data_ref/K_F",
    seed: int = 0,
    draws: int = 1000,
    compare: bool = True,
) -> ScalingLaw:
    r"""Fit the joint scaling law to records.

    .. math:: \log L = a + b \frac{\log N}{d} + c \log K_F + \text{domain} + \text{backbone} + u_{\text{set}} + e

    with a random intercept :math:`u_{\text{set}} \sim N(0, τ^2)` per data set, whatever its class pairs, and
    :math:`e \sim N(0, σ^2)`, by restricted maximum likelihood. Intervals: CR2 with Bell–McCaffrey degrees of freedom
    (Pustejovsky & Tipton 2018), which need neither equal slopes in all data sets nor many of them. The paper's bound
    has b = −1 and c = 1.

    The domain is a factor where at least two domains have two data sets or more; the only data set of a domain is then
    left out, as its level would fit it whatever it is, and so are backbones that one data set alone has. Backbones are
    coded such that a is that of the average backbone.

    Args:
        records: As :func:`load_records` returns them.
        response: Column of L.
        dimension: Column of d. The properties of the reference sample do not change with N; those of the training
            subset (``data/…``) do, and bend the fit.
        sharpness: Column of K_F. Its standard error is looked for under the same name with ``_stderr``.
        seed: Of the bootstrap.
        draws: Of the bootstrap.
        compare: Compare with the law without each of its terms.

    Raises:
        NotIdentified: The records are too few, or too alike, to tell the coefficients apart.
    """
    chosen = usable(records, response=response, dimension=dimension, sharpness=sharpness)
    if chosen.frame.empty:
        raise NotIdentified(_nothing(chosen.left_out))
    points = points_of(chosen.frame, response, dimension, sharpness)
    law = fit_points(points, seed=seed, draws=draws, compare=compare)
    return replace(
        law,
        response=response,
        dimension=dimension,
        sharpness=sharpness,
        left_out=chosen.left_out | law.left_out,
        notes=(*law.notes, *not_comparable(chosen.frame, sharpness)),
    )


def fit_points(points: pd.DataFrame, *, seed: int = 0, draws: int = 1000, compare: bool = True) -> ScalingLaw:
    """Fit the joint scaling law to points that are chosen already, as a law's ``records`` are.

    Args:
        points: data, domain, backbone, n_train, d, K_F, K_F_stderr and loss of every run, all finite and above 0, but
            for the standard error, which is NaN where it is unknown.
        seed: Of the bootstrap.
        draws: Of the bootstrap.
        compare: Compare with the law without each of its terms.

    Raises:
        NotIdentified: They are too few, or too alike, to tell the coefficients apart.
    """
    factors = factors_of(points)
    points, domains, backbones = factors.points, factors.domains, factors.backbones
    names = columns(domains, backbones)
    x = design_of(points, domains, backbones)
    y = np.log(points["loss"].to_numpy(np.float64))
    groups, data_sets = pd.factorize(points["data"])
    between = check_identified(x, y, groups, names)
    try:
        fit = fit_random_intercept(x, y, groups, names)
    except ValueError as error:
        raise NotIdentified(str(error)) from error
    log_n = np.log(points["n_train"].to_numpy(np.float64))
    fitted = x @ fit.beta
    return ScalingLaw(
        response="loss",
        dimension="d",
        sharpness="K_F",
        names=names,
        beta=fit.beta,
        covariance=cluster_robust(fit).covariance,
        between=between,
        var_data_set=fit.var_group,
        var_residual=fit.var_residual,
        coefficients=tuple(coefficients_of(fit, backbones)),
        comparisons=tuple(compare_without(fit, log_n, draws=draws, seed=seed)) if compare else (),
        reliability=_reliability(fit, points),
        domains=domains,
        backbones=backbones,
        data_sets={str(name): int(n) for name, n in zip(data_sets, np.bincount(groups), strict=True)},
        ranges={
            name: (float(points[name].min()), float(points[name].max())) for name in ("n_train", "d", "K_F", "loss")
        },
        left_out=factors.left_out,
        notes=factors.notes,
        records=points.assign(fitted=fitted, residual=y - fitted),
    )


def _nothing(left_out: Mapping[str, int]) -> str:
    why = "; ".join(f"{reason}: {number}" for reason, number in left_out.items()) or "there are no records"
    return (
        f"no run can be fitted ({why}): finished runs of `fit` are needed, with DatasetProperties among their callbacks"
    )


def _reliability(fit: MixedFit, points: pd.DataFrame) -> float | None:
    relative = (points["K_F_stderr"] / points["K_F"]).to_numpy()  # standard error of log K_F, to first order
    if np.isnan(relative).any():
        return None
    found = points.groupby(["data", "K_F"]).indices  # runs that share one measurement
    blocks = [np.asarray(rows, np.int64) for rows in found.values()]
    return reliability(fit, fit.names.index(SHARPNESS), blocks, [relative[rows[0]] ** 2 for rows in blocks])
