"""Image tables, tasks, splits and subsets; one small class per data set; readers of anybody's images."""

import importlib
from typing import TYPE_CHECKING, Any

from datamodules.class_folders import read_class_folders
from datamodules.collected_tables import from_data_module, read_table
from datamodules.collection import Collection
from datamodules.images import ImageSet
from datamodules.listed_files import read_listed
from datamodules.npz_files import read_npz
from datamodules.tables import ImageTable, write_table

if TYPE_CHECKING:
    from datamodules.base import TableDataModule
    from datamodules.brain_slices import BrainSlices
    from datamodules.manifold import Manifold
    from datamodules.mnist5k import MNIST5k

__all__ = [
    "BrainSlices",
    "Collection",
    "ImageSet",
    "ImageTable",
    "MNIST5k",
    "Manifold",
    "TableDataModule",
    "from_data_module",
    "read_class_folders",
    "read_listed",
    "read_npz",
    "read_table",
    "write_table",
]

_DATA_MODULES = {
    "BrainSlices": "brain_slices",
    "MNIST5k": "mnist5k",
    "Manifold": "manifold",
    "TableDataModule": "base",
}


def __getattr__(name: str) -> Any:
    """Data modules bring Lightning along, which takes seconds to load: only those who use one wait for it."""
    if name not in _DATA_MODULES:
        raise AttributeError(f"module 'datamodules' has no attribute {name!r}")
    return getattr(importlib.import_module(f"datamodules.{_DATA_MODULES[name]}"), name)
