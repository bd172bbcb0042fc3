"""What a person sees in the terminal: one moving line, and one table at the end."""

import sys
import time
from collections.abc import Collection, Iterable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from callbacks.probe import probes_of
from lightning_app.record import Record

_SHOWN = ("train/loss", "val/acc", "data/K_F", "data/d_mle", "repr/d_mle", "robust/fgsm_2/acc", "robust/pgd_2/acc")


class ProgressLine(ProgressBar):
    """One line that says which epoch runs, what it is doing and how long is left.

    Where the output is no terminal it prints one line per epoch instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._progress: Progress | None = None
        self._task: Any = None
        self._epoch_began = 0.0

    def enable(self) -> None:
        """Show the line."""
        self._enabled = True

    def disable(self) -> None:
        """Hide the line: processes other than the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the line."""
        if self._enabled and sys.stderr.isatty():
            steps = trainer.num_training_batches
            total = (trainer.max_epochs or 0) * steps if trainer.max_epochs != -1 else None
            self._open(total, completed=trainer.current_epoch * int(steps))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Names the epoch."""
        self._epoch_began = time.monotonic()
        self._say(trainer, "training")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the line."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._progress is not None:
            self._progress.advance(self._task)
        if trainer.is_last_batch:
            self._say(trainer, "measuring")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the epoch's line where there is no terminal."""
        if self._enabled and not sys.stderr.isatty():
            took = time.monotonic() - self._epoch_began
            numbers = _numbers(trainer, without=_resting(trainer))
            print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {numbers}  {took:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that testing has begun."""
        if self._enabled and sys.stderr.isatty():
            self._open(None)
            self._say(trainer, "testing")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that validation has begun, where it is not a part of training."""
        if self._enabled and sys.stderr.isatty() and trainer.state.fn == TrainerFn.VALIDATING:
            self._open(None)
            self._say(trainer, "validating")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the line away."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Takes the line away, so that the message stands alone."""
        self._close()

    def _open(self, total: float | None, completed: int = 0) -> None:
        self._close()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn() if total else TextColumn(""),
            TimeRemainingColumn() if total else TextColumn(""),
            TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=total, completed=completed, numbers="")
        self._progress.start()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _say(self, trainer: Trainer, doing: str) -> None:
        if self._progress is not None:
            fitting = trainer.state.fn == TrainerFn.FITTING
            where = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} " if fitting else ""
            self._progress.update(self._task, description=f"{where}{doing}", numbers=_numbers(trainer))


def show_record(record: Record, pointers: Iterable[tuple[str, str]]) -> None:
    """Print the final table and where to look next.

    Args:
        record: A finished run's record.
        pointers: Pairs of what, and the command or path.
    """
    console = Console(highlight=False)
    title = f"{record['backbone']} on {record['data']} · N = {record['n_train']} · {record['epochs']} epochs"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("± s.e.", justify="right", style="dim")
    table.add_column("", style="dim")
    for heading, rows in _sections(record):
        if rows:
            table.add_row(f"[bold]{heading}[/bold]")
        for name, meaning in rows:
            stderr = record.get(f"{name}_stderr")
            shown = name.removeprefix("seconds/")
            table.add_row(f"  {shown}", _number(record[name]), "" if stderr is None else _number(stderr), meaning)
    console.print()
    console.print(table)
    console.print()
    for what, where in pointers:
        console.print(f"{what:<12} {where}", soft_wrap=True)


def _sections(record: Record) -> list[tuple[str, list[tuple[str, str]]]]:
    def chosen(*rows: tuple[str, str]) -> list[tuple[str, str]]:
        return [(name, meaning) for name, meaning in rows if name in record]

    attacks = [n for n in record if n.startswith("robust/") and n.endswith(("/acc", "/loss_increase"))]
    depth = [n for n in record if n.startswith("repr/") and n.count("/") == 2 and n.endswith(("/d_mle", "/d_twonn"))]
    return [
        (
            "properties",
            [
                *chosen(
                    ("data/d_mle", "training images, MLE"),
                    ("data/d_twonn", "training images, TwoNN"),
                    ("data/K_F", "training images"),
                    ("data_ref/d_mle", "reference sample, MLE"),
                    ("data_ref/K_F", "reference sample"),
                    ("repr/d_mle", "penultimate layer, MLE"),
                    ("repr/d_twonn", "penultimate layer, TwoNN"),
                ),
                *((name, "") for name in depth),
            ],
        ),
        (
            "loss and accuracy",
            chosen(
                ("train/loss", "mean over last epoch"),
                ("train/acc", ""),
                ("val/loss", ""),
                ("val/acc", ""),
                ("test/loss", ""),
                ("test/acc", ""),
            ),
        ),
        ("robustness", [(name, "unattacked" if "/clean/" in name else "") for name in sorted(attacks, key=_by_attack)]),
        ("cost", _costs(record)),
    ]


def _costs(record: Record) -> list[tuple[str, str]]:
    """Where the time went, and the peak of memory; what is less than a hundredth is left out."""
    seconds = {name: record[name] for name in record if name.startswith("seconds/")}
    whole = sum(seconds.values())
    shares = [(name, f"s, {spent / whole:.0%} of the time") for name, spent in seconds.items() if spent >= whole / 100]
    return shares + [(name, "MB at the peak") for name in ("memory/cpu", "memory/gpu") if name in record]


def _by_attack(name: str) -> tuple[bool, str, float, str]:
    attack, _, eps = name.split("/")[1].partition("_")
    return attack != "clean", attack, float(eps or 0), name


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _numbers(trainer: Trainer, without: Collection[str] = ()) -> str:
    metrics = trainer.callback_metrics
    shown = [name for name in _SHOWN if name in metrics and name not in without]
    return "  ".join(f"{name} {float(metrics[name]):.3g}" for name in shown)


def _resting(trainer: Trainer) -> set[str]:
    """What was not measured in this epoch; what is known of it is of an earlier one."""
    resting = (each for each in probes_of(trainer) if not each.is_due(trainer.current_epoch + 1, trainer.max_epochs))
    return {name for probe in resting for name in probe.readings}
