"""The report at Weights & Biases, offline: what is uploaded later is what lies there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb

from lightning_app.main import main
from lightning_app.report.assembly import Report
from lightning_app.report.folder import contents, write_folder
from lightning_app.report.page import Heading, as_page
from lightning_app.report.part import Table
from lightning_app.report.wandb_run import log_report
from metrics import InputError
from tests.lightning_app.offline_runs import entries
from tests.lightning_app.report.made import part, small, write_runs


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B keeps copies of what is to be uploaded here, and not at home."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    wandb.teardown()  # what it knows of other folders
    yield
    wandb.teardown()


def written() -> Report:
    """A report with a gap and a mixture in a table, in the folder ``out``."""
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "what": ["a", 2.5], "loss": [0.5, float("nan")]})
    parts = [part("one"), replace(part("two"), tables=(Table("mixed", "Mixed", frame),))]
    files = contents(as_page(Heading("demo", "2 records", "made so", has_law=False), parts), parts, "run_id\na\n", None)
    write_folder("out", files)
    return Report("demo", parts, files, ())


def offline_run() -> Path:
    (folder,) = Path("wandb").glob("offline-run-*")
    return folder


def test_offline_run_holds_the_page_the_figures_the_tables_and_the_folder() -> None:
    report = written()
    (line,) = log_report("team/study", report, "out")
    folder = offline_run()
    assert line == f"upload wandb sync {folder}"
    found = entries(folder)
    (run,) = (entry["run"] for entry in found if entry["type"] == "run")
    assert (run["entity"], run["project"], run["job_type"]) == ("team", "study", "report")
    assert run["display_name"] == "report: demo"
    media: dict[str, Any] = {}
    for file in (folder / "files" / "media").rglob("*.*"):
        name = file.relative_to(folder / "files" / "media").as_posix().rpartition("_0_")[0]
        media[name] = json.loads(file.read_text()) if file.suffix == ".json" else file.read_text()
    assert media["html/page"] == report.files["index.html"].decode()
    assert media["html/one/one-figure"] == part("one").figures[0].svg
    assert media["table/two/mixed-table"]["columns"] == ["n", "what", "loss"]
    assert media["table/two/mixed-table"]["data"] == [[1, "a", 0.5], [None, 2.5, None]]
    (whole,) = (entry["artifact"] for entry in found if entry.get("artifact", {}).get("type") == "report")
    kept = {item["path"]: Path(item["local_path"]).read_bytes() for item in whole["manifest"]["contents"]}
    assert kept == report.files  # copies: the folder may be another report's before they are uploaded
    assert wandb.run is None


def test_without_an_account_it_is_offline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "login", lambda **options: False)
    (line,) = log_report("study", written(), "out")
    assert line.startswith("upload wandb sync wandb/offline-run-")
    assert (
        capsys.readouterr().err == "W&B has no account here (`wandb login` sets one up): the report's run is offline\n"
    )


def test_unreachable_server_costs_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(**options: Any) -> bool:
        raise wandb.errors.CommError("nobody there\nmore")

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "login", refuse)
    log_report("study", written(), "out")
    assert capsys.readouterr().err == "W&B cannot be reached (nobody there): the report's run is offline\n"
    assert offline_run().is_dir()


def test_failure_says_that_the_report_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        raise OSError("no space left\nmore")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match=r"^the report is in out, but W&B has failed: no space left$"):
        log_report("study", written(), "out")


@pytest.mark.slow
def test_option_sends_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(small(1).head(2))
    main(["report", "--to-wandb", "study"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["page   report/index.html", f"upload wandb sync {offline_run()}"]
