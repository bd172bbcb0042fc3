"""The two-dimensional sets of MedMNIST: NumPy archives, each at four sizes."""

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.lib import format as npy

from datamodules.pictures import UnreadableError
from datamodules.preparation.archives import DAMAGE, naming, read_range
from datamodules.preparation.downloads import Remote, fetch
from datamodules.preparation.optional import need
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, Piece, Recipe
from datamodules.recipes import MEDMNIST
from datamodules.tables import Row
from metrics import InputError

Size = Literal[28, 64, 128, 224]
"""Sides of the images, in pixels."""

_SPLITS = {"train": "train", "val": "valid", "test": "test"}
_AT_ONCE = 1 << 23  # bytes of images
_MOST_AT_ONCE = 1000  # images, however small
_MOST = 1 << 20  # images in a file: more than any has, and less than fills the memory

_ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)
_CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
        *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
    ),
    "dermamnist": (
        *("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions"),
        *("dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),  # grades of diabetic retinopathy
    "breastmnist": ("malignant", "normal, benign"),
    "bloodmnist": (
        *("basophil", "eosinophil", "erythroblast"),
        *("immature granulocytes(myelocytes, metamyelocytes and promyelocytes)", "lymphocyte", "monocyte"),
        *("neutrophil", "platelet"),
    ),
    "tissuemnist": (
        *("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells"),
        *("Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments"),
        "Thick Ascending Limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
_FINDINGS = (  # of chestmnist, in the order of its labels
    *("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax"),
    *("consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
)
USUAL_FINDING = "effusion"  # as for CheXpert


@dataclass(frozen=True)
class Block:
    """Some images of a split that follow one another.

    Attributes:
        part: train, val or test.
        first: Number of the first.
        start: Where in the uncompressed member of the archive it begins.
        shape: Of an image, as it is stored.
        labels: Per image the cells of its labellings.
    """

    part: str
    first: int
    start: int
    shape: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Bytes of the images."""
        return len(self.labels) * math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class MedMNISTRecipe(Recipe[Block]):
    """A two-dimensional set of MedMNIST v2, grey or colour, pixels as they are.

    A row holds ``label``, ``group`` (the image itself: no patients are recorded), ``split`` (train, valid or test) and
    ``source``, e.g. ``train_images#12``. ChestMNIST has a column of 0 and 1 for each of its 14 findings instead of
    ``label``, ``effusion`` first.

    Source: J. Yang et al., MedMNIST v2, Scientific Data 2023.

    Args:
        flag: Which set, e.g. pneumoniamnist.
        size: Side of the images in pixels.
    """

    title = "MedMNIST v2"
    access = (
        "<name>.npz (28 pixels) or <name>_64.npz, <name>_128.npz, <name>_224.npz, e.g. pneumoniamnist_224.npz, from "
        "zenodo.org/records/10519652. CC BY 4.0, DermaMNIST CC BY-NC 4.0; no registration."
    )
    downloads = True
    variants = ("size",)

    flag: str
    size: Size = 28

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.flag not in MEDMNIST:
            raise InputError(f"flag={self.flag!r} is no set of MedMNIST: choose from {', '.join(MEDMNIST)}")
        if self.size not in get_args(Size):
            raise InputError(f"size={self.size} is not offered: choose from {', '.join(map(str, get_args(Size)))}")

    @property
    def name(self) -> str:  # type: ignore[override]  # one class for twelve sets: the option says which
        """As on the command line."""
        return self.flag

    @property
    def labellings(self) -> tuple[str, ...]:
        """The columns that hold labels, in the order of the archive."""
        return _FINDINGS if self.flag == "chestmnist" else ("label",)

    def pieces(self, raw: Raw) -> list[Piece[Block]]:
        """Some megabytes each: training, validation, test."""
        name = self._file_name
        found = [file for file in raw.files if file.rpartition("/")[2].lower() == name]
        if len(found) > 1:
            raise InputError(f"{raw.folder} holds {name} {len(found)} times ({found[0]}, {found[1]}): keep one")
        return [piece for file in found for part in _SPLITS for piece in self._part(raw.folder / file, file, part)]

    def decode(self, folder: Path, piece: Piece[Block]) -> Iterator[Found]:
        """The images as they are stored, channels first."""
        block = piece.facts
        content = read_range(folder / piece.files[0], block.start, block.size, f"{block.part}_images.npy")
        stored = np.frombuffer(content, dtype=np.uint8).reshape(-1, *block.shape)
        images = stored[:, None] if stored.ndim == 3 else stored.transpose(0, 3, 1, 2)
        # The default one first; sorting keeps the order of the others.
        columns = sorted(self.labellings, key=lambda name: name != USUAL_FINDING)
        for number, (image, labels) in enumerate(zip(images, block.labels, strict=True), start=block.first):
            source = f"{block.part}_images#{number}"
            cells = dict(zip(self.labellings, labels, strict=True))
            row: Row = {name: cells[name] for name in columns}
            yield image, {**row, "group": source, "split": _SPLITS[block.part], "source": source}

    def label_names(self) -> dict[str, dict[int, str]]:
        """The classes as the authors name them."""
        if self.flag == "chestmnist":
            return {finding: {0: f"no {finding}", 1: finding} for finding in _FINDINGS}
        return {"label": dict(enumerate(_CLASSES[self.flag]))}

    def download(self, folder: Path) -> None:
        """Fetch the archive; needs the extra ``demo``."""
        known = need("medmnist.info").INFO[self.flag]
        suffix = "" if self.size == 28 else f"_{self.size}"
        fetch([Remote(self._file_name, [known[f"url{suffix}"]], known[f"MD5{suffix}"])], folder, self.access)

    @property
    def _file_name(self) -> str:
        return f"{self.flag}.npz" if self.size == 28 else f"{self.flag}_{self.size}.npz"

    def _part(self, where: Path, file: str, part: str) -> Iterator[Piece[Block]]:
        with naming(where):
            images, labels = _header(where, f"{part}_images"), _header(where, f"{part}_labels")
            count, *shape = images.shape
            if images.dtype != np.uint8 or shape not in ([self.size] * 2, [self.size] * 2 + [3]):
                sizes = f"(n, {self.size}, {self.size})"
                raise UnreadableError(f"{part}_images is {images}: expected uint8 {sizes} or {sizes[:-1]}, 3)")
            if count > _MOST:
                raise UnreadableError(f"{part}_images is {images}: expected at most {_MOST} images")
            if labels.dtype.kind not in "iu" or labels.shape != (count, len(self.labellings)):
                expected = (count, len(self.labellings))
                raise UnreadableError(f"{part}_labels is {labels}: expected whole numbers {expected}")
            content = read_range(where, labels.start, labels.size, f"{part}_labels.npy")
        values: list[list[int]] = np.frombuffer(content, dtype=labels.dtype).reshape(labels.shape).tolist()
        highest = max(max(names) for names in self.label_names().values())
        for i, row in enumerate(values):
            if not all(0 <= value <= highest for value in row):
                raise InputError(f"{part}_labels in {where} has {row} at {i}: expected 0 … {highest}")
        at_once = max(1, min(_MOST_AT_ONCE, _AT_ONCE // math.prod(shape)))
        for first in range(0, count, at_once):
            rows = tuple(tuple(row) for row in values[first : first + at_once])
            block = Block(part, first, images.start + first * math.prod(shape), tuple(shape), rows)
            yield Piece(f"{file}#{part} {first}…{first + len(rows) - 1}", (file,), block)


@dataclass(frozen=True)
class _Header:
    """What an array in an archive says of itself.

    Attributes:
        shape: Of the array.
        dtype: Of its values.
        start: Where in the uncompressed member they begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def _header(where: Path, key: str) -> _Header:
    """The header of an array; none of its values is read."""
    member = f"{key}.npy"
    try:
        with zipfile.ZipFile(where) as archive:
            if member not in archive.namelist():
                held = ", ".join(name.removesuffix(".npy") for name in archive.namelist())
                raise UnreadableError(f"it holds no {key}, but {held or 'nothing'}")
            with archive.open(member) as stream:
                version = npy.read_magic(stream)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, by_columns, dtype = read(stream)
                header = _Header(shape, dtype, stream.tell())
            held_bytes = archive.getinfo(member).file_size
    except DAMAGE as error:
        raise UnreadableError(" ".join(str(error).split()) or type(error).__name__) from error
    if by_columns or header.dtype.hasobject or held_bytes != header.start + header.size:
        raise UnreadableError(f"{key} is no plain array of {header}: it has {held_bytes} bytes")
    return header
