"""The commands that train and evaluate, on top of Lightning's own command line."""

import _thread
import csv
import io
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from callbacks import SplitCheck
from callbacks.probe import probes_of
from datamodules import TableDataModule
from lightning_app.allocator import keep_memory
from lightning_app.checkpoints import RowThenCheckpoint, WholeCheckpoints
from lightning_app.costs import Costs
from lightning_app.grids import Block, check_grids
from lightning_app.help import help_page
from lightning_app.lease import Busy, Lease
from lightning_app.loggers import EpochLog, WandbLogger
from lightning_app.machine import machine
from lightning_app.parser import SuiteParser
from lightning_app.pulse import Pulse
from lightning_app.quiet import silence_libraries
from lightning_app.record import Record, make_record, read_record, write_record
from lightning_app.run import Config, Run, as_list, make_run, remove_partial, write_text
from lightning_app.seeding import SeededEpochs
from lightning_app.terminal import ProgressLine, show_record
from lightning_app.trainer import Reason, SuiteTrainer, suited
from metrics import InputError
from models import ImageClassifier, default_batch_size

_TRAINER_DEFAULTS = {
    "max_epochs": 100,  # the paper's
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def run_command(argv: Sequence[str]) -> None:
    """Run fit, validate, test or predict with the given command line.

    Raises:
        InputError: The user's mistake, wherever it was found.
    """
    if {"-h", "--help"} & set(argv[1:]):
        print(help_page(argv[0]))
        return
    start(["--help" if arg == "--help-all" else arg for arg in argv])


def start(args: list[str] | dict[str, Any], kind: "type[SuiteCLI] | None" = None) -> "SuiteCLI":
    """Do what a command line says, or a configuration by subcommand: ``{"subcommand": "fit", "fit": {…}}``.

    Raises:
        InputError: The user's mistake, wherever it was found.
    """
    silence_libraries()
    keep_memory()
    with mistakes_in_one_line():
        return (kind or SuiteCLI)(
            ImageClassifier,
            TableDataModule,
            trainer_class=SuiteTrainer,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults=_TRAINER_DEFAULTS,
            parser_class=SuiteParser,
            parser_kwargs={"prog": "lightning"},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Brings to light the user's mistake within whatever the parser and Lightning raise.

    Raises:
        InputError: The user's mistake, wherever it was found.
    """
    try:
        yield
    except Exception as error:
        # The parser wraps what a class raises when it is instantiated.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError | MisconfigurationException):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise InputError(str(cause)) from error


def resolved_run(command: str, config: Config) -> Run:
    """The run that a parsed configuration describes, with what depends on two parts of it filled in.

    Args:
        command: fit, validate, test or predict.
        config: Every option; what no number depends on is taken out.

    Raises:
        InputError: A name that is no plain folder name, an unknown backbone.
    """
    config = {key: value for key, value in config.items() if key not in ("config", "grids", "rerun")}
    trainer, options = config["trainer"], config["data"]["init_args"]
    config["trainer"] = trainer | {"precision": suited(trainer["precision"], str(trainer["accelerator"]))}
    if options["batch_size"] is None:
        data = config["data"] | {"init_args": options | {"batch_size": default_batch_size(config["model"]["backbone"])}}
        config = {key: data if key == "data" else value for key, value in config.items()}
    return make_run(config["runs"], config["name"], command, config)


class SuiteCLI(LightningCLI):
    """Lightning's command line, with a record for every run.

    Attributes:
        was_finished: Whether `fit` found the record of a run that another process had finished.
    """

    was_finished = False  # here, since Lightning's constructor does all the work

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds where records go, and the grids that `sweep` reads."""
        parser.add_argument("--name", type=str, default="default", help="Experiment that the run belongs to.")
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all records.")
        parser.add_argument("--rerun", type=bool, default=False, help="Delete the run's record and start it anew.")
        parser.add_argument("--grids", type=dict[str, list[Block]], default={}, help="Named grids, for `sweep`.")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("data.input_shape", "model.input_shape", apply_on="instantiate")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and what of Lightning's methods they decide themselves."""
        decided = {"verbose", "weights_only", "return_predictions"}
        return {command: skipped | decided for command, skipped in LightningCLI.subcommands().items()}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line."""
        self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)
        _check_checkpoint(self.config[self.config.subcommand].ckpt_path)

    def before_instantiate_classes(self) -> None:
        """Fills in what depends on two parts at once, and identifies the run."""
        options = self.config[self.subcommand]
        config = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))[self.subcommand]
        check_grids(options.grids, config)
        self._run = resolved_run(str(self.subcommand), config)
        options.data.init_args.batch_size = self._run.config["data"]["init_args"]["batch_size"]
        self._chosen = options.trainer.precision == "auto"
        options.trainer.precision = self._run.config["trainer"]["precision"]

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the record, the checkpoint and the progress line to what was configured."""
        configured = self.config_init[self.subcommand].trainer
        self._log = EpochLog(self._run)
        self._costs = Costs()
        callbacks: list[Callback] = [self._costs, *as_list(configured.callbacks)]
        loggers: list[Any] = [] if isinstance(configured.logger, bool) else as_list(configured.logger)
        if self.subcommand == "predict":
            loggers = []  # nothing is logged
        self._pulse = Pulse()
        callbacks += [SeededEpochs(), self._pulse]
        if not any(isinstance(callback, SplitCheck) for callback in callbacks):
            callbacks.append(SplitCheck())
        if configured.enable_progress_bar is not False:
            callbacks.append(ProgressLine())
            if self.subcommand == "fit" and self._chosen:
                callbacks.append(Reason())
        if configured.enable_checkpointing is not False:
            callbacks.append(
                RowThenCheckpoint(
                    self._log,
                    dirpath=self._run.checkpoint.parent,
                    filename=self._run.checkpoint.stem,
                    enable_version_counter=False,
                    save_on_train_epoch_end=True,
                )
            )
        return super().instantiate_trainer(
            callbacks=callbacks,
            logger=[self._log, *loggers],
            plugins=[WholeCheckpoints(), *as_list(configured.plugins)],
            default_root_dir=configured.default_root_dir or self.config[self.subcommand].runs,
            **kwargs,
        )

    def fit(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Trains, tests the final weights, and writes the record; continues where an earlier start broke off."""
        if self.config.fit.trainer.fast_dev_run:
            self.trainer.fit(**options)
            return
        if self._has_finished():
            return
        with _Recorded(self) as recorded:
            if self._has_finished():  # meanwhile, by another process
                return
            if self._run.checkpoint.is_file():
                ckpt_path = str(self._run.checkpoint)
                _check_checkpoint(ckpt_path)
                if self.trainer.is_global_zero:  # the other processes start when the first already trains
                    print(f"continuing from {ckpt_path}", file=sys.stderr)
            self.trainer.fit(ckpt_path=ckpt_path, weights_only=True, **options)
            recorded.raise_if_interrupted()
            if len(self.datamodule.test_set):
                self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
                recorded.raise_if_interrupted()
            recorded.finish()

    def validate(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Measures a checkpoint on the validation images and writes a record of that."""
        self._evaluate(self.trainer.validate, ckpt_path, options)

    def test(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Measures a checkpoint on the test images and writes a record of that."""
        self._evaluate(self.trainer.test, ckpt_path, options)

    def predict(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Writes the class probabilities of the test images to predictions.csv."""
        if self.trainer.world_size > 1:
            raise InputError("predict runs on one device: add --trainer.devices 1")
        options |= {"ckpt_path": self._trained(ckpt_path), "weights_only": True, "return_predictions": True}
        self._run.create_folder()
        batches = self.trainer.predict(**options)
        probabilities = torch.cat([torch.as_tensor(batch) for batch in batches or []])
        images = self.datamodule.test_set
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "label", *(f"p{i}" for i in range(probabilities.shape[1]))])
        for row, label, p in zip(images.rows.tolist(), images.labels.tolist(), probabilities.tolist(), strict=True):
            writer.writerow([row, label, *p])
        file = self._run.folder / "predictions.csv"
        write_text(file, text.getvalue())
        print(file)

    def _evaluate(self, method: Any, ckpt_path: str | None, options: dict[str, Any]) -> None:
        options |= {"ckpt_path": self._trained(ckpt_path), "weights_only": True, "verbose": False}
        with _Recorded(self) as recorded:
            method(**options)
            recorded.raise_if_interrupted()
            recorded.finish()

    def _trained(self, ckpt_path: str | None) -> str:
        """The given checkpoint, or the one that `fit` with the same options wrote."""
        if ckpt_path is None:
            options = self.config[self.subcommand]
            config = {key: value for key, value in self._run.config.items() if key in _FIT_KEYS} | {"ckpt_path": None}
            trained = make_run(options.runs, options.name, "fit", config).checkpoint
            if not trained.is_file():
                raise InputError(
                    f"no weights: `fit` with the same options has not left {trained}; "
                    "run it first, or give a checkpoint with --ckpt_path"
                )
            ckpt_path = str(trained)
        return ckpt_path

    def _has_finished(self) -> bool:
        """Whether the record is there, which then is shown."""
        earlier = None if self.config.fit.rerun else read_record(self._run)
        if earlier is not None and self.trainer.is_global_zero:
            show_record(earlier, [*self._pointers(), ("train again", "the same command with --rerun true")])
        self.was_finished = earlier is not None
        return self.was_finished

    def _pointers(self) -> list[tuple[str, str]]:
        """Where to look next, most useful first."""
        pointers = [("record", os.path.relpath(self._run.result))]
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                pointers += logger.pointers()
        return pointers


class TakenOver(InputError):  # noqa: N818  # the error is not this process's
    """Another process took this one for dead, and goes on with its run."""


class LostProcess(InputError):  # noqa: N818  # the error is not this process's
    """One of the processes that train together is gone."""


class _Recorded:
    """Around a run: its lease and folder before, its record after, its loggers closed in any case."""

    def __init__(self, cli: SuiteCLI) -> None:
        self.cli = cli
        self.run: Run = cli._run
        self.trainer = cli.trainer
        self.started = datetime.now(UTC)
        self.clock = time.monotonic()
        self.new = not self.run.folder.exists()
        self.lease: Lease | None = None

    def __enter__(self) -> "_Recorded":
        if self.trainer.is_global_zero:
            self.lease = self.cli._pulse.lease = self._take_lease()
            if self.cli.config[self.cli.subcommand].rerun:
                shutil.rmtree(self.run.folder, ignore_errors=True)
            self.run.create_folder()
            remove_partial(self.run.folder)
            self.run.note_start()
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger):
                    data = self.cli.datamodule
                    title = f"{self.cli.model.backbone.name} {data.name} N={len(data.train_set)}"
                    logger.attach(self.run, self.cli._log.rows, title, str(self.cli.subcommand))
                logger.log_hyperparams(self.run.config | self._slices())
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.close(exit_code=0 if kind is None else 1)
        if self.lease is not None:
            self.lease.release()
            ours = self.new and not self.lease.lost
            withdrawn = ours and isinstance(error, InputError) and not self.run.checkpoint.exists()
            with suppress(OSError):  # others work on other runs
                self.run.leases.rmdir()
            if withdrawn:
                self._withdraw()
        if isinstance(error, SystemExit) and self.trainer.interrupted:
            # Lightning turns Ctrl-C, and that of a lost lease, into an exit with code 1.
            raise self._taken_over() if self.lease is not None and self.lease.lost else KeyboardInterrupt from error
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            raise LostProcess(
                "another process of this run has ended: the same command continues after the last finished epoch"
            ) from error

    def _take_lease(self) -> Lease:
        try:
            return Lease.acquire(self.run.leases, self.run.run_id, on_loss=_thread.interrupt_main)
        except Busy as busy:
            raise InputError(str(busy)) from busy
        except OSError as error:
            raise self.run.unwritable(error) from error

    def _withdraw(self) -> None:
        """Leave nothing behind of a run that could not begin."""
        shutil.rmtree(self.run.folder, ignore_errors=True)
        for parent in self.run.folder.parents[:2]:
            with suppress(OSError):  # others' records are there
                parent.rmdir()

    def raise_if_interrupted(self) -> None:
        if self.lease is not None and not self.lease.check():
            raise self._taken_over()
        if self.trainer.interrupted:
            raise KeyboardInterrupt

    def _taken_over(self) -> "TakenOver":
        return TakenOver(f"another process has taken over {self.run.folder}: this one seemed to have ended")

    def finish(self) -> None:
        if not self.trainer.is_global_zero:
            return
        self.raise_if_interrupted()
        numbers: dict[str, float] = {}
        for row in self.cli._log.rows:
            numbers |= row
        numbers.pop("epoch", None)
        for probe in probes_of(self.trainer):
            numbers |= probe.readings  # in full precision; loggers see float32
        numbers |= self.cli._costs.account(self.trainer)
        record = make_record(self.run, self._facts(), numbers)
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_record(record)
        write_record(self.run, record)
        show_record(record, self.cli._pointers())

    def _slices(self) -> Record:
        """What dashboards group and filter runs by; ``data`` and ``name`` say other things in a configuration."""
        return {
            "grid": self.run.name,
            "data_set": self.cli.datamodule.name,
            "domain": self.cli.datamodule.domain,
            "backbone": self.cli.model.backbone.name,
            "n_train": len(self.cli.datamodule.train_set),
            "seed": self.run.config.get("seed_everything"),
        }

    def _facts(self) -> Record:
        data, model, trainer = self.cli.datamodule, self.cli.model, self.trainer
        starts = self.run.starts()
        return {
            "command": str(self.cli.subcommand),
            "backbone": model.backbone.name,
            "data": data.name,
            "domain": data.domain,
            "labelling": data.labelling,
            "classes": None if data.classes is None else [c if isinstance(c, int) else list(c) for c in data.classes],
            "pair": data.pair,
            "num_classes": data.num_classes,
            "n_train": len(data.train_set),
            "n_val": len(data.val_set),
            "n_test": len(data.test_set),
            "n_reference": len(data.reference_set),
            "channels": data.input_shape[0],
            "image_size": data.input_shape[1],
            "batch_size": data.batch_size,
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "parameters": sum(p.numel() for p in model.parameters()),
            "seed": self.run.config.get("seed_everything"),
            "split_seed": data.split_seed,
            "subset_seed": data.subset_seed,
            "precision": str(trainer.precision),
            "devices": trainer.world_size,
            "machine": machine(trainer.strategy.root_device),
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self.clock, 3),
            "first_epoch": self.cli._pulse.first_epoch,
            "threads": torch.get_num_threads(),
            "starts": len(starts),
            "codes": list(dict.fromkeys(start["code"] for start in starts)),
        }


_FIT_KEYS = ("seed_everything", "trainer", "model", "data")


def _check_checkpoint(path: str | None) -> None:
    """Refuse, before anything else, a file that is no checkpoint of this project."""
    if path is None:
        return
    if not Path(path).is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        known = "architecture" in content
    except Exception as error:  # whatever a damaged file makes torch raise
        raise InputError(
            f"{path} is no readable checkpoint: give a last.ckpt of this project; delete a damaged one to train anew"
        ) from error
    if not known:
        raise InputError(f"{path} does not say which network it holds: it is not a checkpoint of this project")
