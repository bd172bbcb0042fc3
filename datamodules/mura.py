"""Radiographs of the upper limb, normal or abnormal."""

from dataclasses import dataclass

import numpy as np

from datamodules.base import TableDataModule
from datamodules.splits import Rows
from datamodules.tables import UNUSED, ImageTable
from metrics import InputError

_PREFIX = "XR_"


@dataclass(eq=False, repr=False)
class MURA(TableDataModule):
    """MURA 1.1: a radiograph from an abnormal (1) or normal (0) study. Prepare it with ``lightning prepare mura``.

    ``protocol: reference`` takes shoulders only, unless regions are given: the released code takes the first images of
    the official list, and those are shoulders.

    Other options are those of :class:`TableDataModule`.

    Args:
        regions: Regions to use, of elbow, finger, forearm, hand, humerus, shoulder and wrist, in any case of letters,
            with or without XR_; default all.
    """

    recipe = "mura"
    default_domain = "medical"

    regions: list[str] | None = None

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        if self.regions == []:
            raise InputError("regions=[] keeps no image: name at least one region, or leave it out for all")

    def read_labels(self, table: ImageTable) -> Rows:
        """The labels of the images of the chosen regions.

        Raises:
            InputError: A region that the table does not have.
        """
        labels = super().read_labels(table)
        regions = [_PREFIX + "SHOULDER"] if self.regions is None and self.protocol == "reference" else self.regions
        if regions is None:
            return labels
        there = np.unique(table.column("region")).tolist()
        chosen = [_PREFIX + region.strip().upper().removeprefix(_PREFIX) for region in regions]
        for region, name in zip(regions, chosen, strict=True):
            if name not in there:
                raise InputError(f"region {region!r} does not exist in {table.folder}: choose from {', '.join(there)}")
        return np.where(np.isin(table.column("region"), chosen), labels, UNUSED)
