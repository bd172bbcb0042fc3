"""One recipe per data set: how its raw download becomes an image table."""

import importlib
from typing import Any

from datamodules.preparation.recipe import Recipe

MEDMNIST = (
    *("pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist"),
    *("breastmnist", "bloodmnist", "tissuemnist", "organamnist", "organcmnist", "organsmnist"),
)
"""The two-dimensional sets of MedMNIST v2."""

_CLASSES = {
    "mnist": ("mnist", "MNISTRecipe"),
    "fashionmnist": ("mnist", "FashionMNISTRecipe"),
    "cifar10": ("cifar10", "CIFAR10Recipe"),
    "svhn": ("svhn", "SVHNRecipe"),
    "imagenet": ("imagenet", "ImageNetRecipe"),
    "oai": ("oai", "OAIRecipe"),
    "brats": ("brats", "BraTSRecipe"),
    "dbc": ("dbc", "DBCRecipe"),
    "chexpert": ("chexpert", "CheXpertRecipe"),
    "prostate": ("prostate", "ProstateRecipe"),
    "rsna": ("rsna", "RSNARecipe"),
    "mura": ("mura", "MURARecipe"),
    "isic": ("isic", "ISICRecipe"),
    **{flag: ("medmnist", "MedMNISTRecipe") for flag in MEDMNIST},
    "imagefolder": ("imagefolder", "ImageFolderRecipe"),
}

RECIPES = tuple(_CLASSES)
"""Names of the data sets that can be prepared."""


def recipe_class(name: str) -> type[Recipe[Any]]:
    """The class that knows a data set."""
    module, kind = _CLASSES[name]
    found: type[Recipe[Any]] = getattr(importlib.import_module(f"datamodules.recipes.{module}"), kind)
    return found


def presets(name: str) -> dict[str, Any]:
    """The options that the name of a data set stands for."""
    return {"flag": name} if name in MEDMNIST else {}


def make_recipe(name: str, **options: Any) -> Recipe[Any]:
    """The recipe of a data set with some options.

    Raises:
        InputError: An option is out of range.
    """
    return recipe_class(name)(**presets(name) | options)
