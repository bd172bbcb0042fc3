"""ImageNet as it is downloaded, in small: as torchvision and Kaggle lay it out, and in its official archives."""

import csv
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.raw.made import Made

DEVKIT = "ILSVRC2012_devkit_t12"
# Training pictures per class. Not sorted, and of unequal size: the first by name is not the smallest.
CLASSES = {
    **{"n02105855": 15, "n01440764": 13, "n03995372": 16, "n01443537": 12, "n02708093": 14},
    **{"n01484850": 17, "n04296562": 12, "n15075141": 13, "n02119789": 18, "n07753592": 12},
}
LABELS = {wnid: label for label, wnid in enumerate(sorted(CLASSES))}
_VALIDATION = 4  # pictures per class
_PNG = "n02105855_2933.JPEG"  # as in the real one
_CMYK = "n01440764_7.JPEG"
_GREY = "n03995372_5.JPEG"


def make_imagenet_torchvision(root: Path, seed: int = 0) -> Made:
    """Write train/ and val/ with a folder per class."""
    train, val = _pictures(seed)
    for wnid, name in reversed([*train, *val]):
        folder = root / ("val" if name.startswith("ILSVRC") else "train") / wnid
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((train | val)[wnid, name])
    (root / "meta.bin").write_bytes(b"not needed")
    (root / "train" / "n01440764" / "._n01440764_1.JPEG").write_bytes(b"left by a Mac")
    return _expected(train, val)


def make_imagenet_kaggle(root: Path, seed: int = 0) -> Made:
    """Write Kaggle's tree: validation pictures lie flat, a list gives their classes."""
    train, val = _pictures(seed)
    data = root / "ILSVRC" / "Data" / "CLS-LOC"
    for (wnid, name), content in [*train.items(), *val.items()]:
        folder = data / "val" if (wnid, name) in val else data / "train" / wnid
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    boxes = root / "ILSVRC" / "Annotations" / "CLS-LOC" / "train" / "n01440764"
    boxes.mkdir(parents=True)
    (boxes / "n01440764_10040.xml").write_text("<annotation/>")
    with (root / "LOC_val_solution.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "PredictionString"])
        for wnid, name in reversed(val):
            writer.writerow([Path(name).stem, f"{wnid} 85 1 49 27 {wnid} 2 3 40 20 "])
    lines = [f"{wnid} something, something else\n" for wnid in LABELS]
    (root / "LOC_synset_mapping.txt").write_text("".join(lines))
    return _expected(train, val)


def make_imagenet_tars(root: Path, seed: int = 0) -> Made:
    """Write the two archives of pictures, and the one that gives the classes of the validation pictures."""
    train, val = _pictures(seed)
    root.mkdir(parents=True, exist_ok=True)
    classes = {f"{wnid}.tar": tarred({n: c for (w, n), c in train.items() if w == wnid}) for wnid in CLASSES}
    (root / "ILSVRC2012_img_train.tar").write_bytes(tarred(classes))
    (root / "ILSVRC2012_img_val.tar").write_bytes(tarred({name: content for (_, name), content in val.items()}))
    write_devkit(root, [wnid for wnid, _ in sorted(val, key=lambda key: key[1])])
    return _expected(train, val)


def write_devkit(root: Path, classes: list[str]) -> None:
    """Write the archive that gives the classes of the validation pictures, in order; its numbers are not sorted."""
    numbers = {wnid: number for number, wnid in enumerate(CLASSES, start=1)}
    kind = len(CLASSES) + 1  # a kind of the others, which pictures are not of
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    synsets = np.empty((kind, 1), dtype=[(name, object) for name in names])
    for row, (wnid, number) in enumerate(numbers.items()):
        synsets[row, 0] = (float(number), wnid, "something", 0.0)
    synsets[kind - 1, 0] = (float(kind), "n00001740", "entity", float(len(numbers)))
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    lines = "".join(f"{numbers[wnid]}\n" for wnid in classes)
    files = {"ILSVRC2012_validation_ground_truth.txt": lines.encode(), "meta.mat": meta.getvalue()}
    content = tarred({f"{DEVKIT}/data/{name}": value for name, value in files.items()}, mode="w:gz")
    (root / f"{DEVKIT}.tar.gz").write_bytes(content)


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as tar:  # type: ignore[call-overload]  # any mode as text
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _pictures(seed: int) -> tuple[dict[tuple[str, str], bytes], dict[tuple[str, str], bytes]]:
    """Training and validation pictures: the content of a file by its class and name."""
    rng = np.random.default_rng(seed)
    train = {}
    for wnid, count in CLASSES.items():
        numbers = rng.permutation(np.arange(1, count + 1)).tolist()
        for name in [f"{wnid}_{number}.JPEG" for number in numbers] + [_PNG] * (_PNG.startswith(wnid)):
            train[wnid, name] = _encoded(name, rng)
    classes = rng.permutation(np.repeat(list(CLASSES), _VALIDATION)).tolist()
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, len(classes) + 1)]
    val = {(wnid, name): _encoded(name, rng) for wnid, name in zip(classes, names, strict=True)}
    return train, val


def _encoded(name: str, rng: np.random.Generator) -> bytes:
    height, width = rng.integers(20, 40, 2)
    pixels = rng.integers(0, 256, (height, width, 4 if name == _CMYK else 3), dtype=np.uint8)
    picture = Image.fromarray(pixels, mode="CMYK") if name == _CMYK else Image.fromarray(pixels)
    content = io.BytesIO()
    (picture.convert("L") if name == _GREY else picture).save(content, "PNG" if name == _PNG else "JPEG")
    return content.getvalue()


def _expected(train: Mapping[tuple[str, str], bytes], val: Mapping[tuple[str, str], bytes]) -> Made:
    expected = {}
    for wnid, name in [*train, *val]:
        split = "train" if (wnid, name) in train else "valid"
        source = f"train/{wnid}/{name}" if split == "train" else f"val/{name}"
        expected[source] = {"label": str(LABELS[wnid]), "class": wnid, "group": source, "split": split}
    return Made(expected)
