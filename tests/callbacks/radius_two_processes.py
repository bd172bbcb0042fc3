"""One of two processes that measure radii together; test_minimal_radius.py starts them.

Arguments: the folder of an image table, and the folder where the weights lie and results go.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from callbacks import MinimalRadius
from callbacks.probe import Readings
from datamodules import ImageTable
from tests.callbacks.helpers import make_data, make_model, make_trainer

WEIGHTS = "weights.pt"
SIZES = {"n_val": 37, "n_test": 37}  # odd on purpose
LAST_RESORT = 280  # seconds after which a process that waits for the other one ends itself


def measure(table: ImageTable, weights: dict[str, Any], **options: Any) -> Readings:
    """What all kinds of radii are for some weights."""
    data = make_data(table, **SIZES)
    model = make_model(data)
    model.load_state_dict(weights)
    probes = [
        MinimalRadius("fgsm", n_images=37, certify=True),
        MinimalRadius("pgd", "l2", steps=3, restarts=2, n_images=37, batch_size=10),
    ]
    make_trainer(*probes, **options).validate(model, datamodule=data, verbose=False)
    return {name: value for probe in probes for name, value in probe.readings.items()}


if __name__ == "__main__":
    signal.alarm(LAST_RESORT)
    folder = Path(sys.argv[2])
    found = measure(
        ImageTable.open(sys.argv[1]),
        torch.load(folder / WEIGHTS, weights_only=True),
        strategy="ddp",
        devices=2,
        default_root_dir=folder,
    )
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(found))
