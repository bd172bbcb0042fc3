"""How fast the exact properties are, as ratios against rivals that are timed in the same run.

    python benchmarks/metrics.py            all rows, about ten minutes on two cores, 9 GB of memory
    python benchmarks/metrics.py sharpness  only rows whose name contains a word

The sides are timed alternately and the best time counts, so that a busy moment of the machine spoils neither; a side
that takes more than 5 s is timed once. Rivals get what suits them: floating-point copies are made before the clock
starts, and all cores are theirs. Images are uniform noise: no side's time depends on the pixels.

Not every wanted ratio is reached on every machine and day. On two cores with AMX, products of int8 took 1.1 to 2.0
ps per multiplication at different hours, torch.cdist 20 to 30 ps, and we get 5–6× for M = 1,000, 7–10× for 10,000
images and 17–23× for the two dimensions with their standard errors (which take a quarter of that time and which
scikit-dimension does not compute). Beside the products, which are at most a third of the time for M = 1,000, it
goes into one pass that turns x into x − 128, one for the norms, and gathering images by label. Tried: blocks of 2¹²
… 2¹⁷ dimensions and 128 … 2,048 images, norms of 16 … 64 images at a time, products of whole rows and of parts. Not
tried: one pass that yields norms and products.
"""

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Python looks for modules beside the script first, where this file would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import numpy as np
import skdim
import torch
from sklearn.neighbors import NearestNeighbors

from metrics import intrinsic_dimension, label_sharpness, nearest_neighbors, neighborhoods
from metrics.products import int8_products_are_exact

Work = Callable[[], object]
_REPEATS, _LONG = 5, 5.0
_SIDE = 224


@dataclass(frozen=True)
class Row:
    """One piece of work, done by us and by a rival."""

    work: str
    rival: str
    ours_s: float
    rival_s: float
    wanted: float

    def __str__(self) -> str:
        ratio = self.rival_s / self.ours_s
        return (
            f"| {self.work} | {self.ours_s:.3f} s | {self.rival} | {self.rival_s:.2f} s "
            f"| **{ratio:.1f}×** | {f'{self.wanted:g}×' if self.wanted else '–'} |"
        )


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="", help="run only rows whose name contains this")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(*_many_small())
        return
    int8 = "int8" if int8_products_are_exact() else "float32 blocks"
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, integer products by {int8}\n")
    print("| work | ours | rival | its time | ratio | wanted |\n|---|---|---|---|---|---|")
    for name, rows in _ROWS.items():
        if given.only in name:
            for row in rows():
                print(row, flush=True)
    if given.only in "many small":
        # In a process of its own, whose peak memory is that of this work alone.
        child = subprocess.run([sys.executable, __file__, "--child"], capture_output=True, text=True, check=True)
        sharpness, dimension, megabytes = map(float, child.stdout.split())
        work = "K_F and d_data (MLE, TwoNN, standard errors), 50,000 images of 32×32×3"
        took = f"{sharpness:.1f} s + {dimension:.1f} s"
        print(f"| {work} | {took} | memory over the images | {megabytes:.0f} MB | – | 60 s, 1,500 MB |")


def _sharpness() -> list[Row]:
    images, labels = _images(1000), np.arange(1000) % 2
    floats = images.float().flatten(1) / 255
    one, other = floats[::2].contiguous(), floats[1::2].contiguous()
    work = f"K_F, M = 1,000, {_SIDE}×{_SIDE}×3"
    rows = [
        _row(
            work, "torch.cdist, matrix products, cross-class block, floats ready", 6,
            lambda: label_sharpness(images, labels),
            lambda: torch.cdist(one, other, compute_mode="use_mm_for_euclid_dist").min(),
        ),
        _row(
            work, "torch.cdist, no matrix products, all pairs, floats ready", 300,
            lambda: label_sharpness(images, labels),
            lambda: torch.cdist(floats, floats, compute_mode="donot_use_mm_for_euclid_dist").min(),
        ),
    ]  # fmt: skip
    return rows


