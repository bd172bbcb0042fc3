"""The command line of `lightning report`; imports nothing heavy, so that its help comes at once."""

import argparse

from lightning_app.arguments import CommandParser

ATTACK = "fgsm_2"
INTERPOLATED = 0.1


def parser() -> argparse.ArgumentParser:
    """The options of `lightning report`."""
    words = CommandParser(
        prog="lightning report",
        description="What all records say together: a page with figures, tables and scaling laws, or one table of them "
        "all.",
        epilog="examples:\n"
        "  lightning report                                        runs/ becomes report/index.html\n"
        "  lightning report runs/paper --out paper                 one experiment\n"
        "  lightning report paper.csv --attack pgd_8               a table that --table has written\n"
        "  lightning report runs --table all.csv                   only the table",
    )
    place = words.add_mutually_exclusive_group()
    place.add_argument(
        "runs", metavar="RUNS", nargs="?",
        help="folder of all records, folder of one experiment, or a table of records, .csv or .parquet (default: runs)",
    )  # fmt: skip
    place.add_argument("--wandb", metavar="ENTITY/PROJECT", help="read the records that runs have left at W&B instead")
    words.add_argument("--name", metavar="NAME", nargs="+", default=[], help="take these experiments only")
    words.add_argument(
        "--out", metavar="DIR",
        help="folder for the page, its figures, tables and the fitted law; an earlier report there is replaced "
        "(default: report, unless --table is given)",
    )  # fmt: skip
    words.add_argument(
        "--table", metavar="FILE",
        help="write the records as one table, .csv or .parquet by the file's ending; - writes CSV to the terminal",
    )  # fmt: skip
    words.add_argument(
        "--attack",
        metavar="ATTACK_EPS",
        default=ATTACK,
        help="attack whose loss increase is looked at (default: fgsm_2)",
    )
    words.add_argument(
        "--interpolated", metavar="LOSS", type=float, default=INTERPOLATED,
        help="training loss up to which a network counts as fitting its training images (default: 0.1)",
    )  # fmt: skip
    words.add_argument(
        "--to-wandb", metavar="PROJECT", help="send the page to W&B too, as a run of this project, or ENTITY/PROJECT"
    )
    return words
