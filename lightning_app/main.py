"""Entry point: answers at once, imports the heavy parts only for the command that needs them."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

_COMMANDS = {
    "fit": "train a network, measure it as it trains, test it, and write its record",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure a checkpoint on the test images",
    "predict": "class probabilities of the test images",
    "prepare": "the raw download of a data set becomes an image table",
    "measure": "intrinsic dimension, label sharpness and leaks of any labelled images, without training",
    "sweep": "run a grid: on this machine, on a cluster, continued after every interruption",
    "report": "what all records say together: a page with figures, tables and scaling laws, or one table",
    "forecast": "the loss at a number of images, or the number that a loss takes, with intervals",
    "dashboard": "a workspace at Weights & Biases with a panel for every question",
}

_OWN_PARSER = {
    "measure": "lightning_app.measure_options",
    "sweep": "lightning_app.sweep.options",
    "report": "lightning_app.report.options",
    "forecast": "lightning_app.forecast.options",
    "dashboard": "lightning_app.dashboard.options",
}

_GOES_ON = ": the same command goes on where it was"
_CONTINUES = {"measure": "", "report": "", "forecast": "", "dashboard": "", "prepare": _GOES_ON, "sweep": _GOES_ON}

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
    if command in _OWN_PARSER and {"-h", "--help"} & set(argv):
        import_module(_OWN_PARSER[command]).parser().print_help()
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
        hint = _CONTINUES.get(command, ": the same command continues after the last finished epoch")
        print(f"stopped{hint}", file=sys.stderr)
        sys.exit(130)


def _run(argv: list[str]) -> None:
    if argv[0] == "prepare":
        from lightning_app.prepare import run_prepare

        run_prepare(argv[1:])
    elif argv[0] == "measure":
        from lightning_app.measure import run_measure

        run_measure(argv[1:])
    elif argv[0] == "sweep":
        from lightning_app.sweep.start import start_sweep

        start_sweep(argv[1:])
    elif argv[0] == "report":
        from lightning_app.report.command import run_report

        run_report(argv[1:])
    elif argv[0] == "forecast":
        from lightning_app.forecast.command import run_forecast

        run_forecast(argv[1:])
    elif argv[0] == "dashboard":
        from lightning_app.dashboard.command import run_dashboard

        run_dashboard(argv[1:])
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


def _fail(message: str) -> None:
    print(f"lightning: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
