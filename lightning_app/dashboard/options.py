"""The command line of `lightning dashboard`; imports nothing heavy, so that its help comes at once."""

import argparse
import re

from lightning_app.arguments import CommandParser

_ATTACK = re.compile(r"(fgsm|pgd)_(\d+(?:\.\d+)?)")


def parser() -> argparse.ArgumentParser:
    """The options of `lightning dashboard`."""
    words = CommandParser(
        prog="lightning dashboard",
        description="Save a workspace in a W&B project: test loss over N and d_data, training, properties of the data\n"
        "and of representations, robustness, cost. Each call saves one more; the newest colours all runs so far.",
        epilog="example: lightning dashboard --entity my-team --project intrinsic-scaling",
    )
    words.add_argument("--entity", metavar="E", required=True, help="W&B user or team: wandb.ai/ENTITY/PROJECT")
    words.add_argument("--project", metavar="P", required=True, help="W&B project that runs are logged to")
    words.add_argument(
        "--name",
        metavar="NAME",
        default="Intrinsic scaling",
        help="what the workspace is called (default: %(default)s)",
    )
    words.add_argument(
        "--attack", metavar="ATTACK_EPS", type=_attack, default="fgsm_2",
        help="the attack that is plotted against K_F: fgsm or pgd, and its radius of 255 (default: %(default)s)",
    )  # fmt: skip
    words.add_argument(
        "--spec",
        metavar="FILE",
        help="write the workspace's specification (JSON) instead: needs no account, sends nothing",
    )
    return words


def _attack(text: str) -> str:
    """The attack as it is called in logged names."""
    found = _ATTACK.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no attack and radius: choose as in fgsm_2 or pgd_0.5")
    return f"{found[1]}_{float(found[2]):g}"
