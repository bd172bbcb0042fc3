"""Where logged numbers go: one row per epoch in metrics.csv, and the same to Weights & Biases."""

import csv
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import wandb
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_app.mistakes import first_line
from lightning_app.run import METRICS, Run, write_text

Row = dict[str, float]
Mode = Literal["auto", "online", "offline", "disabled"]

_INIT_TIMEOUT = 20.0  # seconds that a start may wait for the server
_FINISH_TIMEOUT = 120.0  # seconds that an end may wait for it; what is left stays on disk for `wandb sync`

_HELPER = re.compile(r"_stderr$|(/|_)n_[a-z]+$|/depth$")
"""Errors, counts and depths of layers: read beside other numbers, and no panels of their own."""


class EpochLog(Logger):
    """Writes ``metrics.csv``: one row per epoch, every logged number a column.

    What is logged at different moments of an epoch ends in the same row, and an epoch that is
    run again after an interruption replaces its row. The file is rewritten atomically.

    Args:
        run: The run whose record this is.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._file = run.folder / METRICS
        self._rows: dict[int, Row] | None = None

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._run.name

    @property
    def version(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def save_dir(self) -> str:
        """Folder of all records."""
        return str(self._run.folder.parent.parent)

    @property
    def rows(self) -> list[Row]:
        """The rows so far, in order of epochs."""
        if self._rows is None:
            rows: dict[int, Row] = {}
            if self._file.is_file():
                with self._file.open(newline="", encoding="utf-8") as stream:
                    for cells in csv.DictReader(stream):
                        row = {name: float(cell) for name, cell in cells.items() if cell}
                        rows[int(row["epoch"])] = row
            self._rows = rows  # only now: what could not be read is not to be overwritten
        return [self._rows[epoch] for epoch in sorted(self._rows)]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds numbers to the row of their epoch."""
        if "epoch" not in metrics:
            return
        _ = self.rows
        assert self._rows is not None
        self._rows.setdefault(int(metrics["epoch"]), {}).update({k: float(v) for k, v in metrics.items()})

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is a file of its own."""

    @rank_zero_only
    def save(self) -> None:
        """Writes the file."""
        if not self._rows:
            return
        names = dict.fromkeys(["epoch", *sorted({name for row in self.rows for name in row})])
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: int(v) if k == "epoch" else v for k, v in row.items()} for row in self.rows)
        write_text(self._file, text.getvalue())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the file a last time."""
        self.save()


