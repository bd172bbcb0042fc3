"""Image tables, tasks, splits and subsets; one small class per data set; readers of anybody's images."""

from datamodules.base import TableDataModule
from datamodules.brain_slices import BrainSlices
from datamodules.class_folders import read_class_folders
from datamodules.collected_tables import from_data_module, read_table
from datamodules.collection import Collection
from datamodules.images import ImageSet
from datamodules.listed_files import read_listed
from datamodules.manifold import Manifold
from datamodules.mnist5k import MNIST5k
from datamodules.npz_files import read_npz
from datamodules.tables import ImageTable, write_table

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
