"""Dependencies point one way."""

import ast
from pathlib import Path

import pytest

import metrics

ROOT = Path(metrics.__file__).parent.parent
PACKAGES = ("lightning_app", "models", "datamodules", "callbacks", "metrics")
FORBIDDEN = {
    "metrics": {"lightning_app", "models", "datamodules", "callbacks", "lightning", "pytorch_lightning", "wandb"},
    "models": {"lightning_app", "datamodules", "callbacks", "wandb"},
    "datamodules": {"lightning_app", "models", "callbacks", "wandb"},
    "callbacks": {"lightning_app", "models", "datamodules", "wandb"},
    "lightning_app": set[str](),
}


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).glob("**/*.py"))
    assert files
    for file in files:
        assert not imported(file) & FORBIDDEN[package], file


def test_torchattacks_is_imported_in_one_file() -> None:
    users = [f for package in PACKAGES for f in (ROOT / package).glob("**/*.py") if "torchattacks" in imported(f)]
    assert [file.name for file in users] == ["torch_attacks.py"]
