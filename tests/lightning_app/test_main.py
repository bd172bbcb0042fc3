"""The entry point: light, and sure of what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_app.main import main


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_names_the_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(argv)
    out = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict"):
        assert f"\n  {command} " in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lightning_app.main import main; main(['--help']); "
        "print(sorted({'torch', 'lightning', 'numpy', 'wandb', 'timm'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fitt"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "lightning: error: unknown command 'fitt': did you mean fit?\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.startswith("intrinsic-scaling ")


@pytest.mark.parametrize("kind", ["package", "namespace", "module"])
def test_another_package_of_the_same_name_stops_with_one_line(kind: str, tmp_path: Path) -> None:
    if kind == "module":
        (tmp_path / "models.py").write_text("")
    else:
        (tmp_path / "models").mkdir()
        if kind == "package":
            (tmp_path / "models" / "__init__.py").write_text("")
    # The folder in which `python -m` is started comes first on the path.
    done = subprocess.run(
        [sys.executable, "-m", "lightning_app", "fit", "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    if kind == "namespace":  # a folder without code shadows nothing
        assert done.returncode == 0
        return
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "package 'models' is found at" in line
    assert str(tmp_path) in line


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_of_a_command_explains_every_option_it_lists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: lightning {command}")
    for expected in ("--model.backbone", "--data.n_train", "--trainer.max_epochs", "MNIST5k", "DatasetProperties"):
        assert expected in out
    assert max(map(len, out.splitlines())) <= 100
