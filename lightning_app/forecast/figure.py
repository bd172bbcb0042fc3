"""The figure of `lightning forecast`: loss over N with its band."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lightning_app.analysis.forecasting import Forecast
from lightning_app.analysis.law import ScalingLaw
from lightning_app.figures import COLOURS, MARKERS, Drawing, drawn
from lightning_app.forecast.words import percent
from lightning_app.report.drawing import decimal_ticks, key

_POINTS = 80  # of the band
_GREY = "#E4E4E4"
_FARTHEST = 30.0  # N beyond the records that is still drawn, as a factor


def forecast_figure(
    law: ScalingLaw, at: Callable[[float], Forecast], answers: Sequence[Forecast], own: pd.DataFrame
) -> Drawing:
    """Draw it.

    Args:
        law: Says which N were fitted, which is shaded.
        at: The forecast of the loss at an N, without a limit.
        answers: What was asked: N are points, losses are lines.
        own: Own runs that counted: n_train and loss.
    """
    low, high = law.ranges["n_train"]
    sizes = [low, high, *map(_size, answers), *own["n_train"]]
    ends = max(1.0, low / _FARTHEST, min(sizes) / 1.5), min(high * _FARTHEST, max(sizes) * 1.5)
    band = [at(float(n)) for n in np.geomspace(*ends, _POINTS)]
    x, level = [point.given for point in band], percent(band[0].confidence)
    with drawn("training images, N", law.response.replace("/", " "), log_x=True, log_y=True) as (axes, drawing):
        shown = {"forecast": Line2D([], [], color=COLOURS[0]), f"{level} interval of a run": _patch(COLOURS[0], 0.2)}
        axes.fill_between(x, [p.low for p in band], [p.high for p in band], color=COLOURS[0], alpha=0.2, lw=0)
        axes.plot(x, [p.value for p in band], color=COLOURS[0])
        axes.axvspan(low, high, color=_GREY, lw=0, zorder=0)
        shown["N of the records"] = _patch(_GREY, 1)
        if len(own):
            (shown["own runs"],) = axes.plot(own["n_train"], own["loss"], color=COLOURS[1], marker=MARKERS[1], ls="")
        for answer in answers:
            shown["asked"] = _mark(axes, answer, ends)
        axes.set_xlim(*ends)
        decimal_ticks(axes.xaxis)
        decimal_ticks(axes.yaxis)
        key(axes, shown)
    return drawing


def _size(answer: Forecast) -> float:
    return answer.given if answer.asked == "loss" else answer.value


def _patch(colour: str, alpha: float) -> Line2D:
    return Line2D([], [], color=colour, alpha=alpha, lw=8)


def _mark(axes: Axes, answer: Forecast, ends: tuple[float, float]) -> Line2D:
    """What was asked, with its interval as far as it is in the figure."""
    size = _size(answer)
    if answer.asked == "loss":
        loss = answer.value
        axes.plot([size, size], [answer.low, answer.high], color=COLOURS[6], lw=1.2)
    else:
        loss = answer.given
        axes.axhline(loss, color=COLOURS[6], lw=1, ls=":")
        axes.plot([max(answer.low, ends[0]), min(answer.high, ends[1])], [loss, loss], color=COLOURS[6], lw=1.2)
    (point,) = axes.plot(size, loss, color=COLOURS[6], marker=MARKERS[0], mec="white", ls="")
    return point
