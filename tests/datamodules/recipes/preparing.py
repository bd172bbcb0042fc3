"""The real preparation, in one process, as the tests of recipes use it."""

import json
from pathlib import Path
from typing import Any

from datamodules import ImageTable
from datamodules.preparation.prepare import prepare
from datamodules.preparation.recipe import Recipe


def prepared(
    recipe: Recipe[Any], raw: str | Path, out: str | Path = "table", *, skip_unreadable: bool = False
) -> tuple[ImageTable, dict[str, Any]]:
    """The table that a recipe makes of a raw folder, and what prepare.json says of it."""
    prepare(recipe, Path(raw), Path(out), workers=1, skip_unreadable=skip_unreadable)
    summary: dict[str, Any] = json.loads((Path(out) / "prepare.json").read_text(encoding="utf-8"))
    return ImageTable.open(out), summary
