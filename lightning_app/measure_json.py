"""The numbers of `lightning measure` as one JSON object."""

import math
from importlib.metadata import version
from typing import Any

from lightning_app.measurement import QUANTILES, Measurement
from metrics import Estimate

_DIMENSIONS = ("n_duplicates", "d_over_k", "d_over_n")
_SHARPNESS = (
    *("K_F", "K_F_stderr", "K_F_per_pixel", "K_F_255", "K_F_n_images", "K_F_all", "K_F_all_per_pixel", "n_conflicts"),
    *("K_F_over_M", "K_quantiles", "K_F_class_pairs", "sharpest_pairs"),
)


def as_json(measurement: Measurement) -> dict[str, Any]:
    """Everything that was measured.

    Returns:
        Single numbers under flat names as in a run's record (``d_mle``, ``d_mle_stderr``, ``K_F``, …), lists for curves
        and pairs. What could not be measured is null, and ``missing`` says why.
    """
    collection, options = measurement.collection, measurement.options
    _, channels, height, width = collection.images.shape
    names, sources = collection.class_names, collection.sources
    result: dict[str, Any] = {
        "data": collection.name,
        "n_images": len(collection),
        "channels": channels,
        "height": height,
        "width": width,
        "classes": {name: int((collection.labels == i).sum()) for i, name in enumerate(names)},
        "n_groups": None if collection.groups is None else len(set(collection.groups.tolist())),
        "splits": None,
        "k": options.k,
        "M": options.samples,
        "trials": options.trials,
        "seed": options.seed,
        "max_images": options.max_images,
    }
    if collection.splits is not None:
        splits = collection.splits.tolist()
        result["splits"] = {name or "(none)": splits.count(name) for name in sorted(set(splits))}
    for estimator in options.estimators:
        result |= {f"d_{estimator}": None, f"d_{estimator}_stderr": None}
    result |= dict.fromkeys(_DIMENSIONS) | dict.fromkeys(_SHARPNESS)
    if measurement.dimensions is not None:
        dimensions = measurement.dimensions
        for estimator, estimate in dimensions.values.items():
            result |= _flat(f"d_{estimator}", estimate)
        result["n_duplicates"] = dimensions.n_duplicates
        for kind, curves in (("k", dimensions.over_k), ("n", dimensions.over_n)):
            result[f"d_over_{kind}"] = {
                estimator: [{kind: at, **_flat("d", estimate)} for at, estimate in curve]
                for estimator, curve in curves.items()
            }
    if measurement.sharpness is not None:
        sharpness = measurement.sharpness
        quantiles = sharpness.of_images.quantiles(QUANTILES)
        result |= {
            **_flat("K_F", sharpness.of_samples),
            "K_F_per_pixel": sharpness.of_samples.per_pixel,
            "K_F_255": sharpness.of_samples.value / 255,
            "K_F_n_images": sharpness.of_samples.n_used,
            "K_F_all": sharpness.of_all.value,
            "K_F_all_per_pixel": sharpness.of_all.per_pixel,
            "n_conflicts": sharpness.of_all.n_conflicts,
            "K_F_over_M": [{"M": point.n_used, **_flat("K_F", point)} for point in sharpness.over_m],
            "K_quantiles": [{"level": q, "K": value} for q, value in zip(QUANTILES, quantiles, strict=True)],
            "K_F_class_pairs": [
                {"classes": [names[a], names[b]], "K_F": found.value, "pair": [sources[i] for i in found.pair]}
                for (a, b), found in sharpness.of_class_pairs.items()
            ],
            "sharpest_pairs": [
                {
                    "images": [sources[i] for i in (pair.i, pair.j)],
                    "classes": [names[collection.labels[i]] for i in (pair.i, pair.j)],
                    "distance": pair.distance,
                    "K": pair.sharpness if math.isfinite(pair.sharpness) else None,
                }
                for pair in sharpness.pairs
            ],
        }
    result["audit"] = _audit(measurement)
    result |= {
        "skipped": list(collection.skipped),
        "notes": list(collection.notes),
        "missing": list(measurement.missing),
        "version": version("intrinsic-scaling"),
    }
    return result


def _audit(measurement: Measurement) -> dict[str, Any] | None:
    audit, collection = measurement.audit, measurement.collection
    if audit is None or collection.splits is None:
        return None
    splits, split_names = collection.splits, collection.split_names
    return {
        "near": measurement.options.near,
        "counts": audit.counts,
        "groups": [
            {
                "group": measurement.group_names[leak.group],
                "splits": [split_names[split] for split in leak.splits],
                "n_images": leak.n_images,
            }
            for leak in audit.groups
        ],
        **{
            kind: [
                {
                    "images": [collection.sources[i] for i in (twin.i, twin.j)],
                    "splits": [str(splits[i]) for i in (twin.i, twin.j)],
                    "rms": twin.distance,
                    "relative": twin.relative,
                }
                for twin in twins
            ]
            for kind, twins in (("exact", audit.exact), ("near_duplicates", audit.near))
        },
    }


def _flat(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_stderr": estimate.stderr}
