"""The report at Weights & Biases: one run with the page, its figures and its tables."""

import os
import sys
from typing import Any

import wandb

from lightning_app.mistakes import first_line, mistake
from lightning_app.report.assembly import Report
from lightning_app.report.folder import PAGE

_INIT_TIMEOUT = 20.0  # seconds that a start may wait for the server
_FINISH_TIMEOUT = 300.0  # seconds that the upload may take; what is left stays on disk for `wandb sync`


def log_report(project: str, report: Report, folder: str) -> list[str]:
    """Log a report as one run of its own, of job type ``report``: online where there is an account, offline elsewhere.

    Args:
        project: ``project``, or ``entity/project``.
        report: The report.
        folder: Where it was written: all of it becomes an artifact.

    Returns:
        Lines that say where the run is.

    Raises:
        InputError: W&B fails offline too.
    """
    try:
        run = _start(project, report.title)
        run.log(_panels(report))
        artifact = wandb.Artifact("report", "report")
        artifact.add_dir(folder)
        run.log_artifact(artifact)
        run.finish()
    except Exception as error:  # W&B raises all kinds of errors
        raise mistake(f"the report is in {folder}, but W&B has failed: {first_line(error)}") from error
    if run.offline:
        return [f"upload wandb sync {os.path.relpath(os.path.dirname(run.dir))}"]
    return [f"W&B    {run.url}"] if run.url else []


def _start(project: str, title: str) -> Any:
    mode = os.environ.get("WANDB_MODE") or "online"
    if mode == "online":
        try:
            if wandb.login(prompt=False):
                return _init(project, title, mode)
            why = "W&B has no account here (`wandb login` sets one up)"
        except Exception as error:  # W&B raises all kinds of errors
            why = f"W&B cannot be reached ({first_line(error)})"
        print(f"{why}: the report's run is offline", file=sys.stderr)
        mode = "offline"
    return _init(project, title, mode)


def _init(project: str, title: str, mode: str) -> Any:
    entity, _, name = project.rpartition("/")
    settings = wandb.Settings(silent=True, console="off", init_timeout=_INIT_TIMEOUT, finish_timeout=_FINISH_TIMEOUT)
    return wandb.init(
        project=name,
        entity=entity or None,
        job_type="report",
        name=f"report: {title}",
        mode=mode,  # type: ignore[arg-type]  # what the environment says is checked by W&B
        reinit="create_new",
        settings=settings,
    )


def _panels(report: Report) -> dict[str, Any]:
    """The page, and every figure and table under the name of its part."""
    found: dict[str, Any] = {"page": _html(report.files[PAGE].decode())}
    for part in report.parts:
        for figure in part.figures:
            found[f"{part.name}/{figure.name}"] = _html(figure.svg)
        for table in part.tables:
            frame = table.frame.astype(object).where(table.frame.notna(), None)
            found[f"{part.name}/{table.name}-table"] = wandb.Table(dataframe=frame, allow_mixed_types=True)
    return found


def _html(text: str) -> wandb.Html:
    return wandb.Html(text, inject=False, data_is_not_path=True)  # as it is, without W&B's style sheet
