"""The cells of a grid on the nodes of a Ray cluster."""

import logging
import os
import platform
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_app.mistakes import mistake
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.outcome import Outcome, Share

if TYPE_CHECKING:
    from ray import ObjectRef

_AHEAD = 4  # cells, at least, that wait in the cluster's queue, where its autoscaler sees them
_KNOCK = 5.0  # seconds
_FAREWELL = 10.0  # seconds that cells have to end
_POLL = 1.0  # seconds
_SHARED = (
    "the folder of the runs, and the one that the sweep is started in, must be on a file system that all nodes share"
)


class RayEngine:
    """Runs every cell as a task of a Ray cluster that is there already.

    A cell whose node or worker is lost counts as lost, not as failed. Nothing is left on the cluster.

    Args:
        share: What a cell may use. Its memory, where it is limited, is reserved for the cell as well.
        address: ``host:port`` or ``ray://host:port`` of the cluster; None takes RAY_ADDRESS, or the cluster that this
            machine belongs to.
        cpus: CPUs per cell.
        gpus: GPUs per cell, where the cluster has any: 0.5 lets two cells share one, 0 uses none.

    Raises:
        InputError: Ray is not installed, there is no such cluster, or numbers that Ray does not take.
    """

    def __init__(self, share: Share, address: str | None, cpus: float, gpus: float) -> None:
        if not cpus > 0:
            raise mistake(f"{cpus:g} CPUs per cell: it must be more than 0")
        if not gpus >= 0 or (gpus > 1 and gpus % 1):
            raise mistake(f"--gpus {gpus:g}: Ray takes a fraction of one GPU (0.5), or whole ones (2)")
        self._ray = _connected(address)
        if not any(node["Resources"].get("GPU") for node in self._nodes()):
            gpus = 0
        self._share = share
        self._needs = {"CPU": cpus, "GPU": gpus, "memory": share.memory or 0}
        self._environment = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
        self._run = self._ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            memory=share.memory,
            scheduling_strategy="SPREAD",  # as few cells per node as there can be
            max_calls=0,  # a worker is used again, after a cell with a GPU too: it has imported everything
            max_retries=0,  # what is lost is started again by the sweep, which keeps count
        )(run_on_node)
        self._running: dict[ObjectRef[Outcome], Cell] = {}
        if not self._slots():
            needed = ", ".join(f"{name} {needed:g}" for name, needed in self._needs.items() if needed)
            print(f"no node of the Ray cluster is large enough for a cell ({needed}): waiting for one", file=sys.stderr)

    @property
    def free(self) -> int:
        """How many more cells may be started now: some more than there is room for, so that a cluster can grow."""
        slots = self._slots()
        return slots + max(slots, _AHEAD) - len(self._running)

    def start(self, cell: Cell) -> None:
        """Put a cell into the cluster's queue.

        Raises:
            InputError: The folder of the runs cannot be written.
        """
        try:
            cell.run.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cell.run.unwritable(error) from error
        self._running[self._run.remote(cell, self._share, self._environment)] = cell

    def wait(self, seconds: float) -> list[tuple[Cell, Outcome]]:
        """What has ended, at the latest after some seconds.

        Raises:
            InputError: A node cannot run cells, or the cluster is gone.
        """
        if not self._running:
            time.sleep(seconds)
            return []
        with self._connection():
            self._ray.wait(list(self._running), timeout=seconds)
            ended, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            return [(cell := self._running.pop(task), self._outcome(task, cell)) for task in ended]

    def stop(self) -> None:
        """End what is running, which continues from its checkpoints another time, and leave the cluster."""
        with suppress(OSError, self._ray.exceptions.RayError):  # the cluster is gone
            for task in self._running:
                self._ray.cancel(task)
            if self._running:
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_FAREWELL)
        self._running.clear()
        self._ray.shutdown()

    @contextmanager
    def _connection(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._ray.exceptions.RayError) as error:
            raise mistake(
                f"the connection to the Ray cluster is lost ({error}): when it is back, the same command goes on"
            ) from error

    def _nodes(self) -> list[dict[str, Any]]:
        with self._connection():
            return [node for node in self._ray.nodes() if node["Alive"]]

    def _slots(self) -> int:
        """How many cells the cluster, as it is now, can run at a time."""
        needs = {name: needed for name, needed in self._needs.items() if needed}
        return sum(
            min(int(node["Resources"].get(name, 0) / needed) for name, needed in needs.items())
            for node in self._nodes()
        )

    def _outcome(self, task: "ObjectRef[Outcome]", cell: Cell) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return outcome_of(error)
        if outcome.kind == "finished" and not _is_seen(cell):
            raise mistake(f"a node of the Ray cluster has finished {cell.run.folder}, but not in this one: {_SHARED}")
        return outcome


