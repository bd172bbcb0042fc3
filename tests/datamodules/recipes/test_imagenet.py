"""ImageNet: the same table from every layout, pictures that belong to their labels, the draw of classes, damage."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules import ImageTable
from datamodules.imagenet import ImageNet
from datamodules.recipes.imagenet import ImageNetRecipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.imagenet import (
    CLASSES,
    DEVKIT,
    LABELS,
    make_imagenet_kaggle,
    make_imagenet_tars,
    make_imagenet_torchvision,
    tarred,
    write_devkit,
)
from tests.raw.made import Made

RAW = Path("raw")
LAYOUTS = [make_imagenet_torchvision, make_imagenet_kaggle, make_imagenet_tars]
SIDE = 16
TRAIN_TAR = RAW / "ILSVRC2012_img_train.tar"
KAGGLE = RAW / "ILSVRC" / "Data" / "CLS-LOC"
SOLUTION = RAW / "LOC_val_solution.csv"
FEW = ("n01443537", "n01440764", "n15075141")
every_layout = pytest.mark.parametrize("make", LAYOUTS)


def _recipe(**options: Any) -> ImageNetRecipe:
    return ImageNetRecipe(image_size=SIDE, **options)


def _few(made: Made, *splits: str) -> set[str]:
    """The sources of the few classes that most tests prepare."""
    return {source for source, row in made.expected.items() if row["class"] in FEW and row["split"] in splits}


def _bytes(table: str) -> list[bytes]:
    return [Path(table, name).read_bytes() for name in ("images.npy", "manifest.csv")]


@every_layout
def test_rows_are_what_was_written(make: Callable[[Path], Made]) -> None:
    made = make(RAW)
    table, summary = prepared(_recipe(), RAW)
    assert list(table.columns) == ["label", "class", "group", "split", "source"]
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made.expected
    assert table.labellings == ["label"]
    assert (summary["skipped_sources"], summary["notes"]) == ([], {})
    assert summary["splits"] == {"train": sum(CLASSES.values()) + 1, "valid": 40}


def test_every_layout_gives_the_same_table() -> None:
    for i, make in enumerate(LAYOUTS):
        make(Path(f"raw{i}"))
        prepared(_recipe(n_classes=4), f"raw{i}", f"table{i}")
    assert _bytes("table0") == _bytes("table1") == _bytes("table2")


def _cut_out(file: Path) -> NDArray[np.uint8]:
    """The middle of a picture in RGB, ``(3, side, side)``."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    short, (left, top) = (
        min(picture.size),
        ((picture.width - min(picture.size)) / 2, (picture.height - min(picture.size)) / 2),
    )
    scaled = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short))
    return np.asarray(scaled).transpose(2, 0, 1)


def test_pictures_are_those_of_their_labels() -> None:
    """The released code filters labels by class, but not files, and shows tench for every class."""
    make_imagenet_torchvision(RAW)
    table, _ = prepared(_recipe(classes=("n04296562", "n02105855", "n01484850")), RAW)
    assert np.unique(table.labels("label")).tolist() == [2, 3, 7]
    for image, label, source in zip(table.images, table.labels("label"), table.columns["source"], strict=True):
        part, _, name = source.partition("/")
        (file,) = (RAW / part).rglob(name.rpartition("/")[2])
        assert LABELS[file.parent.name] == label
        np.testing.assert_array_equal(image, _cut_out(file))


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("n01440764/n01440764_7.JPEG", "CMYK", "JPEG"),
        ("n03995372/n03995372_5.JPEG", "L", "JPEG"),
        ("n02105855/n02105855_2933.JPEG", "RGB", "PNG"),
    ],
)
@every_layout
def test_every_kind_of_picture_becomes_rgb(name: str, mode: str, kind: str, make: Callable[[Path], Made]) -> None:
    make_imagenet_torchvision(Path("pictures"))
    with Image.open(Path("pictures/train") / name) as picture:
        assert (picture.mode, picture.format) == (mode, kind)
    make(RAW)
    table, _ = prepared(_recipe(classes=(name[:9], "n01443537")), RAW)
    (row,) = np.flatnonzero(table.columns["source"] == f"train/{name}")
    np.testing.assert_array_equal(table.images[row], _cut_out(Path("pictures/train") / name))


