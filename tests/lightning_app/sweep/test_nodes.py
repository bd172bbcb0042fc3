"""Cells on a real Ray cluster: several nodes on this machine, one of which dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import exceptions

from lightning_app.lease import holders
from lightning_app.run import Run
from lightning_app.sweep.cells import Cell
from lightning_app.sweep.nodes import RayEngine, outcome_of, run_on_node
from lightning_app.sweep.outcome import Outcome, Share
from metrics import InputError
from tests.lightning_app.sweep.conftest import ROOT, WriteGrid, sabotaged, sweeping

RAY = Path(sys.executable).with_name("ray")


class Cluster:
    """Nodes of a Ray cluster: an address of the loopback interface and a session of processes each."""

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets are in there
        self._nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return (self.place / "ray_current_cluster").read_text()

    def add(self, *options: str) -> None:
        """Start a node, and wait until it is there."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        environment |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        where = ["--node-ip-address", f"127.0.0.{len(self._nodes) + 2}", "--temp-dir", str(self.place)]
        log = self.place / f"{len(self._nodes)}.txt"
        with log.open("wb") as stream:
            node = subprocess.Popen(
                [RAY, "start", "--block", "--object-store-memory=80000000", *where, *options],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env=environment,
            )
        self._nodes.append(node)
        wait_until(lambda: "Ray runtime started" in log.read_text(), node, log.read_text)

    def kill_node_of(self, pid: int) -> None:
        """As a power cut does: every process of the node that a cell runs on; the cell's own has to notice."""
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        _kill_session(os.getsid(parent))

    def close(self) -> None:
        for node in self._nodes:
            _kill_session(node.pid)
            node.wait()
        shutil.rmtree(self.place)


def _kill_session(session: int) -> None:
    for pid in [int(name) for name in os.listdir("/proc") if name.isdecimal()]:
        with suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.add("--head", "--port=0", "--num-cpus=0", "--include-dashboard=false")
        yield cluster
    finally:
        cluster.close()


def wait_until(is_so: Callable[[], Any], process: subprocess.Popen[Any], why: Callable[[], Any]) -> None:
    """Wait until something has come true, as long as a process lives."""
    until = time.monotonic() + 200
    while not is_so():
        assert process.poll() is None, why()
        assert time.monotonic() < until
        time.sleep(0.1)


def cells_at_work() -> dict[str, int]:
    """Which runs are being worked on, and by which process."""
    return {run_id: holder.pid for run_id, holder in holders(Path("runs/mine/.leases")).items() if holder.alive}


def reached(seed: int) -> int:
    """How often a cell has come to the place where it is to go wrong."""
    counter = Path(f"sabotage-{seed}")
    return len(counter.read_text()) if counter.exists() else 0


def starts() -> dict[int, int]:
    """How often the run of each seed was started, of those that are done."""
    records = [json.loads(file.read_text()) for file in Path("runs").glob("mine/*/result.json")]
    return {record["seed"]: record["starts"] for record in records}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="an address of the loopback interface per node, /proc")
def test_a_sweep_on_two_nodes_is_stopped_and_goes_on_and_loses_one(cluster: Cluster, write_grid: WriteGrid) -> None:
    for _ in range(2):
        cluster.add("--address", cluster.address, "--num-cpus=1", "--num-gpus=1")
    callbacks = [*sabotaged({0: "hang"}, times=2), *sabotaged({1: "hang"}, times=1)[1:]]
    file = write_grid(
        seeds=3, accelerator="auto", callbacks=[*callbacks, {"class_path": "tests.lightning_app.sweep.witness.Witness"}]
    )
    command = (file, "--engine", "ray", "--address", cluster.address, "--gpus", "0.5")

    with sweeping(*command) as sweep:
        wait_until(lambda: reached(0) and reached(1), sweep, sweep.communicate)
        assert len(cells_at_work()) == 2
        sweep.terminate()
        out, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, err
    assert cells_at_work() == {}
    for seed in range(2):
        assert json.loads(Path(f"seen-{seed}").read_text()) == {"CUDA_VISIBLE_DEVICES": "0", "WANDB_MODE": "offline"}

    with sweeping(*command) as sweep:
        wait_until(
            lambda: reached(0) == 2 and len(starts()) == 2 and len(cells_at_work()) == 1, sweep, sweep.communicate
        )
        (pid,) = cells_at_work().values()
        cluster.kill_node_of(pid)
        more, errors = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, errors
    assert starts() == {0: 3, 1: 2, 2: 1}
    assert errors.count("its node or its Ray worker is gone") == 1
    assert "raylet" not in out + err + more + errors


