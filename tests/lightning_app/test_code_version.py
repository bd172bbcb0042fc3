"""The version of the code: what it depends on, and what not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_app import code_version as module
from lightning_app.code_version import fingerprint

SOURCE = {"lightning_app/cli.py": "a = 1\n", "metrics/estimate.py": "", "lightning_app/page.html.jinja": "<p>\n"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with some source."""
    for name, text in SOURCE.items():
        file = tmp_path / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "home"


def test_it_is_that_of_the_code_that_runs(home: Path) -> None:
    """Also where the files have been changed since."""
    shutil.copy(module.__file__, home / "lightning_app")
    (home / "lightning_app" / "__init__.py").touch()
    version = fingerprint(home)
    code = (
        "from lightning_app.code_version import code_version\n"
        "open('lightning_app/cli.py', 'w').close()\n"
        "print(code_version())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout == f"{version}\n"
    assert fingerprint(home) != version
    assert len(version) == 12
    int(version, 16)


@pytest.mark.parametrize("name", SOURCE)
def test_another_content_is_another_version(name: str, home: Path) -> None:
    before = fingerprint(home)
    (home / name).write_text("b = 2\n")
    assert fingerprint(home) != before


def test_another_name_is_another_version(home: Path) -> None:
    before = fingerprint(home)
    (home / "metrics" / "estimate.py").rename(home / "metrics" / "estimates.py")
    assert fingerprint(home) != before


def test_what_moves_from_one_file_to_the_next_is_another_version(home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "a.py").write_text("12")
    (home / "models" / "b.py").write_text("3")
    before = fingerprint(home)
    (home / "models" / "a.py").write_text("1")
    (home / "models" / "b.py").write_text("23")
    assert fingerprint(home) != before


def test_place_order_and_what_is_no_source_do_not_count(
    home: Path, tmp_path: Path, shuffled_directories: Callable[[int], None]
) -> None:
    before = fingerprint(home)
    for name in ("lightning_app/cli.pyc", "notes.py", "runs/demo/config.yaml"):
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("anything")
    os.symlink("user@host", home / "lightning_app" / ".#cli.py")  # Emacs while a file is edited
    shutil.move(home, tmp_path / "elsewhere")
    shuffled_directories(1)
    assert fingerprint(tmp_path / "elsewhere") == before
