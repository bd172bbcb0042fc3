"""The command line of `lightning sweep`; imports nothing heavy, so that its help comes at once."""

import argparse
from collections.abc import Callable

from lightning_app.arguments import CommandParser

_EXAMPLES = """\
  lightning sweep --config experiments.yaml --grid demo
  lightning sweep --config experiments.yaml --grid demo --dry-run
  lightning sweep --config experiments.yaml --grid paper --only data=MNIST --set trainer.max_epochs=5
  lightning sweep --config experiments.yaml --grid paper --status

The same command started again skips what is done, continues what was interrupted and runs what is missing; several at
a time, on one machine or many, share the work. Exit code 1: some cells have failed."""


def parser() -> argparse.ArgumentParser:
    """The options of `lightning sweep`."""
    words = CommandParser(
        "lightning sweep",
        description="Run a grid of trainings, killed at any moment, nothing done twice.",
        epilog=_EXAMPLES,
    )
    words.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        required=True,
        help="configuration as `fit` takes it, with the grid in it; may be repeated",
    )
    words.add_argument("--grid", metavar="NAME", help="which grid of the file (default: the only one)")
    words.add_argument(
        "--set",
        metavar="OPTION=VALUE",
        action="append",
        default=[],
        help="for every cell, whatever the grid says: trainer.max_epochs=5",
    )
    words.add_argument(
        "--only",
        metavar="OPTION=VALUE[,VALUE]",
        action="append",
        default=[],
        help="only these cells: backbone=resnet18",
    )
    words.add_argument(
        "--skip", metavar="OPTION=VALUE[,VALUE]", action="append", default=[], help="all but these cells"
    )
    words.add_argument("--shard", metavar="I/N", type=_shard, help="the I-th of N parts (1/N … N/N), for job arrays")
    words.add_argument("--runs", metavar="DIR", help="folder of all records (default: as in the file)")

    instead = words.add_argument_group("instead of running").add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="print every cell, its state and an estimate of its time"
    )
    instead.add_argument("--status", action="store_true", help="show how far the grid is, live in a terminal")
    instead.add_argument("--export-wandb", metavar="FILE", help="write a W&B sweep whose agents run the cells")

    how = words.add_argument_group("how it runs")
    how.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this machine, or a Ray cluster (default: local)"
    )
    how.add_argument(
        "--address", metavar="HOST:PORT", help="the Ray cluster (default: that of RAY_ADDRESS, or one on this machine)"
    )
    how.add_argument(
        "--workers",
        metavar="N",
        type=_at_least(int, 1),
        help="cells at a time (default: one per GPU, or one per processor as far as memory goes)",
    )
    how.add_argument(
        "--threads", metavar="N", type=_at_least(int, 1), help="threads per cell (default: an equal share)"
    )
    how.add_argument(
        "--gpus",
        metavar="N",
        type=_at_least(float, 0),
        default=1.0,
        help="GPUs per cell, where there are any: 0.5 lets two cells share one (default: 1)",
    )
    how.add_argument(
        "--memory",
        metavar="GB",
        type=_at_least(float, 0.1),
        help="most memory of a cell, that of the GPU aside (default: no limit)",
    )
    how.add_argument(
        "--patience",
        metavar="MINUTES",
        type=_at_least(float, 0),
        default=30.0,
        help="a cell without a finished batch for so long counts as hung (default: 30)",
    )
    return words


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not part.isdecimal() or not parts.isdecimal() or not 1 <= int(part) <= int(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: write I/N with 1 <= I <= N, e.g. 1/8")
    return int(part), int(parts)


def _at_least(kind: type[float] | type[int], least: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is too small: at least {least:g}")
        return value

    read.__name__ = kind.__name__  # argparse names it in its message
    return read
