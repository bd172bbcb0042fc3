"""A law as a text, and back: `lightning report` writes it, `lightning forecast` reads it."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.law import Coefficient, Comparison, ScalingLaw
from lightning_app.mistakes import mistake

_KIND, _VERSION = "scaling law", 1
_AGAIN = "write it again with `lightning report RUNS --out DIR`"
_WORDS = ("run_id", "data", "domain", "backbone")
_NUMBERS = ("d", "K_F", "K_F_stderr", "loss", "fitted", "residual")


def law_to_json(law: ScalingLaw) -> str:
    """Everything in a law; :func:`law_from_json` makes the same law of it, to the last bit."""
    frame = law.records
    content = asdict(law) | {
        "beta": law.beta.tolist(),
        "covariance": law.covariance.tolist(),
        "records": {
            **{name: frame[name].tolist() for name in (*_WORDS, "n_train")},
            **{name: [None if math.isnan(x) else x for x in frame[name].tolist()] for name in _NUMBERS},
        },
    }
    return json.dumps({"kind": _KIND, "version": _VERSION} | content, allow_nan=False, ensure_ascii=False) + "\n"


def law_from_json(text: str, file: str = "law.json") -> ScalingLaw:
    """The law that :func:`law_to_json` has written.

    Args:
        text: What it has written.
        file: Where that was read, for messages.

    Raises:
        InputError: It is damaged, something else, or of another version.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise mistake(f"{file} is damaged: {_AGAIN}") from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise mistake(
            f"{file} is no scaling law: give the law.json of a folder that `lightning report --out` has written"
        )
    if content.get("version") != _VERSION:
        raise mistake(
            f"{file} is written in version {content.get('version')}, and this program reads {_VERSION}: {_AGAIN}"
        )
    try:
        return _law(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise mistake(f"{file} is damaged: {_AGAIN}") from error


def _law(content: dict[str, Any]) -> ScalingLaw:
    fields = {name: value for name, value in content.items() if name not in ("kind", "version")}
    p = len(fields["names"])
    fields |= {
        "beta": np.array(fields["beta"], np.float64).reshape(p),
        "covariance": np.array(fields["covariance"], np.float64).reshape(p, p),
        "coefficients": tuple(
            Coefficient(**given | {"others": {name: _pair(ends) for name, ends in given["others"].items()}})
            for given in fields["coefficients"]
        ),
        "comparisons": tuple(Comparison(**given) for given in fields["comparisons"]),
        "ranges": {name: _pair(ends) for name, ends in fields["ranges"].items()},
        **{name: tuple(fields[name]) for name in ("names", "domains", "backbones", "notes")},
        "records": _frame(fields["records"]),
    }
    return ScalingLaw(**fields)


def _pair(ends: list[float]) -> tuple[float, float]:
    low, high = ends
    return low, high


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    types: dict[str, Any] = dict.fromkeys(_WORDS, object) | {"n_train": "int64"} | dict.fromkeys(_NUMBERS, "float64")
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kind) for name, kind in types.items()})
