"""Work shared between processes of one machine, with results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.process import parent_process
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 4  # tasks per process that are under way or wait to be collected


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(compute: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Compute something for every task, several at a time, and yield the results in the order of the tasks.

    Only a few tasks per process are ahead of the one whose result is yielded, so results do not pile up. With one
    worker everything happens in this process.

    Args:
        compute: A function that can be pickled; it is called in fresh processes.
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
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(compute, task))
            if len(waiting) == workers * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """End with the parent: a worker whose parent is killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the parent decides

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
