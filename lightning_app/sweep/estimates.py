"""How long a cell will take: what it computes, times how fast its network is here."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.nn import functional as F

from callbacks import Probe
from lightning_app.machine import machine
from lightning_app.record import Record
from lightning_app.run import CONFIG, RESULT, Config, as_list
from lightning_app.sweep.cells import Cell
from metrics import InputError
from models import ImageClassifier

_START = 3.0  # seconds of every cell for its process, its data and its record
_STEP = 3  # a training step of an image in forward passes: one forward, twice that backward
_BATCH = 100  # images per forward pass outside training
_RECORDS = 5  # that are enough for a median
_TRIAL = 3.0  # seconds that a timed call takes at most, if two images take no longer
_READERS = 16  # on a network's file system every look at a file is a wait


@dataclass(frozen=True)
class _Work:
    """What a run computes: images through training steps, and forward passes of one image besides."""

    trained: float
    passed: float


@dataclass(frozen=True)
class _Speed:
    """Seconds that an image takes in a training step, and in a forward pass."""

    trained: float
    passed: float


class Estimates:
    """Estimates how long cells take.

    What a cell computes follows from its configuration: training, validation, test, and what its probes say that they
    compute. d_data and K_F are left out: cells share them. How fast that goes is known from finished runs of the same
    network, whatever their data, or else from a short trial here.

    Args:
        cells: The cells; all records in their folder are made use of.
        trial: Whether the cells will run on machines like this one: finished runs must be of such a machine, and a
            network without any is tried here, which takes a few seconds. Without, no device is touched.
        threads: Processor threads that each cell has; default whatever the finished runs had, or this process has.
    """

    def __init__(self, cells: Iterable[Cell], *, trial: bool = True, threads: int | None = None) -> None:
        self._folders = {cell.run.folder.parent.parent for cell in cells}
        self._trial = trial
        self._threads = threads
        self._works: dict[str, _Work | None] = {}
        self._speeds: dict[str, _Speed | None] = {}
        self._most = lru_cache(_most)
        self._records: list[tuple[Path, Record]] | None = None

    def seconds(self, cell: Cell) -> float | None:
        """How long a cell takes from its beginning; None where it has no end, or nobody knows its speed."""
        if cell.run.run_id not in self._works:
            self._works[cell.run.run_id] = self._work(cell.config)
        work, kind = self._works[cell.run.run_id], _kind(cell.config)
        if work is not None and kind not in self._speeds:
            self._speeds[kind] = self._speed(cell.config)
        speed = self._speeds.get(kind)
        if work is None or speed is None:
            return None
        return _START + work.trained * speed.trained + work.passed * speed.passed

    def learn(self, cell: Cell, record: Record) -> None:
        """Take a run that has just finished into account, where nothing is known of its kind."""
        if self._records is not None:
            self._records.append((cell.run.folder, record))
        kind = _kind(cell.config)
        if self._speeds.get(kind) is None:
            self._speeds.pop(kind, None)

    def _work(self, config: Config) -> _Work | None:
        epochs = config["trainer"]["max_epochs"]
        if epochs is None or epochs < 0:
            return None
        try:
            n_train = config["data"]["init_args"]["n_train"] or self._most(json.dumps(config["data"]))
            return _work(config, n_train, 0, epochs)
        except InputError:  # there is no table yet
            return None

    def _speed(self, config: Config) -> _Speed | None:
        fabric = _fabric(config) if self._trial else None
        passes = list(islice(self._measured(config, fabric), _RECORDS))
        if passes:
            each = statistics.median(passes)
            return _Speed(_STEP * each, each)
        return _tried(fabric, config, self._threads or torch.get_num_threads()) if fabric is not None else None

    def _measured(self, config: Config, fabric: Fabric | None) -> Iterator[float]:
        """Seconds per forward pass in finished runs of the same kind."""
        if self._records is None:
            self._records = _read_records(self._folders)
        options = config["data"]["init_args"]
        same = {"command": "fit", "backbone": config["model"]["backbone"]}
        same |= {key: options[key] for key in ("image_size", "batch_size")}
        if fabric is not None:
            same["machine"] = machine(fabric.device)
            if self._threads is not None and fabric.device.type == "cpu":
                same["threads"] = self._threads
        for folder, record in self._records:
            if all(record.get(key, value) == value for key, value in same.items()):
                with suppress(
                    OSError, ValueError, LookupError, TypeError, yaml.YAMLError
                ):  # of another time, or damaged
                    theirs = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
                    work = _work(theirs, record["n_train"], record["first_epoch"], record["epochs"])
                    if work.trained and _kind(theirs) == _kind(config):
                        yield record["seconds"] / (_STEP * work.trained + work.passed)


def _read_records(folders: Iterable[Path]) -> list[tuple[Path, Record]]:
    """The records of every experiment, by run folder; what is damaged is left out."""

    def read(file: Path) -> list[tuple[Path, Record]]:
        with suppress(OSError, ValueError):
            return [(file.parent, json.loads(file.read_text(encoding="utf-8")))]
        return []

    with ThreadPoolExecutor(_READERS) as readers:
        found = readers.map(read, (file for folder in folders for file in folder.glob(f"*/*/{RESULT}")))
        return [(folder, record) for entries in found for folder, record in entries if isinstance(record, dict)]


def _kind(config: Config) -> str:
    """The same for runs whose images take as long."""
    options, trainer = config["data"]["init_args"], config["trainer"]
    chosen = [config["model"]["backbone"], *(options[key] for key in ("image_size", "channels", "batch_size"))]
    chosen += [trainer[key] for key in ("accelerator", "strategy", "devices", "num_nodes", "precision")]
    return json.dumps(chosen)


def _work(config: Config, n_train: int, first: int, last: int) -> _Work:
    """What a run computes from one epoch to another, and in the test after that.

    Raises:
        InputError: A probe refuses its options.
    """
    options = config["data"]["init_args"]
    n_val, n_test = options["n_val"], options["n_test"]
    passed: float = n_val * (last - first) + n_test
    for probe in _probes(config["trainer"]["callbacks"]):
        times = sum(probe.is_due(done, config["trainer"]["max_epochs"]) for done in range(first + 1, last + 1))
        passed += times * probe.passes(n_train, n_val or n_test)
        if n_test:
            passed += probe.passes(n_train, n_test)
    return _Work(n_train * (last - first), passed)


def _most(data: str) -> int:
    """Training images of a data set, given as JSON, whose n_train is null."""
    section = json.loads(data)
    return len(_class(section)(**section["init_args"]).plan().rows["train"])


def _probes(callbacks: Any) -> Iterator[Probe]:
    """The probes among what a configuration lists as callbacks."""
    for given in as_list(callbacks):
        kind = _class(given)
        if isinstance(kind, type) and issubclass(kind, Probe):
            yield kind(**given.get("init_args") or {})


def _class(section: Config) -> Any:
    """What a section of a configuration names by its path."""
    module, _, name = section["class_path"].rpartition(".")
    return getattr(import_module(module), name)


def _fabric(config: Config) -> Fabric | None:
    """Device and precision of a run; None where only the machine that is to run it has what it asks for."""
    trainer = config["trainer"]
    try:
        return Fabric(accelerator=trainer["accelerator"], devices=1, precision=trainer["precision"])
    except (MisconfigurationException, ImportError, ValueError):
        return None


def _tried(fabric: Fabric, config: Config, threads: int) -> _Speed | None:
    """The speed of a network on random images; None where it cannot be had."""
    options = config["data"]["init_args"]
    shape = (1 if options["channels"] == 1 else 3, options["image_size"], options["image_size"])
    with isolate_rng(), _threads(threads):
        try:
            network = ImageClassifier(config["model"]["backbone"], input_shape=shape)
            model, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters()))

            def train(images: Tensor) -> None:
                optimizer.zero_grad()
                labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
                fabric.backward(F.cross_entropy(model(images).float(), labels))
                optimizer.step()

            def look(images: Tensor) -> None:
                with torch.no_grad():
                    model(images)

            trained = _seconds_per_image(train, fabric.device, shape, options["batch_size"])
            model.eval()
            return _Speed(trained, _seconds_per_image(look, fabric.device, shape, _BATCH))
        except (InputError, RuntimeError):  # images too small for the network, memory too small for both
            return None


def _seconds_per_image(
    call: Callable[[Tensor], None], device: torch.device, shape: tuple[int, int, int], most: int
) -> float:
    """Measured on as many images as go together in fact, if that is no matter of many seconds."""
    # The time of a single thread is not made longer by what else the machine does just now.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def timed(n: int) -> float:
        images = torch.rand(n, *shape, device=device)
        began = clock()
        call(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - began) / n

    first = timed(2)
    if 2 * first > _TRIAL:
        return first
    n = max(2, min(most, int(_TRIAL / timed(2))))
    times = [timed(n)]
    while n * sum(times) < _TRIAL / 2 and len(times) < 3:
        times.append(timed(n))
    return statistics.median(times)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
