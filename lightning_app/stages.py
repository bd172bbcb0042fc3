"""One moving line for work that takes a while."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from metrics import Progress as Told  # with it comes torch


class Stages:
    """Says which part of the work is being done and how far it is; nothing where the output is no terminal.

    Example:
        >>> with Stages() as stages:
        ...     done = stages.begin("reading")
        ...     done(1, 2)
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._line: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> "Stages":
        """Shows the line."""
        if sys.stderr.isatty():
            self._line = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._line.start()
        return self

    def begin(self, what: str) -> "Told":
        """Starts the next part; what it returns is to be told of its progress."""
        if self._line is None:
            return lambda done, total: None
        if self._task is not None:
            self._line.remove_task(self._task)
        line, task = self._line, self._line.add_task(what, total=None)
        self._task = task
        return lambda done, total: line.update(task, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the line away."""
        if self._line is not None:
            self._line.stop()
