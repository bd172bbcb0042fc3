"""What keeps cells from running is found before the first one starts, all of it, and nothing is touched."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks import Probe
from callbacks.probe import Prospect, Readings, Subject
from datamodules import ImageSet, ImageTable, Manifold, TableDataModule
from datamodules.tables import Sample, write_header
from lightning_app.run import Run
from lightning_app.sweep.cells import Cell, Problem
from lightning_app.sweep.checks import check_cells, make_tables, missing_tables
from lightning_app.sweep.grid import Source, read_grid

HERE = __name__
TABLE: dict[str, Any] = {"n_train": 40, "n_val": 12, "n_test": 20, "image_size": 16}
EXPERIMENTS = Path(__file__).parents[3] / "experiments.yaml"


def _cell(
    title: str = "cell",
    *,
    data: str = "datamodules.TableDataModule",
    options: dict[str, Any] | None = None,
    probes: Any = None,
    **model: Any,
) -> Cell:
    """A cell with the parts of its configuration that decide whether it can run."""
    config = {
        "data": {"class_path": data, "init_args": TABLE | {"table": "tiny"} | (options or {})},
        "model": {"backbone": "test_resnet"} | model,
        "trainer": {"callbacks": probes},
    }
    return Cell(Run("grid", title, Path("runs/grid") / title, config), {}, title, str(Path.cwd()))


def _manifold(title: str = "cell", **options: Any) -> Cell:
    """A cell whose table makes itself."""
    sizes = {"table": None, "amount": 60, "n_train": 20, "n_val": 4, "n_test": 8}
    return _cell(title, data="datamodules.Manifold", options=sizes | options)


def _probe(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": name if "." in name else f"callbacks.{name}", "init_args": options}


def _files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


class OwnImages(TableDataModule):
    """Somebody's data module that has its images from elsewhere."""

    def prepare_data(self) -> None:
        pass

    def setup(self, stage: str | None = None) -> None:
        raise AssertionError("set up by a check")

    @property
    def train_set(self) -> ImageSet:
        raise AssertionError("read by a check")


class OwnSamples(TableDataModule):
    """Somebody's data module whose table fails to be made, in a way of its own."""

    def samples(self) -> Iterator[Sample]:
        yield np.arange(64, dtype=np.uint8).reshape(1, 8, 8), {"label": 0, "group": 0}
        raise RuntimeError("the scanner\nis off")


@dataclass(eq=False, repr=False)
class Careless(TableDataModule):
    """Somebody's data module with a defect in each of its parts."""

    where: str = "nowhere"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._fail("init")

    def has_table(self) -> bool:
        self._fail("table")
        return super().has_table()

    def read_labels(self, table: ImageTable) -> Any:
        self._fail("labels")
        return super().read_labels(table)

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise KeyError(where)


class OwnProbe(Probe):
    """Somebody's probe."""

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least = least

    def check(self, prospect: Prospect) -> None:
        sizes = (prospect.n_train, prospect.n_evaluation, prospect.n_test, prospect.n_reference)
        if self.least > min(sizes):
            raise ArithmeticError(f"{sizes}")

    def measure(self, subject: Subject) -> Readings:
        return {}


def test_cells_that_can_run_are_left_alone(tiny_table: ImageTable) -> None:
    probes = [
        _probe("DatasetProperties", k=5),
        _probe("RepresentationDimension", layers="profile"),
        _probe("SplitCheck"),
    ]
    cells = [_cell(probes=probes), _cell(probes=_probe("AdversarialRobustness", n_images=12)), _cell()]
    before, state = _files(), torch.get_rng_state()
    told: list[tuple[int, int]] = []
    assert check_cells(cells, lambda done, total: told.append((done, total))) == []
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert make_tables(cells) == []
    assert missing_tables(cells) == []
    assert _files() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"options": {"table": "absent"}}, "no image table at absent"),
        ({"options": {"n_train": 89}}, "n_train=89 is more than the 88 images"),
        ({"options": {"n_test": 200}}, "n_test=200 is more than"),
        ({"options": {"classes": [0, 7]}}, "class 7 does not exist"),
        ({"options": {"image_size": 7}}, "image_size=7 is too small"),
        ({"options": {"labelling": "view"}}, "no labelling 'view'"),
        ({"options": {"n_trian": 3}}, "no option 'n_trian': did you mean n_train"),
        ({"data": "datamodules.OAI", "options": {"table": None}}, "`lightning prepare oai"),
        ({"data": "datamodules.ImageFolder", "options": {"table": None, "folder": "absent"}}, "folder=absent is no"),
        ({"backbone": "resnet81"}, "unknown backbone 'resnet81': did you mean"),
        ({"backbone": "vgg13"}, "images of 16x16 do not fit vgg13: the smallest larger size that does is 32x32"),
        ({"std": 0.0}, "std=0 is out of range"),
        ({"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": -1.0}}}, "model.optimizer.*rate: -1.0"),
        ({"probes": [_probe("DatasetProperties", k=2)]}, "k=2 is out of range"),
        ({"probes": [_probe("DatasetProperties", k=40)]}, "40 training images are too few: mle with k=40"),
        ({"probes": [_probe("RepresentationDimension", layers=["layer9"])]}, "no layer 'layer9': near matches are"),
        ({"probes": [_probe("AdversarialRobustness", n_images=13)]}, "n_images=13 is more than the 12 evaluation"),
        ({"probes": _probe("AdversarialRobustness", eps=[0])}, "eps=0 "),
        ({"probes": _probe("AdversarialRobustness"), "options": {"n_val": 0, "n_test": 0}}, "no images to attack"),
        (
            {"probes": [_probe("MinimalRadius", n_images=n) for n in (5, 6)]},
            r"two callbacks \(MinimalRadius\) log robust/radius with different options",
        ),
        ({"probes": [_probe("lightning.pytorch.callbacks.Timer", interval="week")]}, "week"),
    ],
)
def test_what_cannot_run_is_found(cell: dict[str, Any], message: str, tiny_table: ImageTable) -> None:
    (problem,) = check_cells([_cell("one", **cell), _cell("other")])
    assert problem.titles == ("one",)
    assert re.search(message, problem.message)
    assert _files() == sorted(["tiny", "tiny/images.npy", "tiny/manifest.csv"])


