"""How far a run is, told to whoever asks its lease."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_app.lease import Lease


class Pulse(Callback):
    """Tells the lease of a run about every batch.

    Attributes:
        lease: The lease, once there is one; other processes than the first have none.
        first_epoch: The epoch in which this process began; above 0 where it continues a run.
    """

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.first_epoch = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers where training began."""
        self.first_epoch = trainer.current_epoch
        self._say(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One more batch."""
        self._say(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One more epoch."""
        self._say(trainer)

    def _say(self, trainer: Trainer) -> None:
        if self.lease is not None:
            self.lease.say(epoch=trainer.current_epoch, epochs=trainer.max_epochs or 0, step=trainer.global_step)
