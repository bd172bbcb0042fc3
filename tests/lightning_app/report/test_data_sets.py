"""Part 1: what is known of each data set, and what the paper has beside it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import datamodules
from lightning_app.analysis.paper import PUBLISHED, published
from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.data_sets import make
from tests.lightning_app.report.made import small


def made(records: pd.DataFrame) -> Part:
    return make(Context(records, pd.DataFrame))


def table(part: Part, name: str) -> pd.DataFrame:
    (found,) = (table.frame for table in part.tables if table.name == name)
    return found


def row(part: Part, name: str, data: str) -> dict[str, object]:
    found = table(part, name)
    (chosen,) = found[found["data set"] == data].to_dict("records")
    return {str(key): value for key, value in chosen.items()}


def test_numbers_are_those_of_the_records_at_the_largest_size() -> None:
    records = small(3)
    records.loc[records["data"] == "SVHN", "data_ref/K_F_n_images"] = 500.0
    records.loc[records["data"] == "SVHN", "data_ref/K_F_stderr"] = 0.002
    part = made(records)
    own = records[(records["data"] == "SVHN") & (records["n_train"] == 1750)].iloc[0]
    reference, training = row(part, "reference-samples", "SVHN"), row(part, "training-subsets", "SVHN")
    for shown, prefix in ((reference, "data_ref"), (training, "data")):
        assert shown["d_data, MLE"] == pytest.approx(own[f"{prefix}/d_mle"])
        assert shown["s.e. of MLE"] == pytest.approx(own[f"{prefix}/d_mle_stderr"])
        assert shown["d_data, TwoNN"] == pytest.approx(own[f"{prefix}/d_twonn"])
        assert shown["K_F"] == pytest.approx(own[f"{prefix}/K_F"])
        assert shown["K_F per pixel"] == pytest.approx(own[f"{prefix}/K_F_per_pixel"])
        assert shown["images"] == own[f"{prefix}/n_images"]
    assert reference["M"] == 500
    # The same relative error: per pixel is a multiple.
    assert reference["s.e. per pixel"] == pytest.approx(0.002 * reference["K_F per pixel"] / reference["K_F"])
    assert "M" not in table(part, "training-subsets")
    counts = row(part, "data-sets", "SVHN")
    assert counts == {
        **{"data set": "SVHN", "domain": "natural", "channels": "3", "pixels": "224×224", "test images": 750},
        **{"smallest N": 500, "largest N": 1750, "sizes": 3, "reference images": 1000, "backbones": 2, "runs": 6},
    }


def test_finding_names_the_extremes() -> None:
    part = made(small())
    # 5.6 … 17.8 and 0.59 … 3.4 (1e-4 · 255) are the paper's numbers, which the records are drawn with.
    low, high = f"{0.59e-4 * 255:.4g}", f"{3.4e-4 * 255:.4g}"
    assert part.text[0].startswith(
        f"d_data goes from 5.6 (ProstateMRIUS) to 17.8 (ImageNet), and K_F goes from {low} (ImageNet) to {high} (OAI); "
        f"its mean is {np.mean([1.6, 0.62, 1.0, 0.59]) * 255e-4:.4g} in natural data"
    )
    assert part.figures[0].caption.startswith("Over data sets, d_data and log K_F have r = −0.5")
    assert made(small(1)).text[0].startswith("d_data is 17.8 (ImageNet), and K_F is")
    assert part.cannot == ()


def test_paper_stands_beside_sets_of_its_size_in_its_units() -> None:
    records = small(3)
    records.loc[records["data"] == "SVHN", "image_size"] = 32
    records.loc[records["data"] == "CIFAR10", "data"] = "my own"
    part = made(records)
    (shown,) = table(part, "paper").to_dict("records")
    own = records[(records["data"] == "ImageNet") & (records["n_train"] == 1750)].iloc[0]
    assert shown["data set"] == "ImageNet"
    assert shown["K_F · 10⁴"] == pytest.approx(own["data/K_F"] / 255 * 1e4)
    assert (shown["paper's d_data"], shown["paper's K_F · 10⁴"], shown["paper's loss increase"]) == (17.8, 0.59, 0.8)
    increases = records.loc[records["data"] == "ImageNet", "robust/fgsm_2/loss_increase"]
    assert shown["loss increase"] == pytest.approx(increases.mean())
    (said,) = part.cannot
    assert said.startswith("The paper's numbers are not set beside those of SVHN (32 px): its images have 224 px, ")
    assert [found.name for found in made(records[records["data"] == "SVHN"]).tables][-1] == "training-subsets"


def test_tasks_of_one_data_set_are_told_apart_and_the_paper_has_their_mean() -> None:
    records = small(2)
    other = records[records["data"] == "SVHN"]
    other = other.assign(run_id="x" + other["run_id"], pair=1, **{"data/d_mle": other["data/d_mle"] + 2})
    part = made(pd.concat([records.assign(pair=0), other]))
    found = table(part, "training-subsets")
    assert found[["data set", "task"]].to_numpy().tolist() == [["ImageNet", ""], ["SVHN", "pair 0"], ["SVHN", "pair 1"]]
    d = found.set_index("task")["d_data, MLE"]
    assert d["pair 1"] == pytest.approx(d["pair 0"] + 2)
    assert row(part, "paper", "SVHN")["d_data"] == pytest.approx(d["pair 0"] + 1)


def test_reference_samples_that_differ_are_said() -> None:
    records = small(2)
    records.loc[records.index[0], "data_ref/K_F"] *= 1.1
    (said,) = made(records).cannot
    assert said.endswith(f"of {records['data'].iloc[0]}: the mean is shown.")


def test_properties_that_do_not_differ_are_said_once() -> None:
    said = made(small(3).assign(**{"data_ref/K_F": 0.05})).text[0]
    assert said.endswith("and K_F is 0.05 in all data sets.")


def test_data_sets_without_numbers_are_named() -> None:
    records = small(3)
    records.loc[records["data"] == "SVHN", "data_ref/K_F"] = np.inf
    records.loc[records["data"] == "CIFAR10", "data_ref/d_mle"] = np.nan
    part = made(records)
    assert part.cannot[0] == "d_data or K_F of the reference sample is not known of CIFAR10, SVHN."
    assert part.text[0].startswith("d_data is 17.8 (ImageNet)")
    nothing = made(records[records["data"] == "SVHN"])
    assert (nothing.text, nothing.figures) == ((), ())


def test_published_numbers_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert {name: tuple(map(float, numbers)) for name, *numbers in rows if name in PUBLISHED} == {
        name: (it.d_data, it.k_f, it.loss_increase) for name, it in PUBLISHED.items()
    }
    assert set(PUBLISHED) <= set(datamodules.DATA_MODULES)
    assert published("MNIST5k") == PUBLISHED["MNIST"]