def test_reference_scales_by_the_maximum_and_stretches() -> None:
    make_imagenet_torchvision(RAW)
    name = "n01443537/n01443537_1.JPEG"
    dark = np.random.default_rng(0).integers(0, 100, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(dark).save(RAW / "train" / name, "PNG")
    table, _ = prepared(_recipe(classes=FEW, protocol="reference"), RAW)
    (row,) = np.flatnonzero(table.columns["source"] == f"train/{name}")
    assert dark.max() < 100
    scaled = Image.fromarray((dark.astype(np.int64) * 255 // dark.max()).astype(np.uint8))
    stretched = np.asarray(scaled.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(table.images[row], stretched)
    assert _recipe(protocol="reference").folder == "data/imagenet-reference"


@every_layout
def test_classes_are_drawn_by_seed_and_keep_their_numbers(make: Callable[[Path], Made]) -> None:
    make(RAW)
    drawn = []
    for seed in range(3):
        table, summary = prepared(_recipe(n_classes=3, seed=seed), RAW, f"table{seed}")
        labels, wnids = table.labels("label").tolist(), table.columns["class"].tolist()
        assert {LABELS[wnid] for wnid in wnids} == set(labels)
        assert [LABELS[wnid] for wnid in wnids] == labels
        counts = {str(LABELS[wnid]): CLASSES[wnid] + 4 + (wnid == "n02105855") for wnid in set(wnids)}
        assert summary["labels"]["label"] == counts
        drawn.append(tuple(sorted(set(labels))))
    assert len(set(drawn)) == 3
    assert [len(labels) for labels in drawn] == [3, 3, 3]


def test_the_order_of_classes_has_no_effect() -> None:
    make_imagenet_torchvision(RAW)
    for i, classes in enumerate([("n02105855", "n01440764"), ("n01440764", "n02105855", "n01440764")]):
        prepared(_recipe(classes=classes), RAW, f"table{i}")
    assert _bytes("table0") == _bytes("table1")


def test_classes_that_do_not_exist_are_refused() -> None:
    make_imagenet_torchvision(RAW)
    with pytest.raises(
        InputError, match=r"raw holds no 'n00000001'; its 10 classes are WordNet ids, n01440764 … n15075141"
    ):
        prepared(_recipe(classes=("n01440764", "n00000001")), RAW)
    with pytest.raises(InputError, match="n_classes=11 is more than the 10 classes in raw: choose fewer"):
        prepared(_recipe(n_classes=11), RAW)
    with pytest.raises(InputError, match="n_classes=1 is out of range: choose 2 or more"):
        _recipe(n_classes=1)
    with pytest.raises(InputError, match="seed=-1 is out of range: choose 0 or more"):
        _recipe(seed=-1)


@pytest.mark.parametrize(("make", "raw"), [
    *((make, raw) for make in LAYOUTS for raw in ("far/above", "far/above/raw")),
    (make_imagenet_torchvision, "far"),
    (make_imagenet_kaggle, "far"),
])  # fmt: skip
def test_the_folder_may_be_one_above(make: Callable[[Path], Made], raw: str) -> None:
    made = make(Path("far/above/raw"))
    table, _ = prepared(_recipe(classes=FEW), raw)
    assert set(table.columns["source"].tolist()) == _few(made, "train", "valid")


@pytest.mark.parametrize("raw", ["ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_tree_may_be_given_from_within(raw: str) -> None:
    made = make_imagenet_kaggle(RAW)
    table, summary = prepared(_recipe(classes=FEW), RAW / raw, "without")
    assert set(table.columns["source"].tolist()) == _few(made, "train")
    assert summary["notes"] == {
        "validation pictures left out: neither LOC_val_solution.csv nor ILSVRC2012_devkit_t12.tar.gz "
        "is there to give their classes": 1
    }
    SOLUTION.rename(RAW / raw / SOLUTION.name)
    table, summary = prepared(_recipe(classes=FEW), RAW / raw, "with")
    assert set(table.columns["source"].tolist()) == _few(made, "train", "valid")


def test_flat_validation_pictures_get_their_classes_from_the_devkit() -> None:
    made = make_imagenet_kaggle(RAW)
    SOLUTION.unlink()
    validation = sorted(source for source in made.expected if source.startswith("val/"))
    write_devkit(RAW, [made.expected[source]["class"] for source in validation])
    table, _ = prepared(_recipe(classes=FEW), RAW)
    assert set(table.columns["source"].tolist()) == _few(made, "train", "valid")
    for source, wnid in zip(table.columns["source"], table.columns["class"], strict=True):
        assert made.expected[source]["class"] == wnid


@every_layout
def test_training_pictures_alone_will_do(make: Callable[[Path], Made]) -> None:
    made = make(RAW)
    for path in RAW.rglob("*val*"):
        if path.exists():
            path.rename("away") if path.is_file() else path.rename("away_folder")
    table, summary = prepared(_recipe(classes=FEW), RAW)
    assert set(table.columns["source"].tolist()) == _few(made, "train")
    assert summary["notes"] == {}


def test_what_is_no_picture_is_left_out() -> None:
    made = make_imagenet_torchvision(RAW)
    (RAW / "train/n01440764/readme.txt").write_text("no picture")
    (RAW / "train/others").mkdir()
    (RAW / "train/others/a.JPEG").write_bytes(b"no class")
    table, _ = prepared(_recipe(classes=FEW), RAW)
    assert set(table.columns["source"].tolist()) == _few(made, "train", "valid")


def test_a_folder_of_something_else_says_where_to_get_it() -> None:
    (RAW / "train" / "cats").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"raw holds nothing of ImageNet .*ILSVRC2012_img_train\.tar .* image-net\.org"
    ):
        prepared(_recipe(), RAW)


def _edit_solution(change: Callable[[list[str]], list[str]]) -> None:
    SOLUTION.write_text("\n".join(change(SOLUTION.read_text().splitlines())) + "\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda lines: ["ImageId,Prediction", *lines[1:]],
            "no column 'PredictionString': its columns are ImageId, Pred",
        ),
        (
            lambda lines: [*lines[:3], lines[3].partition(",")[0] + ",", *lines[4:]],
            "line 4: '' begins with no WordNet id",
        ),
        (
            lambda lines: [*lines, lines[5].partition(",")[0] + ",n00000001 1 1 1 1"],
            "line 42: ILSVRC.* is n00000001, and n",
        ),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(change: Callable[[list[str]], list[str]], reason: str) -> None:
    make_imagenet_kaggle(RAW)
    _edit_solution(change)
    with pytest.raises(InputError, match=rf"{SOLUTION}.*{reason}"):
        prepared(_recipe(), RAW)


def test_a_picture_that_is_listed_but_absent_is_named_or_left_out() -> None:
    made = make_imagenet_kaggle(RAW)
    name = "ILSVRC2012_val_00000007.JPEG"
    (KAGGLE / "val" / name).unlink()
    with pytest.raises(InputError, match=rf"{KAGGLE}/val/{name} cannot be read: the file is absent"):
        prepared(_recipe(), RAW)
    table, summary = prepared(_recipe(), RAW, "rest", skip_unreadable=True)
    assert len(table) == len(made.expected) - 1
    assert summary["skipped_sources"] == [[f"val/{name}", "the file is absent"]]


def test_a_member_that_is_listed_but_absent_is_named() -> None:
    made = make_imagenet_tars(RAW)
    write_devkit(
        RAW, [*(row["class"] for s, row in sorted(made.expected.items()) if s.startswith("val/")), "n01440764"]
    )
    with pytest.raises(
        InputError, match=r"img_val\.tar/ILSVRC2012_val_00000041\.JPEG cannot be read: the file is absent"
    ):
        prepared(_recipe(), RAW)


def test_a_picture_that_is_not_listed_is_counted() -> None:
    made = make_imagenet_kaggle(RAW)
    removed: list[str] = []
    _edit_solution(lambda lines: [line for line in lines if "_00000007" not in line or removed.append(line)])  # type: ignore[func-returns-value]  # append gives nothing, which is false
    table, summary = prepared(_recipe(), RAW)
    assert (len(removed), len(table)) == (1, len(made.expected) - 1)
    assert summary["skipped_sources"] == [
        ["val/ILSVRC2012_val_00000007.JPEG", "a validation picture whose class is not given"]
    ]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"ILSVRC2012_validation_ground_truth.txt": b"1\n"}, "holds no meta.mat"),
        ({"meta.mat": b"1\n"}, "holds no ILSVRC2012_validation_ground_truth.txt"),
        ({"ILSVRC2012_validation_ground_truth.txt": b"1\n", "meta.mat": b"damaged"}, r"meta\.mat in it: "),
        (
            {"ILSVRC2012_validation_ground_truth.txt": b"1\n99\n"},
            "line 2 of its ground truth is '99', which meta.mat does",
        ),
        (
            {"ILSVRC2012_validation_ground_truth.txt": b"1\n11\n"},
            "line 2 of its ground truth is '11'",
        ),  # a kind of classes
        ({"ILSVRC2012_validation_ground_truth.txt": b"1\n1\nx\n"}, "line 3 of its ground truth is 'x'"),
    ],
)
def test_a_damaged_devkit_is_refused(files: dict[str, bytes], reason: str) -> None:
    make_imagenet_tars(RAW)
    file = RAW / f"{DEVKIT}.tar.gz"
    if "line" in reason:
        with tarfile.open(file) as tar:
            meta = tar.extractfile(f"{DEVKIT}/data/meta.mat")
            assert meta is not None
            files = {**files, "meta.mat": meta.read()}
    file.write_bytes(tarred({f"{DEVKIT}/data/{name}": content for name, content in files.items()}, "w:gz"))
    with pytest.raises(InputError, match=rf"^{file} cannot be read: {reason}"):
        prepared(_recipe(), RAW)


@every_layout
def test_a_truncated_picture_is_named_or_left_out(make: Callable[[Path], Made]) -> None:
    made = make(RAW)
    name = "n01443537_3.JPEG"
    if make is make_imagenet_tars:
        make_imagenet_torchvision(Path("pictures"))
        folders = {path.name: path for path in Path("pictures/train").iterdir()}
        contents = {w: {p.name: p.read_bytes() for p in folder.glob("n*")} for w, folder in folders.items()}
        contents["n01443537"][name] = contents["n01443537"][name][:300]
        TRAIN_TAR.write_bytes(tarred({f"{wnid}.tar": tarred(files) for wnid, files in contents.items()}))
        where = rf"{TRAIN_TAR} cannot be read: train/n01443537/{name} in it: "
    else:
        (file,) = RAW.rglob(name)
        file.write_bytes(file.read_bytes()[:300])
        where = rf"{file} cannot be read: "
    with pytest.raises(InputError, match=where):
        prepared(_recipe(classes=FEW), RAW)
    table, summary = prepared(_recipe(classes=FEW), RAW, "rest", skip_unreadable=True)
    assert len(table) == len(_few(made, "train", "valid")) - 1
    assert [source for source, _ in summary["skipped_sources"]] == [f"train/n01443537/{name}"]


def test_a_truncated_archive_is_named() -> None:
    make_imagenet_tars(RAW)
    whole = TRAIN_TAR.read_bytes()
    for share in (0.0, 0.3, 0.9):
        TRAIN_TAR.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=rf"^{TRAIN_TAR} cannot be read: [^\n]+$"):
            prepared(_recipe(), RAW)


