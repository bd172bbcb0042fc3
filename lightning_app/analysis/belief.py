"""What is known of one data set: before any run on it, and after some."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lightning_app.analysis.band import Band
from lightning_app.analysis.design import SHARPNESS, SIZE, design
from lightning_app.analysis.grouped_design import Array
from lightning_app.analysis.law import ScalingLaw


@dataclass(frozen=True)
class Images:
    """What a law takes of a data set.

    Attributes:
        d: Intrinsic dimension.
        d_stderr: Its standard error.
        k_f: Label sharpness.
        k_f_stderr: Its standard error.
        domain: Level of the law's domain factor; None is its baseline.
    """

    d: float
    d_stderr: float
    k_f: float
    k_f_stderr: float
    domain: str | None


@dataclass(frozen=True)
class Belief:
    r"""A normal distribution of what decides the loss: :math:`\log L = z(N) \cdot \theta + e`.

    Attributes:
        parts: Which entries of θ belong together, by name: "coefficients" of the law, the data set's own intercept
            ("data set"), the errors of "d_data" and of log "K_F", and the effect of a "network" that is not named.
        mean: Of θ.
        covariance: Of θ.
        noise: Variance of e, from run to run.
        law: The law.
        images: The data set.
    """

    parts: dict[str, slice]
    mean: Array
    covariance: Array
    noise: float
    law: ScalingLaw
    images: Images

    def rows(self, n_train: Sequence[float], backbones: Sequence[str | None]) -> Array:
        """The z of runs, one row each; a network of None is not named."""
        return _rows(self.law, self.images, n_train, backbones)

    def after(self, runs: pd.DataFrame) -> "Belief":
        """What is known after own runs: columns n_train, loss and backbone."""
        z = self.rows(runs["n_train"].tolist(), runs["backbone"].tolist())
        missed = np.log(runs["loss"].to_numpy(np.float64)) - z @ self.mean
        # (Σ⁻¹ + ZᵀZ/σ²)⁻¹, in a form that takes what is known without error.
        told = np.eye(len(self.mean)) + self.covariance @ (z.T @ z) / self.noise
        covariance = np.asarray(np.linalg.solve(told, self.covariance), np.float64)
        return replace(self, mean=self.mean + covariance @ (z.T @ missed) / self.noise, covariance=covariance)

    def band(self, backbone: str | None) -> Band:
        """Log loss over log N, of one network."""
        at_one, at_e = self.rows([1, math.e], [backbone] * 2)
        return Band(at_one, at_e - at_one, self.mean, self.covariance, self.noise, self.parts)


def belief(law: ScalingLaw, images: Images) -> Belief:
    """What a law says of a data set that it has not seen."""
    p = len(law.beta)
    effects = _rows(law, images, [1] * len(law.backbones), law.backbones)[:, :p] @ law.beta
    unknown = {
        "data set": law.var_data_set,
        "d_data": images.d_stderr**2,
        "K_F": (images.k_f_stderr / images.k_f) ** 2,
        "network": float(np.var(effects)),
    }
    covariance = np.diag([0.0] * p + list(unknown.values()))
    covariance[:p, :p] = law.covariance
    return Belief(
        {"coefficients": slice(0, p)} | {name: slice(p + i, p + i + 1) for i, name in enumerate(unknown)},
        np.append(law.beta, np.zeros(len(unknown))),
        covariance,
        law.var_residual,
        law,
        images,
    )


def _rows(law: ScalingLaw, images: Images, n_train: Sequence[float], backbones: Sequence[str | None]) -> Array:
    coefficient = dict(zip(law.names, law.beta.tolist(), strict=True))
    size = np.asarray(n_train, np.float64)
    one = np.ones_like(size)
    ordinary = design(
        law.domains,
        law.backbones,
        n_train=size,
        d=images.d,
        k_f=images.k_f,
        domain=[images.domain] * len(size),
        backbone=backbones,
    )
    per_d, per_log_k = -coefficient[SIZE] * np.log(size) / images.d**2, coefficient[SHARPNESS] * one
    unnamed = np.array([float(name is None) for name in backbones])
    return np.column_stack([ordinary, one, per_d, per_log_k, unnamed])
