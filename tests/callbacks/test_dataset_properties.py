from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callbacks import DatasetProperties
from callbacks.probe import Images, readings
from datamodules import ImageSet, ImageTable, TableDataModule, write_table
from metrics import InputError, intrinsic_dimension, label_sharpness
from tests.callbacks.helpers import LIGHTNING_WARNINGS, Tripwire, make_data, make_model, make_trainer, run

pytestmark = LIGHTNING_WARNINGS

CACHE = Path("cache")
PREFIXES = ("data", "data_ref")


def measure(data: TableDataModule, **options: Any) -> dict[str, float]:
    probe = DatasetProperties(**({"k": 5, "cache_dir": str(CACHE)} | options))
    run("validate", data, probe)
    return probe.readings


def count_measurements(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a set of images has been measured since."""
    measured = []

    def counting(*args: Any, **options: Any) -> Any:
        measured.append(options)
        return label_sharpness(*args, **options)

    monkeypatch.setattr("callbacks.dataset_properties.label_sharpness", counting)
    return lambda: len(measured)


def copy_with(table: ImageTable, place: str, images: np.ndarray[Any, Any], labels: list[int]) -> ImageTable:
    rows = ({"label": label, "group": f"g{i}"} for i, label in enumerate(labels))
    return write_table(table.folder.parent / place, zip(images, rows, strict=True))


def brute_force_sharpness(images: Images) -> float:
    pixels = images.images.numpy().reshape(len(images), -1).astype(np.float64) / 255
    labels = images.labels.numpy()
    return max(
        1 / np.linalg.norm(x - z)
        for x, y in zip(pixels, labels, strict=True)
        for z, other in zip(pixels, labels, strict=True)
        if y != other
    )


def test_values(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table, n_reference=30)
    found = measure(data)
    expected: dict[str, float] = {}
    for prefix, images, n in (("data", data.train_set, 40), ("data_ref", data.reference_set, 30)):
        sharpness = brute_force_sharpness(images)
        expected |= {
            f"{prefix}/n_images": n,
            f"{prefix}/n_duplicates": 0,
            f"{prefix}/n_conflicts": 0,
            **readings(f"{prefix}/d_mle", intrinsic_dimension(images.images, estimator="mle", k=5)),
            **readings(f"{prefix}/d_twonn", intrinsic_dimension(images.images, estimator="twonn")),
            f"{prefix}/K_F": sharpness,
            f"{prefix}/K_F_per_pixel": sharpness * 16,  # √(16 · 16 values)
            f"{prefix}/K_F_n_images": n,
        }
    assert found == pytest.approx(expected, rel=1e-12)


def test_standard_errors_of_several_samples(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    found = measure(data, estimators=["twonn"], max_samples=21, reference_samples=30, trials=3, seed=4)
    for prefix, images, size in zip(PREFIXES, (data.train_set, data.reference_set), (20, 30), strict=True):
        assert {name.removeprefix(f"{prefix}/") for name in found if name.startswith(f"{prefix}/")} == {
            "n_images",
            "n_duplicates",
            "n_conflicts",
            "d_twonn",
            "d_twonn_stderr",
            "K_F",
            "K_F_stderr",
            "K_F_per_pixel",
            "K_F_n_images",
        }
        sharpness = label_sharpness(images.images, images.labels, max_samples=size, trials=3, seed=4)
        assert found[f"{prefix}/K_F"] == sharpness.value
        assert found[f"{prefix}/K_F_stderr"] == sharpness.stderr
        assert found[f"{prefix}/K_F_n_images"] == size  # equally many per class


def test_sharpness_of_a_large_reference_sample_is_the_mean_over_samples_of_500(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 1, 16, 16), dtype=np.uint8)
    rows = ({"label": i % 2, "group": f"g{i}"} for i in range(600))
    data = make_data(write_table(tmp_path / "large", zip(noise, rows, strict=True)), n_reference=560)
    found, whole = measure(data), measure(data, reference_samples=None)
    sharpness = label_sharpness(data.reference_set.images, data.reference_set.labels, max_samples=500, trials=10)
    assert (found["data_ref/K_F_n_images"], whole["data_ref/K_F_n_images"]) == (500, 560)
    assert (found["data_ref/K_F"], found["data_ref/K_F_stderr"]) == (sharpness.value, sharpness.stderr)
    assert whole["data_ref/K_F"] == pytest.approx(brute_force_sharpness(data.reference_set), rel=1e-12)
    assert "data_ref/K_F_stderr" not in whole
    assert found["data_ref/n_images"] == whole["data_ref/n_images"] == 560  # what d is measured on
    assert {name for name in found if found[name] == whole.get(name)} >= {n for n in found if n.startswith("data/")}


def test_duplicates_and_conflicts_are_counted(tiny_table: ImageTable) -> None:
    images = np.array(tiny_table.images)
    rows = make_data(tiny_table).train_set.rows.numpy()  # labels alternate
    labels = np.arange(120) % 2
    even, odd = rows[labels[rows] == 0], rows[labels[rows] == 1]
    images[even[1]] = images[even[0]]  # a duplicate
    images[odd[0]] = images[even[2]]  # a conflict, and a duplicate
    data = make_data(copy_with(tiny_table, "doubled", images, labels.tolist()))
    assert data.train_set.rows.tolist() == rows.tolist()
    found = measure(data)
    assert (found["data/n_duplicates"], found["data/n_conflicts"]) == (2, 2)


def test_measured_once_and_logged_at_every_epoch(tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    count = count_measurements(monkeypatch)
    data = make_data(tiny_table)
    probe = DatasetProperties(k=5)
    trainer = make_trainer(probe, epochs=2)
    trainer.fit(make_model(data), datamodule=data)
    assert count() == 2
    assert len(list(Path(trainer.default_root_dir, ".properties").iterdir())) == 2

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("measured again")

    for function in ("intrinsic_dimension", "label_sharpness"):
        monkeypatch.setattr(f"callbacks.dataset_properties.{function}", fail)
    again = DatasetProperties(k=5)
    logged = run("fit", make_data(tiny_table), again).callback_metrics
    assert again.readings == probe.readings
    assert {name: float(logged[name]) for name in probe.readings} == pytest.approx(probe.readings, rel=1e-6)


@pytest.mark.parametrize("change", ["pixel", "option", "nothing"])
def test_what_makes_it_measure_anew(tiny_table: ImageTable, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data(tiny_table)
    before = measure(data)
    count = count_measurements(monkeypatch)
    images = np.array(tiny_table.images)
    if change == "pixel":
        images[int(data.train_set.rows[0]), 0, 3, 3] ^= 1
    table = copy_with(tiny_table, "copy", images, (np.arange(120) % 2).tolist())
    after = measure(make_data(table), k=6 if change == "option" else 5)
    assert count() == (0 if change == "nothing" else 2)
    assert (after == before) is (change == "nothing")


def test_other_labels_of_the_same_images(tiny_table: ImageTable, monkeypatch: pytest.MonkeyPatch) -> None:
    class Relabelled(TableDataModule):
        @property
        def train_set(self) -> ImageSet:
            images = super().train_set
            return replace(images, labels=images.labels.sort().values)

    before = measure(make_data(tiny_table))
    count = count_measurements(monkeypatch)
    data = Relabelled(str(tiny_table.folder), n_train=40, n_val=12, n_test=20, image_size=16)
    after = measure(data)
    assert count() == 1  # the reference sample is as it was
    assert after["data/d_mle"] == before["data/d_mle"]
    assert after["data/K_F"] == pytest.approx(brute_force_sharpness(data.train_set), rel=1e-12)
    assert after["data/K_F"] != before["data/K_F"]


@pytest.mark.parametrize("damage", [b"", b'{"d_mle": 3.', b"\xff\xfe\x00", b"not json"])
def test_damaged_cache_is_measured_anew(tiny_table: ImageTable, damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_data(tiny_table)
    before = measure(data)
    files = {file: file.read_bytes() for file in CACHE.iterdir()}
    for file in files:
        file.write_bytes(damage)
    count = count_measurements(monkeypatch)
    assert measure(data) == before
    assert count() == 2
    assert {file: file.read_bytes() for file in CACHE.iterdir()} == files


def test_reference_sample_does_not_depend_on_the_training_subset(tiny_table: ImageTable) -> None:
    small, large = (measure(make_data(tiny_table, n_train=n, subset_seed=n)) for n in (20, 40))
    assert {name for name in small if small[name] == large[name]} >= {n for n in small if n.startswith("data_ref/")}
    assert small["data/d_mle"] != large["data/d_mle"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 40}, "40 training images .* k=40 needs at least 41"),
        ({"k": 20, "estimators": ["geomle"]}, "40 training images .* geomle with k=20"),
        ({"k": 2}, "k=2"),
        ({"k": 5, "estimators": ["mle", "mlE"]}, "'mlE'"),
        ({"k": 5, "max_samples": 1}, "max_samples=1 is less than the 2 classes"),
        ({"k": 5, "reference_samples": 1}, "reference_samples=1 is less than the 2 classes"),
        ({"k": 5, "reference_samples": 0}, "reference_samples=0 is out of range"),
    ],
)
def test_unfit_data_stops_a_run_before_it_starts(tiny_table: ImageTable, options: dict[str, Any], match: str) -> None:
    tripwire = Tripwire()
    with pytest.raises(InputError, match=match):
        run("fit", make_data(tiny_table), tripwire, DatasetProperties(**options))
    assert not tripwire.begun


def test_trials_are_positive() -> None:
    with pytest.raises(InputError, match="trials=0"):
        DatasetProperties(trials=0)
