"""A run of a second: a tiny network on a tiny table, all probes on; and pictures to be measured."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from datamodules import ImageTable
from lightning_app.main import main

Config = dict[str, Any]
Pictures = dict[str, NDArray[np.uint8]]
"""Pixels by path, relative to the folder that was written, in the order of the paths."""


@pytest.fixture
def config(tiny_table: ImageTable, tmp_path: Path) -> Path:
    """A configuration file."""
    content: Config = {
        "seed_everything": 0,
        "name": "test",
        "model": {"backbone": "test_resnet", "drop_rate": 0.5},
        "data": {
            "class_path": "TableDataModule",
            "init_args": {
                "table": str(tiny_table.folder),
                "n_train": 40,
                "n_val": 10,
                "n_test": 20,
                "image_size": 16,
                "batch_size": 10,
            },
        },
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "logger": {"class_path": "lightning_app.loggers.WandbLogger"},
            "callbacks": [
                {"class_path": "DatasetProperties", "init_args": {"k": 5}},
                {"class_path": "RepresentationDimension", "init_args": {"k": 5}},
                {
                    "class_path": "AdversarialRobustness",
                    "init_args": {"attacks": ["fgsm", "pgd"], "n_images": 10, "eps": [2], "steps": 2},
                },
            ],
        },
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
def fit(config: Path) -> Callable[..., Config]:
    """Runs ``lightning fit`` with extra options in this process and returns the record."""

    def run(*options: str) -> Config:
        before = set(Path("runs").glob("*/*/result.json"))
        main(["fit", "--config", str(config), *options])
        new = set(Path("runs").glob("*/*/result.json")) - before
        (file,) = new or before
        record: Config = json.loads(file.read_text())
        return record | {"folder": str(file.parent)}

    return run


@pytest.fixture
def noise() -> Callable[..., Pictures]:
    """Writes a folder per class with random pictures."""

    def write(
        folder: str, counts: Mapping[str, int], shape: tuple[int, ...] = (8, 8), seed: int = 0, levels: int = 256
    ) -> Pictures:
        rng = np.random.default_rng(seed)
        pictures: Pictures = {}
        for name, count in counts.items():
            for i in range(count):
                pictures[f"{name}/{i:03}.png"] = rng.integers(0, levels, shape, dtype=np.uint8)
        for path, pixels in pictures.items():
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
        return dict(sorted(pictures.items()))

    return write


@pytest.fixture
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Runs ``lightning measure`` in this process and returns its JSON, kept apart from the folder that it runs in."""
    place = tmp_path_factory.mktemp("json")

    def run(*argv: str) -> Config:
        main(["measure", *argv, "--json", str(place / "measured.json")])
        found: Config = json.loads((place / "measured.json").read_text(encoding="utf-8"), parse_constant=_no_number)
        return found

    return run


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs ``lightning measure`` with a mistake and returns the one line that it costs."""
    return functools.partial(mistake, capsys, "measure")


def mistake(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a command leaves on stderr before it exits with code 2."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lightning: error: ")
    return line


def _no_number(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")