def test_everything_is_found_at_once_and_said_once(tiny_table: ImageTable) -> None:
    greedy = [_probe("AdversarialRobustness", n_images=13), _probe("DatasetProperties", k=1)]
    cells = [
        _cell("a", options={"n_train": 100}, backbone="resnet81", probes=greedy),
        _cell("b", probes=greedy),
        _cell("c", options={"n_train": 100}),
        _cell("d", options={"n_train": 101}),
    ]
    problems = check_cells(cells)
    assert [(problem.message.split()[0], problem.titles) for problem in problems] == [
        ("n_train=100", ("a", "c")),
        ("unknown", ("a",)),
        ("k=1", ("a", "b")),
        ("n_images=13", ("b",)),
        ("n_train=101", ("d",)),
    ]


def test_no_pixel_is_read() -> None:
    Path("tiny").mkdir()
    with Path("tiny/images.npy").open("wb") as images:
        write_header(images, 120, (3, 4000, 4000))
        images.truncate(images.tell() + 120 * 3 * 4000 * 4000)  # 5.8 GB of which none exists; all black
    rows = [f"{i % 2},{i}" for i in range(120)]
    Path("tiny/manifest.csv").write_text("\n".join(["label,group", *rows]))
    assert check_cells([_cell(), _cell(options={"channels": 1})]) == []
    (problem,) = check_cells([_cell(options={"n_train": 89})])
    assert problem.message.startswith("n_train=89")


