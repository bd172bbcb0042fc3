"""How an attempt at a cell ended."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["finished", "busy", "refused", "crashed", "hung", "memory", "disk", "lost"]


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a cell ended.

    Attributes:
        kind: finished (its record is there) · busy (another process works on it, or has just finished it) · refused (a
            mistake in its configuration or data, which no second attempt mends) · crashed · hung · memory (ran out of
            it) · disk (full, read-only, over quota: others would fail as well) · lost (the machine it ran on is gone).
        message: One line for people; empty when finished.
        seconds: How long the attempt took.
    """

    kind: Kind
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Share:
    """What of a machine one cell may use.

    Attributes:
        threads: Processor threads.
        gpus: Numbers of the GPUs it sees (CUDA_VISIBLE_DEVICES); None leaves the environment as it is.
        memory: Most private memory in bytes, beside the GPU's; None for no limit.
        patience: Seconds without any progress (a batch, an epoch) after which it counts as hung.
    """

    threads: int = 1
    gpus: tuple[str, ...] | None = None
    memory: int | None = None
    patience: float = 1800.0
