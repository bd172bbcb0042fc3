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
    from datamodules.brats import BraTS
    from datamodules.chexpert import CheXpert
    from datamodules.cifar10 import CIFAR10
    from datamodules.dbc import DBC
    from datamodules.image_folder import ImageFolder
    from datamodules.imagenet import ImageNet
    from datamodules.isic2019 import ISIC2019
    from datamodules.manifold import Manifold
    from datamodules.medmnist import MedMNIST
    from datamodules.mnist import MNIST, FashionMNIST
    from datamodules.mnist5k import MNIST5k
    from datamodules.mura import MURA
    from datamodules.oai import OAI
    from datamodules.prostate_mri_us import ProstateMRIUS
    from datamodules.rsna import RSNA
    from datamodules.svhn import SVHN

__all__ = [
    "CIFAR10",
    "DBC",
    "ISIC2019",
    "MNIST",
    "MURA",
    "OAI",
    "RSNA",
    "SVHN",
    "BraTS",
    "BrainSlices",
    "CheXpert",
    "Collection",
    "FashionMNIST",
    "ImageFolder",
    "ImageNet",
    "ImageSet",
    "ImageTable",
    "MNIST5k",
    "Manifold",
    "MedMNIST",
    "ProstateMRIUS",
    "TableDataModule",
    "from_data_module",
    "read_class_folders",
    "read_listed",
    "read_npz",
    "read_table",
    "write_table",
]

DATA_MODULES = {
    "BrainSlices": "brain_slices",
    "BraTS": "brats",
    "CIFAR10": "cifar10",
    "CheXpert": "chexpert",
    "DBC": "dbc",
    "FashionMNIST": "mnist",
    "ISIC2019": "isic2019",
    "ImageFolder": "image_folder",
    "ImageNet": "imagenet",
    "MNIST": "mnist",
    "MNIST5k": "mnist5k",
    "MURA": "mura",
    "Manifold": "manifold",
    "MedMNIST": "medmnist",
    "OAI": "oai",
    "ProstateMRIUS": "prostate_mri_us",
    "RSNA": "rsna",
    "SVHN": "svhn",
    "TableDataModule": "base",
}
"""Every data module, and the file that it lives in."""


def __getattr__(name: str) -> Any:
    """Data modules bring Lightning along, which takes seconds to load: only those who use one wait for it."""
    if name not in DATA_MODULES:
        raise AttributeError(f"module 'datamodules' has no attribute {name!r}")
    return getattr(importlib.import_module(f"datamodules.{DATA_MODULES[name]}"), name)