def run_on_node(cell: Cell, share: Share, environment: Mapping[str, str]) -> Outcome:
    """Run a cell in a process of this node, as a task of Ray.

    Args:
        cell: The cell.
        share: What it may use; the GPUs are those that Ray has assigned.
        environment: Variables that are to be as they are where the sweep was started.

    Raises:
        InputError: This node does not see the folders that the cell needs.
    """
    import ray

    from lightning_app.sweep.attempt import Attempt

    for folder in (Path(cell.place), cell.run.folder.parent):
        if not folder.is_dir():
            raise mistake(f"node {platform.node()} of the Ray cluster does not see {folder}: {_SHARED}")
    os.environ.update(environment)
    attempt = Attempt(cell, replace(share, gpus=tuple(map(str, ray.get_gpu_ids()))))
    try:
        while (outcome := attempt.poll()) is None:
            wait([attempt.sentinel], _POLL)
        return outcome
    except BaseException:  # cancelled
        attempt.kill()
        raise


def outcome_of(error: Exception) -> Outcome:
    """What it means that Ray has no outcome of a cell.

    Args:
        error: What Ray raises instead.

    Raises:
        InputError: The node cannot run cells, this one or any other.
    """
    from ray import exceptions

    from metrics import InputError  # with it comes torch, which Ray's workers do without: they only watch

    if isinstance(error, exceptions.OutOfMemoryError):
        return Outcome("memory", "ended by Ray, because its node was running out of memory")
    if not isinstance(error, exceptions.RayTaskError):
        return Outcome("lost", f"its node or its Ray worker is gone ({type(error).__name__})")
    cause = error.cause
    if isinstance(cause, InputError):
        raise cause
    what = f"{type(cause).__name__}: {cause}".partition(" from sys.path")[0]
    where = re.search(r"ip=([^),]+)", str(error))
    if isinstance(cause, OSError | EOFError):
        return Outcome("crashed", f"its process could not be started: {what}")
    raise mistake(
        f"node {where[1] if where else '?'} of the Ray cluster cannot run cells: {what}; "
        "every node needs this package, in this version and with the same extras"
    ) from error


def _is_seen(cell: Cell) -> bool:
    """Whether the record of a cell is there, on a file system that shows what others write only to those who look."""
    try:
        for folder in (cell.run.folder.parent, cell.run.folder):
            os.listdir(folder)
    except OSError:
        return False
    return cell.run.result.is_file()


def _connected(address: str | None) -> Any:
    """Ray, connected to a cluster.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    # Ray prints whatever its nodes complain of: pages, where one dies. The sweep says what has become of the cells.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # each is 40 s of waiting for an answer
    try:
        import ray
    except ImportError as error:
        raise mistake(
            f"--engine ray needs Ray ({error}): install it with `pip install 'intrinsic-scaling[ray]'`"
        ) from error
    try:
        with _own_signals():
            _knock(address)
            ray.init(address or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # whatever keeps Ray from connecting
        where = f" at {address}" if address else ""
        why = " ".join(str(error).split()).rstrip(".")
        raise mistake(
            f"no connection to a Ray cluster{where} ({why}): start one with `ray start --head`, or name another with "
            "--address; without --engine ray, cells run on this machine"
        ) from error
    return ray


def _knock(address: str | None) -> None:
    """Try whether anybody listens: Ray itself would wait for minutes for a cluster that is gone."""
    from ray._private.services import canonicalize_bootstrap_address_or_die

    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    place = address.partition("://")[2] or canonicalize_bootstrap_address_or_die(address)
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
