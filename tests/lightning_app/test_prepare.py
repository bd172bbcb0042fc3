"""`lightning prepare`: what it shows, what it refuses, and every data set from its raw files to a record."""

import dataclasses
import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.recipes import RECIPES, recipe_class
from lightning_app.main import main
from tests.factories import CASES, Case
from tests.lightning_app.conftest import mistake
from tests.raw.mnist import write_part

ROOT = Path(__file__).parents[2]
_NATURAL = ("MNIST", "FashionMNIST", "CIFAR10", "SVHN", "ImageNet", "ImageFolder")

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def _options(case: Case) -> list[str]:
    return [word for name, value in case.options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _prepare(case: Case, *more: str) -> None:
    main(
        [
            "prepare",
            case.recipe,
            "--raw",
            f"raw/{case.folder}",
            "--out",
            "table",
            "--workers",
            "1",
            *_options(case),
            *more,
        ]
    )


@every_case
def test_every_set_goes_from_raw_files_to_a_record_and_is_measured(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    made = case.make(Path("raw"))
    _prepare(case)
    shown = capsys.readouterr().out
    assert f"{len(made.expected)} images" in shown
    assert shown.endswith("table  table\n")
    config = {
        "model": {"backbone": "test_resnet"},
        "data": {
            "class_path": case.data,
            "init_args": {
                "table": "table", "n_train": 8, "n_val": 0, "n_test": 4, "image_size": 16, "batch_size": 4, "pair": 0,
                "n_reference": 4, **case.init_args,
            },
        },
        "trainer": {
            "max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False,
            "callbacks": [{"class_path": "DatasetProperties", "init_args": {"k": 3, "estimators": ["twonn"]}}],
        },
    }  # fmt: skip
    Path("config.yaml").write_text(yaml.safe_dump(config))
    main(["fit", "--config", "config.yaml"])
    (file,) = Path("runs").glob("*/*/result.json")
    record = json.loads(file.read_text())
    assert (record["epochs"], record["n_train"], record["n_test"], record["num_classes"]) == (2, 8, 4, 2)
    assert record["status"] == "finished"
    assert record["domain"] == ("natural" if case.data in _NATURAL else "medical")
    assert record["test/loss"] > 0
    assert len(record["classes"]) == 2
    capsys.readouterr()
    main(["measure", "table", "--json", "measured.json", "--k", "3"])
    measured = json.loads(Path("measured.json").read_text())
    assert measured["K_F"] > 0


@pytest.fixture
def toy(tmp_path: Path) -> Case:
    """The raw files of MNIST in small."""
    case = CASES["mnist"]
    case.make(tmp_path / "raw")
    return case


def _prepared_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_the_table_is_kept_where_the_data_module_looks_for_it(toy: Case, capsys: pytest.CaptureFixture[str]) -> None:
    main(["prepare", "mnist", "--raw", "raw"])
    assert _prepared_line(capsys) == "table  data/mnist"
    assert Path("data/mnist/images.npy").is_file()


def test_the_summary_names_labels_splits_and_skips(capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES["rsna"]
    made = case.make(Path("raw"))
    _prepare(case)
    shown = capsys.readouterr().out
    positive = sum(row["any"] == "1" for row in made.expected.values())
    words = " ".join(shown.split())
    negative = len(made.expected) - positive
    assert f"0 (no intracranial hemorrhage): {negative}, 1 (intracranial hemorrhage): {positive}" in words
    assert "skipped" in shown
    assert str(len({row["group"] for row in made.expected.values()})) in shown
    _prepare(case)
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnsa"], "there is no data set 'rnsa' to prepare: did you mean rsna?"),
        (["xyz"], "choose from mnist, fashionmnist, cifar10"),
        (["mura"], "MURA 1.1 (radiographs of the upper limb) does not download itself: give its folder with --raw."),
        (["mura", "--raw", "nowhere"], "there is no folder nowhere: give the folder of the raw files with --raw"),
        (["mura", "--raw", "raw"], "raw"),
        (["rsna", "--window", "lung", "--raw", "raw"], "invalid choice: 'lung' (choose from"),
        (["rsna", "--raw", "raw", "--image-size", "4"], "image_size=4 is too small"),
        (["mnist", "--raw", "raw", "--workers", "0"], "workers=0 is out of range"),
        (["mnist", "--raw", "raw", "--widnow", "3"], "unrecognized arguments: --widnow 3; `lightning prepare mnist"),
        (["mnist", "--raw", "raw", "--out", "raw"], "raw exists and is no image table"),
        (["mnist", "--raw", "raw", "--out", "/proc/table"], "cannot write a table at /proc/table"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_a_mistake_costs_one_line_and_leaves_nothing(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in mistake(capsys, "prepare", *argv)
    assert [path.name for path in Path().iterdir()] == ["raw"]


def test_help_lists_every_set_and_the_options_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(["prepare", "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown.split() for name in RECIPES)
    assert max(map(len, shown.splitlines())) <= 100
    for name in RECIPES:
        with pytest.raises(SystemExit) as stop:
            main(["prepare", name, "--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for option in dataclasses.fields(recipe_class(name)):
            assert (f"--{option.name.replace('_', '-')}" in shown) == (option.name != "flag")
        assert "--raw" in shown
        assert " ".join(recipe_class(name).access.split()[:3]) in " ".join(shown.split())


def test_a_command_that_is_killed_goes_on_to_the_same_table(toy: Case) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 40_000), ("t10k", 10_000)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_part(Path("raw/MNIST/raw"), part, images, rng.integers(0, 10, count, dtype=np.uint8))
    command = [sys.executable, "-m", "lightning_app", "prepare", "mnist", "--raw", Path("raw").absolute()]
    killed = []
    for seconds in (0.0, 0.3):
        with subprocess.Popen([*command, "--out", Path("out").absolute()], cwd=ROOT) as process:
            _wait_for(Path(".out.preparing/images.npy"), process)
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        killed.append(process.returncode == -signal.SIGKILL)
    assert killed[0]
    for out in ("out", "whole"):
        subprocess.run([*command, "--out", Path(out).absolute()], cwd=ROOT, check=True, capture_output=True)
    for file in ("images.npy", "manifest.csv", "prepare.json"):
        assert filecmp.cmp(f"out/{file}", f"whole/{file}", shallow=False)
    assert sorted(os.listdir("out")) == ["images.npy", "manifest.csv", "prepare.json"]


def _wait_for(file: Path, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None and not (file.is_file() and file.stat().st_size):
        time.sleep(0.01)
