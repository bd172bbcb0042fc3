"""Rows per epoch, on disk and in Weights & Biases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from lightning_app.loggers import EpochLog, WandbLogger
from lightning_app.run import Run, make_run
from tests.lightning_app.offline_runs import entries, summary


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = make_run(str(tmp_path / "runs"), "test", "fit", {"a": 1})
    run.create_folder()
    return run


def test_numbers_of_one_epoch_share_a_row(run: Run) -> None:
    log = EpochLog(run)
    log.log_metrics({"epoch": 0, "val/loss": 2.0})
    log.log_metrics({"epoch": 0, "train/loss": 1.0})
    log.log_metrics({"epoch": 1, "train/loss": 0.5})
    log.save()
    assert (run.folder / "metrics.csv").read_text() == "epoch,train/loss,val/loss\n0,1.0,2.0\n1,0.5,\n"


def test_epoch_that_is_run_again_replaces_its_row(run: Run) -> None:
    first = EpochLog(run)
    for epoch in range(3):
        first.log_metrics({"epoch": epoch, "train/loss": 1.0 + epoch})
    first.save()
    second = EpochLog(run)
    second.log_metrics({"epoch": 2, "train/loss": 9.0})
    second.save()
    assert [row["train/loss"] for row in EpochLog(run).rows] == [1.0, 2.0, 9.0]


def test_wandb_holds_the_record_and_a_configuration_to_slice_by(fit: Callable[..., dict[str, Any]]) -> None:
    record = fit()
    folder = record.pop("folder")
    (offline,) = (Path(folder) / "wandb").glob("offline-run-*")
    content = summary(offline)
    assert content["run_id"] == record["run_id"]
    assert content["summary"].items() >= {name: value for name, value in record.items() if value is not None}.items()
    config = content["config"]
    slices = {
        "grid": "test",
        "data_set": "tiny",
        "domain": "natural",
        "backbone": "test_resnet",
        "n_train": 40,
        "seed": 0,
    }
    assert {name: config[name] for name in slices} == slices
    assert config["data"]["init_args"]["n_val"] == 10
    assert wandb.run is None


def test_wandb_makes_panels_over_epochs_and_none_of_errors_and_counts(fit: Callable[..., dict[str, Any]]) -> None:
    record = fit()
    (offline,) = (Path(record["folder"]) / "wandb").glob("offline-run-*")
    told = entries(offline)
    defined = [entry["metric"] for entry in told if entry["type"] == "metric"]
    hidden = {metric["name"] for metric in defined if metric["options"].get("hidden")}
    measured = {name for name, value in record.items() if "/" in name and isinstance(value, float)}
    helpers = {name for name in measured if name.endswith("_stderr")}
    helpers |= {
        f"{part}/{count}" for part in ("data", "data_ref") for count in ("n_images", "n_duplicates", "n_conflicts")
    }
    helpers |= {"data/K_F_n_images", "data_ref/K_F_n_images"}
    assert helpers < measured
    assert hidden == {*helpers, "epoch"}
    assert len(defined) == len(hidden) + 1  # each once, and the rest by one pattern
    assert all(metric["step_metric"] == "epoch" for metric in defined if metric.get("name") != "epoch")
    # A summary of W&B's making, such as a minimum, would stand beside the record's value.
    assert not any("summary" in metric for metric in defined)
    # Where a number is first defined, it has not been logged yet.
    kinds = [entry["type"] for entry in told]
    assert kinds.index("history") > max(i for i, kind in enumerate(kinds) if kind == "metric")
    (started,) = (entry["run"] for entry in told if entry["type"] == "run")
    assert (started["run_group"], started["job_type"]) == ("test", "fit")


def test_second_run_in_one_process_is_a_run_of_its_own(fit: Callable[..., dict[str, Any]]) -> None:
    first, second = fit(), fit("--data.n_train", "30")
    assert first["run_id"] != second["run_id"]
    for record in (first, second):
        (folder,) = (Path(record["folder"]) / "wandb").glob("offline-run-*")
        assert record["run_id"] in folder.name


def test_continued_run_logs_earlier_rows_again(run: Run) -> None:
    logger = WandbLogger()
    earlier = [{"epoch": 0.0, "train/loss": 4.0, "repr/d_mle_stderr": 0.1}, {"epoch": 1.0, "train/loss": 3.0}]
    logger.attach(run, earlier, "title")
    logger.log_metrics({"epoch": 2, "train/loss": 2.0})
    logger.close(exit_code=0)
    (folder,) = (run.folder / "wandb").glob("offline-run-*")
    text = json.dumps(summary(folder))
    assert '"epoch": 2' in text
    assert '"_step": 2' in text
    assert [entry["metric"].get("name") for entry in entries(folder) if entry["type"] == "metric"] == [
        *("epoch", None, "repr/d_mle_stderr")
    ]


def test_unreachable_server_costs_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_MODE")

    def refuse(**options: Any) -> bool:
        raise wandb.errors.AuthenticationError("nobody there\nmore")

    monkeypatch.setattr(wandb, "login", refuse)
    logger = WandbLogger()
    logger.attach(run, [], "title")
    logger.log_metrics({"epoch": 0, "train/loss": 1.0})
    logger.close(exit_code=0)
    assert capsys.readouterr().err == "W&B cannot be reached (nobody there): logging offline\n"
    assert list((run.folder / "wandb").glob("offline-run-*"))


def test_server_that_fails_at_start_costs_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    start = wandb.init

    def init(**options: Any) -> Any:
        if options["mode"] == "online":
            raise wandb.errors.CommError("timed out")
        return start(**options)

    monkeypatch.setattr(wandb, "init", init)
    logger = WandbLogger()
    logger.attach(run, [], "title")
    logger.log_metrics({"epoch": 0, "train/loss": 1.0})
    logger.close(exit_code=0)
    assert capsys.readouterr().err == "W&B cannot be reached (timed out): logging offline\n"


def test_service_that_dies_costs_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    logger = WandbLogger()
    logger.attach(run, [], "title")
    experiment = logger.experiment

    class Dead:
        def log(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("broken pipe")

    logger._experiment = Dead()  # type: ignore[assignment]  # stands for a run whose service has died
    logger.log_metrics({"epoch": 0, "train/loss": 1.0})
    logger.log_metrics({"epoch": 1, "train/loss": 1.0})
    logger.close(exit_code=0)
    experiment.finish()
    assert capsys.readouterr().err == "W&B has failed (broken pipe): logging to metrics.csv only\n"
