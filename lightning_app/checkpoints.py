"""Checkpoints that are seen whole or not at all."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from lightning_app.loggers import EpochLog
from lightning_app.run import write_bytes


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and puts it there when all of it is on the disk.

    Lightning writes into the folder for temporary files and moves the file from there. Where that is another file
    system, to move is to copy, and a process that is killed meanwhile leaves half a file in the place of the whole
    one that was there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint. When this fails, what was there before is still there, and nothing else.

        Args:
            checkpoint: What `torch.save` takes.
            path: Where to; an address such as ``s3://...`` is left to Lightning.
            storage_options: None is possible only.

        Raises:
            OSError: The file cannot be written.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        # In memory first: a disk that is full is an OSError then, and not one of torch's own.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(file, content.getbuffer())


class RowThenCheckpoint(ModelCheckpoint):
    """Writes an epoch's row of ``metrics.csv`` before its checkpoint.

    Lightning logs an epoch after its checkpoint: a process that is killed between the two goes on with the next epoch,
    and the row is lost. The other way round, the epoch is run again, and its row replaced by an equal one.

    Args:
        log: Where rows are kept.
        **options: Those of Lightning's ModelCheckpoint.
    """

    def __init__(self, log: EpochLog, **options: Any) -> None:
        super().__init__(**options)
        self._log = log

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the row, then the checkpoint."""
        # Not trainer.logged_metrics, which still holds what was measured in earlier epochs only.
        row = trainer._logger_connector.metrics["log"]
        self._log.log_metrics({name: float(value) for name, value in row.items()} | {"epoch": trainer.current_epoch})
        self._log.save()
        super().on_train_epoch_end(trainer, pl_module)
