"""The help page of the training commands: what people set, on one screen and a half."""

import inspect
import textwrap
from collections.abc import Iterator

import docstring_parser

import datamodules
from callbacks import (
    AdversarialRobustness,
    AttackPanels,
    DatasetProperties,
    MinimalRadius,
    RepresentationDimension,
    SplitCheck,
)
from lightning_app.loggers import WandbLogger
from models import ImageClassifier

_WIDTH = 100
_INDENT = 30

_MEASUREMENTS = (
    DatasetProperties,
    RepresentationDimension,
    AdversarialRobustness,
    MinimalRadius,
    AttackPanels,
    SplitCheck,
    WandbLogger,
)
_TRAINER = {
    "max_epochs N": "Epochs of training. (default: 100, the paper's)",
    "devices N": "Processes or GPUs to train on. (default: all GPUs, or one process)",
    "accelerator NAME": "cpu, gpu or auto. (default: auto)",
    "precision P": "32-true, bf16-mixed or 16-mixed. (default: auto, bf16-mixed where the hardware multiplies it)",
    "deterministic BOOL": "Refuse operations that are not reproducible. (default: false)",
    "callbacks+ CLASS": "Add a measurement to those of the file; --trainer.callbacks replaces them.",
    "logger BOOL": "false: no W&B. The local record is always written. (default: as in the file)",
}

_ABOUT = {
    "fit": "Trains a network, measures it as it trains, tests the final weights, and writes a record.",
    "validate": "Measures trained weights on the validation images and writes a record of that.",
    "test": "Measures trained weights on the test images and writes a record of that.",
    "predict": "Writes the class probabilities of the test images to predictions.csv.",
}

_EXAMPLES = """\
  lightning {command} --config experiments.yaml
  lightning {command} --config experiments.yaml --model.backbone vgg13 --data BrainSlices
  lightning {command} --config experiments.yaml --data.classes '[4, 9]' --data.n_train 250"""


def help_page(command: str) -> str:
    """The help page of fit, validate, test or predict."""
    checkpoint = (
        "Start from this checkpoint. (default: continue this run's own, if it was interrupted)"
        if command == "fit"
        else "Weights to measure. (default: those that fit left with the same options)"
    )
    lines = [
        f"usage: lightning {command} --config FILE [options]",
        "",
        _ABOUT[command],
        "",
        _EXAMPLES.format(command=command),
        "",
        "A file holds any of the options below; options after --config override it.",
        "",
        *_option("--config FILE", "Configuration; experiments.yaml is one to start from."),
        *_option("--print_config", "Print the resolved configuration and stop."),
        *_option("--name NAME", "Experiment that the run belongs to. (default: default)"),
        *_option("--runs DIR", "Folder of all records. (default: runs)"),
        *_option("--rerun BOOL", "Delete the run's record and start it anew. (default: false)"),
        *_option("--ckpt_path FILE", checkpoint),
        *_option("--seed_everything N", "Seed of initial weights, batch order and dropout. (default: 0)"),
        "",
        "network",
        *_options_of(ImageClassifier, "--model.", skip=("num_classes", "input_shape")),
        "",
        "data",
        *_option("--data CLASS", "The data set, one of:"),
        *(line for name in datamodules.DATA_MODULES for line in _class(getattr(datamodules, name))),
        *_options_of(datamodules.TableDataModule, "--data."),
        "",
        "training",
        *(line for name, what in _TRAINER.items() for line in _option(f"--trainer.{name}", what)),
        "",
        "measurements and loggers (trainer.callbacks and trainer.logger in the file)",
        *(line for kind in _MEASUREMENTS for line in _class(kind)),
        "",
        f"Every option, Lightning's own included: lightning {command} --help-all",
        f"Options of a data set: lightning {command} --data.help CheXpert",
        f"Options of a measurement: lightning {command} --trainer.callbacks.help AdversarialRobustness",
    ]
    return "\n".join(lines)


def _options_of(kind: type, prefix: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    meaning = {
        p.arg_name: " ".join((p.description or "").split()) for p in docstring_parser.parse(kind.__doc__ or "").params
    }
    for name, parameter in inspect.signature(kind).parameters.items():
        if name not in skip:
            default = "" if parameter.default in (None, inspect.Parameter.empty) else f" (default: {parameter.default})"
            yield from _option(f"{prefix}{name}", f"{meaning[name]}{default}")


def _class(kind: type) -> Iterator[str]:
    summary = docstring_parser.parse(kind.__doc__ or "").short_description or ""
    yield from _option(f"  {kind.__name__}", " ".join(summary.replace("``", "").split()))


def _option(name: str, what: str) -> list[str]:
    """One option: its name, and its meaning beside or below it."""
    wrapped = textwrap.wrap(what, _WIDTH - _INDENT) or [""]
    head = f"  {name}"
    if len(head) >= _INDENT:
        return [head, *(" " * _INDENT + line for line in wrapped)]
    return [head.ljust(_INDENT) + wrapped[0], *(" " * _INDENT + line for line in wrapped[1:])]
