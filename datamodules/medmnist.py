"""Small medical images of many kinds."""

from dataclasses import dataclass

from datamodules.base import TableDataModule
from datamodules.recipes import MEDMNIST
from datamodules.recipes.medmnist import USUAL_FINDING, Size
from metrics import InputError


@dataclass(eq=False, repr=False)
class MedMNIST(TableDataModule):
    """A two-dimensional set of MedMNIST v2. It downloads itself where it can, else ``lightning prepare <flag>``.

    Labels are those of the authors: PneumoniaMNIST has 0 normal, 1 pneumonia; BreastMNIST 0 malignant, 1 normal or
    benign. ChestMNIST has a labelling for each of its 14 findings, e.g. ``effusion`` (the default) or ``edema``.

    Other options are those of :class:`TableDataModule`.

    Args:
        flag: Which set: pathmnist, chestmnist, dermamnist, octmnist, pneumoniamnist, retinamnist, breastmnist,
            bloodmnist, tissuemnist, organamnist, organcmnist or organsmnist.
        size: Side in pixels of the images in the table, before they are resampled to ``image_size``.
    """

    default_domain = "medical"

    flag: str = "pneumoniamnist"
    size: Size = 28

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.flag not in MEDMNIST:
            raise InputError(f"flag={self.flag!r} is no set of MedMNIST: choose from {', '.join(MEDMNIST)}")
        self.recipe = self.flag  # type: ignore[misc]  # fixed for other sets, an option here
        if self.flag == "chestmnist":
            self.labelling = self.labelling or USUAL_FINDING
        super().__post_init__()
        self.name = f"MedMNIST {self.flag}"
