"""Image tables, tasks, splits and subsets; one small class per data set."""

from datamodules.base import TableDataModule
from datamodules.brain_slices import BrainSlices
from datamodules.images import ImageSet
from datamodules.manifold import Manifold
from datamodules.mnist5k import MNIST5k
from datamodules.tables import ImageTable, write_table

__all__ = ["BrainSlices", "ImageSet", "ImageTable", "MNIST5k", "Manifold", "TableDataModule", "write_table"]
