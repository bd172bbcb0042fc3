"""`lightning forecast` as it is typed: from a report and images to sentences, a figure and JSON; and every mistake."""

import functools
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from lightning_app.analysis.calibration import calibrate
from lightning_app.analysis.forecasting import forecast
from lightning_app.analysis.law import ScalingLaw, fit_scaling_law
from lightning_app.analysis.law_json import law_to_json
from lightning_app.main import main
from tests.lightning_app.analysis.drawn_records import drawn_records
from tests.lightning_app.conftest import mistake

Forecasts = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]

BY_HAND = ("--d-data", "11", "--k-f", "0.05", "--domain", "radiology")


@cache
def records() -> pd.DataFrame:
    drawn = drawn_records(0, backbones={"resnet18": 0.0, "vgg13": 0.2})
    return drawn.assign(**{"data_ref/K_F_n_images": 500.0, "channels": 1})


@cache
def law(sharpness: str = "data_ref/K_F") -> ScalingLaw:
    return fit_scaling_law(records(), sharpness=sharpness, compare=False)


@pytest.fixture(autouse=True)
def _report() -> None:
    """A report beside the images."""
    write_report()


def write_report(sharpness: str = "data_ref/K_F", **changes: Any) -> None:
    Path("report").mkdir(exist_ok=True)
    Path("report/law.json").write_text(law_to_json(law(sharpness)), encoding="utf-8")
    records().assign(**changes).to_csv("report/records.csv", index=False)


def write_measured(file: str = "mine.json", **changes: Any) -> None:
    """What `lightning measure --json` writes, as far as it is needed."""
    content = {
        **{"n_images": 1000, "channels": 1, "height": 224, "width": 224},
        **{"d_mle": 11.0, "d_mle_stderr": 0.3, "K_F": 0.06, "K_F_stderr": 0.001},
        "K_F_over_M": [
            {"M": 250, "K_F": 0.04, "K_F_stderr": 0.003},
            {"M": 500, "K_F": 0.05, "K_F_stderr": 0.002},
            {"M": 1000, "K_F": 0.06, "K_F_stderr": None},
        ],
        "missing": [],
    }
    Path(file).write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.fixture
def forecasts() -> Forecasts:
    """Runs the command and returns its JSON."""

    def run(*argv: str) -> dict[str, Any]:
        main(["forecast", *argv, "--json", "out.json"])
        content: dict[str, Any] = json.loads(Path("out.json").read_text(encoding="utf-8"))
        return content

    return run


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """The one line that a mistake costs."""
    return functools.partial(mistake, capsys, "forecast")


def test_it_is_what_python_says(forecasts: Forecasts, capsys: pytest.CaptureFixture[str]) -> None:
    found = forecasts(*BY_HAND, "--n", "600", "1500", "--loss", "0.12", "--confidence", "0.8")
    calibration = calibrate(law(), 0.8)
    asked = {"d_data": 11, "k_f": 0.05, "domain": "radiology", "confidence": 0.8, "widen": calibration.widen}
    lines = capsys.readouterr().out.splitlines()
    for line, got, question in zip(lines, found["forecasts"], ({"n": 600}, {"n": 1500}, {"loss": 0.12}), strict=False):
        expected = forecast(law(), **asked, **question)
        assert {name: got[name] for name in ("value", "low", "high", "stderr", "df")} == {
            name: getattr(expected, name) for name in ("value", "low", "high", "stderr", "df")
        }
        if "n" in question:
            assert line.startswith(
                f"With {question['n']:,} images expect a test loss of {got['value']:.2g} "
                f"(80 %: {got['low']:.2g} to {got['high']:.2g}). The interval "
            )
        else:
            assert line.startswith("For a test loss of 0.12 expect to need about ")
    assert len(found["forecasts"]) == 3
    assert lines[3] == (
        "K_F is taken to be measured as that of the records of radiology: 224 pixels a side, 1 channel, 500 images per "
        "sample."
    )
    assert lines[4].startswith(
        f"Calibration: of 11 data sets, each forecast from the others, {calibration.sets_inside} lay"
    )
    assert found["calibration"]["inside"] == calibration.inside
    assert found["calibration"]["coverage"] == calibration.coverage


