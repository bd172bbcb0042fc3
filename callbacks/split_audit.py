"""Whether training, validation and test images of a run are kept apart."""

import sys

import torch

from callbacks.probe import Data, Probe, Readings, Subject
from metrics import InputError, SplitAudit, audit_split, check_near

_SIDES = ("train", "val", "test")


class SplitCheck(Probe):
    """Looks for groups and images on more than one side of the split. Part of every run.

    Training, validation and test images are compared once, before the run starts, as the network sees them: resized.
    Anything found costs one line on stderr.

    Logged at every epoch: the counts ``audit/groups``, ``audit/exact`` and ``audit/near``; see
    :func:`metrics.audit_split`.

    Args:
        near: How large a difference, as a fraction of contrast, is still a near duplicate.
        strict: Whether anything found stops the run before it starts.

    Raises:
        InputError: near below 0; if strict, anything found.
    """

    def __init__(self, near: float = 0.1, strict: bool = False) -> None:
        super().__init__()
        check_near(near)
        self.near = near
        self.strict = strict
        self._audited: Data | None = None
        self._audit = SplitAudit(0, None)

    def prepare(self, subject: Subject) -> None:
        """Audits the split of a data module; one that is tested after ``fit`` is not audited again."""
        if subject.data is self._audited:
            return
        sets = (subject.data.train_set, subject.data.val_set, subject.data.test_set)
        sides = [side for side, part in enumerate(sets) for _ in range(len(part))]
        groups = torch.cat([part.groups for part in sets])
        audit = audit_split(torch.cat([part.images for part in sets]), torch.tensor(sides), groups, near=self.near)
        if not audit.clean:
            rows = torch.cat([part.rows for part in sets]).tolist()
            names = [f"{_SIDES[side]} row {row}" for side, row in zip(sides, rows, strict=True)]
            found = f"split audit: {_counted(audit)} across splits, first: {_first(audit, names, groups.tolist())}"
            if self.strict:
                raise InputError(
                    f"{found}; give images that belong together one group in the table, leave copies out of it, "
                    "or set strict to false"
                )
            if subject.trainer.is_global_zero:
                print(f"{found}; `lightning measure` lists them", file=sys.stderr)
        self._audited, self._audit = subject.data, audit

    def measure(self, subject: Subject) -> Readings:
        """What was found before the run started."""
        return {f"audit/{kind}": float(count) for kind, count in self._audit.counts.items()}


def _counted(audit: SplitAudit) -> str:
    """For instance: 2 groups, 3 exact and 12 near duplicates."""
    counts = audit.counts
    parts = [f"{counts['groups']} group{_plural(counts['groups'])}"] if counts["groups"] else []
    twins = " and ".join(f"{counts[kind]} {kind}" for kind in ("exact", "near") if counts[kind])
    if twins:
        parts.append(f"{twins} duplicate{_plural(counts['exact'] + counts['near'])}")
    return ", ".join(parts)


def _first(audit: SplitAudit, names: list[str], groups: list[int]) -> str:
    """The first finding, by the names of its two images."""
    if audit.groups:
        members = [name for name, group in zip(names, groups, strict=True) if group == audit.groups[0].group]
        other = next(name for name in members if name.split()[0] != members[0].split()[0])
        return f"{members[0]} and {other} share a group"
    twin = (audit.exact or audit.near)[0]
    return f"{names[twin.i]} {'=' if audit.exact else '≈'} {names[twin.j]}"


def _plural(count: int) -> str:
    return "" if count == 1 else "s"
