"""SVHN: rows, pixels, the digit 0, the extra images, damaged files, download."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from torchvision.datasets import SVHN as TORCHVISION

from datamodules.recipes import svhn as recipes
from datamodules.recipes.svhn import SVHNRecipe
from datamodules.svhn import SVHN
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.served import served
from tests.raw.svhn import make_svhn

FILE = Path("raw/train_32x32.mat")


@pytest.mark.parametrize("extra", [False, True])
def test_rows_are_what_was_written(extra: bool) -> None:
    made = make_svhn(Path("raw"), extra=extra)
    table, summary = prepared(SVHNRecipe(extra=extra), "raw")
    assert list(table.columns) == ["label", "group", "split", "source"]
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made.expected
    parts = ["train", "test", *(["extra"] if extra else [])]
    assert list(dict.fromkeys(source.split("_")[0] for source in sources)) == parts
    assert summary["labels"]["label"] == {str(digit): 16 + 3 * extra for digit in range(10)}
    assert summary["label_names"]["label"] == {str(digit): str(digit) for digit in range(10)}


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_pixels_and_digits_are_those_of_torchvision(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_AT_ONCE", at_once)
    make_svhn(Path("raw"))
    table, _ = prepared(SVHNRecipe(), "raw")
    monkeypatch.setattr(TORCHVISION, "_check_integrity", lambda self: True)
    other = [TORCHVISION("raw", split=split) for split in ("train", "test")]
    np.testing.assert_array_equal(table.images, np.concatenate([part.data for part in other]))
    np.testing.assert_array_equal(table.labels("label"), np.concatenate([part.labels for part in other]))


@pytest.mark.parametrize("raw", ["above", "above/raw"])
def test_the_folder_may_be_the_one_above(raw: str) -> None:
    made = make_svhn(Path("above/raw"))
    table, _ = prepared(SVHNRecipe(), raw)
    assert set(table.columns["source"].tolist()) == set(made.expected)


def test_nothing_is_left_of_the_unpacked_pixels() -> None:
    make_svhn(Path("raw"))
    prepared(SVHNRecipe(), "raw")
    assert sorted(path.name for path in Path("table").iterdir()) == ["images.npy", "manifest.csv", "prepare.json"]
    assert sorted(path.name for path in Path().iterdir()) == ["raw", "table"]


def test_a_file_that_was_replaced_is_unpacked_anew() -> None:
    """Unpacked pixels stay when a preparation is stopped, and the file may be another when it goes on."""
    make_svhn(Path("raw"))
    test = Path("raw/test_32x32.mat")
    whole = test.read_bytes()
    test.write_bytes(b"damaged")
    with pytest.raises(InputError, match="test_32x32"):
        prepared(SVHNRecipe(), "raw")
    test.write_bytes(whole)
    pixels = loadmat(FILE)["X"][..., ::-1]
    savemat(FILE, {"X": pixels, "y": np.full((120, 1), 3)}, do_compression=True)
    table, _ = prepared(SVHNRecipe(), "raw")
    np.testing.assert_array_equal(table.images[:120], pixels.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(("missing", "extra"), [("test", False), ("extra", True)])
def test_a_missing_file_is_named(missing: str, extra: bool) -> None:
    make_svhn(Path("raw"))
    Path(f"raw/{missing}_32x32.mat").unlink()
    with pytest.raises(InputError, match=rf"raw holds no {missing}_32x32\.mat: it belongs beside train_32x32\.mat"):
        prepared(SVHNRecipe(extra=extra), "raw")


def test_a_folder_without_any_says_where_to_get_them() -> None:
    Path("raw").mkdir()
    with pytest.raises(InputError, match=r"raw holds nothing of SVHN .*test_32x32\.mat .* from ufldl\.stanford\.edu"):
        prepared(SVHNRecipe(), "raw")


PIXELS = np.zeros((32, 32, 3, 4), dtype=np.uint8)
DIGITS = np.array([[1], [10], [2], [3]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            {"X": np.zeros((32, 32, 3, 1001), np.uint8), "y": DIGITS},
            "says that it holds 1001 images: expected at most 1000",
        ),
        ({"X": PIXELS}, "train_32x32.mat holds no y, but X: it is cut off, or another file"),
        ({"y": DIGITS}, "holds no X, but y: it is cut off"),
        ({"X": PIXELS.astype(np.float64), "y": DIGITS}, r"X in raw/train_32x32\.mat is double \(32, 32, 3, 4\)"),
        ({"X": PIXELS[..., 0, :], "y": DIGITS}, r"is uint8 \(32, 32, 4\): expected uint8 \(32, 32, 3, 'n'\)"),
        ({"X": PIXELS.transpose(3, 0, 1, 2), "y": DIGITS}, r"is uint8 \(4, 32, 32, 3\): expected"),
        ({"X": np.array([[PIXELS]], dtype=object), "y": DIGITS}, r"X in raw/train_32x32\.mat is cell"),
        ({"X": PIXELS, "y": DIGITS.astype(object)}, r"y in raw/train_32x32\.mat is cell: expected numbers"),
        ({"X": PIXELS, "y": "1023"}, r"y in raw/train_32x32\.mat is char: expected numbers"),
        ({"X": PIXELS, "y": DIGITS[:3]}, r"train_32x32\.mat has 3 labels for 4 images"),
        ({"X": PIXELS, "y": np.array([[1], [0], [2], [3]])}, r"has the label 0 at 1: expected 1 … 10"),
        ({"X": PIXELS, "y": DIGITS + 1}, r"has the label 11 at 1: expected 1 … 10"),
        ({"X": PIXELS, "y": DIGITS / 2}, r"has the label 0\.5 at 0: expected 1 … 10"),
    ],
)
def test_files_of_something_else_are_refused(
    content: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "_MOST", 1000)
    make_svhn(Path("raw"))
    savemat(FILE, content)
    with pytest.raises(InputError, match=reason):
        prepared(SVHNRecipe(), "raw")


@pytest.mark.parametrize(
    "damage", [lambda old: b"", lambda old: old[:100], lambda old: old[: len(old) // 2], lambda old: b"GIF89a" * 99]
)
def test_damaged_files_are_named(damage: Callable[[bytes], bytes]) -> None:
    make_svhn(Path("raw"))
    FILE.write_bytes(damage(FILE.read_bytes()))
    with pytest.raises(
        InputError, match=r"^raw/train_32x32\.mat (cannot be read: [^\n]+|holds no y, but X: it is cut off[^\n]+)$"
    ):
        prepared(SVHNRecipe(), "raw")


def test_the_data_set_downloads_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    make_svhn(Path("there"))
    with served(Path("there")) as (address, asked):
        names = {split: f"{split}_32x32.mat" for split in ("train", "test", "extra")}
        wrong = {split: [f"{address}/{name}", name, "0" * 32] for split, name in names.items()}
        monkeypatch.setattr(TORCHVISION, "split_list", wrong)
        with pytest.raises(InputError, match=r"train_32x32\.mat cannot be downloaded .*--raw\. train_32x32\.mat and"):
            SVHN().prepare_data()
        for _, name, _ in wrong.values():
            wrong[name.split("_")[0]][2] = hashlib.md5(Path("there", name).read_bytes()).hexdigest()
        data = SVHN(pair=4, n_train=8, n_val=2, n_test=4, image_size=32)
        data.prepare_data()
        assert "/extra_32x32.mat" not in asked
        SVHNRecipe(extra=True).download(Path("all"))
    assert sorted(path.name for path in Path("all").iterdir()) == sorted(names.values())
    assert data.table_folder == Path("data/svhn")
    assert (data.domain, data.num_classes, data.input_shape) == ("natural", 2, (3, 32, 32))
    assert data.test_set.rows.min() >= 120 > data.train_set.rows.max()


def test_extra_images_are_trained_on_and_never_tested() -> None:
    make_svhn(Path("raw"), extra=True)
    prepared(SVHNRecipe(extra=True), "raw")
    data = SVHN("table", n_train=None, n_val=10, n_test=20, image_size=32)
    assert set(range(160, 190)) <= set(data.train_set.rows.tolist())
    assert all(120 <= row < 160 for row in data.test_set.rows.tolist())
