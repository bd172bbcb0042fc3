"""MedMNIST: rows, pixels at every size, labels with names, damaged archives, download, and its data module."""

import hashlib
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import medmnist.info
import numpy as np
import pytest

from datamodules.medmnist import MedMNIST
from datamodules.preparation.raw import Raw
from datamodules.recipes import MEDMNIST, make_recipe
from datamodules.recipes import medmnist as recipes
from datamodules.recipes.medmnist import MedMNISTRecipe, Size
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.medmnist import FINDINGS, make_medmnist
from tests.raw.served import served

FILE = Path("raw/pneumoniamnist.npz")
PARTS = ("train", "val", "test")


@pytest.mark.parametrize("flag", MEDMNIST)
def test_rows_are_what_was_written(flag: str) -> None:
    made = make_medmnist(Path("raw"), flag=flag)
    table, summary = prepared(make_recipe(flag), "raw")
    labellings = sorted(FINDINGS, key=lambda name: name != "effusion") if flag == "chestmnist" else ["label"]
    assert list(table.columns) == [*labellings, "group", "split", "source"]
    assert table.labellings == labellings
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made.expected
    assert list(dict.fromkeys(table.columns["split"].tolist())) == ["train", "valid", "test"]
    assert summary["data_set"] == flag
    assert summary["skipped_sources"] == []


@pytest.mark.parametrize("flag", MEDMNIST)
def test_names_of_labels_are_those_of_the_authors(flag: str) -> None:
    names, official = make_recipe(flag).label_names(), medmnist.info.INFO[flag]["label"]
    if flag == "chestmnist":
        assert list(names) == list(official.values()) == list(FINDINGS)
        assert all(set(meaning) == {0, 1} for meaning in names.values())
    else:
        assert {str(label): name for label, name in names["label"].items()} == official


def test_the_sets_are_the_two_dimensional_ones() -> None:
    assert list(MEDMNIST) == [flag for flag in medmnist.info.INFO if not flag.endswith("3d")]


@pytest.mark.parametrize(
    ("flag", "size"),
    [*(("pneumoniamnist", size) for size in (28, 64, 128, 224)), ("pathmnist", 28), ("retinamnist", 64)],
)
def test_pixels_are_those_of_the_archive(flag: str, size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_AT_ONCE", 5 * size * size)  # a part ends within a split
    make_medmnist(Path("raw"), flag=flag, size=size)
    recipe = MedMNISTRecipe(flag=flag, size=size)
    table, summary = prepared(recipe, "raw")
    with np.load(f"raw/{flag}{'' if size == 28 else f'_{size}'}.npz") as archive:
        images = np.concatenate([archive[f"{part}_images"] for part in PARTS])
    expected = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    np.testing.assert_array_equal(table.images, expected)
    assert summary["options"] == {"flag": flag, "size": size}
    assert recipe.folder == (f"data/{flag}" if size == 28 else f"data/{flag}-{size}")


def test_sizes_lie_beside_one_another() -> None:
    for seed, size in enumerate((28, 64)):
        make_medmnist(Path("raw/below/here"), seed, size=size)
    for size in (28, 64):
        table, _ = prepared(make_recipe("pneumoniamnist", size=size), "raw", f"table{size}")
        assert table.images.shape[1:] == (1, size, size)


def test_an_archive_may_be_uncompressed() -> None:
    made = make_medmnist(Path("raw"))
    with np.load(FILE) as archive:
        arrays = dict(archive)
    np.savez(FILE, allow_pickle=False, **arrays)
    table, _ = prepared(make_recipe("pneumoniamnist"), "raw")
    assert len(table) == len(made.expected)
    np.testing.assert_array_equal(table.images[:24, 0], arrays["train_images"])


def test_no_more_than_a_part_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "_AT_ONCE", 1 << 21)
    images = np.zeros((400, 224, 224), dtype=np.uint8)
    images[:, 0] = np.arange(400)[:, None] % 256
    arrays = {f"{part}_{what}": images[:2] if what == "images" else np.zeros((2, 1), np.uint8)
              for part in PARTS for what in ("images", "labels")}  # fmt: skip
    arrays |= {"train_images": images, "train_labels": np.zeros((400, 1), np.uint8)}
    Path("raw").mkdir()
    np.savez_compressed("raw/pneumoniamnist_224.npz", allow_pickle=False, **arrays)
    recipe = MedMNISTRecipe(flag="pneumoniamnist", size=224)
    tracemalloc.start()
    for piece in recipe.pieces(Raw("raw", Path("scratch"))):
        assert sum(1 for _ in recipe.decode(Path("raw"), piece)) == len(piece.facts.labels)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < 2.5 * recipes._AT_ONCE < 0.3 * images.nbytes


