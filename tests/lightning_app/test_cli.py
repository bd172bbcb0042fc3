"""The real command line, from configuration to record."""

import csv
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_app.checkpoints import WholeCheckpoints
from lightning_app.main import main
from models import ImageClassifier
from tests.lightning_app.conftest import mistake

Fit = Callable[..., dict[str, Any]]


def weights(folder: str | Path) -> str:
    """Hash of the weights in a run's checkpoint."""
    checkpoint = torch.load(Path(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    digest = hashlib.sha256()
    for name, value in checkpoint["state_dict"].items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_fit_leaves_a_complete_record(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    record = fit()
    for name in (
        *("train/loss", "train/acc", "val/loss", "val/acc", "test/loss", "test/acc"),
        *("data/K_F", "data/d_mle", "data/d_twonn", "data_ref/K_F", "data_ref/d_mle", "repr/d_mle", "repr/d_twonn"),
        *("robust/fgsm_2/acc", "robust/fgsm_2/loss_increase", "robust/pgd_2/acc", "robust/pgd_2/loss_increase_stderr"),
    ):
        assert isinstance(record[name], float), name
        assert math.isfinite(record[name]), name
    assert record["not_finite"] == []
    assert (record["backbone"], record["data"], record["n_train"], record["epochs"]) == ("test_resnet", "tiny", 40, 2)
    assert record["status"] == "finished"
    out = capsys.readouterr().out
    assert "robust/fgsm_2/loss_increase" in out
    assert record["folder"] in out
    assert "wandb sync" in out


def test_metrics_csv_has_a_full_row_per_epoch_and_one_for_the_test(fit: Fit) -> None:
    record = fit()
    with (Path(record["folder"]) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    for row in rows[:2]:
        assert row["train/loss"]
        assert row["val/acc"]
        assert row["data/K_F"]
        assert row["robust/fgsm_2/acc"]
    assert float(rows[2]["test/loss"]) == pytest.approx(record["test/loss"], rel=1e-6)


def test_saved_configuration_is_the_same_run(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    record = fit()
    main(["fit", "--config", str(Path(record["folder"]) / "config.yaml")])
    assert "train again" in capsys.readouterr().out
    assert len(list(Path("runs/test").iterdir())) == 1


def test_finished_run_is_shown_and_rerun_trains_anew_to_the_same_weights(fit: Fit) -> None:
    first = fit()
    before = weights(first["folder"])
    checkpoint = Path(first["folder"]) / "checkpoints" / "last.ckpt"
    written = checkpoint.stat().st_mtime_ns
    assert fit()["seconds"] == first["seconds"]
    assert checkpoint.stat().st_mtime_ns == written
    again = fit("--rerun", "true")
    assert checkpoint.stat().st_mtime_ns != written
    assert weights(again["folder"]) == before


@pytest.mark.parametrize(
    ("option", "value", "same"),
    [
        ("--runs", "elsewhere", True),
        ("--trainer.enable_progress_bar", "true", True),
        ("--data.n_train", "30", False),
        ("--seed_everything", "1", False),
        ("--model.drop_rate", "0.1", False),
    ],
)
def test_run_id_changes_with_what_numbers_depend_on(fit: Fit, option: str, value: str, same: bool) -> None:
    first = fit("--trainer.max_epochs", "1")
    config = json.loads(json.dumps(yaml.safe_load((Path(first["folder"]) / "config.yaml").read_text())))
    from lightning_app.run import identity

    place = config
    *parents, last = option.removeprefix("--").split(".")
    for parent in parents:
        place = place[parent]
    if parents == ["data"]:
        place = place["init_args"]
    place[last] = yaml.safe_load(value)
    assert (identity("fit", config) == first["run_id"]) is same


def test_test_command_measures_the_weights_that_fit_left(fit: Fit, config: Path) -> None:
    record = fit()
    main(["test", "--config", str(config)])
    (other,) = [p for p in Path("runs/test").glob("*/result.json") if str(p.parent) != record["folder"]]
    tested = json.loads(other.read_text())
    assert tested["command"] == "test"
    for name in ("test/loss", "test/acc", "data/K_F", "repr/d_mle", "robust/pgd_2/loss_increase"):
        assert tested[name] == pytest.approx(record[name], rel=1e-6), name


def test_the_line_of_an_epoch_shows_what_was_measured_in_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probes = [{"class_path": "RepresentationDimension", "init_args": {"k": 5, "every_n_epochs": 2}}]
    options = ["--trainer.max_epochs", "5", "--trainer.enable_progress_bar", "true", "--trainer.logger", "false"]
    main(["fit", "--config", str(config), *options, "--trainer.callbacks", json.dumps(probes)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == [f"{epoch}/5" for epoch in range(1, 6)]
    assert all("train/loss" in line for line in lines)
    assert ["repr/d_mle" in line for line in lines] == [False, True, False, True, False]


def test_validate_command_uses_validation_images(fit: Fit, config: Path) -> None:
    record = fit()
    main(["validate", "--config", str(config)])
    (other,) = [p for p in Path("runs/test").glob("*/result.json") if str(p.parent) != record["folder"]]
    assert json.loads(other.read_text())["val/loss"] == pytest.approx(record["val/loss"], rel=1e-6)


def test_predictions_agree_with_the_model(fit: Fit, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = fit()
    capsys.readouterr()
    main(["predict", "--config", str(config)])
    with Path(capsys.readouterr().out.strip()).open() as file:
        rows = list(csv.DictReader(file))
    right = sum(int(row["label"]) == int(float(row["p1"]) > 0.5) for row in rows)
    assert right / len(rows) == pytest.approx(record["test/acc"])
    assert all(float(row["p0"]) + float(row["p1"]) == pytest.approx(1, abs=1e-6) for row in rows)


def test_checkpoint_rebuilds_the_model(fit: Fit) -> None:
    record = fit()
    model = ImageClassifier.from_checkpoint(Path(record["folder"]) / "checkpoints" / "last.ckpt")
    assert model.architecture["backbone"] == "test_resnet"


def test_another_data_set_replaces_the_one_of_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.brain_slices._COUNT", 80)
    main(["fit", "--config", str(config), "--data", "BrainSlices", "--data.table", "brains", "--data.image_size", "32"])
    (file,) = Path("runs").glob("*/*/result.json")
    assert json.loads(file.read_text())["data"] == "BrainSlices"


def test_callbacks_plus_adds_a_probe(fit: Fit) -> None:
    record = fit("--trainer.callbacks+", "RepresentationDimension", "--trainer.callbacks.layers", "[layer1]")
    # The added probe has its own k; the smaller one of the file does not carry over.
    assert "repr/layer1/d_mle" in record
    assert "repr/d_mle" in record


def test_the_split_is_audited_in_every_run(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    record = fit()
    folder = Path(record["folder"])
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("audit/groups", "audit/exact", "audit/near"):
        assert record[name] == 0.0
        assert [float(row[name]) for row in rows] == [0.0] * 3
    assert "split audit" not in capsys.readouterr().err
    assert "SplitCheck" not in (folder / "config.yaml").read_text()


def test_a_configured_audit_replaces_the_default_one(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    record = fit("--trainer.callbacks+", "SplitCheck", "--trainer.callbacks.near", "3")
    assert record["audit/near"] > 30  # noise: every image has another at a relative distance of about √2
    assert capsys.readouterr().err.count("split audit: ") == 1


def test_the_help_names_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--help"])
    assert "\n    SplitCheck " in capsys.readouterr().out


def test_a_strict_audit_stops_a_run(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.callbacks+", "SplitCheck", "--trainer.callbacks.near=3", "--trainer.callbacks.strict=true"]
    assert "near duplicates across splits" in mistake(capsys, "fit", "--config", str(config), *options)
    assert not Path("runs/test").exists()


def test_without_validation_and_without_loggers(fit: Fit) -> None:
    record = fit("--data.n_val", "0", "--trainer.logger", "false")
    assert "val/loss" not in record
    assert not (Path(record["folder"]) / "wandb").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model.backbone", "resnet81"], "unknown backbone 'resnet81'.*did you mean.*resnet18"),
        (["--data.classes", "[0, 7]"], r"class 7 does not exist.*\[0, 1\]"),
        (["--data.classes", "[1, 1]"], "class 1 is named twice"),
        (["--data.n_train", "5000"], "n_train=5000 is more than the 90 .*class 0: 45, class 1: 45"),
        (["--model.backbone", "vgg11"], "16x16 do not fit vgg11.*32x32"),
        (["--trainer.callbacks+", "AdversarialRobustness", "--trainer.callbacks.eps", "[256]"], "eps=256.*0 < eps"),
        (["--trainer.max_epoch", "3"], "no option 'trainer.max_epoch'.*trainer.max_epochs"),
        (["--trainer.max_epochs", "many"], "trainer.max_epochs: expected int.*'many'"),
        (["--data", "MNIST5"], "no class 'MNIST5'.*MNIST5k"),
        (["--model.num_classes", "3"], "model.num_classes is set by the data set"),
        (["--runs", "/proc/none"], "cannot write to the runs folder /proc/none"),
        (["--name", "a/b"], "name='a/b' is no plain folder name"),
        (["--ckpt_path", "nowhere.ckpt"], "checkpoint nowhere.ckpt does not exist"),
        (["--data.table", "nowhere"], "no image table at nowhere.*own-data"),
        (["--grids", "{g: [{product: {model.backbon: [a]}}]}"], "grid 'g' varies 'model.backbon'.*model.backbone"),
        (["--grids", "{g: [{produkt: {a: [1]}}]}"], "produkt"),
    ],
)
def test_mistake_costs_one_line_and_leaves_nothing(
    options: list[str], expected: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert re.search(expected, mistake(capsys, "fit", "--config", str(config), *options))
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data.protocol", "paper"], "data.protocol: expected 'standard' or 'reference', got 'paper'"),
        (["--data.pair", "x"], "data.pair: expected int or null, got 'x'"),
        (["--data", "ProstateMRIUS", "--data.modality", "ct"], "data.modality: expected 'us' or 'mr', got 'ct'"),
        (["--data", "RSNA", "--data.widnow", "bone"], "there is no option 'widnow': did you mean window?"),
        (["--data.classez", "3"], "there is no option 'classez': did you mean classes?"),
    ],
)
def test_a_wrong_option_of_a_data_set_is_explained(
    options: list[str], expected: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in mistake(capsys, "fit", "--config", str(config), *options)


@pytest.mark.parametrize("key", ["backbone", "n_train", "max_epochs", "n_images"])
def test_misspelt_key_in_the_file_is_named(key: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace(f"{key}:", f"{key}x:"))
    assert f"{key}x" in mistake(capsys, "fit", "--config", str(config))


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--trainer.callbacks.n_images=90", "n_images=90 is more than the 10 evaluation images"),
        ("--trainer.callbacks.batch_size=0", "batch_size=0 is out of range"),
    ],
)
def test_probe_that_cannot_measure_leaves_nothing(
    option: str, expected: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["fit", "--config", str(config), "--trainer.callbacks+", "MinimalRadius", option]
    assert expected in mistake(capsys, *argv)
    assert not Path("runs/test").exists()  # values measured before stay in runs/.properties


def test_another_table_is_another_run() -> None:
    from lightning_app.run import identity

    ids = {identity("fit", {"data": {"init_args": {"table": table}}}) for table in ("data/oai", "data/mura")}
    assert len(ids) == 2


def test_lightnings_own_refusals_cost_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mistake(capsys, "fit", "--config", str(config), "--trainer.max_epochs", "-5")


def test_checkpoint_of_another_model_is_refused(fit: Fit, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(Path(fit()["folder"]) / "checkpoints" / "last.ckpt")
    capsys.readouterr()
    line = mistake(
        capsys, "test", "--config", str(config), "--ckpt_path", checkpoint, "--model.backbone", "test_byobnet"
    )
    assert "backbone=test_resnet (here test_byobnet)" in line


@pytest.mark.parametrize("command", ["fit", "test"])
def test_checkpoint_of_another_version_is_refused(
    command: str, fit: Fit, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(fit()["folder"])
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"] = {name.replace("fc.", "head."): weight for name, weight in content["state_dict"].items()}
    torch.save(content, "older.ckpt")
    capsys.readouterr()
    options = ["--config", str(config), "--ckpt_path", "older.ckpt", "--runs", "elsewhere"]
    line = mistake(capsys, command, *options)
    assert re.search(r"another version of this project.*first: backbone\.network\.fc\.\w+\); use that version", line)


def test_damaged_checkpoint_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("damaged.ckpt").write_bytes(b"PK\x03\x04 torn")
    assert "damaged.ckpt is no readable checkpoint" in mistake(
        capsys, "test", "--config", str(config), "--ckpt_path", "damaged.ckpt"
    )


def test_diverged_features_stop_with_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = "{class_path: torch.optim.SGD, init_args: {lr: 1.0e+30}}"
    argv = ["fit", "--config", str(config), "--model.optimizer", optimizer, "--trainer.logger", "false"]
    assert "training diverged" in mistake(capsys, *argv)


@contextmanager
def lightning(*argv: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process of its own that runs the command line, and the file that it prints to."""
    output = Path(f"output-{len(list(Path().glob('output-*')))}")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "lightning_app", *argv],
            stdout=stream,
            stderr=stream,
            # W&B would have it share the service of this process, which outlives a killed run.
            env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
        )
    try:
        yield process, output
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], output: Path, text: str) -> None:
    """Wait until a process has printed something."""
    while text not in output.read_text():
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_run_continues_to_the_weights_of_an_uninterrupted_one(config: Path) -> None:
    options = ["fit", "--config", str(config), "--trainer.max_epochs", "12", "--trainer.enable_progress_bar", "true"]
    with lightning(*options, "--runs", "whole") as (process, output):
        assert process.wait(timeout=300) == 0, output.read_text()

    with lightning(*options, "--runs", "killed") as (process, output):
        wait_for(process, output, "epoch 4/12")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert not list(Path("killed").glob("*/*/result.json"))

    with lightning(*options, "--runs", "killed") as (process, output):
        assert process.wait(timeout=300) == 0, output.read_text()
        assert "continuing from" in output.read_text()
    (a,), (b,) = Path("whole/test").glob("[!.]*"), Path("killed/test").glob("[!.]*")
    assert a.name == b.name
    assert weights(a) == weights(b)
    assert (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()


@pytest.mark.slow
def test_interrupt_keeps_the_checkpoint_and_exits_cleanly(config: Path) -> None:
    options = ["--trainer.max_epochs", "500", "--trainer.enable_progress_bar", "true"]
    with lightning("fit", "--config", str(config), *options) as (process, output):
        wait_for(process, output, "epoch 2/500")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130, output.read_text()
    assert output.read_text().splitlines()[-1].startswith("stopped")
    assert "Traceback" not in output.read_text()
    (folder,) = Path("runs/test").iterdir()
    assert weights(folder)
    assert not (folder / "result.json").exists()


def test_a_row_is_written_before_its_checkpoint(
    fit: Fit, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--config", str(config), "--runs", "whole", "--trainer.max_epochs", "3"])
    writes = 0

    class Killed(BaseException):
        pass

    def killed_after_the_second(*args: Any, real: Any = WholeCheckpoints.save_checkpoint, **options: Any) -> None:
        nonlocal writes
        real(*args, **options)
        writes += 1
        if writes == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpoints, "save_checkpoint", killed_after_the_second)
        patch.setattr("lightning_app.loggers.EpochLog.finalize", lambda *_: None)
        with pytest.raises(Killed):
            fit("--trainer.max_epochs", "3")
    (record,) = Path("runs/test").glob("[!.]*")
    litter = record / f".metrics.csv.{'0' * 32}.partial"  # killed while it was writing
    litter.touch()
    fit("--trainer.max_epochs", "3")
    assert not litter.exists()
    assert "continuing from" in capsys.readouterr().err
    (a,), (b,) = Path("whole/test").glob("*/metrics.csv"), Path("runs/test").glob("*/metrics.csv")
    assert a.read_text() == b.read_text()
    assert len(a.read_text().splitlines()) == 5
