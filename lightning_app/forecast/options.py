"""The command line of `lightning forecast`; imports nothing heavy, so that its help comes at once."""

import argparse

from lightning_app.arguments import CommandParser


def parser() -> argparse.ArgumentParser:
    """The options of `lightning forecast`."""
    words = CommandParser(
        prog="lightning forecast",
        description="Forecast the test loss of a new data set at a number of training images, or the number of images\n"
        "that a loss takes, each with a prediction interval: from what `lightning measure` has found in its\n"
        "images, and the scaling law that `lightning report` has fitted.",
        epilog="example: lightning measure FOLDER --json mine.json\n"
        "         lightning forecast --measured mine.json --n 500 1500 --domain medical\n"
        "Questions that cannot be answered are named at the end, with exit code 2; others are answered.",
    )
    asked = words.add_argument_group("what is asked (at least one)")
    asked.add_argument(
        "--n", metavar="N", type=float, nargs="+", default=[], help="the test loss at N training images, a whole number"
    )
    asked.add_argument(
        "--loss", metavar="L", type=float, nargs="+", default=[], help="the number of training images that reaches L"
    )
    images = words.add_argument_group("the images")
    images.add_argument("--measured", metavar="FILE", help="what `lightning measure --json FILE` has written of them")
    images.add_argument("--d-data", metavar="D", type=float, help="their intrinsic dimension, instead of a file")
    images.add_argument("--k-f", metavar="K", type=float, help="their label sharpness, instead of a file")
    images.add_argument("--domain", metavar="NAME", help="their domain, one of those in the fit")
    images.add_argument(
        "--runs", metavar="PATH", help="own runs on them, to update the forecast: a folder of records, or a table"
    )
    how = words.add_argument_group("how")
    how.add_argument(
        "--report", metavar="DIR", default="report", help="folder of `lightning report --out DIR` (default: report)"
    )
    how.add_argument("--backbone", metavar="NAME", help="network, one of those in the fit (default: any of them)")
    how.add_argument(
        "--confidence", metavar="C", type=float, default=0.95, help="of the intervals, 0 to 1 (default: 0.95)"
    )
    how.add_argument("--extrapolate", action="store_true", help="answer far outside what was fitted too")
    out = words.add_argument_group("output")
    out.add_argument("--figure", metavar="FILE", help="write a figure of loss over N: .svg or .pdf, by its ending")
    out.add_argument("--json", metavar="FILE", help="write every number")
    return words