def _arrays(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for part in PARTS:
        arrays[f"{part}_images"] = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.array([[0], [1], [1], [0]], dtype=np.uint8)
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"val_images": None}, "it holds no val_images, but train_images, train_labels, val_labels, test_images"),
        ({"test_labels": None}, "it holds no test_labels, but"),
        (
            {"train_images": np.zeros((4, 28, 28))},
            r"train_images is float64 \(4, 28, 28\): expected uint8 \(n, 28, 28\)",
        ),
        (
            {"train_images": np.zeros((4, 64, 64), np.uint8)},
            r"train_images is uint8 \(4, 64, 64\): expected .* or \(n, 28, 28, 3\)",
        ),
        ({"train_images": np.zeros((4, 28, 28, 1), np.uint8)}, r"train_images is uint8 \(4, 28, 28, 1\): expected"),
        ({"train_images": np.zeros((4, 28, 28, 28), np.uint8)}, r"train_images is uint8 \(4, 28, 28, 28\): expected"),
        ({"train_images": np.zeros((28, 28, 4), np.uint8).T}, "train_images is no plain array of uint8"),
        ({"train_images": np.array([[b"x"] * 3] * 2, dtype=object)}, "train_images is no plain array of object"),
        ({"test_labels": np.array([[0], [1], [1], [None]])}, "test_labels is no plain array of object"),
        (
            {"val_images": np.zeros((9, 28, 28), np.uint8)},
            r"val_images is uint8 \(9, 28, 28\): expected at most 8 images",
        ),
        ({"val_labels": np.zeros((3, 1), np.uint8)}, r"val_labels is uint8 \(3, 1\): expected whole numbers \(4, 1\)"),
        (
            {"val_labels": np.zeros((4, 14), np.uint8)},
            r"val_labels is uint8 \(4, 14\): expected whole numbers \(4, 1\)",
        ),
        ({"val_labels": np.zeros((4, 1))}, r"val_labels is float64 \(4, 1\): expected whole numbers"),
    ],
)
def test_archives_of_something_else_are_refused(
    changes: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "_MOST", 8)
    FILE.parent.mkdir()
    np.savez(FILE, allow_pickle=True, **_arrays(**changes))
    with pytest.raises(InputError, match=rf"^{FILE} cannot be read: {reason}"):
        prepared(make_recipe("pneumoniamnist"), "raw")


@pytest.mark.parametrize(("label", "dtype"), [(2, np.uint8), (-1, np.int64)])
def test_a_label_that_is_no_class_is_refused(label: int, dtype: type) -> None:
    FILE.parent.mkdir()
    np.savez(FILE, allow_pickle=False, **_arrays(val_labels=np.array([[0], [1], [label], [0]], dtype=dtype)))
    with pytest.raises(InputError, match=rf"val_labels in {FILE} has \[{label}\] at 2: expected 0 … 1"):
        prepared(make_recipe("pneumoniamnist"), "raw")


