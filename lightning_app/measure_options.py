"""The command line of `lightning measure`; imports nothing heavy, so that its help comes at once."""

import argparse
from dataclasses import dataclass, fields

from lightning_app.arguments import CommandParser


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        estimators: Estimators of intrinsic dimension.
        k: Neighbours per point.
        samples: M, images per sample for label sharpness.
        trials: Samples that it is averaged over.
        max_images: Use a class-balanced, seeded choice of at most so many images; None takes all.
        pairs: How many of the sharpest pairs are listed.
        near: Difference of near duplicates, as a fraction of an image's contrast.
        seed: Seed of every choice.
    """

    estimators: tuple[str, ...] = ("mle", "twonn")
    k: int = 20
    samples: int = 1000
    trials: int = 10
    max_images: int | None = None
    pairs: int = 12
    near: float = 0.1
    seed: int = 0


def options_of(given: argparse.Namespace) -> Options:
    """What of a command line says how to measure."""
    values = {field.name: getattr(given, field.name) for field in fields(Options)}
    return Options(**values | {"estimators": tuple(given.estimators)})


def parser() -> argparse.ArgumentParser:
    """The options of `lightning measure`."""
    words = CommandParser(
        prog="lightning measure",
        description="Measure intrinsic dimension (d_data), label sharpness (K_F) and leaks between splits of any "
        "labelled images, without training.",
        epilog="Options of a data set follow as --data.NAME VALUE: lightning measure Manifold --data.dimension 12",
    )
    words.add_argument(
        "data",
        metavar="DATA",
        help="a folder of class folders (with or without train/val/test above them), a folder with --labels, an image "
        "table, an .npz file, or a data set by name or class path (MNIST5k)",
    )
    how = words.add_argument_group("how DATA is read")
    how.add_argument("--labels", metavar="CSV", help="file that lists the pictures of the folder and their labels")
    how.add_argument("--path-column", metavar="NAME", help="its column of paths (default: path)")
    how.add_argument("--label-column", metavar="NAME", help="its column of labels (default: label)")
    how.add_argument("--group-column", metavar="NAME", help="its column of patients, volumes or lesions")
    how.add_argument("--split-column", metavar="NAME", help="its column of train, val and test")
    how.add_argument(
        "--labelling",
        metavar="NAME",
        help="column of an image table that holds the labels (default: label, or else the first)",
    )
    how.add_argument("--images-key", metavar="NAME", help="name of the images in an .npz file")
    how.add_argument("--labels-key", metavar="NAME", help="name of the labels in an .npz file")
    how.add_argument("--classes", metavar="NAME", nargs="+", help="take these classes only, in this order")
    how.add_argument(
        "--image-size", metavar="PIXELS", type=int, help="resample pictures to squares (default: only if sizes differ)"
    )
    how.add_argument("--channels", choices=["keep", "1", "3"], help="1 grey, 3 colour (default: keep)")
    how.add_argument(
        "--window", metavar=("LOW", "HIGH"), type=float, nargs=2,
        help="values of 16-bit pictures that become black and white (default: 0 65535)",
    )  # fmt: skip
    how.add_argument("--skip-unreadable", action="store_true", default=None, help="leave unreadable files out")
    what = words.add_argument_group("what is measured")
    default = Options()
    what.add_argument(
        "--estimators", metavar="NAME", nargs="+", default=list(default.estimators),
        help="estimators of intrinsic dimension (default: mle twonn; also geomle and those of scikit-dimension)",
    )  # fmt: skip
    for name, meta, meaning in (
        ("k", "K", "neighbours per point"),
        ("samples", "M", "images per sample for label sharpness"),
        ("trials", "T", "samples that it is averaged over"),
        ("pairs", "P", "how many of the sharpest pairs are listed"),
        ("seed", "S", "seed of every choice"),
    ):
        preset = getattr(default, name)
        what.add_argument(f"--{name}", metavar=meta, type=int, default=preset, help=f"{meaning} (default: {preset})")
    what.add_argument("--max-images", metavar="N", type=int, help="measure a class-balanced choice of N images")
    what.add_argument(
        "--near", metavar="F", type=float, default=default.near,
        help=f"near duplicates differ by at most F of their contrast (default: {default.near})",
    )  # fmt: skip
    out = words.add_argument_group("output")
    out.add_argument("--json", metavar="FILE", help="write every number")
    out.add_argument("--html", metavar="FILE", help="write a page with figures")
    out.add_argument("--strict", action="store_true", help="a leak between splits is an error (exit code 2)")
    return words