def test_what_cells_have_in_common_is_looked_at_once(tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    planned, opened = [], []
    plan, open_table = TableDataModule.plan, ImageTable.open
    monkeypatch.setattr(TableDataModule, "plan", lambda data, table: planned.append(data.n_train) or plan(data, table))
    monkeypatch.setattr(ImageTable, "open", lambda folder: opened.append(folder) or open_table(folder))
    options = [TABLE | {"n_train": n, "image_size": 32} for n in (20, 30, 40)]
    sizes = {"test_resnet": 40, "vgg13": 6, "resnet50": 12}  # filled in for the network
    cells = [
        _cell(options=own | {"batch_size": size}, backbone=backbone)
        for backbone, size in sizes.items()
        for own in options
    ]
    assert check_cells(cells) == []
    assert sorted(planned) == [20, 30, 40]
    assert opened == [Path("tiny")]


def test_a_batch_size_that_somebody_chose_is_checked(tiny_table: ImageTable) -> None:
    (problem,) = check_cells([_cell(options={"batch_size": 1})])
    assert problem.message.startswith("batch_size=1 is too small")


def test_tables_that_make_themselves_are_no_problem_and_not_made() -> None:
    cells = [_manifold("a"), _manifold("b", n_train=30), _manifold("c", margin=0.5)]
    assert check_cells(cells) == []
    folders = [Manifold(amount=60, image_size=16, margin=margin).table_folder for margin in (0.2, 0.5)]
    assert missing_tables(cells) == folders
    cells = [_cell(data=f"datamodules.{name}", options={"table": None}) for name in ("MNIST", "MNIST5k", "BrainSlices")]
    assert check_cells(cells) == []
    assert missing_tables(cells) == [Path("data/mnist"), Path("data/mnist5k"), Path("data/brain_slices")]
    assert _files() == []


def test_what_needs_no_table_is_found_without_one() -> None:
    options = {"table": None, "amount": 60}
    own = {"data": "datamodules.Manifold", "options": options}
    probes = [_probe("DatasetProperties", k=2)]
    problems = check_cells([_cell(**own, backbone="vgg13", probes=probes), _cell(**own, backbone="nothing")])
    assert [problem.message.split(":")[0] for problem in problems] == [
        "images of 16x16 do not fit vgg13",
        "k=2 is out of range",
        "unknown backbone 'nothing'",
    ]


def test_tables_are_made_once_and_what_they_decide_is_checked_then(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    samples = Manifold.samples
    monkeypatch.setattr(Manifold, "samples", lambda data: made.append(data.margin) or samples(data))
    cells = [_manifold("a"), _manifold("b", n_train=49), _manifold("c", margin=0.5), _manifold("d", n_train=49)]
    told: list[tuple[int, int]] = []
    (problem,) = make_tables(cells, lambda done, total: told.append((done, total)))
    assert problem.message.startswith("n_train=49 is more than the 48 images")
    assert problem.titles == ("b", "d")
    assert told == [(1, 2), (2, 2)]
    assert sorted(made) == [0.2, 0.5]
    assert missing_tables(cells) == []
    assert make_tables(cells) == []  # nothing had to wait
    assert len(made) == 2
    assert [found.titles for found in check_cells(cells)] == [("b", "d")]


def test_tables_that_cannot_be_made_are_named_with_their_cells() -> None:
    cells = [_cell(title, data=f"{HERE}.OwnSamples", options={"table": title[0]}) for title in ("a1", "b1", "a2")]
    assert check_cells(cells) == []
    problems = make_tables([*cells, _manifold("c")])
    assert problems == [
        Problem("OwnSamples: RuntimeError: the scanner is off", titles) for titles in (("a1", "a2"), ("b1",))
    ]
    assert missing_tables(cells) == [Path("a"), Path("b")]
    assert not {Path("a"), Path("b")} & set(Path().iterdir())


def test_pictures_that_have_changed_since_their_table_was_made_are_found() -> None:
    rng = np.random.default_rng(0)
    for i in range(24):
        file = Path(f"scans/{i % 2}/{i}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(file)
    sizes = {"table": None, "folder": "scans", "n_train": 8, "n_val": 4, "n_test": 4}
    cell = _cell("own", data="datamodules.ImageFolder", options=sizes)
    assert check_cells([cell]) == []
    assert make_tables([cell]) == []
    Path("scans/0/0.png").unlink()
    (problem,) = make_tables([cell])
    assert "was prepared from other raw files (24 files then, 23 now)" in problem.message


def test_classes_of_somebodys_own_that_go_their_own_way_are_left_alone(tiny_table: ImageTable) -> None:
    cell = _cell(data=f"{HERE}.OwnImages", options={"table": "absent", "n_train": 10_000}, backbone="vgg13")
    assert check_cells([cell]) == []
    assert missing_tables([cell]) == [Path("absent")]
    assert make_tables([cell]) == []
    assert check_cells([_cell(probes=[_probe(f"{HERE}.OwnProbe", least=12)])]) == []


@pytest.mark.parametrize("where", ["init", "table", "labels"])
def test_what_somebodys_data_module_raises_is_a_problem(where: str, tiny_table: ImageTable) -> None:
    cells = [_cell(data=f"{HERE}.Careless", options={"where": where}), _cell()]
    (problem,) = check_cells(cells)
    assert missing_tables(cells) == []
    name = f"{HERE}.Careless" if where == "init" else "Careless"
    assert problem.message == f"{name}: KeyError: '{where}'"


def test_what_somebodys_probe_raises_is_a_problem(tiny_table: ImageTable) -> None:
    (problem,) = check_cells([_cell(options={"n_val": 0}, probes=[_probe(f"{HERE}.OwnProbe", least=21)])])
    assert problem.message == f"{HERE}.OwnProbe: ArithmeticError: (40, 20, 20, 100)"


def test_an_optimizer_that_needs_what_is_not_here_is_left_to_the_run(tiny_table: ImageTable) -> None:
    assert check_cells([_cell(optimizer={"class_path": f"{HERE}.Demanding"})]) == []


class Demanding(torch.optim.SGD):
    """An optimiser for a device that is not here."""

    def __init__(self, params: Any) -> None:
        raise RuntimeError("no such device")


@pytest.mark.parametrize(
    ("grid", "tables"),
    [
        ("demo", ["data/mnist5k", "data/brain_slices"]),
        ("controlled", [f"data/manifold/d{d}-m0.2-32px-1ch-c1-N3000-s0" for d in (2, 4, 6, 8, 12, 16, 24)]
         + [f"data/manifold/d4-m{m}-32px-1ch-c1-N3000-s0" for m in (0.05, 0.4, 0.8, 1.2)]),
    ],
)  # fmt: skip
def test_grids_that_make_their_own_data_have_no_problem(grid: str, tables: list[str]) -> None:
    _, cells, mistakes = read_grid(Source([str(EXPERIMENTS)], grid))
    assert mistakes == []
    assert check_cells(cells) == []
    assert missing_tables(cells) == [Path(table) for table in tables]
    assert _files() == []
