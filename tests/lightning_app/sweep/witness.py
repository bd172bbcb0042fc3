"""A look into the process of a cell."""

import json
import os
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer


class Witness(Callback):
    """Leaves behind what the process of a cell is told by its environment."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it down."""
        seen = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "WANDB_MODE")}
        Path(f"seen-{os.environ['PL_GLOBAL_SEED']}").write_text(json.dumps(seen))
