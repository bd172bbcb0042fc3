"""The beginning of `lightning sweep`, before anything heavy is imported; and the process that cells are copies of."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.forkserver import ensure_running
from typing import Any

from lightning_app.sweep.options import parser

CONTEXT = multiprocessing.get_context("forkserver")


def start_sweep(argv: Sequence[str]) -> None:
    """Run `lightning sweep` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
        SystemExit: With code 1 where cells have failed.
    """
    given = parser().parse_args(argv)
    with _terminated_is_interrupted():
        if given.engine == "local" and not (given.dry_run or given.status or given.export_wandb):
            warm_up()  # it imports while this process reads and checks the grid
        from lightning_app.sweep.command import run_sweep

        run_sweep(given, argv)


def warm_up() -> None:
    """Start the process that cells are copies of, if it does not run: it has imported everything and done nothing."""
    CONTEXT.set_forkserver_preload(["lightning_app.sweep.work"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it inherits this: Ctrl-C is for the sweep to answer
    try:
        ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """A batch system ends a job by SIGTERM: stop as after Ctrl-C."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
