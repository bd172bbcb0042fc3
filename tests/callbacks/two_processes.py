"""One of two processes that measure and train together; test_probe.py starts them.

Arguments: the folder of an image table, and the folder where the weights lie and results go.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from callbacks import Probe
from callbacks.probe import Readings
from datamodules import ImageTable
from tests.callbacks.helpers import Ordered, all_probes, make_data, make_model, make_trainer

WEIGHTS = "weights.pt"
SIZES = {"n_train": 37, "n_val": 37, "n_test": 37, "n_reference": 21}  # odd on purpose
LAST_RESORT = 280  # seconds after which a process that waits for the other one ends itself


def make_probes() -> list[Probe]:
    return [*all_probes(n_images=37), Ordered(batch_size=5)]


def evaluate(table: ImageTable, weights: dict[str, Any], stage: str, **options: Any) -> Readings:
    """Every number that validate or test gives for some weights."""
    data = make_data(table, **SIZES)
    model = make_model(data)
    model.load_state_dict(weights)
    probes = make_probes()
    trainer = make_trainer(*probes, **options)
    getattr(trainer, stage)(model, datamodule=data, verbose=False)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for probe in probes:
        found |= probe.readings  # in full precision
    return found


def train(table: ImageTable, probes: list[Probe], **options: Any) -> Trainer:
    """Two epochs without validation, which would make the running statistics of the processes equal."""
    data = make_data(table, **SIZES)
    trainer = make_trainer(*probes, epochs=2, limit_val_batches=0, **options)
    trainer.fit(make_model(data), datamodule=data)
    return trainer


def main(table: ImageTable, folder: Path) -> None:
    two = {"strategy": "ddp", "devices": 2, "default_root_dir": folder}
    weights = torch.load(folder / WEIGHTS, weights_only=True)
    found = {stage: evaluate(table, weights, stage, **two) for stage in ("validate", "test")}
    probes = make_probes()
    plain, probed = train(table, [], **two), train(table, probes, **two)
    found["fit"] = {name: value for probe in probes for name, value in probe.readings.items()}
    (folder / f"{probed.global_rank}.json").write_text(json.dumps(found))
    after = {"plain": plain.lightning_module.state_dict(), "probed": probed.lightning_module.state_dict()}
    torch.save(after, folder / f"{probed.global_rank}.pt")


if __name__ == "__main__":
    signal.alarm(LAST_RESORT)
    main(ImageTable.open(sys.argv[1]), Path(sys.argv[2]))