def test_a_node_without_the_shared_folders_says_so(tmp_path: Path) -> None:
    run = Run("mine", "0123456789ab", tmp_path / "runs/mine/0123456789ab", {})
    with pytest.raises(InputError, match=f"does not see {run.folder.parent}: .* all nodes share"):
        run_on_node(Cell(run, {}, "the run", str(tmp_path)), Share(), {})
    run.folder.parent.mkdir(parents=True)
    with pytest.raises(InputError, match=f"does not see {tmp_path}/elsewhere: .* all nodes share"):
        run_on_node(Cell(run, {}, "the run", f"{tmp_path}/elsewhere"), Share(), {})
    assert not run.folder.exists()


def failed_task(cause: Exception) -> exceptions.RayTaskError:
    """What Ray makes of an exception in a task."""
    return exceptions.RayTaskError("run_on_node", "ray::run_on_node() (pid=7, ip=10.0.0.9)", cause)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.NodeDiedError("gone"), "lost"),
        (exceptions.WorkerCrashedError(), "lost"),
        (exceptions.LocalRayletDiedError(), "lost"),
        (exceptions.OutOfMemoryError("too much"), "memory"),
        (failed_task(BlockingIOError(11, "Resource temporarily unavailable")), "crashed"),
    ],
)
def test_what_ray_says_of_a_cell_that_it_has_no_outcome_of(error: Exception, kind: str) -> None:
    outcome = outcome_of(error)
    assert outcome.kind == kind
    assert isinstance(outcome, Outcome)
    assert outcome.message


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (InputError("node a does not see /runs"), "^node a does not see /runs$"),
        (
            ModuleNotFoundError("No module named 'timm'"),
            r"^node 10\.0\.0\.9 .*No module named 'timm'; every node needs",
        ),
        (RuntimeError("cannot be found from sys.path ['/a', '/b']"), "RuntimeError: cannot be found; every node needs"),
    ],
)
def test_a_node_that_cannot_run_cells_ends_the_sweep(cause: Exception, message: str) -> None:
    with pytest.raises(InputError, match=message):
        outcome_of(failed_task(cause))


def engine_on(outcome: Callable[[], Outcome], tmp_path: Path) -> RayEngine:
    """An engine that has started a cell, on a cluster that says what the test wants."""
    engine = object.__new__(RayEngine)
    run = Run("mine", "0123456789ab", tmp_path / "mine/0123456789ab", {})
    engine._running = {"task": Cell(run, {}, "the run", ".")}  # type: ignore[dict-item]  # any name will do
    engine._ray = SimpleNamespace(
        wait=lambda tasks, **_: (tasks, []), get=lambda task: outcome(), exceptions=exceptions
    )
    return engine


def test_a_record_that_is_not_seen_here_ends_the_sweep(tmp_path: Path) -> None:
    engine = engine_on(lambda: Outcome("finished"), tmp_path)
    (cell,) = engine._running.values()
    with pytest.raises(InputError, match=f"has finished {cell.run.folder}, but not in this one: .* all nodes share"):
        engine.wait(1)
    engine._running = {"task": cell}  # type: ignore[dict-item]
    cell.run.folder.mkdir(parents=True)
    cell.run.result.write_text("{}")
    assert engine.wait(1) == [(cell, Outcome("finished"))]


def test_a_cluster_that_is_gone_costs_one_line(tmp_path: Path) -> None:
    def gone() -> Outcome:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(
        InputError, match=r"connection to the Ray cluster is lost .*Broken pipe.*the same command goes on"
    ):
        engine_on(gone, tmp_path).wait(1)


@pytest.mark.parametrize("prefix", ["", "ray://"])
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_cluster_that_is_not_there_costs_one_line(
    prefix: str, by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{prefix}localhost:{unused.getsockname()[1]}"
    if by_variable:
        monkeypatch.setenv("RAY_ADDRESS", address)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError, match=r"^no connection to a Ray cluster.*refused.*ray start --head"):
        RayEngine(Share(), None if by_variable else address, 1, 0)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'intrinsic-scaling\[ray\]'"):
        RayEngine(Share(), None, 1, 0)


@pytest.mark.parametrize(
    ("cpus", "gpus", "named"), [(0, 0, "0 CPUs"), (1, 1.5, "1.5"), (1, -1, "-1"), (1, float("nan"), "nan")]
)
def test_shares_that_ray_does_not_take_are_refused(cpus: float, gpus: float, named: str) -> None:
    with pytest.raises(InputError, match=named):
        RayEngine(Share(), None, cpus, gpus)