class WandbLogger(LightningWandbLogger):
    """Mirrors a run to Weights & Biases, with epochs as the x-axis of every panel.

    Runs are grouped by experiment, and by job type: the command. Standard errors, counts and the epoch itself are
    logged, but W&B makes no panels of them. The summary of a number is its last value, and no minimum or maximum of
    W&B's, which would stand beside the record at the end.

    The run's W&B id is its run id, so that starting it again continues it. The local record is the truth:
    a server that cannot be reached costs one line and never stops a run.

    Args:
        project: W&B project.
        mode: auto logs online when an account is configured (`wandb login`) and offline otherwise; the
            environment variable WANDB_MODE overrides it.
        entity: W&B user or team; default the account's own.
        group: Name under which W&B groups runs; default the experiment's name.
        tags: Tags of the run.
    """

    def __init__(
        self,
        project: str = "intrinsic-scaling",
        mode: Mode = "auto",
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__(project=project, entity=entity, group=group, tags=tags)
        self._wandb_init.pop("anonymous", None)  # Lightning passes it; W&B warns that it no longer means anything
        self._mode = mode
        self._run: Run | None = None
        self._earlier: list[Row] = []
        self._hidden: set[str] = set()

    def attach(self, run: Run, earlier: list[Row], title: str, command: str = "fit") -> None:
        """Say which run is logged.

        Args:
            run: The run.
            earlier: Rows of epochs before an interruption. Syncing a second offline segment overwrites the
                first at the server, so the second starts with a copy of them.
            title: Display name.
            command: The job type: fit, validate, test or predict.
        """
        self._run = run
        self._earlier = earlier
        # W&B's service may have been started in another folder: a relative path would lead there.
        folder = str(run.folder.resolve())
        self._wandb_init |= {"id": run.run_id, "name": title, "dir": folder, "job_type": command}
        self._wandb_init["group"] = self._wandb_init.get("group") or run.name
        self._id, self._name, self._save_dir = run.run_id, title, folder

    @property
    def experiment(self) -> Any:
        """The W&B run, started on first use, on the first process only."""
        if getattr(rank_zero_only, "rank", 0) != 0:
            return super().experiment  # Lightning's stand-in, which swallows everything
        if self._experiment is None:
            mode, why = self._choose_mode()
            for attempt in dict.fromkeys((mode, "offline", "disabled")):
                try:
                    self._experiment = self._start(attempt)
                    break
                except Exception as error:  # whatever W&B raises, it must not stop a run
                    then = "logging offline" if attempt == "online" else "logging to metrics.csv only"
                    why = f"W&B cannot be reached ({first_line(error)}): {then}"
            if why:
                print(why, file=sys.stderr)
        return self._experiment

    def pointers(self) -> list[tuple[str, str]]:
        """How to look at the run."""
        if self._run is None or self._experiment is None:
            return []
        if not getattr(self._experiment, "offline", False):
            url = getattr(self._experiment, "url", None)
            return [("dashboard", url)] if url else []
        folder = os.path.relpath(os.path.dirname(self._experiment.dir))
        return [("browse", f"wandb leet {folder}"), ("upload", f"wandb sync {folder}")]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds numbers to the row of their epoch; the row is sent once training of the epoch is complete."""
        complete = "train/loss" in metrics or "test/loss" in metrics
        self._attempt(lambda: self._send(self.experiment, metrics, commit=complete))

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Adds the configuration."""
        self._attempt(lambda: super(WandbLogger, self).log_hyperparams(params))

    @rank_zero_only
    def log_record(self, record: Mapping[str, Any]) -> None:
        """Makes the final record the run's summary, so that a project can be read back without the folders."""
        self._attempt(lambda: self.experiment.summary.update(dict(record)))

    @rank_zero_only
    def close(self, exit_code: int) -> None:
        """Finish the run, so that the next one in this process starts its own."""
        experiment: Any = self._experiment
        if experiment is not None:
            self._attempt(lambda: experiment.finish(exit_code=exit_code))

    def _attempt(self, send: Callable[[], object]) -> None:
        """Do something at W&B's; once that fails, go on without W&B."""
        try:
            send()
        except Exception as error:  # whatever W&B raises, it must not stop a run
            print(f"W&B has failed ({first_line(error)}): logging to metrics.csv only", file=sys.stderr)
            self._experiment = self._start("disabled")

    def _choose_mode(self) -> tuple[str, str]:
        """The mode to start in, and a line for the user where it is not the one asked for."""
        mode = os.environ.get("WANDB_MODE") or self._mode
        if mode not in ("auto", "online"):
            return mode, ""
        try:
            if wandb.login(prompt=False):
                return "online", ""
        except Exception as error:  # whatever W&B raises, it must not stop a run
            return "offline", f"W&B cannot be reached ({first_line(error)}): logging offline"
        if mode == "online":
            return "offline", "W&B has no account here (`wandb login` sets one up): logging offline"
        return "offline", ""

    def _start(self, mode: str) -> Any:
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=_INIT_TIMEOUT,
            finish_timeout=_FINISH_TIMEOUT,
        )
        resume = "allow" if mode == "online" else None
        experiment = wandb.init(
            **{**self._wandb_init, "mode": mode, "resume": resume, "reinit": "create_new"}, settings=settings
        )
        experiment.define_metric("epoch", hidden=True)
        experiment.define_metric("*", step_metric="epoch")
        self._hidden.clear()
        if mode == "offline":
            for row in self._earlier:
                self._send(experiment, row, commit=True)
        return experiment

    def _send(self, experiment: Any, row: Mapping[str, float], *, commit: bool) -> None:
        for name in row.keys() - self._hidden:
            if _HELPER.search(name):  # W&B's patterns know beginnings only, so each is named
                experiment.define_metric(name, step_metric="epoch", hidden=True)
                self._hidden.add(name)
        experiment.log(dict(row), commit=commit)
