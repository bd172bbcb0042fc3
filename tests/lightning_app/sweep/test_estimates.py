"""How long cells will take. No time is measured here but that of a trial, which is only asked to be one."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_app.main import main
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.estimates import Estimates
from lightning_app.sweep.grid import Source, read_grid
from tests.callbacks.helpers import equal, random_state
from tests.lightning_app.sweep.conftest import WriteGrid

SECONDS = 1e6  # of the run that others are judged by
# Forward passes of the run in tests/lightning_app/conftest.py, a training step counting as three, by hand: 40 images
# are trained on, 10 validated, 20 tested; a measurement takes 40 for d_repr and 10 · (1 + (2 + 1) + (4 + 1)) for
# FGSM and two steps of PGD, and two passes of one image to make the copy that is attacked.
EPOCH = 3 * 40 + 10
MEASURED = 40 + 90 + 2
TEST = 20 + MEASURED

Cells = Callable[..., list[Cell]]


@pytest.fixture
def cells(write_grid: WriteGrid) -> Cells:
    """The cells of a grid that varies these options."""

    def read(**product: list[Any]) -> list[Cell]:
        file = write_grid({"product": {key.replace("__", "."): values for key, values in product.items()}})
        _, cells, problems = read_grid(Source([str(file)]))
        assert problems == []
        return cells

    return read


def pretend(cell: Cell, **changed: Any) -> dict[str, Any]:
    """Leave what a run of the cell would have left that took long."""
    options = cell.config["data"]["init_args"]
    record = {
        "command": "fit",
        "backbone": cell.config["model"]["backbone"],
        **{key: options[key] for key in ("image_size", "batch_size", "n_train")},
        "first_epoch": 0,
        "epochs": cell.config["trainer"]["max_epochs"],
        "threads": 1,
        "seconds": SECONDS,
    }
    cell.run.create_folder()
    cell.run.result.write_text(json.dumps(record | changed))
    return record | changed


def seconds(cells: list[Cell], **options: Any) -> list[float | None]:
    estimates = Estimates(cells, **options)
    return [estimates.seconds(cell) for cell in cells]


def test_a_finished_run_says_how_long_others_take(cells: Cells) -> None:
    varied = cells(data__n_train=[40, 20], trainer__max_epochs=[2, 4])
    pretend(varied[0])
    whole = 2 * (EPOCH + MEASURED) + TEST
    half = 3 * 20 + 10 + 20 + 92  # an epoch and a measurement with 20 images
    expected = [whole, 4 * (EPOCH + MEASURED) + TEST, 2 * half + 20 + 20 + 92, 4 * half + 20 + 20 + 92]
    assert seconds(varied, trial=False) == pytest.approx([SECONDS * work / whole for work in expected], rel=1e-4)


def test_the_record_of_a_run_has_all_that_is_needed(cells: Cells) -> None:
    (cell,) = cells(trainer__max_epochs=[1])
    cell.run.create_folder()
    main(["fit", "--config", str(cell.run.folder / "config.yaml")])
    record = json.loads(cell.run.result.read_text())
    cell.run.result.write_text(json.dumps(record | {"seconds": SECONDS}))
    assert seconds([cell], threads=torch.get_num_threads()) == pytest.approx([SECONDS], rel=1e-4)


def test_probes_that_rest_take_no_time(cells: Cells) -> None:
    often, seldom = cells(
        trainer__max_epochs=[5],
        trainer__callbacks=[
            [{"class_path": "RepresentationDimension", "init_args": {"k": 5, "every_n_epochs": every}}]
            for every in (1, 2)
        ],
    )
    pretend(often)
    base = 5 * EPOCH + 20 + 40
    expected = [SECONDS, SECONDS * (base + 2 * 40) / (base + 5 * 40)]
    assert seconds([often, seldom], trial=False) == pytest.approx(expected, rel=1e-4)


def test_a_run_that_was_continued_is_judged_by_what_it_did_last(cells: Cells) -> None:
    (cell,) = cells()
    pretend(cell, first_epoch=1)
    whole, last = 2 * (EPOCH + MEASURED) + TEST, EPOCH + MEASURED + TEST
    assert seconds([cell], trial=False) == pytest.approx([SECONDS * whole / last], rel=1e-4)


def test_runs_of_other_kinds_say_nothing(cells: Cells) -> None:
    cell, *others = cells(data__image_size=[16, 17], data__batch_size=[10, 20], trainer__precision=["32-true", "64"])
    pretend(cell)
    found = seconds([cell, *others], trial=False)
    assert found[0] == pytest.approx(SECONDS, rel=1e-4)
    assert found[1:] == [None] * len(others)


@pytest.mark.parametrize(
    ("of_the_run", "counts"),
    [({"threads": 3}, True), ({"threads": 2}, False), ({"threads": 3, "machine": "Cray-1"}, False)],
)
def test_other_machines_say_nothing_about_this_one(cells: Cells, of_the_run: dict[str, Any], counts: bool) -> None:
    (cell,) = cells()
    pretend(cell, **of_the_run)
    (found,) = seconds([cell], threads=3)
    assert found is not None
    assert (found > SECONDS / 2) == counts  # a trial never takes so long
    assert seconds([cell], trial=False) == pytest.approx([SECONDS], rel=1e-4)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"command": "fit"}'])
def test_what_is_damaged_is_left_out(damage: str, cells: Cells) -> None:
    (cell,) = cells()
    pretend(cell)
    broken = cell.run.folder.with_name("0" * 12)
    broken.mkdir()
    (broken / "result.json").write_text(damage)
    (cell.run.folder.with_name("1" * 12)).mkdir()
    assert seconds([cell], trial=False) == pytest.approx([SECONDS], rel=1e-4)


def test_a_run_that_finishes_meanwhile_is_learnt_from(cells: Cells) -> None:
    first, second = cells(seed_everything=[0, 1])
    estimates = Estimates([first, second], trial=False)
    assert estimates.seconds(second) is None
    estimates.learn(first, pretend(first))
    assert estimates.seconds(second) == pytest.approx(SECONDS, rel=1e-4)


def test_without_runs_the_network_is_tried_and_nothing_else_notices(cells: Cells) -> None:
    short, long = cells(trainer__max_epochs=[2, 2000])
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global state is what must be left alone
    torch.manual_seed(1)
    before = random_state()
    threads = torch.get_num_threads()
    few, many = seconds([short, long], threads=threads + 1)
    assert equal(random_state(), before)
    assert torch.get_num_threads() == threads
    assert few is not None
    assert many is not None
    assert 1 < few < many / 5
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "option",
    [
        {"trainer__max_epochs": [-1]},
        {"model__backbone": ["vgg13"]},  # images of 16x16 are too small for it
        {"trainer__accelerator": ["tpu"]},
        {"data__n_train": [None], "data__n_val": [1000]},
    ],
)
def test_what_cannot_be_known_is_not_made_up(option: dict[str, list[Any]], cells: Cells) -> None:
    assert seconds(cells(**option)) == [None]


def test_all_images_are_counted_in_the_table(cells: Cells) -> None:
    # 120 images of two classes, less 10 and 20.
    everything, ninety = cells(data__n_train=[None, 90])
    pretend(ninety)
    found = seconds([everything, ninety], trial=False)
    assert found[0] == found[1]
    assert found[1] == pytest.approx(SECONDS, rel=1e-4)
