"""A law as a text: what comes back is the same law, and nothing else is taken for one."""

import json
import re
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from lightning_app.analysis.law_json import law_from_json, law_to_json
from metrics import InputError
from tests.lightning_app.analysis.fixed_records import fixed_records


@pytest.fixture(scope="module")
def law() -> ScalingLaw:
    records = fixed_records().replace({"data": {"set 0": 'Großes "Set"\n0'}})
    records.loc[0, "status"] = "failed"
    return fit_scaling_law(records, draws=19)


def assert_same(one: ScalingLaw, other: ScalingLaw) -> None:
    for field in fields(ScalingLaw):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        elif isinstance(a, np.ndarray):
            assert (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes()), field.name
        else:
            assert a == b, field.name
            assert type(a) is type(b), field.name


def test_a_law_comes_back_to_the_last_bit(law: ScalingLaw) -> None:
    text = law_to_json(law)
    again = law_from_json(text)
    assert_same(law, again)
    assert law_to_json(again) == text
    assert type(again.coefficients[0].others["Kenward–Roger"]) is tuple


def test_what_is_unknown_stays_unknown() -> None:
    records = fixed_records().drop(columns="data_ref/K_F_stderr")
    law = fit_scaling_law(records, compare=False)
    again = law_from_json(law_to_json(law))
    assert_same(law, again)
    assert again.reliability is None
    assert again.records["K_F_stderr"].isna().all()


def test_anything_that_reads_json_can_read_it(law: ScalingLaw) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    content = json.loads(law_to_json(law), parse_constant=refuse)
    assert (content["kind"], content["version"]) == ("scaling law", 1)
    assert content["records"]["data"].count('Großes "Set"\n0') == 7


def changed(law: ScalingLaw, **changes: Any) -> str:
    return json.dumps(json.loads(law_to_json(law)) | changes)


def test_what_is_no_law_is_refused_with_a_way_out(law: ScalingLaw) -> None:
    text = law_to_json(law)
    again = r"write it again with `lightning report RUNS --out DIR`$"
    for bad in ("", text[: len(text) // 2], text.replace('"beta"', '"gamma"'), changed(law, beta=[1.0])):
        with pytest.raises(InputError, match=rf"^my\.json is damaged: {again}"):
            law_from_json(bad, "my.json")
    for bad in (changed(law, records={}), changed(law, names=None), changed(law, coefficients=[{}]), changed(law, x=1)):
        with pytest.raises(InputError, match=rf"^my\.json is damaged: {again}"):
            law_from_json(bad, "my.json")
    content = json.loads(text)
    covariance, ranges, columns = content["covariance"], content["ranges"], content["records"]
    p = len(covariance)
    asymmetric = [[x + (i < j) * 0.1 for j, x in enumerate(row)] for i, row in enumerate(covariance)]
    indefinite = [[x - 5.0 * (i == j == 1) for j, x in enumerate(row)] for i, row in enumerate(covariance)]
    short, negative = columns["loss"][:10], [-1.0, *columns["loss"][1:]]
    unknown = [None, *columns["loss"][1:]]
    for changes in (
        {"beta": [float("nan")] * p},
        {"beta": [None] * p},
        {"beta": [1e999] * p},
        {"covariance": [[float("nan")] * p] * p},
        {"covariance": asymmetric},
        {"covariance": indefinite},
        {"var_residual": 0.0},
        {"var_residual": 1e999},
        {"var_data_set": -1.0},
        {"var_residual": "0.1"},
        {"var_data_set": None},
        {"between": 20},
        {"between": "3"},
        {"between": -1},
        {"data_sets": ["a"]},
        {"data_sets": dict(list(content["data_sets"].items())[1:])},
        {"ranges": {name: ends for name, ends in ranges.items() if name != "d"}},
        {"ranges": ranges | {"d": ranges["d"][::-1]}},
        {"ranges": ranges | {"d": ["5", "20"]}},
        {"names": ["foo", *content["names"][1:]]},
        {"domains": "medical"},
        {"response": 3},
        *({"records": columns | {"loss": loss}} for loss in (short, negative, unknown)),
        {"records": columns | {"n_train": [10**30, *columns["n_train"][1:]]}},
        {"records": {name: values[:0] for name, values in columns.items()}, "data_sets": {}},
    ):
        with pytest.raises(InputError, match=rf"^my\.json is damaged: {again}"):
            law_from_json(changed(law, **changes), "my.json")
    for foreign in ("[]", "3", '{"d_mle": 9.1}', "null"):
        with pytest.raises(InputError, match=r"^law\.json is no scaling law: give the law.json of a folder"):
            law_from_json(foreign)
    message = re.escape("law.json is written in version 2, and this program reads 1: ")
    with pytest.raises(InputError, match=f"^{message}{again}"):
        law_from_json(changed(law, version=2))
