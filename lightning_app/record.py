"""What a finished run leaves behind: one flat record."""

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightning_app.code_version import code_version
from lightning_app.mistakes import mistake
from lightning_app.run import Run, write_text

Record = dict[str, Any]

_PACKAGES = (
    "intrinsic-scaling",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "torchattacks",
    "scikit-dimension",
    "wandb",
    "numpy",
)


def make_record(run: Run, facts: Mapping[str, Any], numbers: Mapping[str, float]) -> Record:
    """Put a record together.

    Args:
        run: The run.
        facts: What else identifies it: command, backbone, data set, sizes, times.
        numbers: Every measured quantity by its logged name.

    Returns:
        A flat mapping. A number that is not finite becomes null, and its name is listed in
        ``not_finite``, so that every number in the record is finite and none disappears in silence.

    Example:
        >>> from pathlib import Path
        >>> record = make_record(Run("demo", "0" * 12, Path("."), {}), {}, {"test/loss": math.nan})
        >>> record["test/loss"], record["not_finite"]
        (None, ['test/loss'])
    """
    return {
        "run_id": run.run_id,
        "name": run.name,
        "status": "finished",
        **facts,
        **{name: value if math.isfinite(value) else None for name, value in sorted(numbers.items())},
        "not_finite": sorted(name for name, value in numbers.items() if not math.isfinite(value)),
        **{f"version/{package}": _version(package) for package in _PACKAGES},
        "version/code": code_version(),
        "version/python": platform.python_version(),
    }


def write_record(run: Run, record: Record) -> None:
    """Write ``result.json``, atomically: it is there exactly when the run has finished."""
    write_text(run.result, json.dumps(record, indent=1, allow_nan=False) + "\n")


def read_record(run: Run) -> Record | None:
    """The record of a finished run; None where there is none."""
    if not run.result.is_file():
        return None
    try:
        record: Record = json.loads(run.result.read_text(encoding="utf-8"))
    except ValueError as error:
        raise mistake(f"{run.result} is damaged: delete it, and the run is made again") from error
    return record


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
