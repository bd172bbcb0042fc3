"""`lightning prepare`: a raw download becomes an image table."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from datamodules.preparation.prepare import obtained, prepare
from datamodules.recipes import RECIPES, make_recipe
from lightning_app.prepare_options import options_of, overview, parser
from lightning_app.prepare_table import show_summary
from lightning_app.stages import Stages
from metrics import InputError


def run_prepare(argv: Sequence[str]) -> None:
    """Run `lightning prepare` with the command line that follows the word.

    Raises:
        InputError: The user's mistake.
    """
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print(overview())
        return
    if name.lower() not in RECIPES:
        near = difflib.get_close_matches(name.lower(), RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(RECIPES)}"
        raise InputError(f"there is no data set {name!r} to prepare: {hint}")
    name = name.lower()
    given = parser(name).parse_args(rest)
    recipe = make_recipe(name, **options_of(name, given))
    out = Path(given.out or recipe.folder)
    with Stages() as stages:
        stages.begin("raw files")
        raw = obtained(recipe, Path(given.raw) if given.raw else None)
        summary = prepare(
            recipe,
            raw,
            out,
            workers=given.workers,
            skip_unreadable=given.skip_unreadable,
            progress=stages.begin("preparing"),
        )
    show_summary(summary, out)
