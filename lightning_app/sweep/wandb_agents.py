"""A grid as a W&B sweep: its agents run the cells, on as many machines as they are started on."""

from collections.abc import Sequence

import yaml

from lightning_app.sweep.cells import Cell
from lightning_app.sweep.words import one_line

_ABOUT = """\
# The cells of grid {grid}. Start them with
#   wandb sweep FILE
#   wandb agent ENTITY/PROJECT/SWEEP_ID
# in the folder that this file was written from, as often and on as many machines as you like. They share the folder of
# runs: what is done is not done again."""


def sweep_file(grid: str, project: str, cells: Sequence[Cell], arguments: Sequence[str]) -> str:
    """A W&B sweep that runs cells.

    W&B hands an agent one value of the only parameter at a time, and the agent puts it in the place of ``${args}``:
    ``--only=run_id=…``.

    Args:
        grid: Name of the grid.
        project: W&B project; the account is that of `wandb sweep`.
        cells: The cells, in the order that they are to be started.
        arguments: The options of `lightning sweep` that select and describe the cells.

    Returns:
        YAML. The title of every cell stands beside its run id, as a comment.
    """
    # W&B's agent asks for a program, also where a command says all.
    command = ["${env}", "${program}", "sweep", *arguments, "${args}"]
    head = {"name": grid, "project": project, "program": "lightning", "method": "grid", "command": command}
    values = [f"      - run_id={cell.run.run_id}  # {one_line(cell.title)}" for cell in cells]
    lines = [
        _ABOUT.format(grid=grid),
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
        *("parameters:", "  only:", "    values:"),
        *values,
    ]
    return "\n".join(lines) + "\n"
