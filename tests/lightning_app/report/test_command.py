"""`lightning report` from the command line to the page."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lightning_app.analysis import law_from_json
from lightning_app.main import main
from tests.lightning_app.conftest import mistake
from tests.lightning_app.html_page import Page, check_self_contained
from tests.lightning_app.report.made import small, write_curves, write_runs

TITLES = [
    "1. Data sets and their properties",
    "2. Test loss over the dimension of the data",
    "3. Test loss over the number of training images",
    "4. Robustness over label sharpness",
    "5. Dimension of the representation",
    "6. Representations over epochs and depth",
    "7. The joint fit",
    "8. What is missing",
]


def files(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def check_report(folder: str = "report") -> Page:
    """What holds of every report: all parts, nothing from elsewhere, every file linked to."""
    found = files(folder)
    page = Page(found["index.html"].decode())
    check_self_contained(page, found)
    links = {str(link.attributes["href"]) for link in page.html.all("a")}
    assert set(found) - {"index.html"} == {link for link in links if not link.startswith("#")}
    assert [heading.text for heading in page.html.all("h2")][-8:] == TITLES
    ids = [
        element.attributes["id"]
        for tag in ("section", "figure", "div")
        for element in page.html.all(tag)
        if "id" in element.attributes
    ]
    assert len(ids) == len(set(ids))
    for name, content in found.items():
        if name.endswith(".csv"):
            assert content.decode().strip(), name
    return page


def gaps(page: Page) -> str:
    """All that the page says it cannot say."""
    return " ".join(box.text for box in page.html.all("div", "cannot"))


@pytest.mark.slow
def test_report_of_a_folder_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    records = small()
    write_runs(records)
    write_curves(records)
    main(["report"])
    counted, fitted, where = capsys.readouterr().out.splitlines()
    assert counted == "66 records: 66 finished runs of 11 data sets, 2 backbones, 3 training sizes"
    law = law_from_json(Path("report/law.json").read_text())
    b, c = law.coefficient("log N / d"), law.coefficient("log K_F")
    assert fitted.replace("−", "-") == (
        "joint fit of 11 data sets: log L = a + b (log N)/d + c log K_F with "
        f"b = {b.value:.2f} ({b.low:.2f} … {b.high:.2f}), c = {c.value:.2f} ({c.low:.2f} … {c.high:.2f}); in brackets, "
        "95 % intervals"
    )
    assert where == "page   report/index.html"
    page = check_report()
    assert page.html.all("h1")[0].text == "drawn"
    summary = [item.text for item in page.html.all("div", "summary")[0].all("li")]
    assert all(any(item.startswith(f"{title[3:]}: ") for item in summary) for title in TITLES)
    assert len(page.html.all("figure")) >= 10
    main(["report", "--table", "table.csv"])
    assert Path("report/records.csv").read_bytes() == Path("table.csv").read_bytes()


@pytest.mark.slow
def test_one_experiment_a_table_and_a_choice_by_name_make_the_same_report(capsys: pytest.CaptureFixture[str]) -> None:
    records = small(4)
    write_runs(pd.concat([records, records.assign(name="other", run_id="x" + records["run_id"], **{"test/loss": 9.0})]))
    main(["report", "runs/drawn", "--table", "drawn.csv", "--out", "a"])
    assert capsys.readouterr().out.startswith("24 records, ")
    main(["report", "--name", "drawn", "--out", "b"])
    assert files("a") == files("b")
    main(["report", "drawn.csv", "--out", "c"])
    same = {name for name, content in files("c").items() if content == files("a").get(name)}
    # Only a folder holds epochs: that is all that may differ.
    assert set(files("c")) - same <= {"index.html", "tables/left-out.csv"}
    assert "A table of records holds no epochs" in gaps(check_report("c"))
    assert "A table of records holds no epochs" not in gaps(check_report("a"))


def test_a_run_that_was_just_made_has_a_report(
    fit: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    fit("--trainer.logger", "false")
    capsys.readouterr()
    main(["report", "runs/test"])
    counted, fitted, _ = capsys.readouterr().out.splitlines()
    assert counted == "1 record: 1 finished run of 1 data set, 1 backbone, 1 training size"
    assert fitted.startswith("no joint fit: ")
    page = check_report()
    assert "law.json" not in files("report")
    assert fitted.removeprefix("no joint fit: ") in gaps(page)


def failed(records: pd.DataFrame) -> pd.DataFrame:
    facts = ["run_id", "name", "data", "domain", "backbone", "n_train"]
    return records[facts].assign(status="failed", kind="memory", message="it took 9 GB", attempts=2)


STRANGE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one domain": lambda it: it[it["domain"] == "natural"],
    "one data set": lambda it: it[it["data"] == "SVHN"],
    "two data sets": lambda it: it[it["data"].isin(["SVHN", "ProstateMRIUS"])],
    "one run": lambda it: it.head(1),
    "two runs": lambda it: it.head(2),
    "one size": lambda it: it[it["n_train"] == 500],
    "one backbone": lambda it: it[it["backbone"] == "resnet18"],
    "constant K_F": lambda it: it.assign(**{name: 0.5 for name in it if "K_F" in name}),
    "constant d": lambda it: it.assign(**{name: 9.0 for name in it if name.endswith(("d_mle", "d_twonn"))}),
    "equal losses": lambda it: it.assign(**{"test/loss": 0.25}),
    "no finite loss": lambda it: it.assign(**{"test/loss": None, "not_finite": '["test/loss"]'}),
    "some losses missing": lambda it: it.assign(**{"test/loss": it["test/loss"].where(it["n_train"] > 500)}),
    "losses of 0": lambda it: it.assign(**{"test/loss": 0.0, "train/loss": 0.0}),
    "negative loss increases": lambda it: it.assign(**{"robust/fgsm_2/loss_increase": -1.0}),
    "facts alone": lambda it: it[[name for name in it if "/" not in name]],
    "losses alone": lambda it: it[[name for name in it if "/" not in name or name.endswith("t/loss")]],
    "no properties of the reference": lambda it: it[[name for name in it if not name.startswith("data_ref/")]],
    "no properties of the subset": lambda it: it[[name for name in it if not name.startswith("data/")]],
    "no domain": lambda it: it.assign(domain=None),
    "no names": lambda it: it.assign(data=None, backbone=None, domain=None),
    "no sizes": lambda it: it.assign(n_train=None),
    "only failed": failed,
    "some failed": lambda it: pd.concat([it.iloc[5:], failed(it.iloc[:5])]),
    "only tests": lambda it: it.assign(command="test"),
    "not trained to the end": lambda it: it.assign(**{"train/loss": 2.0}),
    "tiny samples": lambda it: it.assign(n_test=10, **{"data/n_images": 30.0, "data_ref/n_images": 40.0}),
    "pairs and seeds": lambda it: pd.concat(
        [it.assign(run_id=it["run_id"] + f"{p}{s}", pair=p, seed=s) for p in (0, 1) for s in (0, 1)]
    ),
    "long and hostile names": lambda it: it.assign(data="<script>$x$_{" + it["data"] + "--" + "y" * 300 + "\u202e\n`"),
    "huge and tiny numbers": lambda it: it.assign(**{"test/loss": it["test/loss"] * 1e-300, "data_ref/K_F": 1e300}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE)
def test_strange_records_have_a_report_that_says_what_is_not_known(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = Figure.savefig

    def saved(figure: Figure, file: IO[Any], **options: Any) -> None:
        """As SVG only: every figure a second time, as PDF, shows nothing new."""
        if options["format"] == "svg":
            save(figure, file, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    records = change(small(5))
    write_runs(records)
    main(["report"])
    captured = capsys.readouterr()
    assert captured.err == ""
    page = check_report()
    counted, fitted, _ = captured.out.splitlines()
    assert counted.startswith(f"{len(records)} record")
    if "law.json" not in files("report"):
        assert fitted.startswith("no joint fit: ")
        assert len(gaps(page)) > 40
    shown = page.html.text
    for word in ("nan", "inf", "None", "NaT", "<NA>"):
        assert word not in shown.split(), word


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["nowhere"], "there is no folder nowhere: give that of all records, or of one experiment"),
        (["--out", "runs"], "runs holds drawn, which"),
        (["--out", "a/b"], "cannot write the report to a/b: there is no folder"),
        (["--attack", "pgd_9"], "--attack pgd_9: no record knows it; choose from fgsm_1, fgsm_2, fgsm_4, fgsm_8"),
        (["--interpolated", "0"], "--interpolated 0 is out of range: give a loss above 0, for instance 0.1"),
        (["--interpolated", "nan"], "--interpolated nan is out of range"),
        (["--interpolated", "few"], "argument --interpolated: invalid float value: 'few'"),
        (["--to-wandb", "a/b/c"], "--to-wandb 'a/b/c': give project or entity/project"),
        (
            ["--table", "t.csv", "--to-wandb", "p"],
            "--to-wandb sends the page, and --table alone makes none: give --out DIR",
        ),
        (["--runs", "runs"], "unrecognized arguments: --runs"),
        (["runs", "--wandb", "a/b"], "argument --wandb: not allowed with argument RUNS"),
    ],
)
def test_mistake_costs_one_line_and_leaves_nothing(
    options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(small(1))
    assert line in mistake(capsys, "report", *options)
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['report', '--help']); "
        "print(sorted({'torch', 'lightning', 'numpy', 'pandas', 'scipy', 'matplotlib', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: lightning report")
    assert done.stdout.endswith("\n[]\n")


def test_a_report_imports_no_torch() -> None:
    write_runs(small(1).head(1))
    code = (
        "import sys; from lightning_app.main import main; main(['report']); "
        "print(sorted({'torch', 'lightning', 'wandb', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("page   report/index.html\n[]\n")
