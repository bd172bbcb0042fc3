"""What the classes of a task are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datamodules.preparation.prepare import read_summary

if TYPE_CHECKING:
    from datamodules.base import Plan, TableDataModule

Names = tuple[str, ...]


def names_of_task(data: TableDataModule, plan: Plan) -> list[Names]:
    """What the classes of a task are called: by name where the table has names, and by the labels of the table.

    Args:
        data: The data module.
        plan: What it has chosen.

    Returns:
        Both ways, the first the one to show; class 0 first. Groups of labels are joined by "+".
    """
    entries = plan.classes
    if entries is None:
        present = data.read_labels(plan.table)
        entries = np.unique(present[present >= 0]).tolist()
    several = [list(map(str, entry)) if isinstance(entry, list) else [str(entry)] for entry in entries]
    summary, columns = read_summary(plan.table.folder) or {}, plan.table.columns
    known = summary.get("label_names", {}).get(data.labelling, {})
    if not known and data.labelling == "label" and {"label", "class"} <= columns.keys():  # of a folder of class folders
        known = dict(zip(columns["label"].tolist(), columns["class"].tolist(), strict=True))
    named = [["+".join(known.get(label, label) for label in entry) for entry in several]]
    return [tuple(names) for names in [*named, ["+".join(entry) for entry in several]]]
