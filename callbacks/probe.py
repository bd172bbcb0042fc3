"""The base of everything that measures while a network trains, and leaves no trace in it."""

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from metrics import Estimate, InputError, eval_mode, neighbors_needed, require_at_least

Readings = dict[str, float]

_TIMES = 20  # in a run, where nobody says how often


class Images(Protocol):
    """Labelled 8-bit images in memory."""

    @property
    def images(self) -> Tensor:
        """``(n, C, H, W)`` uint8."""

    @property
    def labels(self) -> Tensor:
        """``(n,)`` int64."""

    @property
    def fingerprint(self) -> str:
        """Hash of pixels and labels."""

    def __len__(self) -> int:
        """Number of images."""


class TableImages(Images, Protocol):
    """Images that know where in the data set they come from."""

    @property
    def rows(self) -> Tensor:
        """``(n,)`` int64: their rows in the image table."""

    @property
    def groups(self) -> Tensor:
        """``(n,)`` int64: numbers of the groups (patients, volumes, lesions) that they belong to."""


class Data(Protocol):
    """What a data module must offer to be measured."""

    @property
    def train_set(self) -> TableImages:
        """The training subset."""

    @property
    def val_set(self) -> TableImages:
        """The validation images; may be empty."""

    @property
    def test_set(self) -> TableImages:
        """The test images."""

    @property
    def reference_set(self) -> Images:
        """The sample that stands for the whole data set."""


