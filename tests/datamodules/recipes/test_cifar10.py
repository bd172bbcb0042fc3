"""CIFAR-10: rows, pixels, pickles of Python 2 and 3, pickles that want to run something, damaged files, download."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10 as TORCHVISION

from datamodules.cifar10 import CIFAR10
from datamodules.recipes import cifar10 as recipes
from datamodules.recipes.cifar10 import CIFAR10Recipe
from metrics import InputError
from tests.datamodules.recipes.preparing import prepared
from tests.raw.cifar10 import ARCHIVE, FOLDER, make_cifar10, pickled, write_archive
from tests.raw.served import served

BATCH = Path("raw") / FOLDER / "data_batch_2"
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.mark.parametrize("archive", [False, True])
def test_rows_are_what_was_written(archive: bool) -> None:
    made = make_cifar10(Path("raw"), archive=archive)
    table, summary = prepared(CIFAR10Recipe(), "raw")
    assert list(table.columns) == ["label", "group", "split", "source"]
    sources = table.columns["source"].tolist()
    found = {
        source: {name: str(cells[i]) for name, cells in table.columns.items() if name != "source"}
        for i, source in enumerate(sources)
    }
    assert found == made.expected
    assert list(dict.fromkeys(source.split("#")[0] for source in sources)) == BATCHES
    assert summary["skipped_sources"] == []
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert summary["label_names"]["label"] == dict(zip("0123456789", classes, strict=True))


def test_pixels_are_planes_of_red_green_and_blue() -> None:
    make_cifar10(Path("raw"))
    table, _ = prepared(CIFAR10Recipe(), "raw")
    # Real pickles of Python 2 are full of bytes; Python's own reader is the independent one here.
    content = [pickle.loads((Path("raw") / FOLDER / batch).read_bytes(), encoding="bytes") for batch in BATCHES]
    values = np.concatenate([batch[b"data"] for batch in content])
    for channel in range(3):
        for row in (0, 17):
            start = 1024 * channel + 32 * row
            np.testing.assert_array_equal(table.images[:, channel, row], values[:, start : start + 32])


@pytest.mark.parametrize("raw", ["above", "above/raw", f"above/raw/{FOLDER}"])
def test_the_folder_may_be_anywhere(raw: str) -> None:
    made = make_cifar10(Path("above/raw"))
    table, _ = prepared(CIFAR10Recipe(), raw)
    assert table.columns["source"].tolist() == sorted(
        made.expected, key=lambda s: (s.split("#")[0], int(s.split("#")[1]))
    )


def test_the_archive_and_the_folder_give_the_same_table() -> None:
    make_cifar10(Path("archive"), archive=True)
    make_cifar10(Path("folder"))
    prepared(CIFAR10Recipe(), "archive", "one")
    prepared(CIFAR10Recipe(), "folder", "two")
    for name in ("images.npy", "manifest.csv"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    assert [path.name for path in Path("archive").iterdir()] == [ARCHIVE]


def _content(**changes: Any) -> dict[str, Any]:
    data = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    return {"data": data, "labels": [1, 0, 9, 2]} | changes


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_python_3_are_read(protocol: int) -> None:
    make_cifar10(Path("raw"))
    BATCH.write_bytes(pickle.dumps(_content(), protocol=protocol))
    table, _ = prepared(CIFAR10Recipe(), "raw")
    rows = np.char.startswith(table.columns["source"], "data_batch_2#")
    np.testing.assert_array_equal(table.images[rows].reshape(4, -1), _content()["data"])
    assert table.labels("label")[rows].tolist() == [1, 0, 9, 2]


class _Runs:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("broken_in",)


class _Evaluates:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return eval, ("__import__('os').mkdir('broken_in')",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (_content(extra=_Runs()), r"posix\.mkdir"),
        (_content(labels=[_Evaluates()]), r"builtins\.eval"),
        (_content(data=Path("x")), r"pathlib\.PosixPath"),
        (_content(data=np.float64(3)), r"numpy\._core\.multiarray\.scalar"),
        (_content(data=np.random.default_rng(0)), r"numpy\.random"),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_pickles_that_want_more_than_bytes_are_refused(content: dict[str, Any], name: str, archive: bool) -> None:
    make_cifar10(Path("raw"))
    BATCH.write_bytes(pickle.dumps(content, protocol=4))
    if archive:
        write_archive(Path("packed") / ARCHIVE, {path.name: path.read_bytes() for path in BATCH.parent.iterdir()})
    where = f"packed/{ARCHIVE}" if archive else BATCH
    with pytest.raises(InputError, match=rf"^{where} cannot be read: asks for {name}.*it is not safe to read"):
        prepared(CIFAR10Recipe(), "packed" if archive else "raw")
    assert not Path("broken_in").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_content(data=np.zeros((4, 3072), dtype=object)), "holds an array of O8: expected u1"),
        (_content(data=np.zeros((4, 3072), dtype=np.float32)), "holds an array of f4: expected u1"),
        (_content(data=np.zeros((4, 3071), dtype=np.uint8)), r"data in data_batch_2 is uint8 \(4, 3071\)"),
        (_content(data=np.zeros(4 * 3072, dtype=np.uint8)), r"is uint8 \(12288,\): expected uint8 \(n, 3072\)"),
        (_content(data=b"bytes"), "data in data_batch_2 is bytes: expected"),
        (_content(labels=[1, 2, 3]), "data_batch_2 holds 3 labels for 4 images"),
        (_content(labels="1092"), "data_batch_2 holds str for 4 images"),
        ({"data": _content()["data"]}, "data_batch_2 holds no dictionary with data and labels"),
        ([1, 2], "data_batch_2 holds no dictionary"),
    ],
)
def test_pickles_of_something_else_are_refused(content: object, reason: str) -> None:
    make_cifar10(Path("raw"))
    BATCH.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=rf"^{BATCH} cannot be read: .*{reason}"):
        prepared(CIFAR10Recipe(), "raw")


@pytest.mark.parametrize("label", [10, -1, 1.0, True, "3", None])
def test_labels_that_are_no_classes_are_refused(label: object) -> None:
    make_cifar10(Path("raw"))
    BATCH.write_bytes(pickle.dumps(_content(labels=[1, 0, label, 2])))
    with pytest.raises(InputError, match=rf"data_batch_2 has the label {label!r} at 2: expected 0 … 9"):
        prepared(CIFAR10Recipe(), "raw")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_batch_is_named_or_left_out(share: float) -> None:
    make_cifar10(Path("raw"))
    whole = BATCH.read_bytes()
    BATCH.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=rf"^{BATCH} cannot be read: data_batch_2 is no whole pickle: [^\n]+$"):
        prepared(CIFAR10Recipe(), "raw")
    table, summary = prepared(CIFAR10Recipe(), "raw", "rest", skip_unreadable=True)
    assert len(table) == 4 * 24 + 40
    assert [source for source, _ in summary["skipped_sources"]] == ["data_batch_2"]


@pytest.mark.parametrize("archive", [False, True])
def test_a_missing_batch_is_named(archive: bool) -> None:
    make_cifar10(Path("raw"), archive=archive)
    if archive:
        write_archive(Path("raw") / ARCHIVE, {"data_batch_1": pickled({b"data": 1})})
        with pytest.raises(InputError, match=r"cifar-10-python\.tar\.gz cannot be read: data_batch_1 holds no dict"):
            prepared(CIFAR10Recipe(), "raw")
        write_archive(Path("raw") / ARCHIVE, {"batches.meta": b""})
        with pytest.raises(InputError, match=r"cifar-10-python\.tar\.gz cannot be read: holds no data_batch_1"):
            prepared(CIFAR10Recipe(), "raw")
    else:
        (BATCH.parent / "data_batch_4").unlink()
        with pytest.raises(InputError, match=r"raw/cifar-10-batches-py holds no data_batch_4: expected data_batch_1"):
            prepared(CIFAR10Recipe(), "raw")


@pytest.mark.parametrize("archive", [False, True])
def test_a_batch_that_is_far_too_large_is_not_read(archive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar10(Path("raw"), archive=archive)
    monkeypatch.setattr(recipes, "_LARGEST", 10_000)
    with pytest.raises(InputError, match=r"has \d+ bytes: expected at most 10000"):
        prepared(CIFAR10Recipe(), "raw")


def test_a_folder_without_any_says_where_to_get_them() -> None:
    Path("raw").mkdir()
    with pytest.raises(InputError, match=r"raw holds nothing of CIFAR-10 .*cifar-10-python\.tar\.gz from www\.cs"):
        prepared(CIFAR10Recipe(), "raw")


def test_the_data_set_downloads_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar10(Path("there"), archive=True)
    with served(Path("there")) as (address, _):
        monkeypatch.setattr(TORCHVISION, "url", f"{address}/{ARCHIVE}")
        with pytest.raises(
            InputError, match=r"cifar-10-python\.tar\.gz cannot be downloaded .*--raw\. cifar-10-python"
        ):
            CIFAR10().prepare_data()
        monkeypatch.setattr(TORCHVISION, "tgz_md5", hashlib.md5(Path("there", ARCHIVE).read_bytes()).hexdigest())
        data = CIFAR10(pair=0, n_train=8, n_val=2, n_test=4, image_size=32)
        data.prepare_data()
    assert data.table_folder == Path("data/cifar10")
    assert (data.domain, data.num_classes, data.input_shape) == ("natural", 2, (3, 32, 32))
    assert data.test_set.rows.min() >= 120 > data.train_set.rows.max()
