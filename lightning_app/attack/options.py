"""The command line of `lightning attack`; imports nothing heavy, so that its help comes at once."""

import argparse
from typing import Any, Literal

from lightning_app.arguments import CommandParser

PARTS = ("test", "val", "train")


def parser() -> argparse.ArgumentParser:
    """The options of `lightning attack`."""
    words = CommandParser(
        prog="lightning attack",
        description="Attack a saved network and say what becomes of its accuracy and loss, on the images of its own\n"
        "run or on others. What is not given is as in the run, so that\n"
        "    lightning attack --ckpt runs/demo/<run_id>\n"
        "gives the numbers that the run has logged at its end.",
        epilog="Options of a data set follow as --data.NAME VALUE: --data MNIST5k --data.image_size 64",
    )
    words.add_argument("--ckpt", metavar="PATH", required=True, help="a checkpoint, or the folder of a run")
    images = words.add_argument_group("which images")
    images.add_argument(
        "--data",
        metavar="DATA",
        help="other images than the run's: a folder of class folders, an image table, or a data set by name",
    )
    images.add_argument("--split", choices=PARTS, help="which part of them (default: test)")
    images.add_argument(
        "--n-images", metavar="N", type=_number_or_all, help="attack N of them, or all (a seeded choice)"
    )
    images.add_argument("--classes", metavar="NAME", nargs="+", help="classes of DATA, in the order of the network's")
    images.add_argument("--labelling", metavar="NAME", help="column of an image table that holds the labels")
    images.add_argument("--image-size", metavar="PIXELS", type=int, help="resample pictures or a table to squares")
    images.add_argument("--channels", choices=["1", "3"], help="1 grey, 3 colour (default: as they are)")
    how = words.add_argument_group("how they are attacked (default: as in the run)")
    how.add_argument("--attacks", metavar="NAME", type=_words, nargs="+", help="of fgsm, pgd, auto: fgsm,pgd")
    how.add_argument("--eps", metavar="E", type=_numbers, nargs="+", help="radii in grey levels of 255: 1,2,4,8")
    how.add_argument("--norm", metavar="NORM", help="linf or l2, of the ball that these are the radii of")
    how.add_argument("--steps", metavar="N", type=int, help="steps of PGD")
    how.add_argument("--restarts", metavar="N", type=int, help="random starts of PGD")
    how.add_argument("--radius", action="store_true", help="find the minimal radius that fools each image, too")
    out = words.add_argument_group("output")
    out.add_argument(
        "--out", metavar="FOLDER", help="write figures of accuracy over ε and of attacked images, and attack.json"
    )
    out.add_argument("--json", metavar="FILE", help="write every number")
    return words


def changes_of(given: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the named options that a command line sets, as a probe takes them."""
    said: dict[str, Any] = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    for name in {"attacks", "eps"} & said.keys():
        said[name] = [part for parts in said[name] for part in parts]
    if said.get("n_images") == "all":
        said["n_images"] = None
    return said


def _words(text: str) -> list[str]:
    words = [word for word in text.split(",") if word]
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return words


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number, and no list like 1,2,4") from None


def _number_or_all(text: str) -> int | Literal["all"]:
    try:
        return "all" if text == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor all") from None
