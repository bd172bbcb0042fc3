"""What a factory of raw files returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Made:
    """What a correct reader must find in the raw files that were written.

    Attributes:
        expected: The manifest, by ``source``: every other cell of the row, as text.
        skipped: What must be skipped, and a part of the reason.
    """

    expected: Mapping[str, Mapping[str, str]]
    skipped: Mapping[str, str] = field(default_factory=dict)
