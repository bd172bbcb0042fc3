"""Does a model need some of its columns? The likelihood ratio, and how often chance makes it as large."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lightning_app.analysis.grouped_design import Array, GroupedDesign, Responses
from lightning_app.analysis.mixed_model import fit_random_intercept

_NUMBERS_AT_ONCE = 4_000_000  # of the largest array: 32 MB


@dataclass(frozen=True)
class LikelihoodRatio:
    """A model against the same without some of its columns, both by maximum likelihood.

    Attributes:
        statistic: Twice the difference of their log-likelihoods, at least 0.
        df: How many columns were left out.
        p: Of the hypothesis that their coefficients are 0, by parametric bootstrap.
        p_chi2: The same by the χ² distribution, which rejects too often with few groups.
        draws: Of the bootstrap: p is a multiple of 1 / (draws + 1).
        aic_full: Akaike's criterion of the model, its two variances counted as parameters.
        aic_reduced: That of the model without the columns.
    """

    statistic: float
    df: int
    p: float
    p_chi2: float
    draws: int
    aic_full: float
    aic_reduced: float


def bootstrap_test(
    x: Array,
    y: Array,
    groups: NDArray[Any],
    names: Sequence[str],
    drop: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> LikelihoodRatio:
    r"""Test whether coefficients of a random-intercept model are 0, by a parametric bootstrap of the likelihood ratio.

    .. math:: p = \frac{1 + \#\{LR^*_b \ge LR\}}{B + 1}, \quad LR = 2 (\hat\ell_{full} - \hat\ell_{reduced}),

    where :math:`LR^*_b` is the ratio of a response drawn from the reduced model as fitted. The ratio changes neither
    with β of that model nor with the unit of the response, so that draws have β = 0 and σ = 1; and it needs to know of
    a response no more than :class:`Responses` holds, all of which are independent normal or χ² variables. These are
    drawn, and never the rows: a thousand draws take as long with ten thousand rows as with a hundred.

    Source: Halekoh & Højsgaard, *A Kenward-Roger approximation and parametric bootstrap methods for tests in linear
    mixed models*, Journal of Statistical Software 59 (2014), section 5; Davison & Hinkley 1997, equation 4.11.

    Args:
        x: Design, ``(n, p)``.
        y: Response, ``(n,)``.
        groups: Which group a row belongs to, ``(n,)``: any labels.
        names: What the columns are called.
        drop: The columns in question.
        draws: Of the bootstrap, B.
        seed: Of the draws.

    Raises:
        ValueError: A column that is not there, or data that cannot be fitted.

    Example:
        >>> x = np.stack([np.ones(12), np.arange(12) % 3], axis=1)
        >>> y = x @ [1, 2] + np.sin(np.arange(12))
        >>> test = bootstrap_test(x, y, np.arange(12) // 3, ["intercept", "slope"], drop=["slope"], draws=99)
        >>> test.df, test.p
        (1, 0.01)
    """
    unknown = [name for name in drop if name not in names]
    if unknown:
        raise ValueError(f"there is no column {unknown[0]!r}: choose of {', '.join(names)}")
    kept = [i for i, name in enumerate(names) if name not in drop]
    kept_names = [names[i] for i in kept]
    full_fit = fit_random_intercept(x, y, groups, names, reml=False)
    reduced_fit = fit_random_intercept(x[:, kept], y, groups, kept_names, reml=False)
    statistic = max(0.0, 2 * (full_fit.log_likelihood - reduced_fit.log_likelihood))
    df = len(names) - len(kept)

    full = GroupedDesign(x, full_fit.groups, names)
    reduced = GroupedDesign(x[:, kept], full_fit.groups, kept_names)
    ratio = reduced_fit.var_group / reduced_fit.var_residual
    rng = np.random.default_rng(seed)
    larger = 0
    block = max(1, _NUMBERS_AT_ONCE // full.largest_array)
    for start in range(0, draws, block):
        drawn = _draw(full, ratio, min(block, draws - start), rng)
        best = full.best(drawn, reml=False).deviance
        best_reduced = reduced.best(_of_smaller(drawn, full, reduced), reml=False).deviance
        larger += int((np.maximum(0, best_reduced - best) >= statistic).sum())
    return LikelihoodRatio(
        statistic=statistic,
        df=df,
        p=(1 + larger) / (draws + 1),
        p_chi2=float(chdtrc(df, statistic)),
        draws=draws,
        aic_full=2 * (len(names) + 2 - full_fit.log_likelihood),
        aic_reduced=2 * (len(kept) + 2 - reduced_fit.log_likelihood),
    )


def _draw(design: GroupedDesign, ratio: float, draws: int, rng: np.random.Generator) -> Responses:
    """Responses without effects, of residual variance 1 and variance θ between groups."""
    means = rng.standard_normal((len(design.sizes), draws)) * np.sqrt(ratio + 1 / design.sizes)[:, None]
    within = rng.standard_normal((len(design.scales), draws)) * (design.scales > 0)[:, None]
    return Responses(means, within, 2 * rng.standard_gamma(design.free_within / 2, draws))


def _of_smaller(responses: Responses, design: GroupedDesign, smaller: GroupedDesign) -> Responses:
    """What a design with fewer columns needs to know of the same responses."""
    overlap = smaller.directions.T @ design.directions
    within = overlap @ responses.within
    lost = np.square(responses.within - overlap.T @ within).sum(axis=0)
    return Responses(responses.means, within, responses.rest + lost)