@pytest.mark.parametrize(
    "damage",
    [
        lambda old: b"",
        lambda old: old[: len(old) // 2],
        lambda old: old.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x07"),
        lambda old: old.replace(b"'fortran_order'", b"'fortran_other'"),
    ],
)
def test_damaged_archives_are_named(damage: Callable[[bytes], bytes]) -> None:
    FILE.parent.mkdir()
    np.savez(FILE, allow_pickle=False, **_arrays())
    FILE.write_bytes(damage(FILE.read_bytes()))
    with pytest.raises(InputError, match=rf"^{FILE} cannot be read: [^\n]+$"):
        prepared(make_recipe("pneumoniamnist"), "raw")


def test_damaged_pixels_are_named_or_left_out() -> None:
    make_medmnist(Path("raw"), size=64)
    file = Path("raw/pneumoniamnist_64.npz")
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("val_images.npy").header_offset
    content = bytearray(file.read_bytes())
    content[start + 20_000 : start + 20_400] = b"\xff" * 400
    file.write_bytes(content)
    recipe = make_recipe("pneumoniamnist", size=64)
    with pytest.raises(InputError, match=rf"^{file} cannot be read: [^\n]+; --skip-unreadable leaves such files out$"):
        prepared(recipe, "raw")
    table, summary = prepared(recipe, "raw", "rest", skip_unreadable=True)
    assert set(table.columns["split"].tolist()) == {"train", "test"}
    assert [source for source, _ in summary["skipped_sources"]] == ["pneumoniamnist_64.npz#val 0…11"]


def test_two_archives_are_not_chosen_between() -> None:
    for place in ("raw/b", "raw/a"):
        make_medmnist(Path(place))
    with pytest.raises(
        InputError, match=r"pneumoniamnist\.npz 2 times \(a/pneumoniamnist\.npz, b/pneumoniamnist\.npz\)"
    ):
        prepared(make_recipe("pneumoniamnist"), "raw")


def test_a_folder_without_it_says_where_to_get_it() -> None:
    make_medmnist(Path("raw"))
    with pytest.raises(
        InputError, match=r"raw holds nothing of MedMNIST v2\. <name>\.npz .*zenodo\.org/records/10519652"
    ):
        prepared(make_recipe("pneumoniamnist", size=64), "raw")


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"flag='organmnist3d' is no set of MedMNIST: choose from pathmnist, .*organsmn"
    ):
        MedMNISTRecipe(flag="organmnist3d")
    with pytest.raises(InputError, match="size=32 is not offered: choose from 28, 64, 128, 224"):
        MedMNISTRecipe(flag="pathmnist", size=cast(Size, 32))
    with pytest.raises(InputError, match="flag='mednist' is no set of MedMNIST: choose from pathmnist"):
        MedMNIST(flag="mednist")
    with pytest.raises(InputError, match="size=32 is not offered"):
        MedMNIST(size=cast(Size, 32))


@pytest.mark.parametrize(("size", "suffix"), [(28, ""), (224, "_224")])
def test_the_data_set_downloads_itself(size: Size, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_medmnist(Path("there"), size=size)
    name = f"pneumoniamnist{suffix}.npz"
    known = medmnist.info.INFO["pneumoniamnist"]
    with served(Path("there")) as (address, _):
        monkeypatch.setitem(known, f"url{suffix}", f"{address}/{name}")
        with pytest.raises(
            InputError, match=rf"pneumoniamnist{suffix}\.npz cannot be downloaded .*--raw\. <name>\.npz"
        ):
            MedMNIST(size=size).prepare_data()
        monkeypatch.setitem(known, f"MD5{suffix}", hashlib.md5(Path("there", name).read_bytes()).hexdigest())
        data = MedMNIST(size=size, n_train=8, n_val=4, n_test=4, image_size=16)
        data.prepare_data()
    assert data.table_folder == Path(f"data/pneumoniamnist{suffix.replace('_', '-')}")
    assert (data.name, data.domain, data.input_shape) == ("MedMNIST pneumoniamnist", "medical", (1, 16, 16))
    splits = [data.train_set, data.val_set, data.test_set]
    assert [set(part.rows.numpy() // 12) for part in splits] == [{0, 1}, {2}, {3}]  # 24, 12 and 12 images


def test_official_sums_are_the_ones_that_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(recipes, "fetch", lambda remotes, folder, access: asked.extend(remotes))
    MedMNISTRecipe(flag="pneumoniamnist", size=224).download(Path("raw"))
    MedMNISTRecipe(flag="breastmnist", size=224).download(Path("raw"))
    assert [remote.name for remote in asked] == ["pneumoniamnist_224.npz", "breastmnist_224.npz"]
    assert [remote.md5 for remote in asked] == ["d6a3c71de1b945ea11211b03746c1fe1", "b56378a6eefa9fed602bb16d192d4c8b"]
    assert all(url.startswith("https://zenodo.org/records/10519652/") for remote in asked for url in remote.urls)


def test_chest_findings_are_labellings_of_their_own() -> None:
    made = make_medmnist(Path("raw"), flag="chestmnist")
    table, _ = prepared(make_recipe("chestmnist"), "raw")
    assert MedMNIST("table", flag="chestmnist").labelling == "effusion"
    for finding in ("effusion", "edema"):
        data = MedMNIST("table", flag="chestmnist", labelling=finding)
        expected = [int(made.expected[source][finding]) for source in table.columns["source"].tolist()]
        assert data.read_labels(table).tolist() == expected


def test_a_table_of_another_size_is_refused() -> None:
    make_medmnist(Path("raw"))
    prepared(make_recipe("pneumoniamnist"), "raw")
    with pytest.raises(InputError, match=r"prepared with size=28, and .* size=64: .*data/pneumoniamnist-64"):
        MedMNIST("table", size=64).setup()
