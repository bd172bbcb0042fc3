"""The points that the law is fitted to: records under the law's own names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lightning_app.analysis.columns import numbers, words
from lightning_app.analysis.design import design
from lightning_app.analysis.grouped_design import Array

ANY, ANY_BACKBONE = "any domain", "any backbone"
_PER_PIXEL = "_per_pixel"


def points_of(frame: pd.DataFrame, response: str, dimension: str, sharpness: str) -> pd.DataFrame:
    """What the law needs to know of usable records: run_id, data, domain, backbone, n_train, d, K_F, K_F_stderr, loss.

    The standard error of K_F per pixel is, relative to it, that of K_F.
    """
    known = sharpness.removesuffix(_PER_PIXEL)
    relative = numbers(frame, f"{known}_stderr") / numbers(frame, known)
    relative = relative.where(np.isfinite(relative) & (relative >= 0))
    return pd.DataFrame(
        {
            **{name: words(frame, name, f"unknown {name}") for name in ("run_id", "data", "domain", "backbone")},
            "n_train": frame["n_train"].astype("int64"),
            "d": frame[dimension],
            "K_F": frame[sharpness],
            "K_F_stderr": relative * frame[sharpness],
            "loss": frame[response],
        }
    ).reset_index(drop=True)


def not_comparable(frame: pd.DataFrame, sharpness: str) -> Iterator[str]:
    """Why sharpnesses of usable records may differ where data sets do not, a sentence each."""
    samples = numbers(frame, f"{sharpness.removesuffix(_PER_PIXEL)}_n_images")
    if samples.nunique() > 1:
        yield (
            f"K_F was measured on samples of {samples.min():,.0f} to {samples.max():,.0f} images, and grows with them: "
            "part of what it shows is their number."
        )
    shapes = (
        pd.DataFrame({name: numbers(frame, name) for name in ("channels", "image_size")}).dropna().drop_duplicates()
    )
    if len(shapes) > 1 and not sharpness.endswith(_PER_PIXEL):
        yield (
            f"The images have {len(shapes)} different shapes, and K_F depends on resolution and channels; "
            f"{sharpness}{_PER_PIXEL} does so much less where images are smooth."
        )


@dataclass(frozen=True)
class Factors:
    """Points with the levels of their factors.

    Attributes:
        points: Those whose levels are in the law.
        domains: Levels of the domain factor, the baseline first; one where it is no factor.
        backbones: Levels of the backbone factor; one where it is no factor.
        left_out: How many points are not in the law, by reason.
        notes: What is no factor and why, a sentence each.
    """

    points: pd.DataFrame
    domains: tuple[str, ...]
    backbones: tuple[str, ...]
    left_out: dict[str, int]
    notes: tuple[str, ...]


def factors_of(points: pd.DataFrame) -> Factors:
    """Make factors of domain and backbone, every level of which has two data sets or more.

    The effect of a level that one data set alone has fits that data set whatever it is, and no interval would know:
    such points are left out. Without two such domains, or one such backbone, all are taken for the same.
    """
    levels: dict[str, tuple[str, ...]] = {}
    left_out, notes = {}, []
    for factor, least, any_of_them in (("domain", 2, ANY), ("backbone", 1, ANY_BACKBONE)):
        sets = points.groupby(factor)["data"].nunique()
        shared = sets.index[sets > 1]
        if len(sets) == 1:
            levels[factor] = tuple(sets.index)
        elif len(shared) >= least:
            levels[factor] = tuple(sorted(shared))
            inside = points[factor].isin(shared)
            if not inside.all():
                left_out[f"the only data set of its {factor}"] = int((~inside).sum())
            points = points[inside]
        else:
            levels[factor] = (any_of_them,)
            there = ", ".join(f"{name}: {number}" for name, number in sets.items())
            notes.append(f"The {factor} is no factor: too few of them have two data sets or more ({there}).")
    return Factors(points.reset_index(drop=True), levels["domain"], levels["backbone"], left_out, tuple(notes))


def design_of(points: pd.DataFrame, domains: Sequence[str], backbones: Sequence[str]) -> Array:
    """The design of points, ``(n, p)``."""
    return design(
        domains,
        backbones,
        n_train=points["n_train"],
        d=points["d"],
        k_f=points["K_F"],
        domain=points["domain"].tolist(),
        backbone=points["backbone"].tolist(),
    )
