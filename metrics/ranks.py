"""Work shared between the processes of ``torch.distributed``, where there are any."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch.distributed as dist

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Is told how many parts of the work are done, of how many."""


def n_processes() -> int:
    """How many processes share the work; 1 where nothing is distributed.

    Example:
        >>> n_processes()
        1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def map_shared(
    compute: Callable[[Task], Result], tasks: Sequence[Task], progress: Progress | None = None
) -> list[Result]:
    """Compute something for every task, each process its share, and give every process all results.

    A collective: in a distributed run every process must call it with the same tasks.

    Args:
        compute: Does one task; its results are sent between processes, so they should be small.
        tasks: The same on every process.
        progress: Told after every task of this process.

    Returns:
        One result per task, in order, the same on every process.

    Raises:
        Exception: Whatever ``compute`` raised on any process, on all of them.

    Example:
        >>> map_shared(abs, [-1, 2])
        [1, 2]
    """
    world = n_processes()
    if world == 1:
        return _results(compute, tasks, progress)
    results: list[Result] = []
    failure: Exception | None = None
    try:
        results = _results(compute, tasks[dist.get_rank() :: world], progress)
    except Exception as error:
        failure = error  # the others wait for this process: they are told before it stops
    shares: list[tuple[list[Result], Exception | None]] = [([], None)] * world
    dist.all_gather_object(shares, (results, failure))
    for _, failed in shares:
        if failed is not None:
            raise failed
    return [shares[i % world][0][i // world] for i in range(len(tasks))]


def _results(compute: Callable[[Task], Result], tasks: Sequence[Task], progress: Progress | None) -> list[Result]:
    results = []
    for done, task in enumerate(tasks, start=1):
        results.append(compute(task))
        if progress is not None:
            progress(done, len(tasks))
    return results
