"""The shared data module: fixed test sets, nested training sets, pixels in [0, 1], and what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules import ImageSet, ImageTable, TableDataModule, write_table
from datamodules.tables import Sample, write_header
from metrics import InputError

PARTS = ("train_set", "val_set", "test_set", "reference_set")


def _module(table: ImageTable, **options: Any) -> TableDataModule:
    """40 of 120 tiny images to train on, 20 to validate, 30 to test."""
    return TableDataModule(str(table.folder), **{"n_train": 40, "n_val": 20, "n_test": 30, "image_size": 16} | options)


def _val_loader(data: TableDataModule) -> DataLoader[dict[str, Tensor]]:
    loader = data.val_dataloader()
    assert isinstance(loader, DataLoader)
    return loader


def _training_order(data: TableDataModule) -> list[list[int]]:
    return [batch["index"].tolist() for batch in data.train_dataloader()]


def test_sets_hold_the_images_and_labels_of_their_rows(tiny_table: ImageTable) -> None:
    data = _module(tiny_table)
    labels = tiny_table.labels("label")
    rows: list[int] = []
    for part, n in zip(PARTS, (40, 20, 30, 70), strict=True):
        images: ImageSet = getattr(data, part)
        assert len(images) == len(set(images.rows.tolist())) == n
        np.testing.assert_array_equal(images.images, tiny_table.images[images.rows.numpy()])
        np.testing.assert_array_equal(images.labels, labels[images.rows.numpy()])
        assert images.labels.bincount().tolist() == [n // 2, n // 2]
        rows += images.rows.tolist() if part != "reference_set" else []
    assert len(set(rows)) == 90
    assert not set(data.reference_set.rows.tolist()) & {*data.val_set.rows.tolist(), *data.test_set.rows.tolist()}
    assert (data.num_classes, data.input_shape, data.name) == (2, (1, 16, 16), "tiny")


def test_sets_know_the_groups_of_their_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    patients = [f"patient {i * 7 % 20}" for i in range(60)]
    rows = [{"label": i % 2, "group": patient} for i, patient in enumerate(patients)]
    table = write_table(tmp_path / "patients", zip(images, rows, strict=True))
    data = _module(table, n_train=20, n_val=6, n_test=12, image_size=8)
    numbers: dict[str, set[int]] = {}
    for part in PARTS:
        own: ImageSet = getattr(data, part)
        assert own.groups.dtype == torch.int64
        for row, group in zip(own.rows.tolist(), own.groups.tolist(), strict=True):
            numbers.setdefault(patients[row], set()).add(group)
    assert all(len(groups) == 1 for groups in numbers.values())
    assert len(set.union(*numbers.values())) == len(numbers) > 10


def test_a_second_setup_changes_nothing(tiny_table: ImageTable) -> None:
    data = _module(tiny_table)
    data.setup("fit")
    before = [getattr(data, part) for part in PARTS]
    data.prepare_data()
    for stage in ("validate", "test", None):
        data.setup(stage)
    assert all(getattr(data, part) is images for part, images in zip(PARTS, before, strict=True))


def test_held_out_and_reference_sets_are_fixed_while_the_training_set_grows(tiny_table: ImageTable) -> None:
    modules = [_module(tiny_table, n_train=n, subset_seed=seed) for n, seed in ((2, 0), (41, 0), (None, 0), (40, 1))]
    for part in PARTS[1:]:
        assert len({getattr(data, part).fingerprint for data in modules}) == 1
        assert all(torch.equal(getattr(data, part).rows, getattr(modules[0], part).rows) for data in modules)


def test_training_sets_are_nested(tiny_table: ImageTable) -> None:
    largest = _module(tiny_table, n_train=None).train_set.rows
    assert len(largest) == 70
    for n in (2, 17, 40, 69):
        assert torch.equal(_module(tiny_table, n_train=n).train_set.rows, largest[:n])


def test_the_test_set_is_fixed_while_the_validation_set_grows(tiny_table: ImageTable) -> None:
    small, large = (_module(tiny_table, n_val=n).test_set.rows for n in (2, 50))
    assert torch.equal(small, large)


@pytest.mark.parametrize(
    ("option", "changed"), [("subset_seed", PARTS[:1]), ("split_seed", PARTS), ("n_reference", PARTS[3:])]
)
def test_each_seed_and_size_changes_what_is_its_own(
    option: str, changed: tuple[str, ...], tiny_table: ImageTable
) -> None:
    zero, again, other = (_module(tiny_table, **{option: value}) for value in (10, 10, 11))
    for part in PARTS:
        assert torch.equal(getattr(zero, part).rows, getattr(again, part).rows)
        assert torch.equal(getattr(zero, part).rows, getattr(other, part).rows) == (part not in changed)


def test_seed_zero_is_a_seed(tiny_table: ImageTable) -> None:
    for option, part in (("subset_seed", "train_set"), ("split_seed", "test_set")):
        zero, again, one = (getattr(_module(tiny_table, **{option: seed}), part).rows for seed in (0, 0, 1))
        assert torch.equal(zero, again)
        assert set(zero.tolist()) != set(one.tolist())


def test_the_reference_sample_has_its_own_size(tiny_table: ImageTable) -> None:
    large, small = (_module(tiny_table, n_reference=n).reference_set.rows for n in (None, 12))
    assert (len(large), len(small)) == (70, 12)
    assert torch.equal(small, large[:12])


def test_classes_choose_and_order_the_labels(tiny_table: ImageTable) -> None:
    data = _module(tiny_table, classes=[1, 0])
    np.testing.assert_array_equal(data.train_set.labels, 1 - tiny_table.labels("label")[data.train_set.rows.numpy()])


def test_labellings_choose_the_column(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    rows = [{"finding": i % 2, "view": "" if i < 6 else i % 3, "group": i} for i in range(30)]
    table = write_table(tmp_path / "two", zip(images, rows, strict=True))
    data = _module(table, labelling="view", n_train=None, n_val=3, n_test=6, image_size=8)
    assert (data.num_classes, len(data.train_set)) == (3, 15)
    assert data.train_set.rows.min() >= 6
    with pytest.raises(InputError, match="no labelling 'label': choose from finding, view"):
        _module(table).setup()


def test_images_are_resized_and_grey_ones_become_colour(tiny_table: ImageTable) -> None:
    data = _module(tiny_table, image_size=24, channels=3)
    assert data.input_shape == (3, 24, 24)
    images = data.train_set.images
    assert images.dtype == torch.uint8
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert torch.equal(images[:, :1], _module(tiny_table, image_size=24).train_set.images)


def test_colour_images_become_grey_and_other_channels_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for channels in (3, 4):
        images = rng.integers(0, 256, (20, channels, 8, 8), dtype=np.uint8)
        rows = [{"label": i % 2, "group": i} for i in range(20)]
        table = write_table(tmp_path / f"c{channels}", zip(images, rows, strict=True))
        sizes = {"n_train": 4, "n_val": 2, "n_test": 4, "image_size": 8}
        assert _module(table, **sizes).input_shape == (channels, 8, 8)
        if channels == 3:
            assert _module(table, **sizes, channels=1).input_shape == (1, 8, 8)
        else:
            with pytest.raises(InputError, match="channels=1 needs images of 1 or 3 channels, got 4"):
                _module(table, **sizes, channels=1).setup()


def test_antialias_matters_when_shrinking(tiny_table: ImageTable) -> None:
    averaged, sampled = (_module(tiny_table, image_size=8, antialias=flag).train_set.images for flag in (True, False))
    assert averaged.float().var() < sampled.float().var()


def test_pixels_reach_the_model_in_0_1(tiny_table: ImageTable) -> None:
    data = _module(tiny_table)
    raw = next(iter(data.train_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    assert batch["image"].dtype == torch.float32
    np.testing.assert_allclose(batch["image"], raw["image"].numpy() / 255, rtol=1e-6)
    assert batch["image"].min() >= 0
    assert batch["image"].max() <= 1
    assert torch.equal(batch["label"], raw["label"])
    assert torch.equal(batch["index"], raw["index"])
    assert raw["image"].dtype == torch.uint8, "the loader's batch was changed"


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, {40}), (16, {13, 14}), (2, {2})])
def test_training_batches_are_of_the_size_asked_for(
    batch_size: int | None, sizes: set[int], tiny_table: ImageTable
) -> None:
    order = _training_order(_module(tiny_table, batch_size=batch_size))
    assert {len(batch) for batch in order} == sizes
    assert sorted(i for batch in order for i in batch) == list(range(40))


def test_evaluation_goes_through_the_images_in_order(tiny_table: ImageTable) -> None:
    data = _module(tiny_table)
    for loader, images in (
        (_val_loader(data), data.val_set),
        (data.test_dataloader(), data.test_set),
        (data.predict_dataloader(), data.test_set),
    ):
        batches = list(loader)
        assert [i for batch in batches for i in batch["index"].tolist()] == list(range(len(images)))
        assert torch.equal(torch.cat([batch["image"] for batch in batches]), images.images)


@pytest.mark.parametrize("image_size", [8, 16])
def test_empty_held_out_sets_have_no_batches(image_size: int, tiny_table: ImageTable) -> None:
    data = _module(tiny_table, n_train=None, n_val=0, n_test=0, image_size=image_size)
    assert [len(getattr(data, part)) for part in PARTS] == [120, 0, 0, 120]
    assert data.val_set.images.shape == (0, 1, image_size, image_size)
    assert data.val_dataloader() == []
    with pytest.raises(InputError, match="n_test=0 leaves no images"):
        data.test_dataloader()


def test_the_training_order_is_that_of_the_global_seed(tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seed in ("0", "7", "0"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        orders.append(_training_order(_module(tiny_table, batch_size=8)))
    assert orders[0] == orders[2] != orders[1]
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert _training_order(_module(tiny_table, batch_size=8)) == orders[0]


def test_loading_leaves_the_global_random_state_alone(tiny_table: ImageTable) -> None:
    data, state = _module(tiny_table), torch.get_rng_state()
    for loader in (data.train_dataloader(), _val_loader(data), data.test_dataloader()):
        list(loader)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 71}, r"n_train=71 is more than the 70 .*\(class 0: 35, class 1: 35\); lower n_train"),
        ({"n_train": 1}, "n_train=1 is too small"),
        ({"n_test": 122}, r"n_test=122 is more than .* 120 images .*\(class 0: 60, class 1: 60\)"),
        ({"n_val": 92}, r"n_val=92 is more than .* 90 images .*\(class 0: 45, class 1: 45\)"),
        ({"n_val": -1}, "n_val=-1 is too small"),
        ({"n_reference": 71}, "n_reference=71 is more than the 70"),
        ({"classes": [0, 2]}, r"class 2 does not exist in tiny \(label\): choose from \[0, 1\]"),
        ({"labelling": "view"}, "no labelling 'view': choose from label"),
        ({"image_size": 7}, "image_size=7 is too small: choose at least 8"),
        ({"batch_size": 1}, "batch_size=1 is too small"),
        ({"split_seed": -1}, "split_seed=-1 is out of range"),
        ({"subset_seed": -3}, "subset_seed=-3 is out of range"),
    ],
)
def test_what_cannot_be_had_is_refused(options: dict[str, Any], message: str, tiny_table: ImageTable) -> None:
    with pytest.raises(InputError, match=message):
        _module(tiny_table, **options).setup()


def test_constant_images_are_refused_by_row(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    images[4] = 200
    rows = [{"label": i % 2, "group": i} for i in range(20)]
    table = write_table(tmp_path / "plain", zip(images, rows, strict=True))
    with pytest.raises(InputError, match=rf"1 of (16|2) images in {table.folder} are constant \(first: row 4\)"):
        _module(table, n_train=None, n_val=2, n_test=2, image_size=8).setup()


def test_a_table_that_nobody_can_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no image table at {tmp_path}/absent: write one first"):
        TableDataModule(f"{tmp_path}/absent").prepare_data()
    with pytest.raises(InputError, match="no table: give the folder"):
        TableDataModule()
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_can_be_made_is_no_mistake_and_not_made(tiny_table: ImageTable) -> None:
    class Own(TableDataModule):
        default_table = "own"

        def samples(self) -> Iterator[Sample]:
            for i, image in enumerate(tiny_table.images):
                yield image, {"label": i % 2, "group": i}

    data = Own(n_train=4, n_val=2, n_test=4, image_size=8)
    assert not data.has_table()
    assert not data.table_folder.exists()
    data.prepare_data()
    assert data.has_table()
    with pytest.raises(InputError, match="no image table at absent: write one first"):
        TableDataModule("absent").has_table()


@pytest.mark.parametrize(
    "options", [{}, {"channels": 3, "image_size": 24}, {"n_reference": 12}, {"protocol": "reference"}, {"pair": 0}]
)
def test_the_plan_is_what_becomes_of_it(options: dict[str, Any], tiny_table: ImageTable) -> None:
    data = _module(tiny_table, **options)
    for plan in (data.plan(), data.plan(tiny_table)):
        assert data.classes is None, "planning changed the data module"
        own = _module(tiny_table, **options)
        assert [part.removesuffix("_set") for part in PARTS] == list(plan.rows)
        for part in PARTS:
            images: ImageSet = getattr(own, part)
            np.testing.assert_array_equal(images.rows, plan.rows[part.removesuffix("_set")])
            np.testing.assert_array_equal(images.labels, plan.labels[images.rows.numpy()])
        assert (plan.input_shape, plan.num_classes, plan.classes) == (own.input_shape, own.num_classes, own.classes)


def test_a_plan_reads_no_pixel() -> None:
    Path("black").mkdir()
    with Path("black/images.npy").open("wb") as images:
        write_header(images, 120, (3, 4000, 4000))
        images.truncate(images.tell() + 120 * 3 * 4000 * 4000)  # 5.8 GB of which none exists
    Path("black/manifest.csv").write_text("\n".join(["label,group", *(f"{i % 2},{i}" for i in range(120))]))
    data = TableDataModule("black", n_train=2, n_val=0, n_test=2, n_reference=2, image_size=16)
    assert data.plan().input_shape == (3, 16, 16)
    with pytest.raises(InputError, match="constant"):
        data.setup()


def test_the_domain_is_kept(tiny_table: ImageTable) -> None:
    assert _module(tiny_table).domain == "natural"
    assert _module(tiny_table, domain="medical").domain == "medical"


@pytest.fixture
def ten_classes(tmp_path: Path) -> ImageTable:
    """200 tiny noise images of ten classes, dark to different degrees, two of each group."""
    images = np.random.default_rng(1).integers(0, 200, (200, 1, 8, 8), dtype=np.uint8)
    images[::2] //= 3
    rows = [{"label": i % 10, "group": i // 20} for i in range(200)]
    return write_table(tmp_path / "ten", zip(images, rows, strict=True))


def test_pairs_are_the_same_whatever_the_size_and_become_the_task(ten_classes: ImageTable) -> None:
    tasks = set()
    for n_train in (4, 10):
        for pair in range(5):
            data = _module(ten_classes, n_train=n_train, n_val=2, n_test=4, image_size=8, pair=pair)
            assert data.num_classes == 2
            labels = ten_classes.labels("label")[data.train_set.rows.numpy()]
            assert data.classes is not None
            assert [data.classes[label] for label in data.train_set.labels.tolist()] == labels.tolist()
            tasks.add((pair, *data.classes))
    assert len(tasks) == 5
    assert len({label for _, *labels in tasks for label in labels}) == 10
    other = _module(ten_classes, n_train=4, n_val=2, n_test=4, image_size=8, pair=0, pair_seed=1)
    other.setup()
    assert (0, *(other.classes or [])) not in tasks


def test_a_pair_and_classes_are_not_both_given(ten_classes: ImageTable) -> None:
    with pytest.raises(InputError, match=r"classes=\[1, 2\] and pair=0 both name the task"):
        _module(ten_classes, classes=[1, 2], pair=0)
    with pytest.raises(InputError, match="pair=-1 is out of range"):
        _module(ten_classes, pair=-1)
    with pytest.raises(InputError, match=r"pair=5 does not exist: the 10 classes of ten \(label\) give 5 pairs"):
        _module(ten_classes, pair=5).setup()


def test_the_reference_protocol_takes_the_first_images_and_scales_them(ten_classes: ImageTable) -> None:
    options = {"protocol": "reference", "classes": [3, 8], "n_val": 0, "n_test": 4, "image_size": 8}
    data = _module(ten_classes, n_train=8, **options)
    rows = sorted(data.train_set.rows.tolist() + data.test_set.rows.tolist())
    labels = ten_classes.labels("label")
    assert rows == sorted([*np.flatnonzero(labels == 3)[:6].tolist(), *np.flatnonzero(labels == 8)[:6].tolist()])
    for images in (data.train_set, data.test_set):
        raw = ten_classes.images[images.rows.numpy()].astype(np.int64)
        np.testing.assert_array_equal(images.images, raw * 255 // raw.max(axis=(1, 2, 3), keepdims=True))
    larger = _module(ten_classes, n_train=12, **options)
    assert larger.test_set.rows.tolist() != data.test_set.rows.tolist()


def test_tables_that_were_scaled_when_they_were_prepared_are_not_scaled_again(ten_classes: ImageTable) -> None:
    (ten_classes.folder / "prepare.json").write_text('{"data_set": "other", "options": {"protocol": "reference"}}')
    data = _module(ten_classes, protocol="reference", n_train=20, n_val=0, n_test=20, image_size=8)
    np.testing.assert_array_equal(data.test_set.images, ten_classes.images[data.test_set.rows.numpy()])
