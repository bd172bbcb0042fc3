"""Parts of the report that are made of several sections."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from lightning_app.report.part import Figure, Part, Table


@dataclass(frozen=True)
class Section:
    """Some figures and tables of a part.

    Attributes:
        findings: What they show, as clauses that begin in lower case.
        figures: In order.
        tables: In order.
        cannot: What could not be shown, and why: one sentence each.
    """

    findings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    cannot: tuple[str, ...] = ()


def as_part(name: str, title: str, sections: Sequence[Section], *notes: str) -> Part:
    """Put sections together; what was found becomes one sentence, and notes follow where there is any."""
    findings = [finding for section in sections for finding in section.findings]
    return Part(
        name,
        title,
        (sentence("; ".join(findings)), *notes) if findings else (),
        tuple(chain.from_iterable(section.figures for section in sections)),
        tuple(chain.from_iterable(section.tables for section in sections)),
        tuple(chain.from_iterable(section.cannot for section in sections)),
    )


def sentence(clause: str) -> str:
    """A clause as a sentence; symbols keep their case.

    Example:
        >>> sentence("at N = 500 nothing changes"), sentence("d_repr falls")
        ('At N = 500 nothing changes.', 'd_repr falls.')
    """
    return f"{clause if clause.startswith('d_') else clause[:1].upper() + clause[1:]}."
