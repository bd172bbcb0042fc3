"""`lightning dashboard`: panels for all runs of a W&B project, saved there as a workspace."""

from collections.abc import Sequence
from importlib.util import find_spec

from lightning_app.dashboard.colours import run_colours
from lightning_app.dashboard.options import parser
from lightning_app.mistakes import first_line, mistake
from lightning_app.output import check_place, write_output
from lightning_app.wandb_records import project_runs


def run_dashboard(argv: Sequence[str]) -> None:
    """Run `lightning dashboard` with the command line that follows the word.

    Raises:
        InputError: The user's mistake; no account, no such project, no connection.
    """
    given = parser().parse_args(argv)
    for option in ("entity", "project"):
        value = getattr(given, option)
        if not value or "/" in value:
            raise mistake(f"--{option} {value!r}: give one word of the project's address, wandb.ai/ENTITY/PROJECT")
    if find_spec("wandb_workspaces") is None:
        raise mistake("lightning dashboard needs wandb-workspaces: pip install 'intrinsic-scaling[dashboard]'")
    from lightning_app.dashboard.board import make_board

    if given.spec:
        check_place(given.spec)
        board = make_board(given.entity, given.project, given.name, attack=given.attack, colours={})
        write_output(given.spec, board.specification + "\n")
        print(f"specification of the workspace {given.name!r}, without colours of runs: {given.spec}")
        return
    place = f"{given.entity}/{given.project}"
    runs = project_runs(place)
    colours = run_colours({run.id: run.config for run in runs})
    board = make_board(given.entity, given.project, given.name, attack=given.attack, colours=colours)
    try:
        board.save()  # type: ignore[no-untyped-call]  # the library's
        address = board.url
    except Exception as error:  # W&B raises all kinds of errors
        raise mistake(f"cannot save a workspace in the W&B project {place}: {first_line(error)}") from error
    print(f"dashboard  {address}\ncoloured   {len(colours)} of {len(runs)} runs; run this again for newer ones")
