"""Whether a run that is killed again and again ends as if nothing had happened.

    python benchmarks/resuming.py                         20 kills, some eight minutes on two cores
    python benchmarks/resuming.py --kills 3 --epochs 12   to see that it runs

Runs `lightning fit` once to its end: the probes and the logger of experiments.yaml, a small network on small images.
Then the same command in another folder of runs is ended by SIGKILL, with all its processes, at random moments, started
again each time, and at last left alone. The moments are drawn over the time that the undisturbed run took once its
libraries were imported, and the clock stands still while those of another life are: at a kill the run is at most as far
as the undisturbed one was at that moment. What a life was doing then is told by a callback that both runs have.

Wanted: the weights of last.ckpt, metrics.csv and the record are those of the undisturbed run, bit for bit, but for
times, memory and counts of starts; the same files are there, and no partial one.

Reached: 20 kills of 20, all equal (table in benchmarks/README.md).
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

# Python looks for modules beside the script first, where metrics.py would hide the package of its name.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import torch
import yaml

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments.yaml"
_OF_THE_START = ("seconds", "started", "starts", "first_epoch", "memory")
"""How names begin of what depends on when and how often a run was started."""
_JOURNAL = '''
import os
from lightning.pytorch import Callback

class Journal(Callback):
    """Writes down what begins."""

    def _note(self, phase):
        with open(os.environ["JOURNAL"], "a") as journal:
            journal.write(phase + "\\n")

    def setup(self, *_, **__):
        self._note("set-up")

    def on_train_epoch_start(self, *_):
        self._note("training")

    def on_validation_start(self, *_):
        self._note("validation")

    def on_train_epoch_end(self, *_):
        self._note("probes")

    def on_save_checkpoint(self, *_):
        self._note("checkpoint")

    def on_test_start(self, *_):
        self._note("test")
'''
_PHASES = ("set-up", "training", "validation", "probes", "checkpoint", "test")


def write_config(epochs: int) -> None:
    """experiments.yaml in small, with the journal before all probes."""
    content = yaml.safe_load(EXPERIMENTS.read_text(encoding="utf-8"))
    del content["grids"]
    content["model"]["backbone"] = "test_resnet"
    content["data"]["init_args"] |= {"n_train": 200, "n_val": 60, "n_test": 100, "image_size": 32}
    content["trainer"]["max_epochs"] = epochs
    content["trainer"]["callbacks"][-1]["init_args"]["n_images"] = 20  # lest nearly all kills fall into attacks
    content["trainer"]["callbacks"].insert(0, {"class_path": "journal.Journal"})
    Path("config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    Path("journal.py").write_text(_JOURNAL, encoding="utf-8")


class Life:
    """A process of `lightning fit` that has begun to work, and what it writes into its journal."""

    def __init__(self, runs: str) -> None:
        self._journal = Path(f"{runs}.journal").resolve()
        self._journal.unlink(missing_ok=True)
        self._errors = Path(f"{runs}.err")
        search = os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH"))))
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lightning_app", "fit", "--config", "config.yaml", "--runs", runs],
                env=os.environ | {"JOURNAL": str(self._journal), "PYTHONPATH": search, "WANDB_MODE": "offline"},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        while not self._journal.exists() and self._process.poll() is None:
            time.sleep(0.01)

    def ends(self, within: float | None = None) -> bool:
        """Whether it ends by itself in so many seconds."""
        try:
            code = self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            return False
        if code:
            sys.exit(f"`lightning fit` exited with {code}:\n{self._errors.read_text()}")
        return True

    def kill(self) -> None:
        """End it, and every process that it has started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def phases(self) -> list[str]:
        """What it has begun, in order."""
        return self._journal.read_text().split() if self._journal.exists() else []


def compare(whole: Path, killed: Path) -> dict[str, bool]:
    """What is equal in the folders of two runs."""
    records = [json.loads((folder / "result.json").read_text()) for folder in (whole, killed)]
    weights = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, killed)]
    ours, theirs = (content["state_dict"] for content in weights)
    return {
        "weights": ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours),
        "optimiser": equal(*(content["optimizer_states"] for content in weights)),
        "metrics.csv": (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes(),
        "record": lasting(records[0]) == lasting(records[1]),
        "files": files(whole) == files(killed),
    }


def equal(ours: Any, theirs: Any) -> bool:
    """Whether nested lists and mappings of tensors and numbers are the same."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs)


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what depends on when and how often it was started."""
    return {name: value for name, value in record.items() if not name.startswith(_OF_THE_START)}


def files(run: Path) -> list[str]:
    """What lies in a run's folder and among the values kept for all runs; W&B's own files aside, one set per start."""
    runs = run.parents[1]
    found = [*run.rglob("*"), *(runs / ".properties").rglob("*")]
    return sorted(str(file.relative_to(runs)) for file in found if "wandb" not in file.parts)


def main() -> None:
    """Run, kill, compare, print a table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--kills", type=int, default=20, help="how often to kill (default: 20)")
    words.add_argument("--epochs", type=int, default=120, help="epochs of the run (default: 120)")
    words.add_argument("--seed", type=int, default=0, help="seed of the moments")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        kill_often(given.kills, given.epochs, random.Random(given.seed))


def kill_often(kills: int, epochs: int, rng: random.Random) -> None:
    """The whole of it."""
    write_config(epochs)
    life = Life("whole")
    began = time.monotonic()
    life.ends()
    work = time.monotonic() - began
    print(f"undisturbed: {work:.1f} s for {epochs} epochs\n", flush=True)

    moments = sorted(rng.uniform(0, work) for _ in range(kills))
    during: Counter[str] = Counter()
    begun = torn = 0
    for before, moment in itertools.pairwise([0.0, *moments]):
        life = Life("killed")
        if life.ends(within=moment - before):
            print(f"the run has ended after {during.total()} kills: give more --epochs", file=sys.stderr)
            break
        life.kill()
        phases = life.phases()
        during[phases[-1]] += 1
        begun += phases.count("training")
        torn += any(Path("killed").rglob(".*.partial"))
    life = Life("killed")
    life.ends()
    begun += life.phases().count("training")

    [whole], [killed] = (list(Path(runs).glob("*/*/result.json")) for runs in ("whole", "killed"))
    same = compare(whole.parent, killed.parent)
    columns = {"kills": during.total()} | {f"in {phase}": during[phase] for phase in _PHASES}
    columns |= {"while a file was written": torn, "epochs": epochs, "epochs begun": begun}
    cells = [*map(str, columns.values()), *("equal" if verdict else "**different**" for verdict in same.values())]
    print(f"| {' | '.join([*columns, *same])} |\n{'|---' * len(cells)}|\n| {' | '.join(cells)} |")
    if not all(same.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