def _sharpness_of_many() -> list[Row]:
    images, labels = _images(10_000), np.arange(10_000) % 2

    def blocks() -> float:
        smallest = np.inf
        for rows in torch.split(images[::2], 1000):
            left = rows.flatten(1).float() / 255
            for columns in torch.split(images[1::2], 1000):
                right = columns.flatten(1).float() / 255
                smallest = min(smallest, float(torch.cdist(left, right, compute_mode="use_mm_for_euclid_dist").min()))
        return smallest

    return [
        _row(
            f"K_F, 10,000 images of {_SIDE}×{_SIDE}×3, all cross-class pairs", "torch.cdist by blocks of 1,000", 15,
            lambda: label_sharpness(images, labels, max_samples=None), blocks,
        )
    ]  # fmt: skip


def _dimension() -> list[Row]:
    images = _images(1750)
    points = images.flatten(1).numpy().astype(np.float64)

    def ours() -> None:
        near = neighborhoods(images)
        for estimator in ("mle", "twonn"):
            intrinsic_dimension(near, estimator=estimator)

    def theirs() -> None:
        skdim.id.MLE(unbiased=True).fit(points, n_neighbors=20, n_jobs=-1)
        skdim.id.TwoNN().fit(points)

    return [
        _row(
            f"d_data by MLE and TwoNN with standard errors, N = 1,750, {_SIDE}×{_SIDE}×3",
            "scikit-dimension's two fits, float64 ready, no standard errors", 25, ours, theirs,
        ),
        _row(
            f"20 neighbours, N = 1,750, {_SIDE}×{_SIDE}×3", "scikit-learn, brute force, float64 ready", 0,
            lambda: nearest_neighbors(images, 20),
            lambda: NearestNeighbors(n_neighbors=20, algorithm="brute", n_jobs=-1).fit(points).kneighbors(),
        ),
    ]  # fmt: skip


def _features() -> list[Row]:
    features = np.random.default_rng(0).normal(size=(5000, 512))
    return [
        _row(
            "20 neighbours, N = 5,000, 512 float64 features", "scikit-learn, brute force", 0,
            lambda: nearest_neighbors(features, 20),
            lambda: NearestNeighbors(n_neighbors=20, algorithm="brute", n_jobs=-1).fit(features).kneighbors(),
        ),
        _row(
            "20 neighbours, N = 5,000, 512 float64 features", "torch.cdist, no matrix products, and topk", 0,
            lambda: nearest_neighbors(features, 20),
            lambda: torch.cdist(
                torch.from_numpy(features), torch.from_numpy(features), compute_mode="donot_use_mm_for_euclid_dist"
            ).topk(21, largest=False),
        ),
    ]  # fmt: skip


_ROWS: dict[str, Callable[[], list[Row]]] = {
    "sharpness": _sharpness,
    "sharpness of many": _sharpness_of_many,
    "dimension": _dimension,
    "features": _features,
}


def _many_small() -> tuple[float, float, float]:
    """Seconds of K_F, seconds of d_data, and peak memory in MB beyond that of the images and of the libraries."""
    images, labels = _images(50_000, side=32), np.arange(50_000) % 10
    label_sharpness(images[:1000], labels[:1000])  # loads what is loaded on first use
    before = _peak_kilobytes()
    began = time.perf_counter()
    label_sharpness(images, labels, max_samples=None)
    between = time.perf_counter()
    near = neighborhoods(images)
    for estimator in ("mle", "twonn"):
        intrinsic_dimension(near, estimator=estimator)
    after = time.perf_counter()
    return between - began, after - between, (_peak_kilobytes() - before) / 1024


def _peak_kilobytes() -> int:
    """Peak memory of this process alone: what the system's getrusage says starts from that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def _images(n: int, side: int = _SIDE) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _row(work: str, rival: str, wanted: float, ours: Work, theirs: Work) -> Row:
    best = [np.inf, np.inf]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(_REPEATS):
            for side, side_work in enumerate((ours, theirs)):
                if turn and best[side] > _LONG:
                    continue
                began = time.perf_counter()
                side_work()
                best[side] = min(best[side], time.perf_counter() - began)
    return Row(work, rival, best[0], best[1], wanted)


if __name__ == "__main__":
    main()
