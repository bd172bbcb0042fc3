"""What `lightning sweep` gains over one `lightning fit` after another, and whether it survives being killed.

    python benchmarks/sweeping.py speed      24 small cells, both ways: about six minutes on two cores
    python benchmarks/sweeping.py killed     24 cells, killed at 20 random moments: about ten minutes

`speed` is a ratio within one run: the rival runs each cell by the `lightning fit` command with the cell's own
configuration, one after another, with all processors each. Both sides begin with tables and nothing else, and log to
W&B offline, as experiments.yaml does.

`killed` starts a sweep, ends its whole process group by SIGKILL after a random time, and starts it again, twenty times;
then lets it end. The records must be those of an undisturbed sweep, digit by digit, apart from times and counts of
starts; every file must be whole; and every cell must have been finished once.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments.yaml"
KILLS = 20
_OF_THE_START = ("seconds", "memory", "started", "starts", "first_epoch")
_LIGHTNING = [sys.executable, "-m", "lightning_app"]


def write_grid(epochs: int) -> Path:
    """24 cells: three seeds, two pairs of digits, four sizes."""
    content = yaml.safe_load(EXPERIMENTS.read_text(encoding="utf-8"))
    content["trainer"]["max_epochs"] = epochs
    content["data"]["init_args"] |= {"image_size": 32, "n_val": 20, "n_test": 100}
    content["trainer"]["callbacks"][-1]["init_args"] |= {"attacks": ["fgsm"], "n_images": 10}
    product = {
        "seed_everything": [0, 1, 2],
        "data.classes": [[3, 8], [4, 9]],
        "data.n_train": [40, 60, 80, 100],
    }
    content["grids"] = {"bench": [{"product": product}]}
    file = Path("grid.yaml")
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def run(*command: str) -> float:
    """Run a command to its end; the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run([*_LIGHTNING, *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - began


def speed() -> None:
    """The ratio."""
    grid = write_grid(epochs=1)
    run(
        "sweep", "--config", str(grid), "--runs", "first", "--only", "n_train=40", "--only", "seed_everything=0"
    )  # tables
    swept = run("sweep", "--config", str(grid), "--runs", "swept")
    configs = sorted(Path("swept").glob("bench/*/config.yaml"))
    one_by_one = 0.0
    for config in configs:
        one_by_one += run("fit", "--config", str(config), "--runs", "fitted")
    print(f"{len(configs)} cells: one `fit` after another {one_by_one:.0f} s, `sweep` {swept:.0f} s")
    print(f"ratio {one_by_one / swept:.1f} (wanted: at least 3)")


def killed(seed: int) -> None:
    """Whether anything is lost, torn or done twice."""
    grid = write_grid(epochs=3)
    whole = run("sweep", "--config", str(grid), "--runs", "whole")
    print(f"undisturbed: {whole:.0f} s", flush=True)
    rng, kills = random.Random(seed), 0
    finished: dict[str, int] = {}
    while kills < KILLS:
        command = [*_LIGHTNING, "sweep", "--config", str(grid), "--runs", "killed"]
        sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        pause = rng.uniform(0, whole / 3)
        try:
            sweep.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            os.killpg(sweep.pid, signal.SIGKILL)
            sweep.wait()
            kills += 1
        now = {str(file): file.stat().st_mtime_ns for file in Path("killed").glob("bench/*/result.json")}
        again = [file for file, written in finished.items() if now.get(file) != written]
        if again:
            sys.exit(f"done twice: {again}")
        finished = now
        print(f"kill {kills:2} after {pause:4.1f} s: {len(finished):2} of 24 done", flush=True)
        if len(finished) == 24 and kills < KILLS:  # begin another life, so that there is something to kill
            for file in sorted(finished)[::2]:
                shutil.rmtree(Path(file).parent)
                del finished[file]
    run("sweep", "--config", str(grid), "--runs", "killed")
    a, b = records("whole"), records("killed")
    assert len(a) == 24, len(a)
    assert a == b, [run_id for run_id in a if a[run_id] != b.get(run_id)]
    for run_id in a:
        table = Path("bench") / run_id / "metrics.csv"
        assert ("whole" / table).read_bytes() == ("killed" / table).read_bytes(), table
    starts = [json.loads(file.read_text())["starts"] for file in Path("killed").glob("bench/*/result.json")]
    torn = [f for f in Path("killed").rglob(".*") if f.name not in (".leases", ".properties")]
    print(f"{kills} kills: 24 records equal to those of the undisturbed sweep; starts per cell {sorted(starts)}")
    print(f"left behind: {[str(file) for file in torn] or 'nothing'}")


def records(runs: str) -> dict[str, dict[str, Any]]:
    """Every record, without what depends on when and how often it was started."""
    found = {file.parent.name: json.loads(file.read_text()) for file in Path(runs).glob("bench/*/result.json")}
    return {
        run_id: {k: v for k, v in record.items() if k.split("/")[0] not in _OF_THE_START}
        for run_id, record in found.items()
    }


def main() -> None:
    """The command line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", choices=("speed", "killed"))
    words.add_argument("--seed", type=int, default=0, help="seed of the moments")
    given = words.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            speed() if given.what == "speed" else killed(given.seed)
        finally:
            os.chdir("/")


if __name__ == "__main__":
    main()
