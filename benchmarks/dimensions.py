"""How far estimates of intrinsic dimension are from the truth, and how honest their standard errors are.

    python benchmarks/dimensions.py bias       estimate against truth on images of known dimension, a few minutes
    python benchmarks/dimensions.py coverage   how often ±1.96 standard errors cover the estimator's own mean, an hour

Both print Markdown tables, as docs/method.md shows them. ``bias --svg FILE`` also draws the figure. Every number
follows from the seeds; nothing is timed. Both use all cores.
"""

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

# Python looks for modules beside the script first, where metrics.py would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules import Manifold
from lightning_app.figures import COLOURS, MARKERS, drawn
from metrics import intrinsic_dimension, neighborhoods

_TRUTHS = (2, 4, 6, 8, 12, 16, 20, 30, 40, 50)
_SIZES = (500, 1000, 1750)
_ESTIMATORS = ("mle", "twonn", "geomle")
_BIAS_DRAWS = 3

_COVERED = (("cube", 2), ("cube", 6), ("cube", 12), ("cube", 20), ("sphere", 5), ("torus", 3))
_COVERAGE_SIZE = 500
_QUICK, _SLOW = ("mle", "twonn"), ("geomle",)
_PART = 50  # draws per task


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bias", "coverage"])
    parser.add_argument("--svg", type=Path, help="draw the figure of the bias there")
    parser.add_argument("--draws", type=int, default=1000, help="draws per manifold for the coverage (default: 1000)")
    given = parser.parse_args()
    if given.what == "bias":
        bias(given.svg)
    else:
        coverage(given.draws)


def bias(svg: Path | None) -> None:
    """Estimates on Manifold's images: 32×32 grey, 8-bit, a uniform cube of known dimension."""
    cells = list(product(_TRUTHS, _SIZES, range(_BIAS_DRAWS)))
    with ProcessPoolExecutor(initializer=_one_thread) as pool:
        found = dict(zip(cells, pool.map(_estimates, *zip(*cells, strict=True)), strict=True))
    columns = list(product(_ESTIMATORS, _SIZES))
    print("| d | " + " | ".join(f"{estimator}, N = {n:,}" for estimator, n in columns) + " |")
    print("|---|" + "---|" * len(columns))
    means = {
        (d, estimator, n): float(np.mean([found[d, n, draw][estimator] for draw in range(_BIAS_DRAWS)]))
        for d, (estimator, n) in product(_TRUTHS, columns)
    }
    for d in _TRUTHS:
        print(f"| {d} | " + " | ".join(f"{means[d, estimator, n]:.1f}" for estimator, n in columns) + " |")
    if svg is not None:
        with drawn("true dimension", "estimate") as (axes, drawing):
            axes.plot([0, _TRUTHS[-1]], [0, _TRUTHS[-1]], color="#777777", lw=1, label="truth")
            for i, estimator in enumerate(_ESTIMATORS):
                for n, style in zip(_SIZES, (":", "--", "-"), strict=True):
                    values = [means[d, estimator, n] for d in _TRUTHS]
                    label = f"{estimator}, N = {n:,}" if n == _SIZES[-1] else None
                    axes.plot(_TRUTHS, values, style, color=COLOURS[i], marker=MARKERS[i], ms=4, label=label)
        svg.write_text(drawing.svg, encoding="utf-8")


def _estimates(d: int, n: int, draw: int) -> dict[str, float]:
    manifold = Manifold(dimension=d, margin=0.0, amount=n, latent_seed=draw, image_size=32)
    images = manifold.render(manifold.latents).round().to(torch.uint8)
    near = neighborhoods(images, estimators=_ESTIMATORS)
    return {estimator: intrinsic_dimension(near, estimator=estimator, seed=draw).value for estimator in _ESTIMATORS}


def coverage(draws: int) -> None:
    """Repeated draws from manifolds: scatter of the estimates, their standard errors, and the intervals' coverage."""
    print(
        f"| manifold | estimator | draws | mean | scatter | mean s.e. | coverage of the 95 % interval |\n{'|---' * 7}|"
    )
    with ProcessPoolExecutor(initializer=_one_thread) as pool:
        for (kind, d), estimators in [*product(_COVERED, [_QUICK]), (_COVERED[1], _SLOW)]:
            parts = [(kind, d, estimators, start, min(start + _PART, draws)) for start in range(0, draws, _PART)]
            found = np.concatenate(list(pool.map(_repeated, *zip(*parts, strict=True))))
            for i, estimator in enumerate(estimators):
                values, errors = found[:, i, 0], found[:, i, 1]
                covered = float((np.abs(values - values.mean()) <= 1.96 * errors).mean())
                print(
                    f"| {kind}, d = {d}, N = {_COVERAGE_SIZE} | {estimator} | {draws:,} | {values.mean():.3f} | "
                    f"{values.std(ddof=1):.4f} | {math.sqrt((errors**2).mean()):.4f} | {covered:.1%} |",
                    flush=True,
                )


def _repeated(kind: str, d: int, estimators: tuple[str, ...], start: int, stop: int) -> NDArray[np.float64]:
    """Values and standard errors, ``(draws, estimators, 2)``."""
    found = []
    for draw in range(start, stop):
        near = neighborhoods(_points(kind, d, np.random.default_rng([d, draw])), estimators=estimators)
        estimates = [intrinsic_dimension(near, estimator=estimator, seed=draw) for estimator in estimators]
        found.append([(estimate.value, estimate.stderr) for estimate in estimates])
    return np.array(found, dtype=np.float64)


def _points(kind: str, d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if kind == "cube":
        return rng.random((_COVERAGE_SIZE, d))
    if kind == "sphere":
        points = rng.normal(size=(_COVERAGE_SIZE, d + 1))
        return points / np.linalg.norm(points, axis=1, keepdims=True)
    angles = rng.uniform(0, 2 * np.pi, (_COVERAGE_SIZE, d))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _one_thread() -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
