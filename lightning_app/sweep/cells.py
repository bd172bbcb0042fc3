"""One cell of a grid: a run that is still to be made, or has been."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_app.run import Run


@dataclass(frozen=True)
class Cell:
    """A run, and what tells it from the other cells of its grid.

    Attributes:
        run: Identity, folder (absolute) and resolved configuration, exactly those of the same `fit`.
        choices: What the grid says for this cell, by option, as on the command line.
        title: The choices that vary within the grid, for people: "resnet18 MNIST5k n_train=100".
        place: The folder that relative paths in the configuration start from.
    """

    run: Run
    choices: Mapping[str, Any]
    title: str
    place: str

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.run.config


@dataclass(frozen=True)
class Problem:
    """Why some cells cannot run.

    Attributes:
        message: What is wrong, what is allowed, and how to mend it.
        titles: The cells.
    """

    message: str
    titles: tuple[str, ...]
