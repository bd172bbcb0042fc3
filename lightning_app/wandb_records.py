"""All records of a W&B project."""

import sys
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from lightning_app.mistakes import first_line, mistake
from lightning_app.record import Record
from lightning_app.records import in_order

_PAGE = 200  # runs that W&B's server hands out at a time


def read_wandb(project: str, names: Collection[str] = ()) -> list[Record]:
    """Every record in a W&B project: the same as in the folders that its runs were logged from.

    Runs without a record, because they have not finished or are not of this suite, are counted on stderr and left out.

    Args:
        project: ``entity/project``.
        names: Experiments to read; all of them by default.

    Returns:
        The records, as ``in_order`` puts them.

    Raises:
        InputError: No account, no such project, no connection, or no record.
    """
    entity, _, rest = project.partition("/")
    if not entity or not rest or "/" in rest:
        raise mistake(f"--wandb {project!r}: give entity/project, as in the address of the project's page")
    runs = [(run.state, run.summary_metrics) for run in project_runs(project)]
    unfinished = Counter(state for state, summary in runs if "run_id" not in summary)
    if unfinished:
        counted = ", ".join(f"{count} {state}" for state, count in unfinished.most_common())
        print(f"left out runs without a record: {counted}", file=sys.stderr)
    records = _latest([_record_of(summary) for _, summary in runs if "run_id" in summary])
    chosen = [record for record in records if not names or record.get("name") in names]
    if not chosen:
        named = f" of {', '.join(names)}" if names else ""
        raise mistake(f"there are no records{named} among the {len(runs)} runs of the W&B project {project}")
    return in_order(chosen)


def project_runs(project: str) -> list[Any]:
    """Every run of a W&B project, with its configuration and its summary.

    Args:
        project: ``entity/project``.

    Raises:
        InputError: No account, no such project, or no connection.
    """
    import wandb

    try:
        account = wandb.login(prompt=False)
        runs = list(wandb.Api().runs(project, per_page=_PAGE, lazy=False)) if account else []
    except Exception as error:  # W&B raises all kinds of errors
        raise mistake(f"cannot read the W&B project {project}: {first_line(error)}") from error
    if not account:
        raise mistake("W&B has no account here: `wandb login` sets one up, or set WANDB_API_KEY")
    return runs


def _record_of(summary: Mapping[str, Any]) -> Record:
    """The record in a run's summary, without what W&B and the last row of the log have added to it."""
    own = {name: value for name, value in summary.items() if not name.startswith(("_", "figures/")) and name != "epoch"}
    return own | dict.fromkeys(own.get("not_finite") or ())  # W&B does not keep nulls


def _latest(records: list[Record]) -> list[Record]:
    """Of several records of one run, the last: a run made anew by an agent of W&B's is another run there."""
    latest = {
        (record.get("name"), record["run_id"]): record
        for record in sorted(records, key=lambda record: str(record.get("started")))
    }
    if len(latest) < len(records):
        print(f"left out records of runs that were made anew later: {len(records) - len(latest)}", file=sys.stderr)
    return list(latest.values())
