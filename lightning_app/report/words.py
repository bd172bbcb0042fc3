"""Findings in words that stay true when the numbers say the opposite."""

import math

from lightning_app.analysis.correlation import Correlation
from lightning_app.analysis.lines import Slope

FEWEST_DF = 4
"""Degrees of freedom below which cluster-robust t intervals are rough (Tipton 2015, Psychological Methods 20:375)."""

ROUGH = "rough: {:.2g} degrees of freedom"


def signed(value: float) -> str:
    """Three significant digits and the sign.

    Example:
        >>> signed(-0.01234), signed(2.0)
        ('−0.0123', '+2')
    """
    return f"{value:+.3g}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """An interval, or that there is none.

    Example:
        >>> interval(-0.5, 1), interval(None, None)
        ('95 % interval −0.5 to 1', 'no interval')
    """
    if low is None or high is None or math.isnan(low + high):
        return "no interval"
    return f"95 % interval {low:.3g} to {high:.3g}".replace("-", "−")


def probability(p: float | None) -> str:
    """A p-value.

    Example:
        >>> probability(0.0213), probability(1e-9)
        ('p = 0.021', 'p < 0.001')
    """
    return "no p" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def trend(slope: Slope, unit: str, where: str = "") -> str:
    """What a line does.

    Example:
        >>> trend(Slope(0.2, 0.1, 0.3, 9, 0.001), "per dimension")
        'rises (+0.2 per dimension, 95 % interval 0.1 to 0.3)'
        >>> trend(Slope(0.2, -0.1, 0.5, 9, 0.2), "per dimension", "in natural data")
        'cannot be told from level in natural data (+0.2 per dimension, 95 % interval −0.1 to 0.5)'
    """
    does = {1: "rises", -1: "falls", 0: "cannot be told from level", None: "has an uncertain slope"}[sign(slope)]
    return f"{f'{does} {where}'.rstrip()} ({signed(slope.value)} {unit}, {interval(slope.low, slope.high)})"


def sign(found: Slope | Correlation) -> int | None:
    """1 or −1 where the interval lies on one side of 0, else 0; None without an interval."""
    if found.low is None or found.high is None:
        return None
    return int(found.low > 0) - int(found.high < 0)


def correlation(found: Correlation) -> str:
    """A correlation with all that is known of it.

    Example:
        >>> correlation(Correlation(0.5, -0.1, 0.9, 0.12, 0.4, 8))
        'r = +0.5 (95 % interval −0.1 to 0.9, p = 0.12, n = 8)'
    """
    if found.r is None:
        return f"no r ({found.reason})"
    return f"r = {signed(found.r)} ({interval(found.low, found.high)}, {probability(found.p)}, n = {found.n})"
