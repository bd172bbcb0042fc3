"""A run of a second: a tiny network on a tiny table, all probes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamodules import ImageTable
from lightning_app.main import main

Config = dict[str, Any]


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
                {"class_path": "AdversarialRobustness", "init_args": {"n_images": 10, "eps": [2], "steps": 2}},
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
