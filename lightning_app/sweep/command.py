"""`lightning sweep`: runs a grid, says how far it is, or hands it to others to run."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from lightning_app.output import check_place, write_output
from lightning_app.quiet import silence_libraries
from lightning_app.stages import Stages
from lightning_app.sweep.cells import Cell, Problem
from lightning_app.sweep.checks import check_cells, make_tables, missing_tables
from lightning_app.sweep.estimates import Estimates
from lightning_app.sweep.grid import Source, read_grid, select
from lightning_app.sweep.ledger import Ledger
from lightning_app.sweep.listing import show_cells
from lightning_app.sweep.local import LocalEngine
from lightning_app.sweep.outcome import Share
from lightning_app.sweep.status import show_status
from lightning_app.sweep.sweeper import Engine, Sweep
from lightning_app.sweep.wandb_agents import sweep_file
from lightning_app.sweep.watch import Watch
from metrics import InputError

_LISTED = 3


def run_sweep(given: argparse.Namespace, argv: Sequence[str]) -> None:
    """Run `lightning sweep`.

    Args:
        given: What was read from the command line.
        argv: The command line that follows the word.

    Raises:
        InputError: The user's mistake.
        SystemExit: With code 1 where cells have failed.
    """
    silence_libraries()
    if given.export_wandb:
        check_place(given.export_wandb)
    name, cells, to_do = _cells(given)
    if not cells:  # more parts than cells: the others have them
        print(f"nothing to do: part {given.shard[0]} of {given.shard[1]} of grid {name!r} has no cell")
    elif given.status:
        show_status(cells, Estimates(cells, trial=False))
    elif given.export_wandb:
        _export(given, name, to_do, argv)
    elif given.dry_run:
        engine = _local(given, cells)
        show_cells(cells, Ledger(cells).look(), Estimates(cells, threads=engine.share.threads), engine.workers)
        for table in missing_tables(to_do):
            print(f"{os.path.relpath(table)} is made when the sweep starts")
    elif not _run(given, cells, to_do):
        sys.exit(1)


def _export(given: argparse.Namespace, name: str, to_do: Sequence[Cell], argv: Sequence[str]) -> None:
    """Write the cells that are not done as a W&B sweep, whose agents get one each."""
    if not to_do:
        raise InputError(f"nothing to export: all cells of grid {name!r} are done")
    text = sweep_file(name, _project(to_do), to_do, _without(argv, ("--export-wandb", "--shard")))
    write_output(given.export_wandb, text)
    print(f"{len(to_do)} cells: wandb sweep {given.export_wandb}")


def _cells(given: argparse.Namespace) -> tuple[str, list[Cell], list[Cell]]:
    """The name of the grid, the cells that are meant, and those of them that are not done, all of which can run."""
    with Stages() as stages:
        stages.begin("reading the grid")
        name, cells, problems = read_grid(Source(given.config, given.grid, given.set, given.runs))
        cells = select(cells, only=given.only, skip=given.skip)
        to_do = _to_do(cells)
        if not given.status:
            problems = [*problems, *check_cells(to_do, stages.begin("checking the cells"))]
    if problems:
        _refuse(problems)
    if not cells:
        raise InputError(f"no cell of grid {name!r} is left: loosen --only or --skip")
    part, parts = given.shard or (1, 1)
    cells = cells[part - 1 :: parts]
    mine = {cell.run.run_id for cell in cells}
    return name, cells, [cell for cell in to_do if cell.run.run_id in mine]


def _to_do(cells: Sequence[Cell]) -> list[Cell]:
    """Those that are not done; what they need may be gone for those that are."""
    entries = Ledger(cells).look()
    return [cell for cell in cells if entries[cell.run.run_id].state != "done"]


def _refuse(problems: Sequence[Problem]) -> None:
    """Name every problem, and stop."""
    for problem in problems:
        more = len(problem.titles) - _LISTED
        cells = "; ".join(problem.titles[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
        print(f"{' '.join(problem.message.split())}\n  in {cells}", file=sys.stderr)
    several = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
    raise InputError(f"no cell was started: the grid has {several}, named above")


def _run(given: argparse.Namespace, cells: Sequence[Cell], to_do: Sequence[Cell]) -> bool:
    """Run the cells; whether all of them are done."""
    with Stages() as stages:
        problems = make_tables(to_do, stages.begin("making tables"))
    if problems:
        _refuse(problems)
    engine = _engine(given, cells)
    with Watch(cells, Estimates(cells, trial=False)) as watch:
        summary = Sweep(cells, engine, watch).run()
    watch.summary(summary)
    return not summary.failed and not summary.stopped


def _engine(given: argparse.Namespace, cells: Sequence[Cell]) -> Engine:
    if given.engine == "local":
        return _local(given, cells)
    from lightning_app.sweep.nodes import RayEngine  # Ray is an extra

    share = Share(given.threads or 1, None, _bytes(given.memory), 60 * given.patience)
    return RayEngine(share, given.address, cpus=float(share.threads), gpus=_gpus(given, cells))


def _local(given: argparse.Namespace, cells: Sequence[Cell]) -> LocalEngine:
    return LocalEngine(
        workers=given.workers,
        threads=given.threads,
        memory=_bytes(given.memory),
        patience=60 * given.patience,
        gpus=_gpus(given, cells),
    )


def _gpus(given: argparse.Namespace, cells: Sequence[Cell]) -> float:
    """GPUs per cell; none for a grid that trains on processors."""
    on_cpu = all(cell.config["trainer"]["accelerator"] == "cpu" for cell in cells)
    return 0.0 if on_cpu else float(given.gpus)


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else int(gigabytes * 2**30)


def _project(cells: Sequence[Cell]) -> str:
    """The W&B project that the cells log to."""
    logger = cells[0].config["trainer"]["logger"]
    options: dict[str, Any] = (logger.get("init_args") if isinstance(logger, dict) else None) or {}
    return str(options.get("project", "intrinsic-scaling"))


def _without(argv: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without some of its options and their values."""
    kept, words = [], iter(argv)
    for word in words:
        if word in options:
            next(words, None)
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept
