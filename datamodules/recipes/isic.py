"""ISIC 2019: dermoscopic photographs of skin lesions in eight classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece
from metrics import InputError

LABELLINGS = ("NV", "MEL", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
"""The diagnoses: that of the paper, then the others in the order of the CSV file."""

_TRUTH = "ISIC_2019_Training_GroundTruth.csv"
_METADATA = "ISIC_2019_Training_Metadata.csv"
_CODES = {"1.0": 1, "0.0": 0, "1": 1, "0": 0}


@dataclass(frozen=True)
class Photograph:
    """What the two spreadsheets say of an image.

    Attributes:
        codes: 1 for its diagnosis and 0 for the others, one per labelling.
        group: The lesion.
    """

    codes: tuple[int, ...]
    group: str


@dataclass(frozen=True, kw_only=True)
class ISICRecipe(PictureRecipe[Photograph]):
    """ISIC 2019: 25,331 dermoscopic photographs, in colour.

    A row holds a column per diagnosis, 1 or 0: ``NV`` (melanocytic nevus), ``MEL`` (melanoma), ``BCC`` (basal cell
    carcinoma), ``AK`` (actinic keratosis), ``BKL`` (benign keratosis), ``DF`` (dermatofibroma), ``VASC`` (vascular
    lesion), ``SCC`` (squamous cell carcinoma), ``UNK`` (none of the others). Then ``group`` (the lesion; the image
    itself where none is recorded), ``split`` (blank: these are the challenge's training images) and ``source``, the
    image's id, e.g. ``ISIC_0000001_downsampled``.

    Source: the ISIC 2019 challenge; arXiv 1803.10417 (HAM10000), 1902.03368 (ISIC 2017), 1908.02288 (BCN20000).
    """

    name = "isic"
    title = "ISIC 2019 (photographs of skin lesions)"
    access = (
        "ISIC_2019_Training_Input.zip (unpacked), ISIC_2019_Training_GroundTruth.csv and "
        "ISIC_2019_Training_Metadata.csv from challenge.isic-archive.com, data of 2019. CC BY-NC 4.0, no registration."
    )

    def pieces(self, raw: Raw) -> list[Piece[Photograph]]:
        """Every image of the ground truth.

        Raises:
            InputError: The metadata, which say which images show one lesion, are not there; an image with a code other
                than 0 and 1, without exactly one diagnosis, or listed twice with different ones; names file and line.
                Two copies of the images.
        """
        truth = raw.find(_TRUTH)
        if truth is None:
            return []
        lesions = _lesions(raw, raw.require(_METADATA, "which images show the same lesion"))
        photographs: dict[str, Photograph] = {}
        for number, (image, *cells) in raw.rows(truth, ["image", *LABELLINGS]):
            where = f"{raw.folder / truth}, line {number}"
            photograph = Photograph(_diagnosis(where, cells), lesions.get(image) or image)
            raw.listed[image] = where
            if image not in photographs:
                photographs[image] = photograph
            elif photographs[image] == photograph:
                raw.skip(image, "listed a second time")
            else:
                raise InputError(f"{where}: {image} is listed a second time, with another diagnosis")
        for image in photographs:
            if not lesions.get(image):
                raw.note("an image without a lesion_id is taken for a lesion of its own")
        places = raw.index(".jpg", lambda file: _stem(file) if _stem(file) in photographs else None)
        return [Piece(image, (places.get(image, f"{image}.jpg"),), photographs[image]) for image in sorted(photographs)]

    def decode(self, folder: Path, piece: Piece[Photograph]) -> Iterator[Found]:
        """The photograph."""
        yield (
            self.picture(folder / piece.files[0], 3),
            {
                **dict(zip(LABELLINGS, piece.facts.codes, strict=True)),
                "group": piece.facts.group,
                "split": "",
                "source": piece.source,
            },
        )


def _lesions(raw: Raw, file: str) -> dict[str, str]:
    """The lesion of each image, blank where it is not recorded."""
    lesions: dict[str, str] = {}
    for number, (image, lesion) in raw.rows(file, ["image", "lesion_id"]):
        if lesions.setdefault(image, lesion) != lesion:
            raise InputError(
                f"{raw.folder / file}, line {number}: {image} is listed a second time, with lesion_id {lesion!r} "
                f"after {lesions[image]!r}: keep the right line"
            )
    return lesions


def _diagnosis(where: str, cells: list[str]) -> tuple[int, ...]:
    for name, cell in zip(LABELLINGS, cells, strict=True):
        if cell not in _CODES:
            raise InputError(f"{where}: {name} is {cell!r}, expected 0.0 or 1.0")
    codes = tuple(_CODES[cell] for cell in cells)
    if sum(codes) != 1:
        raise InputError(f"{where}: {sum(codes)} diagnoses are 1.0, expected exactly one")
    return codes


def _stem(file: str) -> str:
    return PurePosixPath(file).stem
