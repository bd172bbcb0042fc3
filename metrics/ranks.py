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
    own = tasks[dist.get_rank() :: world] if world > 1 else tasks
    results: list[Result] = []
    failure: Exception | None = None
    try:
        for done, task in enumerate(own, start=1):
            results.append(compute(task))
            if progress is not None:
                progress(done, len(own))
    except Exception as error:
        if world == 1:
            raise
        failure = error  # the others wait for this process: they are told before it stops
    if world == 1:
        return results
    shares: list[list[Result] | Exception] = [[] for _ in range(world)]
    dist.all_gather_object(shares, failure or results)
    for share in shares:
        if isinstance(share, Exception):
            raise share
    return [shares[i % world][i // world] for i in range(len(tasks))]  # type: ignore[index]  # no exception among them