class Network(Protocol):
    """What a LightningModule must offer for its representation to be measured."""

    @property
    def depths(self) -> Mapping[str, float]:
        """Relative depth of every layer."""

    def depth_profile(self) -> list[str]:
        """Layers for a profile over depth."""

    def check_layers(self, layers: Iterable[str]) -> None:
        """Refuse unknown layers."""

    def features(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features ``(n, d)`` of images in [0, 1], per layer."""


@dataclass(frozen=True)
class Prospect:
    """What is known of a run before an image is read or a weight is made.

    Attributes:
        network: The network, perhaps without memory for its weights: only the names of its layers can be asked for.
        n_train: Training images.
        n_evaluation: Images to evaluate on: validation images, or test images in ``test`` and where there are none.
        n_test: Test images.
        n_reference: Images of the reference sample.
    """

    network: Network
    n_train: int
    n_evaluation: int
    n_test: int
    n_reference: int


@dataclass(frozen=True)
class Subject:
    """What is measured: a network on a data set, somewhere in a run.

    Attributes:
        trainer: The trainer that runs.
        model: The module it trains, without any wrapper; in eval mode while a probe measures.
        data: Its data module.
    """

    trainer: Trainer
    model: LightningModule
    data: Data

    @property
    def network(self) -> Network:
        """The model, as something whose layers can be read."""
        return cast(Network, self.model)

    @property
    def evaluation_set(self) -> Images:
        """Test images in ``test``; elsewhere validation images, or test images where there are none."""
        testing = self.trainer.state.fn == TrainerFn.TESTING
        return self.data.test_set if testing or not len(self.data.val_set) else self.data.val_set

    @property
    def prospect(self) -> Prospect:
        """What can be told of it without measuring."""
        sizes = (self.data.train_set, self.evaluation_set, self.data.test_set, self.data.reference_set)
        return Prospect(self.network, *map(len, sizes))

    def map_images(
        self, images: Images, compute: Callable[[Tensor, Tensor, list[int]], Mapping[str, Tensor]], batch_size: int
    ) -> dict[str, Tensor]:
        """Compute something for every image, in order, whatever the number of processes.

        Each process computes its share; the shares are gathered, repeats that fill up the last one dropped.

        Args:
            images: The images.
            compute: Takes a batch ``(n, C, H, W)`` in [0, 1] in single or double precision on the model's device,
                labels ``(n,)`` and positions, and returns tensors with one row per image.
            batch_size: Images per call.

        Returns:
            The tensors of all images, on the CPU, the same on every process.
        """
        n, world, rank = len(images), self.trainer.world_size, self.trainer.global_rank
        share = -(-n // world)
        positions = (torch.arange(share) * world + rank) % n
        # Half precision would round what an attack adds; models take their inputs to their own precision.
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        parts: list[Mapping[str, Tensor]] = []
        for start in range(0, share, batch_size):
            batch = positions[start : start + batch_size]
            pixels = images.images[batch].to(self.model.device).to(dtype) / 255
            parts.append(compute(pixels, images.labels[batch].to(self.model.device), batch.tolist()))
            for callback in callbacks_of(self.trainer):
                if hasattr(callback, "on_probe_batch_end"):  # whoever watches whether the run still moves
                    callback.on_probe_batch_end(self.trainer)
        result = {}
        for name in parts[0]:
            rows = torch.cat([part[name] for part in parts])
            if world > 1:
                gathered = [torch.empty_like(rows) for _ in range(world)]
                torch.distributed.all_gather(gathered, rows.contiguous())
                rows = torch.stack(gathered, dim=1).flatten(0, 1)[:n]
            result[name] = rows.cpu()
        return result


class Probe(Callback):
    """Measures something every few epochs of ``fit``, and once in ``validate`` and ``test``.

    While a probe measures, the model is in eval mode and unaware of precision plugins and autocast, the
    global random states are set aside, and gradients may flow even where Lightning forbids them. Afterwards,
    also after an exception, every module has its own mode back. A run with probes ends with the same weights,
    bit for bit, as a run without.

    Args:
        every_n_epochs: Measure after every so many epochs of training; null measures about twenty times, in a run of E
            epochs after every ⌈E / 20⌉ of them and after the last.

    Raises:
        InputError: every_n_epochs below 1.
    """

    def __init__(self, every_n_epochs: int | None = 1) -> None:
        super().__init__()
        require_at_least(1, every_n_epochs=every_n_epochs)
        self.every_n_epochs = every_n_epochs
        self.readings: Readings = {}
        """The last measurement in full precision, by logged name."""
        self.seconds = 0.0
        """What this process has spent on it so far."""

    def check(self, prospect: Prospect) -> None:
        """Refuse what cannot be measured, as far as sizes and layers decide it; asked before a run, and by sweeps.

        Raises:
            InputError: What is missing, and the mend.
        """

    def prepare(self, subject: Subject) -> None:
        """Do, before anything runs, what has to be done once; stop a run that could not be measured."""

    @abstractmethod
    def measure(self, subject: Subject) -> Readings:
        """Measure once; return what to log. Called on every process, must return the same on each."""

    def logs(self) -> Mapping[str, object]:
        """For every name that it logs, or what several begin with: all that decides the number."""
        return {}

    def is_due(self, done: int, epochs: int | None) -> bool:
        """Whether to measure after so many epochs of training.

        Args:
            done: Epochs that are done.
            epochs: Of how many; None or less than one where that is open.
        """
        if self.every_n_epochs is None:
            return done == epochs or done % max(1, -(-(epochs or 0) // _TIMES)) == 0
        return done % self.every_n_epochs == 0

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """How much one measurement computes, in forward passes of one image; 0 where that is not what takes time.

        Args:
            n_train: Training images.
            n_evaluation: Images of the evaluation set.
        """
        return 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Runs :meth:`check` and :meth:`prepare` before anything else happens."""
        if stage != "predict":
            with self._timed(), _undisturbed(pl_module):
                check_names(callbacks_of(trainer))
                subject = _subject(self, trainer, pl_module)
                self.check(subject.prospect)
                self.prepare(subject)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures after training epochs; validation of the epoch is over by then."""
        if self.is_due(trainer.current_epoch + 1, trainer.max_epochs):
            self._run(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures in ``validate``; within ``fit`` the end of the training epoch is the moment."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._run(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures in ``test``."""
        self._run(trainer, pl_module)

    def _run(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with self._timed(), _undisturbed(pl_module):
            if trainer.world_size > 1:
                # Running statistics differ between processes after the last step; the first one's are those
                # that checkpoints and the next step use.
                for buffer in pl_module.buffers():
                    torch.distributed.broadcast(buffer, 0)
            self.readings = self.measure(_subject(self, trainer, pl_module))
        pl_module.log_dict(self.readings, sync_dist=trainer.world_size > 1)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds += time.monotonic() - began


def readings(name: str, estimate: Estimate) -> Readings:
    """The logged names of an estimate: the value, and its standard error where there is one.

    Example:
        >>> readings("data/d_mle", Estimate(value=7.5, stderr=0.2, n_used=500))
        {'data/d_mle': 7.5, 'data/d_mle_stderr': 0.2}
    """
    entries = {name: estimate.value}
    if estimate.stderr is not None:
        entries[f"{name}_stderr"] = estimate.stderr
    return entries


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The callbacks of a trainer."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Trainer sets it in a connector
    return callbacks


def probes_of(trainer: Trainer) -> list[Probe]:
    """The probes among the callbacks of a trainer."""
    return [each for each in callbacks_of(trainer) if isinstance(each, Probe)]


def check_names(callbacks: Iterable[Callback]) -> None:
    """Refuse probes of which one would write over what another has logged.

    Raises:
        InputError: Which two, and the name.
    """
    seen: dict[str, tuple[Probe, object]] = {}
    for probe in (each for each in callbacks if isinstance(each, Probe)):
        for name, deciding in probe.logs().items():
            first, before = seen.setdefault(name, (probe, deciding))
            if before != deciding:
                names = " and ".join(dict.fromkeys(type(each).__name__ for each in (first, probe)))
                raise InputError(
                    f"two callbacks ({names}) log {name} with different options, and one would write over the other: "
                    "give both the same options, or take one out"
                )


def check_neighbors(estimators: Collection[str], k: int, n: int, what: str, option: str) -> None:
    """Refuse fewer images than estimators of dimension need.

    Args:
        estimators: Their names.
        k: Neighbours per point of those that take so many.
        n: Number of images.
        what: What the images are called, and
        option: the option that decides how many there are.

    Raises:
        InputError: With the number that is needed.

    Example:
        >>> check_neighbors(["mle"], 20, 20, "training", "n_train")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        metrics.errors.InputError: 20 training images are too few: mle with k=20 needs at least 21; raise n_train ...
    """
    if estimators and n <= (needed := neighbors_needed(estimators, k)):
        neediest = next(name for name in estimators if neighbors_needed([name], k) == needed)
        raise InputError(
            f"{n} {what} images are too few: {neediest} with k={k} needs at least {needed + 1}; "
            f"raise {option} or lower k"
        )


@contextmanager
def _undisturbed(module: LightningModule) -> Iterator[None]:
    failure: BaseException | None = None
    with (
        eval_mode(module),
        isolate_rng(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(module.device.type, enabled=False),
    ):
        try:
            yield
        except BaseException as error:  # isolate_rng restores nothing when an exception passes through
            failure = error
    if failure is not None:
        raise failure


def _subject(probe: Probe, trainer: Trainer, pl_module: LightningModule) -> Subject:
    data = getattr(trainer, "datamodule", None)
    missing = [name for name in ("train_set", "val_set", "test_set", "reference_set") if not hasattr(data, name)]
    if missing:
        raise InputError(
            f"{type(probe).__name__} measures image sets, but the data module has no {', '.join(missing)}: "
            "use a data module of this suite (TableDataModule for your own images)"
        )
    return Subject(trainer, pl_module, cast(Data, data))
