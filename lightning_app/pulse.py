"""How far a run is, told to whoever asks its lease."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_app.lease import Lease


class Pulse(Callback):
    """Tells the lease of a run about every batch, of whatever.

    Attributes:
        lease: The lease, once there is one; other processes than the first have none.
        first_epoch: The epoch in which this process began; above 0 where it continues a run.
    """

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.first_epoch = 0
        self._batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers where training began."""
        self.first_epoch = trainer.current_epoch
        self._say(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One more batch."""
        self._say(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """One more batch."""
        self._say(trainer)

    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """One more batch."""
        self._say(trainer)

    def on_probe_batch_end(self, trainer: Trainer) -> None:
        """One more batch of a measurement; the probes call this."""
        self._say(trainer)

    def _say(self, trainer: Trainer) -> None:
        self._batches += 1
        if self.lease is not None:
            self.lease.say(epoch=trainer.current_epoch, epochs=trainer.max_epochs or 0, batches=self._batches)
