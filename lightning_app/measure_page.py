"""The page of `lightning measure`: every number with a figure, in one file that opens offline."""

import base64
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from datamodules import Collection
from lightning_app.figures import COLOURS, MARKERS, drawn, plain_text, plain_ticks
from lightning_app.measure_json import as_json
from lightning_app.measurement import Dimensions, Measurement, Sharpness
from lightning_app.pages import render
from lightning_app.plain import number, printable
from metrics import Estimate

_THUMBNAIL = 160  # pixels
_MOST_CLASSES = 6  # with a histogram of their own
_MOST_LEAKS = 50  # of a kind, on the page


@dataclass(frozen=True)
class _Figure:
    title: str
    svg: str
    caption: str


def as_page(measurement: Measurement) -> str:
    """A self-contained HTML page."""
    facts = as_json(measurement)
    audit = facts["audit"]
    return render(
        "measure_page.html.jinja",
        m=measurement,
        c=measurement.collection,
        facts=facts,
        audit=audit,
        most=_MOST_LEAKS,
        figures=list(_figures(measurement)),
        pairs=list(_pairs(measurement)),
    )


def _figures(measurement: Measurement) -> Iterator[_Figure]:
    if measurement.sharpness is not None:
        yield _sharpness_over_m(measurement.sharpness, measurement.options.trials)
        yield _nearest_distances(measurement.sharpness, measurement.collection)
    if measurement.dimensions is not None:
        if measurement.dimensions.over_k:
            yield _dimension_over_k(measurement.dimensions, measurement.options.k)
        if any(len(curve) > 1 for curve in measurement.dimensions.over_n.values()):
            yield _dimension_over_n(measurement.dimensions)


def _sharpness_over_m(sharpness: Sharpness, trials: int) -> _Figure:
    curve: list[tuple[int, Estimate]] = [(point.n_used, point) for point in sharpness.over_m]
    sizes, values = [size for size, _ in curve], [point.value for _, point in curve]
    with drawn("images per sample, M", "K_F (pixels in [0, 1])", log_x=True) as (axes, drawing):
        _band(axes, curve, 0, f"mean of {trials} samples, 95 % band")
        everything = sharpness.of_all
        if everything.n_used > sizes[-1]:
            axes.plot(
                everything.n_used, everything.value, marker=MARKERS[1], color=COLOURS[1], ls="", label="all images"
            )
        plain_ticks(axes, [*sizes, everything.n_used] if everything.n_used > 1.3 * sizes[-1] else sizes)
    growth = ""
    if len(curve) > 1:
        slope = math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])
        growth = f" From M = {sizes[0]:,} to {sizes[-1]:,} it grew like M to the power {slope:.2f}."
    return _Figure(
        "Label sharpness over sample size",
        drawing.svg,
        f"K_F is an extreme value: the more images, the closer the closest pair.{growth} Compare equal M only.",
    )


def _nearest_distances(sharpness: Sharpness, collection: Collection) -> _Figure:
    scale = math.sqrt(collection.images[0].numel())
    with np.errstate(divide="ignore"):
        enemies = 1 / sharpness.of_images.values / scale
    friends = sharpness.friends / scale
    classes = list(range(len(collection.class_names)))
    shown = classes if len(classes) <= _MOST_CLASSES else []
    largest = max(enemies.max(), friends[np.isfinite(friends)].max(initial=0.0))
    bins = np.linspace(0, largest, 41)
    with drawn("RMS difference per pixel value to the nearest image", "images") as (axes, drawing):
        for i in shown:
            own = collection.labels == i
            for distances, style, where in ((enemies, "-", "other"), (friends, ":", "same")):
                # A leading underscore would keep it out of the legend.
                label = f"→ {where} class, from {plain_text(printable(collection.class_names[i]))}"
                _outline(axes, distances[own], bins, COLOURS[i], style, label)
        if not shown:
            for distances, style, where in ((enemies, "-", "other"), (friends, ":", "same")):
                _outline(axes, distances, bins, COLOURS[style == "-"], style, f"→ {where} class")
    closer = float((enemies < friends).mean())
    return _Figure(
        "Nearest images",
        drawing.svg,
        f"For {closer:.1%} of the images the nearest image belongs to another class. "
        "K_F is decided by the left end of the solid lines.",
    )


def _outline(
    axes: Axes, distances: NDArray[np.float64], bins: NDArray[np.float64], colour: str, style: str, label: str
) -> None:
    finite = distances[np.isfinite(distances)]
    axes.hist(finite, list(bins), histtype="step", color=colour, lw=1.6, ls=style, label=label)


def _dimension_over_k(dimensions: Dimensions, k: int) -> _Figure:
    curve = dimensions.over_k["mle"]
    ks = [at for at, _ in curve]
    values = [estimate.value for _, estimate in curve]
    with drawn("neighbours per point, k", "intrinsic dimension, MLE", log_x=True) as (axes, drawing):
        _band(axes, curve, 0, "MLE, 95 % band")
        plain_ticks(axes, ks)
    return _Figure(
        "Dimension over scale",
        drawing.svg,
        f"Between k = {ks[0]} and {ks[-1]} the estimate goes from {number(values[0])} to {number(values[-1])}; "
        f"k = {k} is what the table shows. A plateau means that the dimension does not depend on the scale.",
    )


def _dimension_over_n(dimensions: Dimensions) -> _Figure:
    curves = {name: curve for name, curve in dimensions.over_n.items() if len(curve) > 1}
    with drawn("images, N", "intrinsic dimension", log_x=True) as (axes, drawing):
        for i, (name, curve) in enumerate(curves.items()):
            _band(axes, curve, i, {"mle": "MLE", "twonn": "TwoNN"}[name] + ", 95 % band")
        plain_ticks(axes, [at for at, _ in next(iter(curves.values()))])
    moves = ", ".join(
        f"{ {'mle': 'MLE', 'twonn': 'TwoNN'}[name] } from {number(curve[0][1].value)} to {number(curve[-1][1].value)}"
        for name, curve in curves.items()
    )
    return _Figure(
        "Dimension over sample size",
        drawing.svg,
        f"With more images the estimate moved: {moves}. Where it still rises, the true dimension is higher.",
    )


def _band(axes: Axes, curve: list[tuple[int, Estimate]], i: int, label: str) -> None:
    at = [x for x, _ in curve]
    values = np.array([estimate.value for _, estimate in curve])
    errors = np.array([estimate.stderr or 0.0 for _, estimate in curve])
    axes.fill_between(at, values - 1.96 * errors, values + 1.96 * errors, color=COLOURS[i], alpha=0.2, lw=0)
    axes.plot(at, values, marker=MARKERS[i], color=COLOURS[i], label=label)


def _pairs(measurement: Measurement) -> Iterator[dict[str, object]]:
    """The sharpest pairs, as images side by side."""
    if measurement.sharpness is None:
        return
    collection = measurement.collection
    for pair in measurement.sharpness.pairs:
        yield {
            "sides": [
                {
                    "source": collection.sources[i],
                    "label": collection.class_names[collection.labels[i]],
                    "image": _picture(collection, i),
                }
                for i in (pair.i, pair.j)
            ],
            "rms": pair.distance / math.sqrt(collection.images[0].numel()),
            "sharpness": pair.sharpness,
        }


def _picture(collection: Collection, i: int) -> str:
    """One image as a PNG inside the page."""
    pixels = collection.images[i].permute(1, 2, 0).numpy()
    pixels = pixels if pixels.shape[2] == 3 else pixels[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    factor = _THUMBNAIL / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    image = image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