def test_hostile_archives_write_nothing_and_read_nothing_else() -> None:
    raw = Path("far/inside/raw")
    make_imagenet_tars(raw)
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(picture, "JPEG")
    Path("secret.JPEG").write_bytes(picture.getvalue())
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for name in ("../../../out.JPEG", f"{Path.cwd()}/out_too.JPEG"):
            member = tarfile.TarInfo(name)
            member.size = len(picture.getvalue())
            tar.addfile(member, io.BytesIO(picture.getvalue()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("n01440764_1.JPEG")
            link.type, link.linkname = kind, os.path.abspath("secret.JPEG")
            tar.addfile(link)
    (raw / TRAIN_TAR.name).write_bytes(
        tarred({"../n01440764.tar": inner.getvalue(), "n01443537.tar": inner.getvalue()})
    )
    before = set(Path().rglob("*"))
    table, _ = prepared(_recipe(n_classes=2), raw)
    assert {path for path in Path().rglob("*") if path.parts[0] != "table"} == before
    sources = [source for source in table.columns["source"].tolist() if source.startswith("train/")]
    assert sources == [f"train/{w}/{n}.JPEG" for w in ("n01440764", "n01443537") for n in ("out", "out_too")]


def test_a_decompression_bomb_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    make_imagenet_torchvision(RAW)
    file = RAW / "train/n01443537/n01443537_3.JPEG"
    Image.new("1", (50, 100)).save(file, "PNG")
    with pytest.raises(InputError, match=rf"^{file} cannot be read: .*5000 pixels. exceeds limit of 4000"):
        prepared(_recipe(classes=FEW), RAW)


def test_the_data_set_says_how_to_prepare_it_and_takes_a_pair() -> None:
    with pytest.raises(
        InputError, match=r"`lightning prepare imagenet --raw DIR --out data/imagenet`\. ILSVRC2012_img_tr"
    ):
        ImageNet().prepare_data()
    make_imagenet_torchvision(RAW)
    prepared(_recipe(), RAW)
    data = ImageNet("table", pair=0, n_train=8, n_val=4, n_test=8, image_size=SIDE)
    assert (data.domain, data.num_classes, data.input_shape) == ("natural", 2, (3, SIDE, SIDE))
    splits = ImageTable.open("table").columns["split"]
    assert set(splits[data.test_set.rows.numpy()]) == {"valid"}
    assert set(splits[data.train_set.rows.numpy()]) == {"train"}
