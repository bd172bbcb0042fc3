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

from datamodules import ImageTable
from tests.callbacks.helpers import all_probes, make_data, make_model, make_trainer

WEIGHTS = "weights.pt"
SIZES = {"n_train": 37, "n_val": 37, "n_test": 37, "n_reference": 21}  # odd on purpose
LAST_RESORT = 280  # seconds after which a process that waits for the other one ends itself


def evaluate(table: ImageTable, folder: Path, **options: Any) -> dict[str, dict[str, float]]:
    """Every number that validate and test give for the weights in the folder."""
    found = {}
    for stage in ("validate", "test"):
        data = make_data(table, **SIZES)
        model = make_model(data)
        model.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
        probes = all_probes(n_images=37)
        trainer = make_trainer(*probes, **options)
        getattr(trainer, stage)(model, datamodule=data, verbose=False)
        found[stage] = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for probe in probes:
            found[stage] |= probe.readings  # in full precision
    return found


def train(table: ImageTable, with_probes: bool, **options: Any) -> Trainer:
    data = make_data(table, **SIZES)
    trainer = make_trainer(*(all_probes(n_images=37) if with_probes else ()), epochs=2, **options)
    trainer.fit(make_model(data, drop_rate=0.5), datamodule=data)
    return trainer


def main(table: ImageTable, folder: Path) -> None:
    two = {"strategy": "ddp", "devices": 2, "default_root_dir": folder}
    found = evaluate(table, folder, **two)
    plain, probed = train(table, False, **two), train(table, True, **two)
    rank = probed.global_rank
    (folder / f"{rank}.json").write_text(json.dumps(found))
    weights = {"none": plain.lightning_module.state_dict(), "probes": probed.lightning_module.state_dict()}
    torch.save(weights, folder / f"{rank}.pt")


if __name__ == "__main__":
    signal.alarm(LAST_RESORT)
    main(ImageTable.open(sys.argv[1]), Path(sys.argv[2]))
