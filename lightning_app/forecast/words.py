"""Forecasts in plain sentences."""

import math
from collections.abc import Iterator, Sequence

from scipy import stats

from lightning_app.analysis.agreement import CONTRADICTED, Agreement
from lightning_app.analysis.calibration import Calibration
from lightning_app.analysis.forecasting import Forecast
from lightning_app.analysis.law import ScalingLaw
from lightning_app.plain import listed

_WIDE = 2.0  # high / low
_EXPLAINED = 0.8  # of the variance, until no further cause is named
_FEW = 5  # degrees of freedom
_MOST = 1e9  # images, or loss, beyond which a number says no more


def sentences(found: Forecast, law: ScalingLaw) -> Iterator[str]:
    """A forecast: the answer, why it is as wide as it is, and what is extrapolated."""
    level = percent(found.confidence)
    what = law.response.replace("/", " ")
    if found.asked == "loss":
        ends = f"{level}: {loss(found.low)} to {loss(found.high)}"
        yield f"With {images(found.given)} images expect a {what} of {loss(found.value)} ({ends})."
    else:
        ends = f"{level}: {_sizes(found)}"
        yield f"For a {what} of {loss(found.given)} expect to need {images(found.value)} images ({ends})."
    yield _why(found, law)
    low, high = law.ranges["n_train"]
    if found.asked == "n" and not low <= found.low <= found.high <= high:
        yield f"The records have {low:,.0f} to {high:,.0f} images: beyond these the fitted line is drawn on."
    if found.outside:
        yield f"Extrapolated: {'; '.join(found.outside)}."


def agreement_sentences(agreement: Agreement | None) -> Iterator[str]:
    """That own runs contradict the law, where they do."""
    if agreement and agreement.p < CONTRADICTED:
        p = "p < 0.001" if agreement.p < 0.001 else f"p = {agreement.p:.1g}"
        yield (
            f"Own runs contradict the law ({p}): they are farther from it, or from each other, than it explains. "
            f"Intervals are widened by {agreement.widen:.1f} for that; look for what differs: training, labels, or how "
            "d and K_F were measured."
        )


def calibration_sentences(calibration: Calibration, own_runs: bool = False) -> Iterator[str]:
    """How often intervals held without own runs, and what that is worth."""
    k, sets, level = calibration.sets_inside, calibration.sets, percent(calibration.confidence)
    if own_runs:
        yield "The calibration is of forecasts without own runs."
    if not sets:
        yield "Calibration: none, as no data set can be forecast from the others."
    else:
        yield (
            f"Calibration: of {sets} data sets, each forecast from the others, {k} lay inside the {level} interval, "
            f"and {percent(calibration.coverage)} of their runs."
        )
        if calibration.widen > 1:
            yield f"Intervals are widened by {calibration.widen:.2f}, with which {level} of the runs would have."
        yield (
            f"{k} of {sets} fits any true coverage from {percent(calibration.low)} to {percent(calibration.high)}: "
            + (
                f"so few data sets cannot tell {level} from {percent(calibration.low)}."
                if calibration.low <= calibration.confidence <= calibration.high
                else f"{level} is not among them, so take the interval for a rough guide."
            )
        )
    if calibration.not_judged:
        yield f"Not forecast: {listed([f'{name} ({why})' for name, why in calibration.not_judged.items()])}."


def percent(part: float) -> str:
    """A part of a whole, as precise as it was given.

    Example:
        >>> percent(0.95), percent(0.715), percent(0.999)
        ('95 %', '72 %', '99.9 %')
    """
    digits = 0 if part <= 0.99 or part == 1 else 1
    return f"{100 * part:.{digits}f} %"


def loss(value: float) -> str:
    """Two significant digits.

    Example:
        >>> loss(0.2134), loss(12.3), loss(0.00012), loss(914.7)
        ('0.21', '12', '0.00012', '910')
    """
    short = f"{value:.2g}"
    return f"{float(short):.0f}" if 100 <= value < _MOST else short


def images(number: float) -> str:
    """A number of images: as it is where it is whole, else two significant digits.

    Example:
        >>> images(1750.0), images(4123.7), images(0.3), images(1e12)
        ('1,750', 'about 4,100', 'less than 1', 'more than a billion')
    """
    if number < 1:
        return "less than 1"
    if number > _MOST:
        return "more than a billion"
    if number == round(number):
        return f"{number:,.0f}"
    digits = 1 - math.floor(math.log10(number))
    return f"about {round(number, digits):,.{max(0, digits)}f}"


def _sizes(found: Forecast) -> str:
    low = images(found.low).removeprefix("about ")
    if math.isinf(found.high):
        return "no number is certain to be enough" + (f", and {low} may be" if found.low >= 1 else ", and any may be")
    return f"{low} to {images(found.high).removeprefix('about ')}"


def _why(found: Forecast, law: ScalingLaw) -> str:
    causes = {
        "data set": "data sets of equal d and K_F differ",
        "run to run": "runs on one data set differ",
        "coefficients": f"the law rests on {len(law.data_sets)} data sets",
        "d_data": "d_data is measured with an error",
        "K_F": "K_F is measured with an error",
        "network": "no network was named",
    }
    named: list[str] = []
    explained = 0.0
    for name, share in sorted(found.shares.items(), key=lambda item: -item[1]):
        if explained < _EXPLAINED:
            named.append(f"{causes[name]} ({percent(share)}{'' if named else ' of its variance'})")
            explained += share
    wide = not found.low or found.high / found.low > _WIDE
    why = f"The interval {'is wide' if wide else 'has its width'} because {_and(named)}."
    if found.df < _FEW:
        part = (1 + found.confidence) / 2
        more = stats.t.ppf(part, found.df) / stats.norm.ppf(part)
        why += f" With {found.df} degrees of freedom it is {more:.1f} times as wide as with many data sets."
    return why


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
