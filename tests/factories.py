"""Every data set that can be prepared: who writes its raw files in small, and how a test takes it through the suite."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from datamodules.recipes import MEDMNIST
from tests.raw.brats import make_brats
from tests.raw.chexpert import make_chexpert
from tests.raw.cifar10 import make_cifar10
from tests.raw.dbc import make_dbc
from tests.raw.imagefolder import make_imagefolder
from tests.raw.imagenet import make_imagenet_kaggle, make_imagenet_tars, make_imagenet_torchvision
from tests.raw.isic import make_isic
from tests.raw.made import Made
from tests.raw.medmnist import make_medmnist
from tests.raw.mnist import make_mnist
from tests.raw.mura import make_mura
from tests.raw.oai import make_kneexray, make_oai
from tests.raw.prostate import make_prostate
from tests.raw.rsna import make_rsna
from tests.raw.svhn import make_svhn


@dataclass(frozen=True)
class Case:
    """A data set in one form of its raw files.

    Attributes:
        recipe: What ``lightning prepare`` calls it.
        make: Writes its raw files.
        data: Its data module.
        options: Options of the recipe.
        init_args: Options of the data module, beside the table and the sizes.
        folder: Which folder of what is written is given as the raw one.
    """

    recipe: str
    make: Callable[[Path], Made]
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    init_args: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


CASES: dict[str, Case] = {
    "mnist": Case("mnist", make_mnist, "MNIST"),
    "mnist gz": Case("mnist", partial(make_mnist, compressed=True), "MNIST", init_args={"pair": 0}),
    "fashionmnist": Case("fashionmnist", partial(make_mnist, origin="FashionMNIST"), "FashionMNIST"),
    "cifar10": Case("cifar10", make_cifar10, "CIFAR10"),
    "cifar10 archive": Case("cifar10", partial(make_cifar10, archive=True), "CIFAR10"),
    "svhn": Case("svhn", make_svhn, "SVHN"),
    "imagenet torchvision": Case("imagenet", make_imagenet_torchvision, "ImageNet"),
    "imagenet kaggle": Case("imagenet", make_imagenet_kaggle, "ImageNet"),
    "imagenet tars": Case("imagenet", make_imagenet_tars, "ImageNet"),
    "oai": Case("oai", make_oai, "OAI"),
    "oai kneexray": Case("oai", make_kneexray, "OAI", {"crops": "kneexray"}, {"crops": "kneexray"}),
    "brats": Case("brats", make_brats, "BraTS"),
    "dbc": Case("dbc", make_dbc, "DBC"),
    "chexpert": Case("chexpert", make_chexpert, "CheXpert"),
    "chexpert batches": Case("chexpert", partial(make_chexpert, layout="batches"), "CheXpert"),
    "prostate": Case("prostate", make_prostate, "ProstateMRIUS"),
    "prostate mr": Case(
        "prostate", partial(make_prostate, modality="mr"), "ProstateMRIUS", {"modality": "mr"}, {"modality": "mr"}
    ),
    "rsna": Case("rsna", make_rsna, "RSNA"),
    "mura": Case("mura", make_mura, "MURA"),
    "isic": Case("isic", make_isic, "ISIC2019"),
    "imagefolder": Case("imagefolder", make_imagefolder, "ImageFolder", folder="scans"),
    **{flag: Case(flag, partial(make_medmnist, flag=flag), "MedMNIST", {}, {"flag": flag}) for flag in MEDMNIST},
}
