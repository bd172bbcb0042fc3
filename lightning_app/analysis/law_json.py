"""A law as a text, and back: `lightning report` writes it, `lightning forecast` reads it."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lightning_app.analysis.design import columns
from lightning_app.analysis.law import Coefficient, Comparison, ScalingLaw
from lightning_app.mistakes import mistake

_KIND, _VERSION = "scaling law", 1
_AGAIN = "write it again with `lightning report RUNS --out DIR`"
_ROUNDING = 1e-9  # of a covariance that is symmetric and has no negative variance
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
        content = json.loads(text, parse_constant=_refuse)
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
        law = _law(content)
        _check(law)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise mistake(f"{file} is damaged: {_AGAIN}") from error
    return law


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


def _check(law: ScalingLaw) -> None:
    """Refuse what no fit can have written, with a ValueError."""
    records, largest = law.records, float(np.abs(law.covariance).max())
    measured = records[["d", "K_F", "loss"]]
    fits = (
        all(isinstance(name, str) for name in (law.response, law.dimension, law.sharpness)),
        law.names == columns(law.domains, law.backbones),
        np.isfinite(law.beta).all() and math.isfinite(largest),
        np.allclose(law.covariance, law.covariance.T, rtol=0, atol=_ROUNDING * largest),
        np.linalg.eigvalsh(law.covariance).min() >= -_ROUNDING * largest,
        0 <= law.var_data_set < math.inf and 0 < law.var_residual < math.inf,
        isinstance(law.between, int) and 0 <= law.between < len(law.data_sets),
        len(records) > 0 and np.isfinite(measured).all(axis=None) and (measured > 0).all(axis=None),
        (records["n_train"] >= 1).all() and np.isfinite(records[["fitted", "residual"]]).all(axis=None),
        law.data_sets == records["data"].value_counts().to_dict(),
        law.ranges == {name: (records[name].min(), records[name].max()) for name in ("n_train", *measured)},
    )
    if not all(fits):
        raise ValueError


def _refuse(constant: str) -> None:
    """Neither NaN nor an infinite number is ever written."""
    raise ValueError(constant)


def _pair(ends: list[float]) -> tuple[float, float]:
    low, high = ends
    return low, high


def _frame(given: dict[str, list[Any]]) -> pd.DataFrame:
    types: dict[str, Any] = dict.fromkeys(_WORDS, object) | {"n_train": "int64"} | dict.fromkeys(_NUMBERS, "float64")
    if len({len(values) for values in given.values()}) > 1:
        raise ValueError  # pandas would fill the shorter ones up
    return pd.DataFrame({name: pd.Series(given[name], dtype=kind) for name, kind in types.items()})
