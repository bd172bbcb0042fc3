"""What was logged at every epoch, read back."""

from pathlib import Path

import numpy as np
import pytest

from lightning_app.report.curves import read_curves


def write(name: str, text: str) -> Path:
    file = Path(name) / "metrics.csv"
    file.parent.mkdir()
    file.write_text(text)
    return file


def test_losses_and_dimensions_come_back_and_nothing_else() -> None:
    files = {
        "a": write(
            "a", "epoch,data/K_F,repr/d_mle,repr/d_mle_stderr,train/acc,train/loss\n0,9,5.25,1,1,0.1\n1,9,,1,1,inf\n"
        ),
        "b": write("b", "epoch,repr/layer1/d_mle,repr/layer1/depth,test/loss\n7,4.5,0.25,\n8,4.0,0.25,0.5\n"),
    }
    found = read_curves(files)
    assert list(found) == [
        "run_id",
        "epoch",
        "repr/d_mle",
        "train/loss",
        "repr/layer1/d_mle",
        "repr/layer1/depth",
        "test/loss",
    ]
    assert found["run_id"].tolist() == ["a", "a", "b", "b"]
    assert found["epoch"].tolist() == [0, 1, 7, 8]
    np.testing.assert_array_equal(found["train/loss"], np.array([0.1, np.inf, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(found["repr/d_mle"], [5.25, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found["repr/layer1/d_mle"], [np.nan, np.nan, 4.5, 4])
    assert {str(kind) for kind in found.dtypes[2:]} == {"float32"}


def test_many_files_keep_their_rows_apart() -> None:
    numbers = {f"{i:03}": [i + epoch / 8 for epoch in range(i % 3)] for i in range(250)}
    files = {
        name: write(name, "epoch,val/loss\n" + "".join(f"{epoch},{value}\n" for epoch, value in enumerate(values)))
        for name, values in numbers.items()
    }
    found = read_curves(files)
    assert {name: of["val/loss"].tolist() for name, of in found.groupby("run_id")} == {
        name: values for name, values in numbers.items() if values
    }


def test_damaged_and_missing_files_cost_their_own_rows_only(capsys: pytest.CaptureFixture[str]) -> None:
    good = "epoch,val/loss\n0,1\n"
    files = {
        "good": write("good", good),
        "word": write("word", "epoch,val/loss\n0,one\n"),
        "twice": write("twice", "epoch,epoch\n0,1\n"),
        "ragged": write("ragged", "epoch,val/loss\n0,1\n\n1,1\n"),
        "zeros": write("zeros", "\0" * 40),
        "empty": write("empty", ""),
        "gone": Path("gone/metrics.csv"),
        "folder": Path("good"),
        "better": write("better", good),
    }
    found = read_curves(files)
    assert found[["run_id", "val/loss"]].to_numpy().tolist() == [["good", 1.0], ["better", 1.0]]
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "left out empty/metrics.csv: it is damaged",
        "left out good: Is a directory",
        "left out ragged/metrics.csv: it is damaged",
        "left out twice/metrics.csv: it is damaged",
        "left out word/metrics.csv: it is damaged",
        "left out zeros/metrics.csv: it is damaged",
    ]


def test_no_files_have_no_rows() -> None:
    found = read_curves({})
    assert (list(found), len(found)) == (["run_id", "epoch"], 0)
