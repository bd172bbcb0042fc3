"""Banners, tips and warnings of the libraries that say nothing about the user's run."""

import logging
import warnings

_UNHELPFUL = (
    ".*does not have many workers.*",  # images are in memory: workers would only slow loading down
    ".*smaller than the logging interval.*",  # everything is logged per epoch
    ".*Checkpoint directory .* exists and is not empty.*",  # a run continues in its own folder
    "The dirpath has changed.*",  # so it must: evaluation has a folder of its own
    "Total length of `list` across ranks is zero.*",  # n_val: 0 is a choice
    ".*LeafSpec.*",  # a deprecation between Lightning and torch
    ".*discarding init_args.*",  # another data set was chosen: its own defaults hold
)


def silence_libraries() -> None:
    """Keep Lightning's information and the warnings above off the terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _UNHELPFUL:
        warnings.filterwarnings("ignore", message=message)
