"""A line with an error that grows away from the data, and where it meets a value."""

import math
from dataclasses import dataclass

from lightning_app.analysis.grouped_design import Array
from lightning_app.mistakes import mistake


@dataclass(frozen=True)
class Band:
    r"""Log loss over log N: :math:`m = (z_0 + \nu z_1) \cdot \theta` with :math:`\nu = \log N` and θ uncertain.

    Attributes:
        start: z₀, ``(p,)``.
        slope: z₁, ``(p,)``.
        mean: Of θ, ``(p,)``.
        covariance: Of θ, ``(p, p)``.
        noise: Variance of one run around m.
        parts: Which entries of θ belong together, by name.

    Example:
        2 − ν/2 ± 2 · 0.2 is 0 at ν = 4, and the band holds 0 between ν = 3.2 and 4.8.

        >>> import numpy as np
        >>> ways = np.eye(2)
        >>> band = Band(ways[0], ways[1], np.array([2, -0.5]), np.zeros((2, 2)), 0.04, {})
        >>> [round(log_n, 6) for log_n in band.meets(0.0, 2.0)]
        [4.0, 3.2, 4.8]
    """

    start: Array
    slope: Array
    mean: Array
    covariance: Array
    noise: float
    parts: dict[str, slice]

    def at(self, log_n: float) -> tuple[float, float]:
        """Mean and standard error of log loss of one run."""
        z = self.start + log_n * self.slope
        return float(z @ self.mean), math.sqrt(float(z @ self.covariance @ z) + self.noise)

    def shares(self, log_n: float) -> dict[str, float]:
        """Parts of the variance: what each part of θ has in common with the whole, over its variance."""
        z = self.start + log_n * self.slope
        with_all = z * (self.covariance @ z)
        variance = float(with_all.sum()) + self.noise
        found = {name: float(with_all[part].sum()) / variance for name, part in self.parts.items()}
        return {name: share for name, share in found.items() if share} | {"run to run": self.noise / variance}

    def meets(self, log_loss: float, factor: float) -> tuple[float, float, float]:
        """Where the mean has a value, and between which log N the band of ± factor · standard error holds it.

        The band holds it where (m − log L)² ≤ (factor · s)². m is linear and s² quadratic in log N, so the ends are the
        roots of a quadratic (Fieller). Where that opens downwards the slope might be 0: there is no upper end, and a
        lower one only where what the band holds beyond it is less than one image.

        Returns:
            log N; the smallest, −∞ where there is none; the largest, ∞ where there is none.

        Raises:
            InputError: The mean does not fall with N.
        """
        per_log_n = float(self.slope @ self.mean)
        if per_log_n >= 0:
            raise mistake(
                f"in this fit loss does not fall with N (d log L / d log N = {per_log_n:+.3g}): no number of images "
                "can be given for a loss; ask for the loss at a number of images"
            )
        at = (log_loss - float(self.start @ self.mean)) / per_log_n
        z, towards = self.start + at * self.slope, self.covariance @ self.slope
        # From there on the band holds it where a δ² + b δ + c ≤ 0, which it does at δ = 0, as c is below 0.
        a = per_log_n**2 - factor**2 * float(self.slope @ towards)
        b = -2 * factor**2 * float(z @ towards)
        c = -(factor**2) * (float(z @ self.covariance @ z) + self.noise)
        inner = b * b - 4 * a * c
        if inner < 0:
            return at, -math.inf, math.inf
        root = math.sqrt(inner)
        if a > 0:
            return at, at + 2 * c / (root - b), at - 2 * c / (root + b)
        if b < 0 and (root + b == 0 or at - 2 * c / (root + b) < 0):
            return at, at + 2 * c / (root - b), math.inf
        return at, -math.inf, math.inf
