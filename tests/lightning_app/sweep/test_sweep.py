"""`lightning sweep` as people run it: killed, doubled, sabotaged, on a full disk."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from lightning_app import lease
from lightning_app.main import main
from tests.lightning_app.conftest import mistake
from tests.lightning_app.sweep.conftest import ROOT, WriteGrid, sabotaged, sweeping, swept

TIMES = ("seconds", "memory", "started", "starts", "first_epoch")


def records(runs: str = "runs") -> dict[str, dict[str, Any]]:
    """Every record, without what depends on when and how often it was started."""
    found = {file.parent.name: json.loads(file.read_text()) for file in Path(runs).glob("mine/*/result.json")}
    return {
        run_id: {k: v for k, v in record.items() if k.split("/")[0] not in TIMES} for run_id, record in found.items()
    }


def litter(runs: str = "runs") -> list[Path]:
    """What should have gone: partial files, leases that are held."""
    hidden = [f for f in Path(runs).rglob(".*") if f.name not in (".leases", ".properties")]
    held = lease.holders(Path(runs) / "mine/.leases")  # a process that was killed leaves its own, known to be dead
    return hidden + [Path(key) for key, holder in held.items() if not holder.dead]


def starts(runs: str = "runs") -> int:
    """How often a cell has been started."""
    return sum(len(file.read_text().splitlines()) for file in Path(runs).glob("mine/*/starts.jsonl"))


@pytest.mark.slow
def test_a_grid_runs_and_the_same_command_then_does_nothing(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=2)
    code, out, err = swept(file)
    assert code == 0, err
    assert len(records()) == 2
    assert "\x1b" not in out + err
    for seed in range(2):
        assert len(re.findall(rf"seed_everything={seed}\b", err)) == 1, err  # one line per event
    written = {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*.*") if file.is_file()}
    code, out, err = swept(file)
    assert code == 0, err
    assert {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*.*") if file.is_file()} == written


@pytest.mark.slow
def test_cells_that_go_wrong_cost_themselves_only(write_grid: WriteGrid) -> None:
    plan = {1: "crash", 2: "hang", 3: "hog", 4: "refuse", 5: "segfault", 7: "verbose", 8: "own disk"}
    file = write_grid(seeds=9, callbacks=sabotaged(plan))
    code, out, err = swept(file, "--patience", "0.4", "--memory", "6", "--workers", "2")
    assert code == 1, err
    assert {record["seed"] for record in records().values()} == {0, 6}
    failures = {f["seed"]: f for f in (json.loads(p.read_text()) for p in Path("runs").glob("mine/*/failed.json"))}
    assert {seed: failure["kind"] for seed, failure in failures.items()} == {
        1: "crashed", 2: "hung", 3: "memory", 4: "refused", 5: "crashed", 7: "crashed", 8: "crashed",
    }  # fmt: skip
    assert {seed: failure["attempts"] for seed, failure in failures.items()} == {seed: 1 + (seed != 4) for seed in plan}
    assert "the roof has come down" in failures[1]["message"]
    assert "SIGSEGV" in failures[5]["message"]
    assert len(failures[7]["message"]) < 5000
    for seed, failure in failures.items():
        log = Path("runs/mine") / failure["run_id"] / failure["log"]
        assert f"seed_everything={seed}" in out + err
        assert log.is_file()
    log = Path("runs/mine") / failures[1]["run_id"] / failures[1]["log"]
    assert log.read_text().count("RuntimeError: the roof has come down") >= 2
    assert litter() == []


@pytest.mark.slow
def test_a_failure_that_passes_is_mended_by_the_second_attempt(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=2, callbacks=sabotaged({0: "crash", 1: "killed"}, times=1))
    code, _, err = swept(file)
    assert code == 0, err
    assert len(records()) == 2
    assert [json.loads(p.read_text())["starts"] for p in Path("runs").glob("mine/*/result.json")] == [2, 2]
    assert not list(Path("runs").glob("mine/*/failed.json"))


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_an_undisturbed_one(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=3, max_epochs=16)  # so that cells outlast the pauses below
    code, _, err = swept(file, "--runs", "whole")
    assert code == 0, err
    rng = random.Random(0)
    kills = 0
    while kills < 2:
        with sweeping(file, "--runs", "killed") as process:
            seen = starts("killed")
            while starts("killed") == seen and process.poll() is None:
                time.sleep(0.1)
            time.sleep(rng.uniform(0, 2))
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        for result in Path("killed").rglob("result.json"):
            json.loads(result.read_text())
    code, _, err = swept(file, "--runs", "killed")
    assert code == 0, err
    assert kills
    assert starts("killed") > starts("whole") == len(records("killed")) == 3
    assert records("killed") == records("whole")
    assert litter("killed") == []
    for run_id in records("whole"):
        assert (Path("killed/mine") / run_id / "metrics.csv").read_text() == (
            Path("whole/mine") / run_id / "metrics.csv"
        ).read_text()


@pytest.mark.slow
def test_two_sweeps_at_once_do_each_cell_once(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=4)
    with sweeping(file, "--workers", "1") as one, sweeping(file, "--workers", "1") as other:
        outputs = [process.communicate(timeout=300) for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], outputs
    assert len(records()) == 4
    assert [json.loads(p.read_text())["starts"] for p in Path("runs").glob("mine/*/result.json")] == [1] * 4
    assert not list(Path("runs").glob("mine/.leases/*"))
    done = Counter(line for _, err in outputs for line in re.findall(r"✓.*?(seed_everything=\d)", err))
    assert done == Counter({f"seed_everything={seed}": 1 for seed in range(4)})


@pytest.mark.slow
def test_ctrl_c_stops_and_the_same_command_goes_on(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=2, max_epochs=400)
    for number in (signal.SIGINT, signal.SIGTERM):
        with sweeping(file) as process:
            seen = starts() + 1
            while starts() < seen or not list(Path("runs").glob("mine/*/metrics.csv")):
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 130, err
            assert err.splitlines()[-1] == "stopped: the same command goes on where it was"
            assert "Traceback" not in err


@pytest.mark.slow
def test_a_cell_that_was_taken_over_stops_and_leaves_the_folder_alone(write_grid: WriteGrid) -> None:
    file = write_grid(seeds=1, max_epochs=100_000)
    with sweeping(file) as process:
        while not list(Path("runs").glob("mine/*/metrics.csv")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        (held,) = Path("runs").glob("mine/.leases/*")
        said = json.loads(held.read_text()) | {"pid": os.getpid(), "start": lease._start(os.getpid())}
        held.with_name(held.name.replace(".1", ".3")).write_text(json.dumps(said))
        (table,) = Path("runs").glob("mine/*/metrics.csv")
        while time.time() - table.stat().st_mtime < 8:  # it notices at its next beat, and ends its epoch
            time.sleep(0.5)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "is at it" in err
    assert not list(Path("runs").glob("mine/*/failed.json"))


def test_shards_have_every_cell_once(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_grid(seeds=5)
    listed = []
    for part in (1, 2, 3):
        main(["sweep", "--config", str(file), "--dry-run", "--shard", f"{part}/3"])
        listed.append(re.findall(r"seed_everything=(\d)", capsys.readouterr().out))
    assert [len(seeds) for seeds in listed] == [2, 2, 1]
    assert sorted(chain(*listed)) == list("01234")


def test_what_cannot_run_is_found_before_anything_starts(
    write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_grid(
        {"product": {"data.n_train": [40, 4000, "many"], "seed_everything": [0, 1]}},
        {"set": {"data.table": "nowhere"}},
        {"set": {"model.backbone": "vgg11"}},
    )
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "--config", str(file)])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    for part in ("n_train=4000 is more than", "'many'", "no image table at nowhere", "16x16 do not fit vgg11"):
        assert err.count(part) == 1, err
    assert err.splitlines()[-1].startswith("lightning: error: no cell was started: the grid has 4 problems")
    assert not Path("runs").exists()


def test_a_dry_run_lists_the_cells_and_leaves_nothing(
    write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_grid({"product": {"seed_everything": [0, 1], "data.n_train": [20, 40]}})
    before = set(Path().rglob("*"))
    main(["sweep", "--config", str(file), "--dry-run"])
    out = capsys.readouterr().out
    for seed in (0, 1):
        for n_train in (20, 40):
            assert f"n_train={n_train} seed_everything={seed}" in out
    assert set(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--grid", "mime"], "no grid 'mime'"),
        (["--shard", "3/2"], "'3/2' is no part: write I/N"),
        (["--only", "n_train=3"], "no cell has n_train=3"),
        (["--skip", "n_train=40"], "no cell of grid 'mine' is left"),
        (["--workers", "0"], "at least 1"),
        (["--worker", "2"], "unrecognized arguments: --worker 2"),
        (["--set", "name=other"], "'name', which is the same for all runs of a grid"),
        (["--runs", "/proc/none", "--dry-run"], ""),
        (["--shard", "9/9"], ""),
        (["--dry-run", "--status"], "not allowed with"),
    ],
)
def test_a_mistake_on_the_command_line_costs_one_line(
    options: list[str], expected: str, write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["sweep", "--config", str(write_grid()), *options]
    if expected:
        assert expected in mistake(capsys, *argv)
    else:
        main(argv)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['sweep', '--help']); "
        "print(sorted({'torch', 'lightning', 'numpy', 'wandb', 'timm'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--dry-run" in done.stdout


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_one_line(write_grid: WriteGrid) -> None:
    code, _, err = swept(write_grid(), "--runs", "/proc/none")
    assert code == 2
    assert err.splitlines()[-1].startswith("lightning: error: cannot write to the runs folder /proc/none")
    assert "Traceback" not in err


def _small_disk_possible() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _small_disk_possible(), reason="this system lets nobody but root mount a file system")
@pytest.mark.parametrize("size", ["200k", "1500k"])
def test_a_full_disk_stops_with_one_line_and_leaves_nothing_torn(size: str, write_grid: WriteGrid) -> None:
    file = write_grid(seeds=4)
    Path("small").mkdir()
    script = (
        f"mount -t tmpfs -o size={size} tmpfs small && "
        f"{sys.executable} -m lightning_app sweep --config {file} --runs small/runs; code=$?; "
        "cp -r small kept; exit $code"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode in (1, 2), done.stderr
    assert (done.stdout + done.stderr).count("No space left on device") == 1
    assert "Traceback" not in done.stdout + done.stderr
    for result in Path("kept").rglob("result.json"):
        json.loads(result.read_text())
    if size == "1500k":
        shutil.move("kept/runs", "runs")
        code, _, err = swept(file)
        assert code == 0, err
        assert len(records()) == 4
