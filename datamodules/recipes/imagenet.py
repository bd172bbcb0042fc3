"""ImageNet (ILSVRC 2012): extracted as torchvision or Kaggle does, or in its official tar files."""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.pictures import EXTENSIONS, UnreadableError
from datamodules.preparation.archives import Member, as_file, naming, read_member, tar_members
from datamodules.preparation.raw import Raw
from datamodules.preparation.recipe import Found, PictureRecipe, Piece
from datamodules.tables import Row
from metrics import InputError, require_at_least

_WNID = re.compile(r"n\d{8}")
_TREES = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")  # Kaggle's below, or --raw somewhere in it
_TRAIN_TAR, _VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_DEVKIT, _LARGEST = "ILSVRC2012_devkit_t12.tar.gz", 1 << 24  # bytes of a file in it
_SOLUTION = "LOC_val_solution.csv"


@dataclass(frozen=True)
class Place:
    """Where a picture lies: a file of its own, or a member of a tar archive."""

    file: str
    member: Member | None = None


@dataclass(frozen=True)
class Picture:
    """What is known of a picture.

    Attributes:
        label: Number of its class.
        wnid: WordNet id of its class.
        split: train or valid.
        member: Where in the tar archive it lies; None for a file of its own.
    """

    label: int
    wnid: str
    split: str
    member: Member | None


@dataclass(frozen=True, kw_only=True)
class ImageNetRecipe(PictureRecipe[Picture]):
    """ImageNet (ILSVRC 2012): photographs of some of its 1,000 classes, in colour, the middle cut out.

    A row holds ``label`` (the number of the class among the sorted WordNet ids of the download: the usual 0 … 999 if it
    is whole), ``class`` (the WordNet id), ``group`` (the picture itself), ``split`` (train or valid) and ``source``,
    e.g. ``train/n01440764/n01440764_10026.JPEG``. The table is the same however the download is laid out. Grey and
    CMYK pictures become RGB; the format is recognised by its content, since some ``.JPEG`` are PNGs.

    Source: O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.

    Args:
        classes: WordNet ids of the classes to prepare; default some that are drawn at random.
        n_classes: How many are drawn. All 1,000 make a table of 200 GB at the usual size.
        seed: Seed of the draw.
    """

    name = "imagenet"
    title = "ImageNet (ILSVRC 2012)"
    access = (
        f"{_TRAIN_TAR} (and, for the validation pictures, {_VAL_TAR} and {_DEVKIT}), as they are or extracted to "
        "train/n…/ and val/n…/ as by torchvision.datasets.ImageNet, from image-net.org (account, non-commercial "
        "research); or Kaggle's imagenet-object-localization-challenge, extracted (account, the same terms)."
    )
    usual_fit = "crop"

    classes: tuple[str, ...] | None = None
    n_classes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        require_at_least(2, n_classes=self.n_classes)
        require_at_least(0, seed=self.seed)

    def pieces(self, raw: Raw) -> list[Piece[Picture]]:
        """One per picture: training, then validation, each by class and name."""
        train = _train(raw)
        if not train:
            return []
        labels = {wnid: label for label, wnid in enumerate(sorted(train))}
        chosen = self._chosen(raw, sorted(train))
        pieces = []
        for wnid in chosen:
            for name, place in sorted(_listed(raw, train[wnid]).items()):
                picture = Picture(labels[wnid], wnid, "train", place.member)
                pieces.append(Piece(f"train/{wnid}/{name}", (place.file,), picture))
        for wnid, places in _val(raw, chosen).items():
            for name, place in sorted(places.items()):
                picture = Picture(labels[wnid], wnid, "valid", place.member)
                pieces.append(Piece(f"val/{name}", (place.file,), picture))
        return pieces

    def decode(self, folder: Path, piece: Piece[Picture]) -> Iterator[Found]:
        """The picture in colour, square."""
        facts, file = piece.facts, folder / piece.files[0]
        if not file.exists():
            raise UnreadableError("the file is absent")
        if facts.member is None:
            image = self.picture(file, 3)
        else:
            try:
                with as_file(file, facts.member) as copy:
                    image = self.picture(copy, 3)
            except UnreadableError as error:
                raise UnreadableError(f"{piece.source} in it: {error}") from error
        row: Row = {"label": facts.label, "class": facts.wnid, "group": piece.source, "split": facts.split}
        yield image, {**row, "source": piece.source}

    def _chosen(self, raw: Raw, wnids: list[str]) -> list[str]:
        """The classes to prepare, sorted."""
        if self.classes is None:
            if self.n_classes > len(wnids):
                raise InputError(
                    f"n_classes={self.n_classes} is more than the {len(wnids)} classes in {raw.folder}: choose fewer"
                )
            drawn = np.random.default_rng(self.seed).choice(len(wnids), self.n_classes, replace=False)
            return [wnids[i] for i in sorted(drawn.tolist())]
        for wnid in self.classes:
            if wnid not in wnids:
                raise InputError(
                    f"classes: {raw.folder} holds no {wnid!r}; its {len(wnids)} classes are WordNet ids, "
                    f"{wnids[0]} … {wnids[-1]}"
                )
        return sorted(set(self.classes))


