"""The pages name what there is."""

import re
from pathlib import Path

import pytest

from datamodules import DATA_MODULES
from datamodules.recipes import MEDMNIST, RECIPES

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")])


def test_every_data_set_is_in_the_table_with_its_command() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for name in DATA_MODULES.keys() - {"TableDataModule"}:
        assert sum(row.startswith(f"| {name} |") for row in rows) == 1, name
        assert len({row.count(" | ") for row in rows}) == 1
    for recipe in RECIPES:
        assert f"`lightning prepare {recipe} " in text or f"`lightning prepare {recipe}`" in text or recipe in MEDMNIST


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target
