"""What training with this suite costs beyond a bare loop, and how much faster it is than the paper's own way.

    python benchmarks/training.py throughput   images/s against a bare loop, and the probes' share: a quarter of an hour
    python benchmarks/training.py reference    images/s against a loop over image files: a quarter of an hour, 4 GB
    python benchmarks/training.py memory       peak memory against a bare loop: about five minutes, Linux only
    python benchmarks/training.py start        from the start of the process to the first step: about five minutes
    python benchmarks/training.py all --quick  everything once with a tiny network: the numbers mean nothing

Times are those of two cores with nothing beside it; everything runs on the CPU. The rivals:

(a) bare loop: what a skilled person writes. 8-bit images in memory, batches by index, channels-last, bf16 autocast
    where the hardware multiplies it, fused Adam.
(b) suite: `lightning fit` without probes and without validation images; its row and its checkpoint every epoch.
(c) suite with probes, and 100 validation images.
(d) the loop of the code that was released with arXiv 2401.08865: one process decodes the image files (JPEG, 512 px,
    colour) anew in every epoch, scales each by its own maximum and resizes it to 224 px; float32, contiguous, plain
    Adam, and its batch sizes, 40 for ResNet-18 and 6 for VGG.

All have the same network, images, batch size and, but for (d), precision. They take turns in one process, in rounds;
the first epoch of every turn is left out. Of (b) and (c) an epoch of training is from its start to the end of its last
step; a whole epoch also holds validation, probes, the row of metrics.csv and the checkpoint. A ratio is that of the
medians over all epochs; beside it stand the smallest and the largest ratio of one round. Probes rest between
measurements: with default options a run of 100 epochs measures after every fifth, experiments.yaml after every third.
Their share of a run is computed from the epochs with and without them.

Wanted: (b) / (a) at least 0.95 for ResNet-18, N = 500, 64×64 and 224×224. Probes' share of a run at most 1/3 at the
default configuration. (b) / (d) at least 3 for ResNet-18 and 2 for VGG-13. Peak memory of (b), N = 1,750 at
224×224×3, ResNet-18, batch 32, at most 300 MB over (a), each in a process of its own. From the start of the process to
the first step of `lightning fit` at most 1.3 times as long as `import torch, lightning, timm`; `lightning --help` in
less than 1 s.

Reached, on two cores of an AMD EPYC with AVX512-BF16 and without AMX: all but one (tables in benchmarks/README.md).
(b) / (d) is 2.31 for ResNet-18; the bare loop of the same hour made 2.33 times the images of (d): this processor does
not multiply bfloat16 faster. Since then the process keeps large blocks of memory (lightning_app/allocator.py), from
which a loop of (a) gained 15 %.
"""

import argparse
import contextlib
import csv
import gc
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

# Python looks for modules beside the script first, where metrics.py would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

# The suite itself is imported where it is needed: the memory of the bare loop is to be without it.
import numpy as np
import timm
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments.yaml"
_PROBES = ("DatasetProperties", "RepresentationDimension", "AdversarialRobustness")
_N_VAL = 100
_FILE_SIDE, _SIDE = 512, 224
_FIRST_STEP = """
import os
from lightning.pytorch import Callback

class FirstStep(Callback):
    def on_train_batch_start(self, *_):
        print("first step", flush=True)
        os._exit(0)
"""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    network: str = "resnet18"
    reference: tuple[tuple[str, int, float], ...] = (("resnet18", 120, 3.0), ("vgg13", 36, 2.0))
    sides: tuple[int, ...] = (64, 224)
    n: int = 500
    n_memory: int = 1750
    rounds: int = 4
    starts: int = 7
    epochs: int = 3


QUICK = Scale("test_resnet", (("test_resnet", 12, 3.0),), (32, 48), 60, 80, rounds=1, starts=1, epochs=2)


