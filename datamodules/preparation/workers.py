"""Work shared between processes of one machine, with results in order."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import parent_process
from types import ModuleType
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 3  # bundles per process that are under way or wait to be collected
_BUNDLE = 0.1  # seconds
_MOST = 64  # tasks


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(compute: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Compute something for every task, several at a time, and yield the results in the order of the tasks.

    Tasks are sent in bundles that take about a tenth of a second, since sending takes time too. Only a few bundles per
    process are ahead of the result that is yielded, so results do not pile up. With one worker everything happens in
    this process.

    Args:
        compute: A function that can be pickled; it is called in fresh processes, which do not know the main script.
        tasks: What it is called with; pickled.
        workers: Number of processes.

    Raises:
        Exception: Whatever ``compute`` raised for the first task that failed; no later result is yielded.

    Example:
        >>> list(map_in_order(abs, [-1, 2, -3], workers=1))
        [1, 2, 3]
    """
    if workers == 1:
        yield from map(compute, tasks)
        return
    # Copies of one clean process: a copy of this one, which may have threads (as torch's), might never come back.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["datamodules.preparation.prepare"])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    waiting: deque[Future[_Done[Result]]] = deque()
    sent, bundle = 0, 1
    try:
        while sent < len(tasks) or waiting:
            while sent < len(tasks) and len(waiting) < workers * _AHEAD:
                with nameless_main():
                    waiting.append(pool.submit(_timed, compute, tasks[sent : sent + bundle]))
                sent += bundle
            done = waiting.popleft().result()
            bundle = max(1, min(_MOST, round(_BUNDLE * len(done.results) / max(done.seconds, 1e-6))))
            yield from done.results
            if done.failure is not None:
                raise done.failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def nameless_main() -> Iterator[None]:
    """Keeps the processes that start meanwhile from running the user's script once more, as each usually would."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@dataclass(frozen=True)
class _Done(Generic[Result]):
    """The results of a bundle up to the first failure, and how long they took."""

    results: list[Result]
    seconds: float
    failure: Exception | None


def _timed(compute: Callable[[Task], Result], tasks: Sequence[Task]) -> _Done[Result]:
    start, results = time.perf_counter(), []
    for task in tasks:
        try:
            results.append(compute(task))
        except Exception as failure:
            failure.add_note(traceback.format_exc())  # it would get lost on the way
            return _Done(results, time.perf_counter() - start, failure)
    return _Done(results, time.perf_counter() - start, None)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent decides
    follow_parent()


def follow_parent(end: Callable[[], None] = lambda: os._exit(1)) -> None:
    """End with the parent: a worker whose parent is killed would wait for work for ever.

    Args:
        end: How; called from a thread.
    """
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        end()

    threading.Thread(target=watch, daemon=True).start()
