"""Random numbers of training as a function of seed, epoch and process."""

import os

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from metrics import seed_of


class SeededEpochs(Callback):
    """Seeds dropout and the like anew at the start of every training epoch.

    What an epoch draws then depends on seed, epoch and process only: a run that is continued from a
    checkpoint draws what it would have drawn without the interruption.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds torch's generators, on the CPU and on every device."""
        seed = os.environ.get("PL_GLOBAL_SEED")  # set by seed_everything
        if seed is not None:
            torch.manual_seed(seed_of(int(seed), trainer.current_epoch, trainer.global_rank))