def test_sharpness_is_taken_of_samples_as_large_as_those_of_the_records(forecasts: Forecasts) -> None:
    write_measured()
    found = forecasts("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    assert {name: found[name] for name in ("d_data", "d_data_stderr", "k_f", "k_f_stderr", "notes")} == {
        "d_data": 11.0,
        "d_data_stderr": 0.3,
        "k_f": 0.05,
        "k_f_stderr": 0.002,
        "notes": [],
    }
    by_hand = forecasts(*BY_HAND, "--n", "1000")
    assert found["forecasts"][0]["value"] == by_hand["forecasts"][0]["value"]
    assert found["forecasts"][0]["stderr"] > by_hand["forecasts"][0]["stderr"]
    assert {"d_data", "K_F"} <= found["forecasts"][0]["shares"].keys()


def test_sharpness_per_pixel_is_taken_where_the_law_takes_it(forecasts: Forecasts) -> None:
    write_report("data_ref/K_F_per_pixel")
    write_measured(height=50, width=100, channels=3, K_F_over_M=[{"M": 500, "K_F": 0.08, "K_F_stderr": 0.01}])
    found = forecasts("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    scale = math.sqrt(3 * 50 * 100)
    assert (found["k_f"], found["k_f_stderr"]) == pytest.approx((0.08 * scale, 0.01 * scale))


def test_fewer_images_than_a_sample_of_the_records_are_taken_with_a_warning(
    forecasts: Forecasts, capsys: pytest.CaptureFixture[str]
) -> None:
    write_measured(n_images=120, K_F_over_M=[{"M": 120, "K_F": 0.05, "K_F_stderr": None}])
    found = forecasts("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    assert found["k_f"] == 0.05
    warning = (
        "K_F is of all 120 images that there are, and grows with their number: that of the records of radiology is of "
        "samples of 500"
    )
    assert warning in capsys.readouterr().out


def test_a_report_without_its_records_is_taken_at_its_word(forecasts: Forecasts) -> None:
    Path("report/records.csv").unlink()
    write_measured(height=64, width=64)
    assert forecasts("--measured", "mine.json", "--domain", "radiology", "--n", "1000")["k_f"] == 0.06


def test_what_is_measured_can_be_forecast(
    noise: Callable[..., dict[str, NDArray[np.uint8]]], forecasts: Forecasts
) -> None:
    noise("pets", {"cat": 40, "dog": 40})
    main(["measure", "pets", "--k", "3", "--samples", "50", "--json", "mine.json"])
    measured = json.loads(Path("mine.json").read_text(encoding="utf-8"))
    write_report(**{"image_size": 8, "data_ref/K_F_n_images": 50.0})
    found = forecasts("--measured", "mine.json", "--domain", "natural", "--n", "1000", "--extrapolate")
    assert (found["d_data"], found["d_data_stderr"]) == (measured["d_mle"], measured["d_mle_stderr"])
    assert (found["k_f"], found["k_f_stderr"]) == (measured["K_F"], measured["K_F_stderr"])
    assert measured["K_F_n_images"] == 50


def test_own_runs_update_the_forecast(forecasts: Forecasts, capsys: pytest.CaptureFixture[str]) -> None:
    alone = forecasts(*BY_HAND, "--n", "1000", "--backbone", "vgg13")["forecasts"][0]
    rows = [["a", "finished", "fit", 500, 0.9], ["b", "finished", "fit", 700, 0.8], ["c", "failed", "fit", 700, None]]
    own = pd.DataFrame(rows, columns=["run_id", "status", "command", "n_train", "test/loss"])
    own.to_csv("own.csv", index=False)
    for row in rows:
        folder = Path("runs/mine", str(row[0]))
        folder.mkdir(parents=True)
        record = dict(zip(own.columns, row, strict=True))
        (folder / ("failed.json" if row[1] == "failed" else "result.json")).write_text(json.dumps(record))
    capsys.readouterr()
    for runs in ("own.csv", "runs", "runs/mine"):
        found = forecasts(*BY_HAND, "--n", "1000", "--backbone", "vgg13", "--runs", runs)["forecasts"][0]
        expected = forecast(
            law(), d_data=11, k_f=0.05, n=1000, domain="radiology", backbone="vgg13", runs=own, widen=found["widened"]
        )
        assert (found["value"], found["stderr"], found["own_runs"]) == (expected.value, expected.stderr, 2)
        assert "\nUpdated by 2 of 3 own runs.\n" in capsys.readouterr().out
    assert found["value"] > 2 * alone["value"]


def test_an_end_that_is_infinite_is_null(forecasts: Forecasts) -> None:
    found = forecasts(*BY_HAND, "--loss", "0.13", "--confidence", "0.999999")["forecasts"][0]
    assert found["high"] is None
    assert found["low"] == 0


@pytest.mark.parametrize("questions", [["--n", "500", "1500"], ["--loss", "0.12"], ["--n", "500", "--loss", "0.12"]])
def test_the_figure_is_of_the_kind_that_its_ending_says(questions: list[str]) -> None:
    main(["forecast", *BY_HAND, *questions, "--figure", "f.PDF"])
    assert Path("f.PDF").read_bytes().startswith(b"%PDF")


def test_the_figure_is_the_same_at_every_run() -> None:
    pd.DataFrame({"run_id": ["a"], "n_train": [900], "test/loss": [0.14]}).to_csv("own.csv", index=False)
    for file in ("a.svg", "b.svg"):
        main(["forecast", *BY_HAND, "--n", "500", "--loss", "0.12", "--runs", "own.csv", "--figure", file])
    assert Path("a.svg").read_text(encoding="utf-8").startswith("<svg")
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_the_figure_reaches_to_an_answer_far_away() -> None:
    main(["forecast", *BY_HAND, "--loss", "0.001", "3", "--extrapolate", "--figure", "f.svg"])
    assert Path("f.svg").exists()


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        ([*BY_HAND], "nothing is asked: give --n N .* or --loss L"),
        (["--n", "500"], "--d-data and --k-f is missing: give --measured FILE"),
        (["--n", "500", "--d-data", "11"], "--k-f is missing: give --measured FILE"),
        (["--n", "500", "--measured", "mine.json", "--k-f", "1"], "--measured mine.json has d_data and K_F: leave"),
        ([*BY_HAND, "--n", "a"], "argument --n: invalid float value: 'a'; `lightning forecast --help`"),
        ([*BY_HAND, "--n", "nan"], "n=nan is out of range"),
        ([*BY_HAND, "--n", "500", "1000.5"], r"--n 1000\.5 is no number of images: give a whole one"),
        ([*BY_HAND, "--n", "500", "--confidence", "95"], r"confidence=95\.0 is out of range"),
        ([*BY_HAND, "--n", "500", "--nn"], "unrecognized arguments: --nn"),
        ([*BY_HAND[:4], "--n", "500"], "the law differs by domain: choose one of natural, radiology"),
        ([*BY_HAND, "--n", "500", "--backbone", "vgg19"], "'vgg19' is not in the fit: choose resnet18 or vgg13"),
        ([*BY_HAND, "--n", "500", "1500", "--d-data", "40"], "error: far outside what was fitted: d = 40,"),
        (
            [*BY_HAND, "--n", "9000", "--loss", "-1"],
            r"not answered: --n 9000 \(far outside .* N = 9,000, .*\); --loss -1 \(loss=-1\.0 is out of range",
        ),
        (
            [*BY_HAND, "--n", "9000"],
            "error: far outside what was fitted: N = 9,000, where the records have 500 to 1,750; .* --extrapolate",
        ),
        (
            [*BY_HAND, "--n", "500", "--report", "gone"],
            "there is no report in gone: `lightning report RUNS --out gone`",
        ),
        ([*BY_HAND, "--n", "500", "--report", "empty"], r"empty has no law\.json: its page says why"),
        ([*BY_HAND, "--n", "500", "--report", "broken"], r"broken/law\.json is damaged"),
        ([*BY_HAND, "--n", "500", "--report", "binary"], r"cannot read binary/law\.json: it is no text"),
        ([*BY_HAND, "--n", "500", "--figure", "f.png"], r"--figure f\.png: its ending says .* \.svg or \.pdf"),
        ([*BY_HAND, "--n", "500", "--figure", "no/f.svg"], r"cannot write no/f\.svg: there is no folder"),
        ([*BY_HAND, "--n", "500", "--figure", "f.svg", "--json", "./f.svg"], r"both name \./f\.svg: give two files"),
        ([*BY_HAND, "--n", "500", "--runs", "gone"], "there is no folder gone"),
        (
            [*BY_HAND[4:], "--n", "500", "--measured", "gone.json"],
            r"cannot read gone\.json \(No such file or directory\)",
        ),
        ([*BY_HAND[4:], "--n", "500", "--measured", "broken/law.json"], r"broken/law\.json is damaged"),
        (
            [*BY_HAND[4:], "--n", "500", "--measured", "report/law.json"],
            r"report/law\.json holds no properties of images",
        ),
    ],
)
def test_a_mistake_costs_one_line(argv: list[str], match: str, refusal: Refusal) -> None:
    for folder, content in (("empty", None), ("broken", b"{"), ("binary", b"\xff\xfe\x00")):
        Path(folder).mkdir()
        if content is not None:
            Path(folder, "law.json").write_bytes(content)
    before = sorted(Path().rglob("*"))
    assert re.search(match, refusal(*argv))
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"height": 64, "width": 64},
            "has 64×64 pixels, the records of radiology have 224×224: measure with --image-size 224",
        ),
        (
            {"height": 224, "width": 200},
            "has 200×224 pixels, the records of radiology have 224×224: measure with --image-size 224",
        ),
        ({"channels": 3}, "has 3, the records of radiology have 1: measure with --channels 1"),
        (
            {"K_F_over_M": [{"M": 300, "K_F": 0.05, "K_F_stderr": None}, {"M": 600, "K_F": 0.06, "K_F_stderr": None}]},
            "has it for 300, 600, the records of radiology for 500: measure with --samples 500",
        ),
        ({"d_mle": None, "missing": ["d_mle: too few images"]}, "has no d_mle: d_mle: too few images"),
        ({"K_F_over_M": None, "K_F": None, "missing": []}, "has no K_F: it could not be measured"),
    ],
)
def test_images_measured_otherwise_are_refused(changes: dict[str, Any], match: str, refusal: Refusal) -> None:
    write_measured(**changes)
    line = refusal("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    assert f"mine.json {match}" in line or match in line


def test_images_are_compared_with_the_records_of_their_domain(
    forecasts: Forecasts, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    natural = records()["domain"] == "natural"
    channels, size = np.where(natural, 3, 1), np.where(natural, 32, 224)
    write_report(channels=channels, image_size=size)
    write_measured(channels=3, height=32, width=32)
    assert forecasts("--measured", "mine.json", "--domain", "natural", "--n", "1000")["k_f"] == 0.05
    capsys.readouterr()
    wrong = "mine.json has 32×32 pixels, the records of radiology have 224×224: measure with --image-size 224"
    assert wrong in refusal("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    write_measured(channels=3)
    wrong = "mine.json has 3, the records of radiology have 1: measure with --channels 1"
    assert wrong in refusal("--measured", "mine.json", "--domain", "radiology", "--n", "1000")


def test_questions_that_can_be_answered_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["forecast", *BY_HAND, "--n", "9000", "600", "--loss", "0.12", "0.00001", "--json", "out.json"])
    assert stop.value.code == 2
    said = capsys.readouterr()
    first, second, _ = said.out.split("\n", maxsplit=2)
    assert first.startswith("With 600 images expect")
    assert second.startswith("For a test loss of 0.12 expect")
    (line,) = said.err.splitlines()
    assert re.match(
        r"lightning: error: not answered: --n 9000 \(far outside .*\); --loss 1e-05 \(far outside .*\)$", line
    )
    content = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert [found["given"] for found in content["forecasts"]] == [600, 0.12]
    assert list(content["refused"]) == ["--n 9000", "--loss 1e-05"]


def test_own_runs_that_contradict_the_law_are_said_to(forecasts: Forecasts, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"run_id": ["a", "b"], "n_train": [500, 500], "test/loss": [0.01, 5.0]}).to_csv("own.csv", index=False)
    (found,) = forecasts(*BY_HAND, "--n", "500", "--runs", "own.csv")["forecasts"]
    out = capsys.readouterr().out
    widened = rf"Intervals are widened by {found['agreement']['widen']:.1f} for that"
    assert re.search(rf"Updated by 2 of 2 own runs\.\nOwn runs contradict the law \(p < 0\.001\): .* {widened}", out)
    assert "\nThe calibration is of forecasts without own runs.\nCalibration: of 11 data sets" in out
    assert found["low"] < 0.01 < 5 < found["high"]
    assert forecasts(*BY_HAND, "--n", "500")["forecasts"][0]["agreement"] is None
    assert "own runs" not in capsys.readouterr().out


def test_images_measured_without_the_laws_estimator_are_refused(refusal: Refusal) -> None:
    write_measured()
    content = json.loads(Path("mine.json").read_text())
    del content["d_mle"]
    Path("mine.json").write_text(json.dumps(content))
    line = refusal("--measured", "mine.json", "--domain", "radiology", "--n", "1000")
    assert line.endswith("mine.json has no d_mle: measure with --estimators mle")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['forecast', '--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'pandas', 'scipy', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--measured FILE" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
