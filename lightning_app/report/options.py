"""The command line of `lightning report`; imports nothing heavy, so that its help comes at once."""

import argparse

from lightning_app.arguments import CommandParser


def parser() -> argparse.ArgumentParser:
    """The options of `lightning report`."""
    words = CommandParser(
        prog="lightning report",
        description="Put all records side by side: one row per run that has finished, and per cell of a grid that has "
        "failed.",
        epilog="example: lightning report --table paper.csv --name paper",
    )
    words.add_argument(
        "--table", metavar="FILE", required=True,
        help="write the table: .csv or .parquet, by the file's ending; - writes CSV to the terminal",
    )  # fmt: skip
    place = words.add_mutually_exclusive_group()
    place.add_argument("--runs", metavar="DIR", help="folder of all records (default: runs)")
    place.add_argument("--wandb", metavar="ENTITY/PROJECT", help="read the records that runs have left at W&B instead")
    words.add_argument("--name", metavar="NAME", nargs="+", default=[], help="take these experiments only")
    return words
