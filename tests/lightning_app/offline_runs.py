"""What is in the file of an offline run, as W&B's own reader says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every entry, in the order in which they were written; ``type`` says of what kind."""
    return [json.loads(line) for line in _inspect(folder).splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    """Configuration and summary at the end."""
    content: dict[str, Any] = json.loads(_inspect(folder, "--summary"))
    return content


def _inspect(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