def _tree(raw: Raw) -> str | None:
    """The folder that holds train/, perhaps beside val/."""
    for tree in _TREES:
        if (raw.folder / tree / "train").is_dir():
            return tree
    # Kaggle's first: there are folders called train with annotations only.
    for tree in (*_TREES[1:], ""):
        above = raw.root(f"{tree}/train".lstrip("/"))
        if above is not None:
            return f"{above}/{tree}".strip("/")
    return None


def _train(raw: Raw) -> dict[str, Place]:
    """Where the training pictures of each class lie: in a folder, or in a tar archive within another."""
    tree = _tree(raw)
    if tree is not None:
        folder = f"{tree}/train".lstrip("/")
        names = [name for name in _names(raw.folder / folder) if _WNID.fullmatch(name)]
        if names:
            return {name: Place(f"{folder}/{name}") for name in names}
    above = raw.root(_TRAIN_TAR)
    if above is None:
        return {}
    archive = f"{above}/{_TRAIN_TAR}".lstrip("/")
    with naming(raw.folder / archive):
        members = tar_members(raw.folder / archive)
    named = {member.name.removesuffix(".tar"): Place(archive, member) for member in members}
    return {name: place for name, place in named.items() if _WNID.fullmatch(name)}


def _val(raw: Raw, chosen: list[str]) -> dict[str, dict[str, Place]]:
    """The validation pictures of some classes by class and name; nothing where there are none."""
    tree = _tree(raw)
    folder = None if tree is None else f"{tree}/val".lstrip("/")
    if folder is not None and (raw.folder / folder).is_dir():
        by_class = {wnid: f"{folder}/{wnid}" for wnid in chosen if (raw.folder / folder / wnid).is_dir()}
        if by_class:
            return {wnid: _listed(raw, Place(place)) for wnid, place in by_class.items()}
        return _by_truth(raw, folder, chosen)
    above = raw.root(_VAL_TAR)
    return {} if above is None else _by_truth(raw, f"{above}/{_VAL_TAR}".lstrip("/"), chosen)


def _by_truth(raw: Raw, where: str, chosen: list[str]) -> dict[str, dict[str, Place]]:
    """Validation pictures that lie together, by the classes that a separate file gives them."""
    truth = _truth(raw)
    if truth is None:
        raw.note(f"validation pictures left out: neither {_SOLUTION} nor {_DEVKIT} is there to give their classes")
        return {}
    there = _listed(raw, Place(where))
    found: dict[str, dict[str, Place]] = {wnid: {} for wnid in chosen}
    for stem, wnid in truth.items():
        name = f"{stem}.JPEG"
        place = there.pop(name, Place(f"{where}/{name}"))  # one that is absent is noticed when it is decoded
        if wnid in found:
            found[wnid][name] = place
    for name in there:
        raw.skip(f"val/{name}", "a validation picture whose class is not given")
    return found


def _truth(raw: Raw) -> dict[str, str] | None:
    """The class of each validation picture by its name without ending."""
    above = raw.root(_SOLUTION)
    solution = raw.find(_SOLUTION) if above is None else f"{above}/{_SOLUTION}".lstrip("/")
    if solution is not None:
        return _solution(raw, solution)
    devkit = raw.find(_DEVKIT)
    return None if devkit is None else _devkit(raw.folder / devkit)


def _solution(raw: Raw, file: str) -> dict[str, str]:
    """Kaggle's list: name, then WordNet id and box of each object; all objects are of one class."""
    truth: dict[str, str] = {}
    for number, (name, prediction) in raw.rows(file, ("ImageId", "PredictionString")):
        wnid = prediction.partition(" ")[0]
        if not _WNID.fullmatch(wnid):
            raise InputError(f"{raw.folder / file}, line {number}: {prediction!r} begins with no WordNet id")
        if truth.setdefault(name, wnid) != wnid:
            raise InputError(f"{raw.folder / file}, line {number}: {name} is {wnid}, and {truth[name]} further up")
    return truth


def _devkit(file: Path) -> dict[str, str]:
    """The official list: a number per picture, and what the numbers stand for."""
    from scipy.io import loadmat

    with naming(file):
        lines = read_member(file, "ILSVRC2012_validation_ground_truth.txt", at_most=_LARGEST).decode("latin1").split()
        meta = read_member(file, "meta.mat", at_most=_LARGEST)
        try:
            synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
            wnids = {
                int(number): str(wnid)
                for number, wnid, children in zip(
                    synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["num_children"], strict=True
                )
                if children == 0  # others are kinds of classes
            }
        except Exception as error:  # a damaged file makes SciPy raise anything
            raise UnreadableError(f"meta.mat in it: {' '.join(str(error).split())}") from error
        truth = {}
        for number, line in enumerate(lines, start=1):
            if not line.isdecimal() or int(line) not in wnids:
                raise UnreadableError(f"line {number} of its ground truth is {line!r}, which meta.mat does not know")
            truth[f"ILSVRC2012_val_{number:08}"] = wnids[int(line)]
    return truth


def _listed(raw: Raw, place: Place) -> dict[str, Place]:
    """The pictures in a folder or a tar archive, by name."""
    where = raw.folder / place.file
    if where.is_dir():
        names = {name: Place(f"{place.file}/{name}") for name in _names(where)}
    else:
        with naming(where):
            names = {member.name: Place(place.file, member) for member in tar_members(where, place.member)}
    return {name: found for name, found in names.items() if Path(name).suffix.lower() in EXTENSIONS and name[0] != "."}


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}") from error
