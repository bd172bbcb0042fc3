"""`lightning report`: what all records say together."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lightning_app.mistakes import mistake
from lightning_app.output import check_place, write_output
from lightning_app.record import Record
from lightning_app.record_table import RecordTable, tabulate
from lightning_app.report.options import parser
from lightning_app.stages import Stages

_STDOUT = "-"
_RUNS, _OUT = "runs", "report"


def run_report(argv: Sequence[str]) -> None:
    """Run `lightning report` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
    """
    given = parser().parse_args(argv)
    given.runs = given.runs or _RUNS
    given.out = given.out or (_OUT if given.table is None else None)
    _check(given)
    with Stages() as stages:
        stages.begin("reading records")
        records = _records(given)
        if given.table is not None:
            _write_table(given.table, tabulate(records))
    if given.out is not None:
        _report(given, records)


def _check(given: argparse.Namespace) -> None:
    """Refuse what cannot be written before anything is read."""
    if given.table not in (None, _STDOUT):
        if _ending(given.table) not in (".csv", ".parquet"):
            raise mistake(f"--table {given.table}: its ending says how it is written: .csv or .parquet")
        if _ending(given.table) == ".parquet" and find_spec("pyarrow") is None:
            raise mistake(
                f"--table {given.table} needs pyarrow: pip install 'intrinsic-scaling[parquet]', or choose .csv"
            )
        check_place(given.table)
    if given.out is not None:
        from lightning_app.report.folder import check_folder

        check_folder(given.out)
    elif given.to_wandb:
        raise mistake("--to-wandb sends the page, and --table alone makes none: give --out DIR as well")
    if given.to_wandb is not None and not re.fullmatch("([^/]+/)?[^/]+", given.to_wandb):
        raise mistake(f"--to-wandb {given.to_wandb!r}: give project or entity/project")
    if not given.interpolated > 0:
        raise mistake(f"--interpolated {given.interpolated:g} is out of range: give a loss above 0, for instance 0.1")


def _records(given: argparse.Namespace) -> list[Record]:
    if given.wandb:
        from lightning_app.wandb_records import read_wandb

        return read_wandb(given.wandb, given.name)
    from lightning_app.analysis.frames import read

    return read(given.runs, given.name)


def _write_table(file: str, table: RecordTable) -> None:
    if file == _STDOUT:
        sys.stdout.write(table.to_csv())
        return
    write_output(file, table.to_parquet() if _ending(file) == ".parquet" else table.to_csv())
    failed = table.columns["status"].count("failed")
    among = f" ({failed} failed)" if failed else ""
    print(f"{len(table)} record{'s' * (len(table) != 1)}{among}, {len(table.columns)} columns: {file}")


def _report(given: argparse.Namespace, records: Sequence[Record]) -> None:
    from lightning_app.report.assembly import make_report
    from lightning_app.report.folder import PAGE, write_folder

    place = None if given.wandb else Path(given.runs)
    with Stages() as stages:
        report = make_report(records, place, attack=given.attack, interpolated=given.interpolated, begin=stages.begin)
        stages.begin("writing")
        write_folder(given.out, report.files)
    lines = [*report.lines, f"page   {os.path.join(given.out, PAGE)}"]
    if given.to_wandb:
        from lightning_app.report.wandb_run import log_report

        lines += log_report(given.to_wandb, report, given.out)
    for line in lines:
        print(line, file=sys.stderr if given.table == _STDOUT else sys.stdout)


def _ending(file: str) -> str:
    return Path(file).suffix.lower()
