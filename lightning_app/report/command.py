"""`lightning report`: what all records say together."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lightning_app.mistakes import mistake
from lightning_app.output import check_place, write_output
from lightning_app.record_table import tabulate
from lightning_app.records import read_records
from lightning_app.report.options import parser
from lightning_app.wandb_records import read_wandb

_STDOUT = "-"


def run_report(argv: Sequence[str]) -> None:
    """Run `lightning report` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
    """
    given = parser().parse_args(argv)
    _check(given.table)
    records = (
        read_wandb(given.wandb, given.name) if given.wandb else read_records(Path(given.runs or "runs"), given.name)
    )
    table = tabulate(records)
    if given.table == _STDOUT:
        sys.stdout.write(table.to_csv())
        return
    write_output(given.table, table.to_parquet() if _ending(given.table) == ".parquet" else table.to_csv())
    failed = table.columns["status"].count("failed")
    among = f" ({failed} failed)" if failed else ""
    print(f"{len(table)} record{'s' * (len(table) != 1)}{among}, {len(table.columns)} columns: {given.table}")


def _check(file: str) -> None:
    """Refuse a file that cannot be written before anything is read."""
    if file == _STDOUT:
        return
    if _ending(file) not in (".csv", ".parquet"):
        raise mistake(f"--table {file}: its ending says how it is written: .csv or .parquet")
    if _ending(file) == ".parquet" and find_spec("pyarrow") is None:
        raise mistake(f"--table {file} needs pyarrow: pip install 'intrinsic-scaling[parquet]', or choose .csv")
    check_place(file)


def _ending(file: str) -> str:
    return Path(file).suffix.lower()
