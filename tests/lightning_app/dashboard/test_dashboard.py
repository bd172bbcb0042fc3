"""The dashboard: every name in it is one that runs log, and that specification is what W&B is sent."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from lightning_app.dashboard import command
from lightning_app.dashboard.board import Board
from lightning_app.dashboard.colours import run_colours
from lightning_app.main import main
from tests.lightning_app.conftest import mistake
from tests.lightning_app.offline_runs import entries, summary
from tests.lightning_app.wandb_server import PROJECT, Server, wandb_server

PLACE = ("--entity", PROJECT.split("/")[0], "--project", PROJECT.split("/")[1])
Spec = dict[str, Any]


@dataclass
class Logged:
    """What W&B has of a run: names by epoch, names of its summary and of its configuration, and its job type."""

    history: set[str]
    summary: set[str]
    config: set[str]
    job: str


@pytest.fixture
def logged(config: Path, fit: Callable[..., dict[str, Any]]) -> Logged:
    """A run with every probe, and the depth profile."""
    content = yaml.safe_load(config.read_text())
    (profile,) = (
        probe for probe in content["trainer"]["callbacks"] if probe["class_path"] == "RepresentationDimension"
    )
    profile["init_args"]["layers"] = "profile"
    config.write_text(yaml.safe_dump(content))
    (folder,) = (Path(fit()["folder"]) / "wandb").glob("offline-run-*")
    told = entries(folder)
    rows = [entry["history"]["item"] for entry in told if entry["type"] == "history"]
    (run,) = (entry["run"] for entry in told if entry["type"] == "run")
    end = summary(folder)
    # An epoch's row, and not that of the test at the end.
    return Logged(set(rows[0]), set(end["summary"]), set(end["config"]), run["job_type"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that W&B's client in this process uses."""
    with wandb_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # what it knows of another server
        yield server
        wandb.teardown()


def specification(*options: str) -> Spec:
    main(["dashboard", *PLACE, "--spec", "spec.json", *options])
    content: Spec = json.loads(Path("spec.json").read_text(encoding="utf-8"))
    return content


def panels(spec: Spec, kind: str) -> list[dict[str, Any]]:
    sections = spec["section"]["panelBankConfig"]["sections"]
    found = [panel["config"] for section in sections for panel in section["panels"] if panel["viewType"] == kind]
    assert found
    return found


def test_curves_are_of_numbers_that_every_epoch_logs(logged: Logged) -> None:
    matched: set[str] = set()
    for panel in panels(specification(), "Run History Line Plot"):
        assert set(panel["metrics"]) <= logged.history
        if "metricRegex" in panel:
            assert panel["useMetricRegex"]
            found = {name for name in logged.history if re.search(panel["metricRegex"], name)}
            assert found, panel["metricRegex"]
            matched |= found
        assert panel["xAxis"] == "epoch"
        assert panel["groupBy"].removesuffix(".value") in logged.config
    dimensions = {name for name in logged.history if name.startswith("repr/") and name.endswith("/d_mle")}
    assert len(dimensions) > 2  # of several layers
    assert matched == dimensions | {
        *("robust/clean/acc", "robust/fgsm_2/acc", "robust/pgd_2/acc"),
        *("robust/fgsm_2/loss_increase", "robust/pgd_2/loss_increase"),
    }


def test_points_and_bars_are_of_numbers_in_the_record_and_the_configuration(logged: Logged) -> None:
    spec = specification()
    points = {panel.get(axis) for panel in panels(spec, "Scatter Plot") for axis in ("xAxis", "yAxis", "zAxis")}
    names = {f"summary:{name}" for name in logged.summary} | {f"config:{name}.value" for name in logged.config}
    assert points - {None} <= names
    for panel in panels(spec, "Bar Chart"):
        assert set(panel["metrics"]) <= logged.summary
        assert panel["groupBy"].removesuffix(".value") in logged.config


def test_runs_are_those_of_fit_grouped_by_grid_domain_and_data_set(logged: Logged) -> None:
    spec = specification()
    (runs,) = spec["section"]["runSets"]
    assert runs["grouping"] == [
        {"section": "config", "name": f"{name}.value"} for name in ("grid", "domain", "data_set")
    ]
    assert {"grid", "domain", "data_set"} <= logged.config
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "jobType"}, "=")
    assert chosen["value"] == logged.job
    # Points stay runs, whatever the table groups.
    section = spec["section"]
    assert not section["settings"]["useRunsTableGroupingInPanels"]
    for part in section["panelBankConfig"]["sections"]:
        assert not part["localPanelSettings"]["useRunsTableGroupingInPanels"]
        assert part["localPanelSettings"]["xAxis"] == "epoch"


