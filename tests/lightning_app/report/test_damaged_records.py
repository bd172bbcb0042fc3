"""One record in which a number is no number: the report is made all the same."""

import json
from typing import Any

import pandas as pd
import pytest

from lightning_app.report.assembly import make_report
from tests.lightning_app.report.made import small

NUMBERS = [
    *("n_train", "n_test", "n_reference", "num_classes", "channels", "image_size", "epochs", "batch_size", "seed"),
    *("data/d_mle", "data/d_mle_stderr", "data/K_F", "data/K_F_stderr", "data/n_images", "data/K_F_n_images"),
    *("data_ref/d_mle", "data_ref/d_mle_stderr", "data_ref/K_F", "data_ref/K_F_stderr", "data_ref/K_F_per_pixel"),
    *("data_ref/n_images", "data_ref/K_F_n_images", "repr/d_mle", "repr/d_mle_stderr", "repr/d_twonn"),
    *("robust/fgsm_2/loss_increase", "train/loss", "test/loss", "attempts"),
]


@pytest.mark.slow
@pytest.mark.parametrize("value", ["Infinity", "-3", "100.5", "1e300", "1e-320", '"oops"'])
def test_one_damaged_record_of_every_kind(value: str) -> None:
    good = json.loads(small(5).to_json(orient="records"))
    damaged: list[dict[str, Any]] = [
        good[i % len(good)] | {"run_id": f"bad {name}", name: json.loads(value), "status": status}
        for i, name in enumerate(NUMBERS)
        for status in ("finished", "failed")
    ]
    whole = make_report(
        good + damaged, None, attack="fgsm_2", interpolated=0.1, begin=lambda what: lambda done, of: None
    )
    assert len(whole.parts) == 8
    assert pd.Series([part.name for part in whole.parts]).is_unique
