"""What holds for every data set, from its raw files to its splits."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datamodules
from datamodules import ImageTable, TableDataModule, read_table
from datamodules.recipes import RECIPES, make_recipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.factories import CASES, Case
from tests.raw.made import Made

SIZES = {"n_train": 8, "n_val": 0, "n_test": 4, "image_size": 16}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture
def raw(case: Case, tmp_path: Path) -> tuple[Path, Made]:
    return tmp_path / "raw" / case.folder, case.make(tmp_path / "raw")


def _recipe(case: Case, **options: Any) -> Any:
    pictures = {} if "image_size" not in make_recipe(case.recipe).__dataclass_fields__ else {"image_size": 24}
    return make_recipe(case.recipe, **{**pictures, **case.options, **options})


def _data(case: Case, **options: Any) -> TableDataModule:
    kind: type[TableDataModule] = getattr(datamodules, case.data)
    return kind(**{"table": "table", **SIZES, **case.init_args, **options})


def _bytes(table: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(table.iterdir())}


def test_every_recipe_has_a_case() -> None:
    covered = {case.recipe for case in CASES.values()}
    assert covered == set(RECIPES)


@every_case
def test_labels_groups_and_facts_are_those_that_the_factory_wrote(case: Case, raw: tuple[Path, Made]) -> None:
    folder, made = raw
    table, summary = prepared(_recipe(case), folder)
    names = [name for name in table.columns if name != "source"]
    found = {
        source: {name: str(table.columns[name][i]) for name in names}
        for i, source in enumerate(table.columns["source"])
    }
    assert found == {source: dict(row) for source, row in made.expected.items()}
    assert len(found) == len(table) == summary["images"]
    skipped = {source: reason for source, reason in summary["skipped_sources"]}
    assert skipped.keys() == made.skipped.keys()
    assert all(reason in skipped[source] for source, reason in made.skipped.items())
    assert list(table.columns)[-3:] == ["group", "split", "source"]
    assert summary["groups"] == len({row["group"] for row in made.expected.values()})


@every_case
def test_two_runs_are_byte_identical_whatever_the_order_of_directories(
    case: Case, raw: tuple[Path, Made], shuffled_directories: Callable[[int], None]
) -> None:
    prepared(_recipe(case), raw[0], "first")
    shuffled_directories(random.Random(case.recipe).randrange(1000))
    prepared(_recipe(case), raw[0], "second")
    assert _bytes(Path("first")) == _bytes(Path("second"))


@every_case
def test_no_group_is_in_two_splits_and_subsets_are_nested(case: Case, raw: tuple[Path, Made]) -> None:
    table, _ = prepared(_recipe(case), raw[0])
    small, large = _data(case, pair=0, n_train=4), _data(case, pair=0)
    groups = table.columns["group"]
    for data in (small, large):
        sides = [set(groups[images.rows.numpy()]) for images in (data.train_set, data.test_set)]
        assert not sides[0] & sides[1]
        assert np.ptp(data.train_set.labels.bincount().numpy()) == 0
        assert np.ptp(data.test_set.labels.bincount().numpy()) == 0
    assert large.train_set.rows.tolist()[:4] == small.train_set.rows.tolist()
    assert large.test_set.rows.tolist() == small.test_set.rows.tolist()
    assert large.reference_set.fingerprint == small.reference_set.fingerprint


@every_case
def test_labels_of_a_run_are_those_of_the_table(case: Case, raw: tuple[Path, Made]) -> None:
    table, _ = prepared(_recipe(case), raw[0])
    data = _data(case, pair=0)
    labels = data.read_labels(table)
    classes = data.classes if data.train_set is not None else None
    assert classes is not None
    for images in (data.train_set, data.test_set):
        assert [classes[label] for label in images.labels.tolist()] == labels[images.rows.numpy()].tolist()


@every_case
def test_a_request_that_is_too_large_names_the_counts(case: Case, raw: tuple[Path, Made]) -> None:
    prepared(_recipe(case), raw[0])
    with pytest.raises(InputError, match=r"n_train=100000 is more than the \d+ images .* \(class 0: \d+, class 1: \d+"):
        _data(case, pair=0, n_train=100_000).setup()
    with pytest.raises(InputError, match=r"n_test=100000 is more than can be balanced .* \(class 0: \d+, class 1: \d+"):
        _data(case, pair=0, n_test=100_000).setup()


@every_case
def test_the_reference_protocol_uses_a_table_of_its_own_where_pixels_differ(case: Case, raw: tuple[Path, Made]) -> None:
    has_own = "protocol" in make_recipe(case.recipe).variants
    prepared(_recipe(case, **({"protocol": "reference"} if has_own else {})), raw[0])
    data = _data(case, pair=0, protocol="reference")
    assert (len(data.train_set), len(data.test_set)) == (8, 4)
    together = sorted(data.train_set.rows.tolist() + data.test_set.rows.tolist())
    labels = data.read_labels(ImageTable.open("table"))
    splits = ImageTable.open("table").splits
    for label in data.classes or []:
        pool = np.flatnonzero((labels == label) & (True if splits is None else np.isin(splits, ["train", ""])))
        assert set(pool[:6].tolist()) <= set(together)
    if has_own:
        with pytest.raises(InputError, match=r"table was prepared with protocol=reference, and .* protocol=standard"):
            _data(case, pair=0).setup()


@every_case
def test_a_missing_table_says_how_to_make_it_and_where_to_get_the_files(case: Case) -> None:
    recipe = make_recipe(case.recipe)
    if recipe.downloads or case.recipe == "imagefolder":
        return
    with pytest.raises(InputError) as refusal:
        _data(case).prepare_data()
    message = str(refusal.value)
    assert f"no image table at table: make it with `lightning prepare {case.recipe} --raw DIR --out table" in message
    assert recipe.access in message


@every_case
def test_every_table_can_be_read_to_be_measured(case: Case, raw: tuple[Path, Made]) -> None:
    table, _ = prepared(_recipe(case), raw[0])
    collection = read_table("table")
    labelling = "label" if "label" in table.columns else table.labellings[0]
    assert len(collection) == int((table.labels(labelling) >= 0).sum())
    assert len(collection.class_names) >= 2