@pytest.mark.parametrize(
    ("x", "y", "logarithmic"),
    [
        ("config:n_train.value", "summary:test/loss", (True, True)),
        ("summary:data/d_mle", "summary:test/loss", (False, True)),
        ("summary:data/d_mle", "summary:repr/d_mle", (False, False)),
        ("summary:data/K_F", "summary:robust/fgsm_2/loss_increase", (True, False)),  # it may be negative
    ],
)
def test_the_laws_have_their_panels(x: str, y: str, logarithmic: tuple[bool, bool]) -> None:
    found = [panel for panel in panels(specification(), "Scatter Plot") if (panel["xAxis"], panel["yAxis"]) == (x, y)]
    assert found
    assert {(panel["xAxisLogScale"], panel["yAxisLogScale"]) for panel in found} == {logarithmic}


@pytest.mark.parametrize(("given", "name"), [("pgd_8", "pgd_8"), ("pgd_0.5", "pgd_0.5"), ("fgsm_4.0", "fgsm_4")])
def test_the_attack_over_sharpness_can_be_chosen(given: str, name: str) -> None:
    plotted = {panel["yAxis"] for panel in panels(specification("--attack", given), "Scatter Plot")}
    assert {axis for axis in plotted if "robust" in axis} == {f"summary:robust/{name}/loss_increase"}


def test_every_panel_says_its_unit() -> None:
    spec = specification()
    for kind, axis in (("Run History Line Plot", "yAxisTitle"), ("Bar Chart", "xAxisTitle")):
        assert all(panel[axis] and panel["chartTitle"] for panel in panels(spec, kind))
    for panel in panels(spec, "Scatter Plot"):
        of_loss = "loss" in panel["yAxis"]
        assert ("nats" in panel["chartTitle"]) == of_loss


def test_what_is_sent_is_the_specification_and_the_colours_of_runs(
    server: Server, fit: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = fit("--trainer.logger.init_args.project", PLACE[3], "--trainer.callbacks", "null")
    server.runs["other"] = {"state": "finished", "summary": "{}"}
    capsys.readouterr()
    main(["dashboard", *PLACE, "--name", "Pilot"])
    (sent,) = server.views
    assert [sent[key] for key in ("entityName", "projectName", "type", "displayName")] == [
        *(PLACE[1], PLACE[3], "project-view", "Pilot")
    ]
    spec = json.loads(sent["spec"])
    assert spec["section"].pop("customRunColors") == {record["run_id"]: "#0072b2"}
    written = specification()
    assert written["section"].pop("customRunColors") == {}
    assert without_ids(spec) == without_ids(written)
    out, err = capsys.readouterr()
    assert err == ""
    address = f"dashboard  {server.address}/{PROJECT}?nw={sent['name'].removeprefix('nw-').removesuffix('-v')}"
    assert out.splitlines()[:2] == [address, "coloured   1 of 2 runs; run this again for newer ones"]


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(inner) for key, inner in value.items() if key not in ("id", "__id__")}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value


def test_hue_is_the_domain_and_shade_the_data_set() -> None:
    sets = [("natural", "MNIST"), ("medical", "OAI"), ("natural", "SVHN"), ("natural", "MNIST"), ("unheard", "X")]
    configs = {f"{i}": {"domain": domain, "data_set": name} for i, (domain, name) in enumerate(sets)}
    # Blue 00 72 b2, and 65 % of the way from there to white: 166, 206, 228.
    assert run_colours(configs | {"old": {}}) == {"0": "#0072b2", "3": "#0072b2", "2": "#a6cee4", "1": "#d55e00"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--entity", "team"], "the following arguments are required: --project"),
        (["--entity", "team/study", "--project", "study"], "--entity 'team/study': give one word of the project's"),
        (["--entity", "team", "--project", ""], "--project '': give one word of the project's address"),
        ([*PLACE, "--attack", "auto"], "'auto' is no attack and radius: choose as in fgsm_2"),
        ([*PLACE, "--spec", "none/spec.json"], "cannot write none/spec.json: there is no folder"),
        (
            [*PLACE, "--spec", "spec.json", "--name", "\N{PARTY POPPER}"],
            "W&B takes no emojis in the name of a workspace",
        ),
    ],
)
def test_mistakes_cost_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in mistake(capsys, "dashboard", *options)
    assert not Path("spec.json").exists()


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install 'intrinsic-scaling[dashboard]'" in mistake(capsys, "dashboard", *PLACE)


def test_no_account_costs_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(wandb, "login", lambda **options: False)
    assert "W&B has no account here: `wandb login` sets one up" in mistake(capsys, "dashboard", *PLACE)


def test_unknown_project_and_a_workspace_that_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = mistake(capsys, "dashboard", "--entity", "team", "--project", "other")
    assert "cannot read the W&B project team/other: Could not find project other" in line

    def refuse(board: Board) -> None:
        raise wandb.errors.CommError("permission denied\nmore")

    monkeypatch.setattr(Board, "save", refuse)
    line = mistake(capsys, "dashboard", *PLACE)
    assert line.endswith(f"cannot save a workspace in the W&B project {PROJECT}: permission denied")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['dashboard', '--help']); "
        "print(sorted({'torch', 'numpy', 'wandb', 'wandb_workspaces', 'pydantic'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--spec FILE" in done.stdout
