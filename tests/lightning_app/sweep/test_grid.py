"""From a grid in a file to runs that are those of `fit`."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import metrics
from datamodules import Manifold
from lightning_app.main import main
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.grid import Source, read_grid, select
from metrics import InputError
from tests.lightning_app.sweep.conftest import WriteGrid

EXPERIMENTS = Path(metrics.__file__).parents[1] / "experiments.yaml"
GRIDS = list(yaml.safe_load(EXPERIMENTS.read_text(encoding="utf-8"))["grids"])


@functools.cache
def committed(grid: str) -> list[Cell]:
    """The cells of a grid of experiments.yaml."""
    _, cells, problems = read_grid(Source([str(EXPERIMENTS)], grid))
    assert problems == []
    return cells


def titles(source: Source, **selection: Any) -> list[str]:
    return [cell.title for cell in select(read_grid(source)[1], **selection)]


def test_a_cell_is_the_run_that_fit_makes_of_the_same_options(write_grid: WriteGrid) -> None:
    callbacks = [{"class_path": "DatasetProperties", "init_args": {"k": 4}}]
    adam = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-6}}
    block = {
        "set": {
            "data.n_train": 30,
            "model.optimizer": adam,
            "trainer.callbacks": callbacks,
            "trainer.precision": "bf16-mixed",
        },
        "product": {"seed_everything": [3]},
    }
    file = write_grid(block)
    _, (cell,), problems = read_grid(Source([str(file)], options=["trainer.max_epochs=1"]))
    assert problems == []
    options = {
        "--seed_everything": "3", "--data.n_train": "30", "--trainer.max_epochs": "1",
        "--trainer.precision": "bf16-mixed",
        "--model.optimizer": yaml.safe_dump(adam), "--trainer.callbacks": yaml.safe_dump(callbacks),
    }  # fmt: skip
    main(["fit", "--config", str(file), *(word for option in options.items() for word in option)])
    (folder,) = Path("runs/test").iterdir()
    assert folder.name == cell.run.run_id
    assert cell.run.folder == Path.cwd() / "runs/mine" / folder.name
    assert yaml.safe_load((folder / "config.yaml").read_text()) == cell.config | {"name": "test"}


@pytest.mark.parametrize(
    "grid", [pytest.param(grid, marks=[pytest.mark.slow] if grid == "paper" else []) for grid in GRIDS]
)
def test_every_grid_of_the_file_expands_and_its_cells_resolve(grid: str) -> None:
    cells = committed(grid)
    assert cells
    assert len({cell.run.run_id for cell in cells}) == len(cells)
    for cell in cells:
        assert cell.config["name"] == grid
        assert cell.config["data"]["init_args"]["n_train"]
        assert cell.config["trainer"]["max_epochs"]


def test_another_data_set_keeps_the_options_of_the_file_that_it_has_too() -> None:
    cells = committed("demo")
    assert len(cells) == 12
    for cell in cells:
        options = cell.config["data"]["init_args"]
        assert (options["image_size"], options["n_val"], options["n_test"]) == (32, 100, 300)
        assert options["batch_size"] == {"resnet18": 40, "resnet34": 25}[cell.config["model"]["backbone"]]
    assert {cell.config["data"]["class_path"] for cell in cells} == {"datamodules.MNIST5k", "datamodules.BrainSlices"}
    assert cells[0].title == "MNIST5k resnet18 n_train=125 max_epochs=24"


@pytest.mark.slow
def test_the_papers_grid_is_the_papers() -> None:
    cells = committed("paper")
    assert len(cells) == 6 * 6 * (4 * 5 + 7)
    assert {cell.config["data"]["init_args"]["pair"] for cell in select(cells, only=["data=MNIST"])} == {0, 1, 2, 3, 4}
    assert {cell.config["data"]["init_args"]["pair"] for cell in select(cells, only=["data=MURA"])} == {None}
    slow = select(cells, only=["lr=1.0e-06"])
    assert len(slow) == 3 * 6 * 5
    assert {(cell.config["data"]["class_path"], cell.config["model"]["backbone"]) for cell in slow} == {
        ("datamodules.SVHN", backbone) for backbone in ("vgg13", "vgg16", "vgg19")
    }
    assert all(cell.config["data"]["init_args"]["n_test"] == 750 for cell in cells)


def test_the_controlled_grid_varies_one_dial_at_a_time() -> None:
    options = [cell.config["data"]["init_args"] for cell in committed("controlled")]
    sets = {(of["dimension"], of["margin"]) for of in options}
    assert {d for d, m in sets if m == 0.2} == {2, 4, 6, 8, 12, 16, 24}
    assert {m for d, m in sets if d == 4} == {0.05, 0.2, 0.4, 0.8, 1.2}
    assert len(sets) == 7 + 4
    assert all(len({of["n_train"] for of in options if (of["dimension"], of["margin"]) == each}) == 5 for each in sets)
    assert len(options) == 11 * 5
    # As many training steps for every network.
    assert {
        cell.config["data"]["init_args"]["n_train"] * cell.config["trainer"]["max_epochs"]
        for cell in committed("controlled")
    } == {12_000}


def test_the_page_of_the_controlled_grid_has_its_data_sets_and_their_truth() -> None:
    page = (EXPERIMENTS.parent / "docs/controlled.md").read_text(encoding="utf-8")
    rows = {tuple(re.split(r" *\| *", line.strip("| "))) for line in page.splitlines() if line.startswith("| Manifold")}
    data_sets = [Manifold(**cell.config["data"]["init_args"]) for cell in committed("controlled")]
    assert rows == {
        (
            str(data.name),
            f"{data.scale:.1f}",
            f"{data.max_label_sharpness:.3f}",
            f"−{1 / data.dimension:.3f}",
            f"{(2000 / 125) ** (-1 / data.dimension):.2f}",
        )
        for data in data_sets
    }


def test_cells_that_are_the_same_run_are_one(write_grid: WriteGrid) -> None:
    file = write_grid({"product": {"data.n_train": [20, 30], "seed_everything": [0, 1]}})
    assert len(titles(Source([str(file)]))) == 4
    assert len(titles(Source([str(file)], options=["data.n_train=25"]))) == 2


def test_a_second_file_overrides_the_first(write_grid: WriteGrid) -> None:
    file = write_grid()
    Path("more.yaml").write_text(yaml.safe_dump({"model": {"drop_rate": 0.1}, "data": {"init_args": {"n_val": 6}}}))
    _, cells, _ = read_grid(Source([str(file), "more.yaml"]))
    assert len(cells) == 3
    for cell in cells:
        assert cell.config["model"]["drop_rate"] == 0.1
        assert cell.config["data"]["init_args"]["n_val"] == 6
        assert cell.config["data"]["init_args"]["n_train"] == 40


def test_records_can_be_kept_elsewhere(write_grid: WriteGrid) -> None:
    _, cells, _ = read_grid(Source([str(write_grid())], runs="other"))
    assert {cell.run.folder.parent for cell in cells} == {Path.cwd() / "other/mine"}


def test_values_that_an_option_does_not_take_are_problems_of_their_cells(write_grid: WriteGrid) -> None:
    file = write_grid({"product": {"data.n_train": [20, "many", 30], "seed_everything": [0, 1]}})
    _, cells, problems = read_grid(Source([str(file)]))
    assert [cell.title for cell in cells] == [f"n_train={n} seed_everything={s}" for n in (20, 30) for s in (0, 1)]
    (problem,) = problems
    assert "expected int or null, got 'many'" in problem.message
    assert problem.titles == ("n_train=many seed_everything=0", "n_train=many seed_everything=1")


SELECTIONS = [
    ({"only": ["n_train=20"]}, ["20 0", "20 1"]),
    ({"only": ["data.n_train=20,30", "seed_everything=1"]}, ["20 1", "30 1"]),
    ({"skip": ["data.init_args.n_train=20"]}, ["30 0", "30 1"]),
    ({"only": ["n_train=20"], "skip": ["seed_everything=0"]}, ["20 1"]),
    ({"only": ["data=TableDataModule", "backbone=test_resnet"]}, ["20 0", "20 1", "30 0", "30 1"]),
    ({"only": ["n_train=20"], "skip": ["seed_everything=0,1"]}, []),
    ({"only": ["n_train=2e1"]}, ["20 0", "20 1"]),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_cells_are_chosen_by_their_options(
    selection: dict[str, Any], expected: list[str], write_grid: WriteGrid
) -> None:
    file = write_grid({"product": {"data.n_train": [20, 30], "seed_everything": [0, 1]}})
    found = [
        title.replace("n_train=", "").replace("seed_everything=", "")
        for title in titles(Source([str(file)]), **selection)
    ]
    assert found == expected


def test_a_cell_is_chosen_by_its_run_id(write_grid: WriteGrid) -> None:
    _, cells, _ = read_grid(Source([str(write_grid())]))
    assert select(cells, only=[f"run_id={cells[1].run.run_id}"]) == [cells[1]]


MISTAKES: list[tuple[Callable[[str], Source], str]] = [
    (lambda file: Source(["nowhere.yaml"]), "nowhere.yaml"),
    (lambda file: Source([file], "mime"), "there is no grid 'mime' .*did you mean mine"),
    (lambda file: Source([file], options=["trainer.max_epochs"]), "sets nothing: write option=value"),
]


@pytest.mark.parametrize(("source", "expected"), MISTAKES)
def test_a_mistake_in_the_source_is_explained(
    source: Callable[[str], Source], expected: str, write_grid: WriteGrid
) -> None:
    with pytest.raises(InputError, match=expected):
        read_grid(source(str(write_grid())))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"produkt": {"seed_everything": [0]}}, "produkt"),
        ({"product": {"model.backbon": ["a"]}}, "'model.backbon', which is no option: did you mean model.backbone"),
        ({"product": {"seed_everything": 3}}, "grids.product: expected list, got .3."),
        ({"zip": {"seed_everything": [1, 2], "data.n_train": [20]}}, "different lengths"),
        ({"when": [{"wher": {"data": "MNIST"}}]}, "wher"),
    ],
)
def test_a_mistake_in_the_grid_is_explained(block: dict[str, Any], expected: str, write_grid: WriteGrid) -> None:
    with pytest.raises(InputError, match=expected):
        read_grid(Source([str(write_grid(block))]))


def test_files_without_grids_and_with_several(config: Path, write_grid: WriteGrid) -> None:
    with pytest.raises(InputError, match=r"no grids in .*docs/how-to/sweep\.md"):
        read_grid(Source([str(config)]))
    with pytest.raises(InputError, match=r"several grids: choose .* demo \| controlled \| margin \| paper"):
        read_grid(Source([str(EXPERIMENTS)]))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n_train", "write option=value"),
        ("n_train=7", "no cell has n_train=7; there are 40"),
        ("n_trian=40", "is no option of this grid: did you mean n_train"),
    ],
)
def test_a_condition_that_means_nothing_is_explained(condition: str, expected: str, write_grid: WriteGrid) -> None:
    with pytest.raises(InputError, match=expected):
        titles(Source([str(write_grid())]), only=[condition])


def test_class_pairs_are_chosen_whole(write_grid: WriteGrid) -> None:
    file = write_grid({"product": {"data.classes": [[0, 1], [1, 0]]}})
    assert titles(Source([str(file)]), only=["classes=[1, 0]"]) == ["classes=[1, 0]"]


def test_values_that_json_does_not_know_are_those_of_the_file(write_grid: WriteGrid) -> None:
    file = write_grid({"product": {"trainer.gradient_clip_val": [float("inf"), 1e-7]}})
    _, cells, problems = read_grid(Source([str(file)]))
    assert problems == []
    assert [cell.config["trainer"]["gradient_clip_val"] for cell in cells] == [float("inf"), 1e-7]


@pytest.mark.parametrize("option", ["seed_everything=true", "trainer.fast_dev_run=true"])
def test_a_run_without_identity_or_record_is_a_problem(option: str, write_grid: WriteGrid) -> None:
    _, cells, problems = read_grid(Source([str(write_grid({}))], options=[option]))
    assert cells == []
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, "grids"),
        ({"produkt": None}, "produkt"),
        ({"product": None}, "'product'"),
        ({"set": {"name": "x"}}, "'name'"),
    ],
)
def test_what_is_no_block_is_explained(block: Any, expected: str, write_grid: WriteGrid) -> None:
    with pytest.raises(InputError, match=expected):
        read_grid(Source([str(write_grid({"set": {}}, block))]))
