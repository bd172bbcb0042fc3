"""`lightning forecast`: the loss at N, or the N for a loss, of one's own images."""

import argparse
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_app.analysis.calibration import Calibration, calibrate
from lightning_app.analysis.forecasting import Forecast, forecast
from lightning_app.analysis.frames import load_records
from lightning_app.analysis.law import ScalingLaw
from lightning_app.analysis.law_json import law_from_json
from lightning_app.analysis.levels import check_domain
from lightning_app.analysis.own_runs import own_runs
from lightning_app.forecast.images import Properties, Settings, read_properties, settings_of
from lightning_app.forecast.options import parser
from lightning_app.forecast.words import agreement_sentences, calibration_sentences, sentences
from lightning_app.mistakes import mistake
from lightning_app.output import check_place, write_output

if TYPE_CHECKING:
    from metrics import InputError

_LAW, _RECORDS = "law.json", "records.csv"  # in the folder of a report


def run_forecast(argv: Sequence[str]) -> None:
    """Run `lightning forecast` with the command line that follows the word.

    Raises:
        InputError: The user's mistake; or questions that cannot be answered, once the others are.
    """
    given = parser().parse_args(argv)
    _check(given)
    law = _law(Path(given.report))
    check_domain(law, given.domain)
    images = _images(given, law)
    runs = None if given.runs is None else load_records(given.runs)
    ask = partial(
        forecast,
        law,
        d_data=images.d_data,
        k_f=images.k_f,
        domain=given.domain,
        backbone=given.backbone,
        runs=runs,
        confidence=given.confidence,
        d_data_stderr=images.d_data_stderr,
        k_f_stderr=images.k_f_stderr,
    )

    questions = {f"--n {n:.15g}": {"n": n} for n in given.n}
    questions |= {f"--loss {loss:.15g}": {"loss": loss} for loss in given.loss}
    refused = _refused(partial(ask, extrapolate=given.extrapolate), questions)
    if len(refused) == len(questions):  # before the law is fitted again
        raise _refusal(refused, every=True)
    calibration = calibrate(law, given.confidence)
    answers = [
        ask(**question, extrapolate=given.extrapolate, widen=calibration.widen)
        for words, question in questions.items()
        if words not in refused
    ]
    for found in answers:
        print(" ".join(sentences(found, law)))
    if runs is not None:
        print(f"Updated by {answers[0].own_runs} of {len(runs)} own runs.")
    notes = (*agreement_sentences(answers[0].agreement), *images.notes)
    for sentence in (*notes, *calibration_sentences(calibration, own_runs=runs is not None)):
        print(sentence)
    if given.figure:
        from lightning_app.forecast.figure import forecast_figure  # loads matplotlib

        at = partial(ask, widen=calibration.widen, extrapolate=True)
        drawing = forecast_figure(law, lambda n: at(n=n), answers, own_runs(law, runs, given.backbone))
        write_output(given.figure, drawing.pdf if _ending(given.figure) == ".pdf" else drawing.svg)
    if given.json:
        content = _content(given, images, answers, refused, calibration)
        write_output(given.json, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    if refused:
        raise _refusal(refused, every=False)


def _refused(ask: Callable[..., Forecast], questions: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Why questions cannot be answered, by their words."""
    refused = {}
    for words, question in questions.items():
        try:
            ask(**question)
        except ValueError as error:
            from metrics import InputError  # with it comes torch

            if not isinstance(error, InputError):
                raise
            refused[words] = str(error)
    return refused


def _refusal(refused: Mapping[str, str], every: bool) -> "InputError":
    """One line; what is wrong with every question is said once."""
    if every and len(set(refused.values())) == 1:
        return mistake(next(iter(refused.values())))
    return mistake(f"not answered: {'; '.join(f'{words} ({why})' for words, why in refused.items())}")


def _check(given: argparse.Namespace) -> None:
    """Refuse what needs no files to be refused."""
    if not given.n and not given.loss:
        raise mistake("nothing is asked: give --n N (what loss?) or --loss L (how many images?)")
    for n in given.n:
        if math.isfinite(n) and not n.is_integer():
            raise mistake(f"--n {n:.15g} is no number of images: give a whole one")
    by_hand = {"--d-data": given.d_data, "--k-f": given.k_f}
    missing = [name for name, value in by_hand.items() if value is None]
    if given.measured is None and missing:
        raise mistake(
            f"{' and '.join(missing)} is missing: give --measured FILE (`lightning measure FOLDER --json FILE` writes "
            "it), or --d-data and --k-f"
        )
    if given.measured is not None and len(missing) < 2:
        raise mistake(f"--measured {given.measured} has d_data and K_F: leave --d-data and --k-f out")
    if given.figure and _ending(given.figure) not in (".svg", ".pdf"):
        raise mistake(f"--figure {given.figure}: its ending says how it is drawn: .svg or .pdf")
    if given.figure and given.json and os.path.realpath(given.figure) == os.path.realpath(given.json):
        raise mistake(f"--figure and --json both name {given.json}: give two files")
    for file in (given.figure, given.json):
        if file:
            check_place(file)


def _law(folder: Path) -> ScalingLaw:
    file = folder / _LAW
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if folder.is_dir():
            raise mistake(f"{folder} has no {_LAW}: its page says why the joint law could not be fitted") from error
        raise mistake(
            f"there is no report in {folder}: `lightning report RUNS --out {folder}` writes one, --report names another"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise mistake(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    return law_from_json(text, str(file))


def _images(given: argparse.Namespace, law: ScalingLaw) -> Properties:
    records = Path(given.report) / _RECORDS
    settings = settings_of(law, load_records(records), given.domain) if records.exists() else Settings()
    if given.measured is not None:
        return read_properties(given.measured, law, settings)
    note = f"K_F is taken to be measured as that of {settings.records}: {settings}."
    return Properties(given.d_data, 0.0, given.k_f, 0.0, (note,) if str(settings) else ())


def _content(
    given: argparse.Namespace,
    images: Properties,
    answers: Sequence[Forecast],
    refused: Mapping[str, str],
    calibration: Calibration,
) -> dict[str, Any]:
    """Every number; an end of an interval that is infinite is null."""
    return {
        "report": given.report,
        "measured": given.measured,
        **asdict(images),
        "domain": given.domain,
        "backbone": given.backbone,
        "forecasts": [
            {name: None if value == math.inf else value for name, value in asdict(found).items()} for found in answers
        ],
        "refused": refused,
        "calibration": asdict(calibration)
        | {"sets": calibration.sets, "coverage": calibration.coverage if calibration.sets else None},
        "version": version("intrinsic-scaling"),
    }


def _ending(file: str) -> str:
    return Path(file).suffix.lower()
