"""Entry point: answers at once, imports the heavy parts only for the command that needs them."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

_GOES_ON = ": the same command goes on where it was"


class _Command(NamedTuple):
    """A command of our own: what runs it, its parser where that is light, and what to say after Ctrl-C."""

    what: str
    run: str
    parser: str | None = None
    stopped: str = ""


_LIGHTNINGS = {
    "fit": "train a network, measure it as it trains, test it, and write its record",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images",
    "predict": "class probabilities of the test images",
}

_OURS = {
    "prepare": _Command(
        "the raw download of a data set becomes an image table",
        "lightning_app.prepare:run_prepare",
        stopped=_GOES_ON,
    ),
    "measure": _Command(
        "intrinsic dimension, label sharpness and leaks of any labelled images, without training",
        "lightning_app.measure:run_measure",
        "lightning_app.measure_options",
    ),
    "attack": _Command(
        "how robust a saved network is, on the images of its run or on others",
        "lightning_app.attack.command:run_attack",
        "lightning_app.attack.options",
    ),
    "sweep": _Command(
        "run a grid: on this machine, on a cluster, continued after every interruption",
        "lightning_app.sweep.start:start_sweep",
        "lightning_app.sweep.options",
        _GOES_ON,
    ),
    "report": _Command(
        "what all records say together: a page with figures, tables and scaling laws, or one table",
        "lightning_app.report.command:run_report",
        "lightning_app.report.options",
    ),
    "forecast": _Command(
        "the loss at a number of images, or the number that a loss takes, with intervals",
        "lightning_app.forecast.command:run_forecast",
        "lightning_app.forecast.options",
    ),
    "dashboard": _Command(
        "a workspace at Weights & Biases with a panel for every question",
        "lightning_app.dashboard.command:run_dashboard",
        "lightning_app.dashboard.options",
    ),
}

_COMMANDS = _LIGHTNINGS | {name: ours.what for name, ours in _OURS.items()}

_HELP = """\
usage: lightning COMMAND [options]

Measures how intrinsic properties of an image data set decide generalisation and robustness:
trains timm networks on natural and radiology images and logs intrinsic dimension (d_data,
d_repr), label sharpness (K_F) and robustness to FGSM and PGD as they train.

commands:
{commands}

Start here:
  lightning fit --config experiments.yaml
  lightning fit --config experiments.yaml --model.backbone vgg13 --data BrainSlices
  lightning sweep --config experiments.yaml --grid demo && lightning report runs/demo
  lightning measure FOLDER --html page.html     your own images, without training
  lightning attack --ckpt runs/demo/<run_id>    what a saved network stands, from ε = 1/255 up
  lightning prepare --help                      the data sets of the paper, and more
  lightning fit --help          what can be set

Records go to runs/<name>/<run_id>/. Started again with the same options, a run that was
interrupted continues, and one that has finished shows its result.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        args: Command line without the program's name; default that of the process.

    Raises:
        SystemExit: With code 2 after a user's mistake, 130 after Ctrl-C.
    """
    argv = list(sys.argv[1:] if args is None else args)
    _refuse_shadowed_packages()
    command = argv[0] if argv else ""
    if command in ("", "-h", "--help", "help"):
        width = max(map(len, _COMMANDS))
        listed = "\n".join(f"  {name:<{width}}  {what}" for name, what in _COMMANDS.items())
        print(_HELP.format(commands=listed), file=sys.stdout if command else sys.stderr)
        if not command:
            sys.exit(2)
        return
    if command == "--version":
        from importlib.metadata import version

        print(f"intrinsic-scaling {version('intrinsic-scaling')}")
        return
    if command not in _COMMANDS:
        near = difflib.get_close_matches(command, _COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(_COMMANDS)}"
        _fail(f"unknown command {command!r}: {hint}")
    ours = _OURS.get(command)
    if ours and ours.parser and {"-h", "--help"} & set(argv):
        import_module(ours.parser).parser().print_help()
        return
    # Tips and banners of the libraries say nothing about the user's run.
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        _run(argv)
    except ValueError as error:
        from metrics import InputError  # with it comes torch, which not every command needs

        if not isinstance(error, InputError):
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        hint = ours.stopped if ours else ": the same command continues after the last finished epoch"
        _say(f"stopped{hint}")
        sys.exit(130)


def _run(argv: list[str]) -> None:
    if ours := _OURS.get(argv[0]):
        module, _, function = ours.run.partition(":")
        getattr(import_module(module), function)(argv[1:])
    else:
        from lightning_app.cli import run_command

        run_command(argv)


def _refuse_shadowed_packages() -> None:
    """Stop where another package of the same name would be imported instead of ours."""
    home = Path(__file__).resolve().parent.parent
    for name in ("models", "datamodules", "callbacks", "metrics"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != home / name:
            where = found or (next(iter(spec.submodule_search_locations or ["?"])) if spec else "nowhere")
            _fail(
                f"package {name!r} is found at {where}, not at {home / name}: "
                "start from another folder, or remove that package from the environment"
            )


def _fail(message: str) -> NoReturn:
    _say(f"lightning: error: {' '.join(message.split())}")
    sys.exit(2)


def _say(line: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes on a machine, one speaks
        print(line, file=sys.stderr)
