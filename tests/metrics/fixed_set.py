"""Measures one fixed set in every way and writes every digit, to be compared between machines and processes.

Run as a program it prints them as JSON. With an argument it is one of two processes that share the work, and writes
them to that folder.
"""

import json
import platform
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from metrics import (
    class_pair_sharpness,
    image_sharpness,
    intrinsic_dimension,
    label_sharpness,
    map_shared,
    nearest_enemies,
    nearest_friends,
    nearest_neighbors,
    neighborhoods,
    neighbors,
    pairs,
    sharpest_pairs,
    sharpness_curve,
)
from metrics.products import int8_products_are_exact

LAST_RESORT = 200  # seconds after which a process that waits for the other one ends itself

Findings = dict[str, str]


def measure() -> Findings:
    """Everything that must be the same to the last digit, as text."""
    rng = np.random.default_rng(20)
    latent = rng.uniform(size=(310, 4))
    extremes = rng.choice([0, 1, 254, 255], (310, 1, 9, 9)).astype(np.uint8)
    smooth = (latent @ rng.uniform(0, 60, (4, 81))).astype(np.uint8).reshape(310, 1, 9, 9)
    features = np.tanh(latent @ rng.normal(size=(4, 33)))
    labels = rng.integers(5, size=310)
    ties = rng.integers(0, 4, (310, 3)).astype(np.float32)
    found: Findings = {}
    for name, points in (("extremes", extremes), ("smooth", smooth), ("features", features), ("ties", ties)):
        space = "pixels" if points.dtype == np.uint8 else "features"
        found[f"{name} K_F"] = repr(label_sharpness(points, labels, space=space))
        found[f"{name} K_F of samples"] = repr(
            label_sharpness(points, labels, max_samples=60, trials=3, seed=1, space=space)
        )
        found[f"{name} curve"] = repr(sharpness_curve(points, labels, [30, 90], trials=2, space=space))
        found[f"{name} class pairs"] = repr(class_pair_sharpness(points, labels, space=space))
        found[f"{name} sharpest pairs"] = repr(sharpest_pairs(points, labels, 50, space=space))
        images = image_sharpness(points, labels, space=space)
        found[f"{name} images"] = repr((images.values.tolist(), images.enemies.tolist()))
        for nearest in (nearest_enemies, nearest_friends):
            found[f"{name} {nearest.__name__}"] = repr([part.tolist() for part in nearest(points, labels)])
        found[f"{name} neighbours"] = repr([part.tolist() for part in nearest_neighbors(points, 25)])
    for name, points in (("smooth", smooth), ("features", features)):
        shared = neighborhoods(points, estimators=["mle", "twonn"], max_samples=300)
        for estimator in ("mle", "twonn"):
            found[f"{name} {estimator}"] = repr(intrinsic_dimension(shared, estimator=estimator))
    return found


def check_int8_products() -> tuple[bool, bool]:
    """Whether int8 products are exact where they can overflow 16 bits, and whether they are used."""
    left, right = torch.full((8, 256), 127, dtype=torch.int8), torch.full((8, 256), -128, dtype=torch.int8)
    exact = platform.machine() in ("x86_64", "AMD64") and bool((torch._int_mm(left, right.T) == -128 * 127 * 256).all())
    return exact, int8_products_are_exact()


def share(folder: Path) -> None:
    """One of two processes, in tiles so small that both have work, with a note of how much each did."""
    for module, limits in (
        (neighbors, {"_SQUARE": 0, "_TILE_ROWS": 70, "_TILE_COLUMNS": 100}),
        (pairs, {"_OWN_BLOCK": 50, "_TILE_ROWS": 40, "_TILE_COLUMNS": 70}),
    ):
        for name, limit in limits.items():
            assert hasattr(module, name)
            setattr(module, name, limit)
    dist.init_process_group("gloo")
    try:
        done: list[int] = []

        def square(task: int) -> int:
            done.append(task)
            return task**2

        squares = map_shared(square, range(7))
        failure = ""
        try:
            map_shared(lambda task: 1 // task, [1, 0, 1])  # the second process fails alone
        except ZeroDivisionError as error:
            failure = repr(error)
        tiles: list[int] = []
        nearest_neighbors(np.eye(200), 3, progress=lambda at, of: tiles.append(of))
        sharpest_pairs(np.eye(200), np.arange(200) % 9, 3, progress=lambda at, of: tiles.append(of))
        rank = dist.get_rank()
        result = {"squares": squares, "done": done, "failure": failure, "tiles": tiles, "found": measure()}
        (folder / f"{rank}.json").write_text(json.dumps(result))
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    signal.alarm(LAST_RESORT)
    if len(sys.argv) > 1:
        share(Path(sys.argv[1]))
    else:
        exact, used = check_int8_products()
        print(json.dumps({"exact": exact, "used": used, "found": measure()}))