@dataclass
class Epoch:
    """When what began and ended, in seconds of one clock."""

    began: float
    trained: float = 0.0
    probing: float = 0.0
    probed: float = 0.0
    ended: float = 0.0

    @property
    def training(self) -> float:
        """Seconds from the start of the epoch to the end of its last step."""
        return self.trained - self.began

    @property
    def whole(self) -> float:
        """Seconds of all of it."""
        return self.ended - self.began

    @property
    def measuring(self) -> float:
        """Seconds of it that probes take."""
        return self.probed - self.probing


Turn = Callable[[], list[Epoch]]
"""Trains anew, and says when what happened."""


@dataclass(frozen=True)
class Task:
    """What all rivals train.

    Attributes:
        table: Folder of the image table.
        network: A timm network.
        n: Training images.
        side: Their side in pixels.
        batch: Images per step.
        epochs: How often they are seen.
        bf16: Whether (a) to (c) multiply in bfloat16.
    """

    table: Path
    network: str
    n: int
    side: int
    batch: int
    epochs: int
    bf16: bool

    def bare(self) -> list[Epoch]:
        """(a)."""
        with (self.table / "manifest.csv").open(newline="") as opened:
            labels = torch.tensor([int(row["label"]) for row in csv.DictReader(opened)])[: self.n]
        raw = torch.from_numpy(np.load(self.table / "images.npy")[: self.n])
        images = raw.contiguous(memory_format=torch.channels_last)
        del raw
        model = self.make_model().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
        epochs = []
        for _ in range(self.epochs):
            epoch, total = Epoch(time.perf_counter()), torch.zeros(())
            for index in torch.randperm(self.n).split(self.batch):
                pixels = images[index].float().mul_(2 / 255).sub_(1)
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                    loss = F.cross_entropy(model(pixels), labels[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.detach()
            epoch.trained = epoch.ended = time.perf_counter()
            epochs.append(epoch)
        return epochs

    def suite(self, probes: list[Any] | None = None) -> list[Epoch]:
        """(b), or (c) if there are probes."""
        from lightning.pytorch.callbacks import LambdaCallback

        from lightning_app.cli import SuiteCLI, start

        epochs: list[Epoch] = []

        def note(moment: str) -> Callable[..., None]:
            return lambda *_: setattr(epochs[-1], moment, time.perf_counter())

        def begin(*_: Any) -> None:
            epochs.append(Epoch(time.perf_counter()))
            if len(epochs) > 1:
                epochs[-2].ended = epochs[-1].began

        class Timed(SuiteCLI):
            """Notes times before all callbacks and after them."""

            def instantiate_trainer(self, **options: Any) -> Any:
                made: Any = super().instantiate_trainer(**options)
                first = LambdaCallback(
                    on_train_epoch_start=begin, on_train_epoch_end=note("probing"), on_train_end=note("ended")
                )
                last = LambdaCallback(on_train_batch_end=note("trained"), on_train_epoch_end=note("probed"))
                made.callbacks[:] = [first, *made.callbacks, last]
                return made

        data = {"table": str(self.table), "n_train": self.n, "n_val": _N_VAL if probes else 0, "n_test": 0}
        config = {
            "runs": "runs",
            "model": {"backbone": self.network},
            "data": {
                "class_path": "TableDataModule",
                "init_args": data | {"image_size": self.side, "batch_size": self.batch},
            },
            "trainer": {
                "max_epochs": self.epochs,
                "accelerator": "cpu",
                "precision": "bf16-mixed" if self.bf16 else "32-true",
                "callbacks": probes or [],
            },
        }
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                start({"subcommand": "fit", "fit": config}, kind=Timed)
        finally:
            shutil.rmtree("runs", ignore_errors=True)
        return epochs

    def files(self, folder: Path) -> list[Epoch]:
        """(d)."""
        loader = DataLoader(Files(folder), batch_size=self.batch, shuffle=True)
        model = self.make_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
        epochs = []
        for _ in range(self.epochs):
            epoch, correct, total = Epoch(time.perf_counter()), 0, torch.zeros(())
            for images, labels in loader:
                optimizer.zero_grad()
                logits = model(images)
                loss = F.cross_entropy(logits, labels)
                loss.backward()
                optimizer.step()
                correct += int((logits.argmax(dim=1) == labels).sum())
                total += loss.detach()
            epoch.trained = epoch.ended = time.perf_counter()
            epochs.append(epoch)
        return epochs

    def make_model(self) -> nn.Module:
        """The network, as the suite makes it."""
        options: dict[str, Any] = {"drop_rate": 0.5} if self.network.startswith("vgg") else {}
        model: nn.Module = timm.create_model(self.network, num_classes=2, **options)
        return model


class Files(Dataset[tuple[Tensor, int]]):
    """Image files, each decoded whenever it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())

    def __len__(self) -> int:
        """Number of files."""
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """An image of grey levels up to 255, as floats, and its label."""
        with Image.open(self.files[i]) as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        pixels = (pixels.astype(float) * 255 / pixels.max()).astype(np.uint8)
        resized = F.interpolate(torch.from_numpy(pixels).float()[None], (_SIDE, _SIDE), mode="bilinear", antialias=True)
        return resized[0], i % 2


def picture(i: int, side: int) -> NDArray[np.uint8]:
    """A smooth colour picture ``(side, side, 3)`` with some noise, and stripes that tell its class."""
    rng = np.random.default_rng(i)
    coarse = Image.fromarray(rng.integers(0, 180, (12, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    stripes = np.broadcast_to(np.arange(side) // 8 % 2 * 40, (side, side))
    noise = rng.integers(0, 16, (side, side, 3))
    return (smooth.clip(0, 199) + (stripes.T if i % 2 else stripes)[..., None] + noise).astype(np.uint8)


def write_pictures(table: Path, n: int, side: int) -> Path:
    """Write an image table; its folder."""
    from datamodules import write_table

    rows = ({"label": i % 2, "group": i} for i in range(n))
    write_table(table, ((picture(i, side).transpose(2, 0, 1), row) for i, row in enumerate(rows)))
    return table


@dataclass(frozen=True)
class Rounds:
    """The epochs of one rival in every round, the first of each turn left out."""

    rounds: list[list[Epoch]]

    def all(self, what: str) -> list[float]:
        """A property of every epoch."""
        return [getattr(epoch, what) for epoch in chain.from_iterable(self.rounds)]

    def medians(self, what: str) -> list[float]:
        """Its median in every round."""
        return [median(getattr(epoch, what) for epoch in epochs) for epochs in self.rounds]

    def times_faster(self, theirs: "Rounds", what: str = "training") -> str:
        """Their seconds of training in ours, and the smallest and the largest such ratio of one round."""
        of_all = median(theirs.all("training")) / median(self.all(what))
        by_round = [them / us for us, them in zip(self.medians(what), theirs.medians("training"), strict=True)]
        return f"**{of_all:.2f}** ({min(by_round):.2f} to {max(by_round):.2f})"


def take_turns(rounds: int, rivals: dict[str, Turn]) -> dict[str, Rounds]:
    """Train every rival in every round."""
    found = {name: Rounds([]) for name in rivals}
    for i in range(rounds):
        for name in sorted(rivals, reverse=bool(i % 2)):  # whoever comes first meets a cooler machine
            gc.collect()
            found[name].rounds.append(rivals[name]()[1:])
    return found


def computes_bf16() -> bool:
    """Whether the hardware multiplies it."""
    from metrics import computes_in_bf16

    return computes_in_bf16("auto", torch.device("cpu"))


def throughput(scale: Scale, place: Path) -> Iterator[str]:
    """(b) against (a), and the probes in (c)."""
    from models import default_batch_size

    shipped = yaml.safe_load(EXPERIMENTS.read_text(encoding="utf-8"))["trainer"]["callbacks"]
    bf16, batch = computes_bf16(), default_batch_size(scale.network)
    title = f"{scale.network}, N = {scale.n}, batch {batch}, {'bf16' if bf16 else 'float32'}"
    shares = [
        f"| {title} | epoch with probes | training | probes' share of it | share of a run | wanted at most |",
        "|---|---|---|---|---|---|",
    ]
    yield f"| {title} | bare loop | suite | ratio (by round) | wanted |"
    yield "|---|---|---|---|---|"
    for side in scale.sides:
        table = write_pictures(place / f"table{side}", scale.n + _N_VAL, side)
        task = Task(table, scale.network, scale.n, side, batch, scale.epochs, bf16)
        defaults = {"probes with default options": [{"class_path": name} for name in _PROBES]}
        probed = dict(defaults)
        if side == scale.sides[0]:
            probed["probes of experiments.yaml"] = shipped
        rivals: dict[str, Turn] = {name: partial(task.suite, probes) for name, probes in probed.items()}
        found = take_turns(scale.rounds, rivals | {"bare": task.bare, "suite": task.suite})
        bare, ours = found.pop("bare"), found.pop("suite")
        for label, what, wanted in (("training", "training", "0.95"), ("whole epochs", "whole", "")):
            a, b = scale.n / median(bare.all("training")), scale.n / median(ours.all(what))
            ratio = ours.times_faster(bare, what)
            yield f"| {side}×{side}, {label} | {a:.1f}/s | {b:.1f}/s | {ratio} | {wanted} |"
        for name, theirs in found.items():
            epochs = [epoch for round_ in theirs.rounds for epoch in round_]
            measured = [epoch for epoch in epochs if epoch.measuring > max(each.measuring for each in epochs) / 4]
            whole, training = (median(getattr(epoch, what) for epoch in measured) for what in ("whole", "training"))
            probing = median(epoch.measuring for epoch in measured)
            rests = 5 if name in defaults else 3  # epochs from one measurement to the next
            share = probing / (rests * (whole - probing) + probing)
            seconds = f"{whole:.2f} s | {training:.2f} s"
            shares.append(f"| {side}×{side}, {name} | {seconds} | {probing / whole:.0%} | **{share:.0%}** | 33% |")
    yield ""
    yield from shares


def reference(scale: Scale, place: Path) -> Iterator[str]:
    """(b) against (d)."""
    from datamodules import write_table
    from datamodules.images import resize
    from models import default_batch_size

    bf16 = computes_bf16()
    yield f"| {_SIDE}×{_SIDE} | files, float32 | suite, {'bf16' if bf16 else 'float32'} | ratio (by round) | wanted |"
    yield "|---|---|---|---|---|"
    for network, n, wanted in scale.reference:
        folder, table = place / f"{network}-files", place / f"{network}-table"
        folder.mkdir()
        samples = []
        for i in range(n):
            file = folder / f"{i:05}.jpg"
            Image.fromarray(picture(i, _FILE_SIDE)).save(file, quality=90)
            with Image.open(file) as image:
                pixels = torch.from_numpy(np.array(image).transpose(2, 0, 1))
            samples.append((resize(pixels[None], _SIDE, antialias=True)[0].numpy(), {"label": i % 2, "group": i}))
        write_table(table, samples)
        task = Task(table, network, n, _SIDE, default_batch_size(network), scale.epochs, bf16)
        found = take_turns(scale.rounds, {"files": partial(task.files, folder), "suite": task.suite})
        d, b = (f"{n / median(found[name].all('training')):.1f}/s" for name in ("files", "suite"))
        ratio = found["suite"].times_faster(found["files"])
        yield f"| {network}, N = {n}, batch {task.batch} | {d} | {b} | {ratio} | {wanted:g} |"


def memory(scale: Scale, place: Path) -> Iterator[str]:
    """(b) and (a), each in a process of its own."""
    table = write_pictures(place / "table", scale.n_memory, _SIDE)
    bf16 = computes_bf16()
    peaks: dict[str, list[int]] = {"bare": [], "suite": []}
    for _ in range(min(2, scale.rounds)):
        for side, peak in peaks.items():
            words = [sys.executable, __file__, "memory", "--alone", side, "--table", str(table), f"--bf16={int(bf16)}"]
            peak.append(int(output([*words, "--quick"] if scale is QUICK else words, place)))
    bare, ours = (median(peak) for peak in peaks.values())
    title = f"{scale.network}, N = {scale.n_memory}, {_SIDE}×{_SIDE}×3, batch 32"
    yield f"| {title} | bare loop | suite | more | wanted at most |"
    yield "|---|---|---|---|---|"
    yield f"| peak memory | {bare:.0f} MB | {ours:.0f} MB | **{ours - bare:.0f} MB** | 300 MB |"


def peak_alone(side: str, table: Path, scale: Scale, bf16: bool) -> int:
    """Train in this process; its peak memory in MB."""
    task = Task(table, scale.network, scale.n_memory, _SIDE, 32, 1, bf16)
    if side == "bare":
        task.bare()
    else:
        task.suite()
    status = Path("/proc/self/status").read_text()  # the peak that getrusage knows may be that of the parent
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def start(scale: Scale, place: Path) -> Iterator[str]:
    """Commands from the start of their process."""
    (place / "first_step.py").write_text(_FIRST_STEP)
    table = write_pictures(place / "table", 100, 32)
    suite = [sys.executable, "-m", "lightning_app"]
    fit = [*suite, "fit", "--model.backbone", "test_resnet", "--data", "TableDataModule", "--data.table", str(table)]
    fit += ["--data.n_train", "60", "--data.n_val", "0", "--data.n_test", "20", "--data.image_size", "32"]
    fit += ["--trainer.callbacks+", "first_step.FirstStep", "--trainer.accelerator", "cpu"]
    rows = {
        "imports": [sys.executable, "-c", "import torch, lightning, timm"],
        "first step": fit,
        "help": [*suite, "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(1 + scale.starts):
        for name, words in rows.items():
            began = time.perf_counter()
            said = output(words, place)
            taken[name].append(time.perf_counter() - began)
            if name == "first step" and "first step" not in said:
                sys.exit(f"no first step: {said}")
            shutil.rmtree(place / "runs", ignore_errors=True)
    imports, first, shown = (times[1:] for times in taken.values())  # files are in the system's memory by then
    by_round = [ours / theirs for ours, theirs in zip(first, imports, strict=True)]
    ratio = f"**{median(first) / median(imports):.2f}** ({min(by_round):.2f} to {max(by_round):.2f})"
    yield "| from the start of the process | seconds | ratio (by round) | wanted at most |"
    yield "|---|---|---|---|"
    yield f"| `import torch, lightning, timm` | {median(imports):.2f} | | |"
    yield f"| first step of `lightning fit` | {median(first):.2f} | {ratio} | 1.3 |"
    yield f"| `lightning --help` | **{median(shown):.2f}** | | 1 s |"


def output(words: list[str], place: Path) -> str:
    """What a command prints."""
    search = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(words, capture_output=True, text=True, cwd=place, env=os.environ | {"PYTHONPATH": search})
    if done.returncode:
        sys.exit(f"{' '.join(words)} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """The command line."""
    tables = {"throughput": throughput, "reference": reference, "memory": memory, "start": start}
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=(*tables, "all"))
    words.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    words.add_argument("--alone", choices=("bare", "suite"), help=argparse.SUPPRESS)
    words.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    words.add_argument("--bf16", type=int, help=argparse.SUPPRESS)
    given = words.parse_args()
    scale = QUICK if given.quick else Scale()
    os.environ["WANDB_MODE"] = "offline"
    if given.alone:
        print(peak_alone(given.alone, given.table, scale, bool(given.bf16)))
        return
    for name in tables if given.what == "all" else (given.what,):
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            for line in tables[name](scale, Path(place)):
                print(line, flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
