"""Leaks across a split: against loops over all pairs, and where the answer is known."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from metrics import GroupLeak, InputError, SplitAudit, TwinLeak, audit_split

Array = NDArray[Any]


def brute_force(images: Array, splits: Array, near: float) -> tuple[set[tuple[int, int]], dict[tuple[int, int], float]]:
    """Pairs of identical images, and pairs of near duplicates with their relative distances, by the definition."""
    full = 255 if images.dtype == np.uint8 else 1
    x = images.reshape(len(images), -1).astype(np.float64) / full
    exact: set[tuple[int, int]] = set()
    alike: dict[tuple[int, int], float] = {}
    for i in range(len(x)):
        others = [j for j in range(len(x)) if splits[j] != splits[i]]
        j = min(others, key=lambda j: (np.linalg.norm(x[i] - x[j]), j))
        pair, distance = (min(i, j), max(i, j)), np.linalg.norm(x[i] - x[j])
        contrast = np.linalg.norm(x[i] - x[i].mean())
        if distance == 0:
            exact.add(pair)
        elif contrast > 0 and distance / contrast <= near:
            alike[pair] = min(distance / contrast, alike.get(pair, math.inf))
    return exact, alike


def leaky(seed: int, n: int = 60, shape: tuple[int, ...] = (1, 6, 7)) -> tuple[Array, Array]:
    """Noise of very different contrast with copies, near copies and constant images in it, on three sides."""
    rng = np.random.default_rng(seed)
    contrast = rng.uniform(2, 60, (n, *[1] * len(shape)))
    images = np.clip(128 + contrast * rng.standard_normal((n, *shape)), 0, 255).astype(np.uint8)
    for _ in range(n // 3):
        i, j = rng.integers(n, size=2)
        step = int(rng.integers(0, 3))  # 0: identical
        images[i] = np.clip(images[j] + rng.integers(-step, step + 1, shape), 0, 255)
    images[rng.integers(n, size=4)] = 77
    images[rng.integers(n)] = 78
    return images, rng.integers(3, size=n) * 5 - 5


@pytest.mark.parametrize("near", [0.0, 0.03, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_pair_is_found(seed: int, kind: str, near: float) -> None:
    images, splits = leaky(seed)
    if kind != "uint8":
        images = (images / 255).astype(kind)
    before = images.copy()
    audit = audit_split(images, splits, near=near)
    np.testing.assert_array_equal(images, before)
    exact, alike = brute_force(images, splits, near)
    assert len(exact) > 2
    assert bool(alike) is (near > 0)
    assert [(twin.i, twin.j) for twin in audit.exact] == sorted(exact)
    assert {(twin.distance, twin.relative) for twin in audit.exact} == {(0.0, 0.0)}
    assert {(twin.i, twin.j): twin.relative for twin in audit.near} == pytest.approx(alike, rel=1e-12)
    assert [twin.relative for twin in audit.near] == sorted(twin.relative for twin in audit.near)
    x = before.astype(np.float64) / (255 if kind == "uint8" else 1)
    for twin in audit.near:
        assert twin.i < twin.j
        assert twin.distance == pytest.approx(math.sqrt(((x[twin.i] - x[twin.j]) ** 2).mean()), rel=1e-12)
    assert audit.counts == {"groups": 0, "exact": len(exact), "near": len(alike)}
    assert (audit.n_images, audit.n_groups, audit.clean) == (60, None, False)


def test_the_same_pixels_as_integers_and_as_floats() -> None:
    images, splits = leaky(3)
    integers, floats = audit_split(images, splits), audit_split(images / 255, splits)
    assert integers.exact == floats.exact
    assert [(twin.i, twin.j) for twin in integers.near] == [(twin.i, twin.j) for twin in floats.near]


def test_contrasts_do_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images, splits = leaky(4)
    whole = audit_split(images, splits)
    monkeypatch.setattr("metrics.split_audit._VALUES_AT_ONCE", 100)
    assert audit_split(images, splits) == whole


def test_copies_are_listed_once_with_the_first_of_another_split() -> None:
    images = torch.tensor([[1, 2], [9, 0], [1, 2], [1, 2], [9, 0], [1, 2], [5, 5]], dtype=torch.uint8)
    audit = audit_split(images, torch.tensor([0, 0, 1, 2, 0, 0, 1]), near=0)
    # 1 and 4 are identical too, but on one side.
    assert audit.exact == (TwinLeak(0, 2, 0.0), TwinLeak(0, 3, 0.0), TwinLeak(2, 5, 0.0))
    assert audit.near == ()


def test_a_pair_that_is_near_for_one_image_only() -> None:
    # ‖x − z‖ = √2 · 4; contrast √2 · 50 and √2 · 46.
    images = torch.tensor([[54, 146], [50, 150]], dtype=torch.uint8)
    for order in ([0, 1], [1, 0]):
        (twin,) = audit_split(images[order], torch.tensor([0, 1]), near=0.083).near
        assert (twin.i, twin.j) == (0, 1)
        assert twin.relative == pytest.approx(4 / 50)
        assert twin.distance == pytest.approx(4 / 255)
        (both,) = audit_split(images[order], torch.tensor([0, 1]), near=0.09).near  # 4 / 46 = 0.087
        assert both == twin
        assert audit_split(images[order], torch.tensor([0, 1]), near=0.079).clean


@pytest.mark.parametrize("correlation", [0.9949, 0.9951, 0.95, 0.9999])
def test_the_limit_is_a_correlation_of_images_with_equal_mean_and_contrast(correlation: float) -> None:
    u, v = np.linalg.qr(np.column_stack([np.ones(30), np.random.default_rng(0).standard_normal((30, 2))]))[0].T[1:]
    z = correlation * u + math.sqrt(1 - correlation**2) * v
    images = 0.5 + 0.3 * np.stack([u, z])
    assert np.corrcoef(images)[0, 1] == pytest.approx(correlation)
    audit = audit_split(images, np.array([0, 1]))
    assert bool(audit.near) is (correlation > 0.995)
    near = math.sqrt(2 * (1 - correlation))
    (twin,) = audit_split(images, np.array([0, 1]), near=near * 1.001).near
    assert twin.relative == pytest.approx(near, rel=1e-9)
    assert audit_split(images, np.array([0, 1]), near=near * 0.999).clean


def test_brightness_contrast_and_resolution_of_both_do_not_matter() -> None:
    u = np.random.default_rng(1).uniform(0.2, 0.6, (2, 1, 5, 5))
    u[1] = u[0] + 0.01 * (u[1] - 0.4)
    variants = [u, 0.3 * u + 0.1, u.repeat(3, axis=1), u.repeat(2, axis=2).repeat(2, axis=3)]
    found = [audit_split(images, np.array([0, 1])).near[0].relative for images in variants]
    assert found == pytest.approx([found[0]] * 4, rel=1e-9)


def test_constant_images_have_identical_twins_only() -> None:
    images = torch.tensor([[90, 90], [91, 91], [90, 90]], dtype=torch.uint8)
    audit = audit_split(images, torch.tensor([0, 1, 1]), near=1e9)
    assert (audit.exact, audit.near) == ((TwinLeak(0, 2, 0.0),), ())
    assert audit_split(images[:2] / 255, np.array([0, 1]), near=math.inf).clean


def picture() -> Array:
    """224×224, with structure at every scale."""
    rng = np.random.default_rng(5)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(224), np.fft.fftfreq(224)))
    spectrum = np.fft.fft2(rng.standard_normal((224, 224))) / np.maximum(frequency, 1 / 224) ** 1.5
    values = np.fft.ifft2(spectrum).real
    return (128 + 50 * (values - values.mean()) / values.std()).clip(0, 255).astype(np.uint8)


def test_saved_and_rescaled_images_are_near_duplicates_and_moved_or_mirrored_ones_are_not() -> None:
    original = picture()
    file = io.BytesIO()
    Image.fromarray(original).save(file, "JPEG", quality=75)
    changed = {
        "saved": np.array(Image.open(file)),
        "darker": (original * 0.97).round().astype(np.uint8),
        "moved": np.roll(original, 2, axis=1),
        "mirrored": original[:, ::-1],
        "another": original.T,
    }
    found = {name: len(audit_split(np.stack([original, new]), np.array([0, 1])).near) for name, new in changed.items()}
    assert found == {"saved": 1, "darker": 1, "moved": 0, "mirrored": 0, "another": 0}


def test_groups_on_several_sides() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 20), dtype=np.uint8)
    splits = np.array([2, 0, 1, 0, 2, 1, 0, 2, 2])
    groups = np.array([7, 7, 7, 3, 5, -1, -1, 4, 4])
    audit = audit_split(images, splits, groups)
    assert audit == SplitAudit(9, 5, groups=(GroupLeak(-1, (0, 1), 2), GroupLeak(7, (0, 1, 2), 3)))
    assert audit.counts == {"groups": 2, "exact": 0, "near": 0}
    assert not audit.clean
    assert audit_split(images, splits, np.arange(9)) == SplitAudit(9, 9)
    assert audit_split(images, splits, np.arange(9)).clean


def test_one_side_is_clean_without_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("metrics.split_audit.nearest_enemies")
    images = np.zeros((4, 3), dtype=np.uint8)
    assert audit_split(images, np.full(4, 2)) == SplitAudit(4, None)
    assert audit_split(images, np.full(4, 2), np.array([1, 1, 0, 0])) == SplitAudit(4, 2)
    assert audit_split(images, np.full(4, 2)).clean


def test_arrays_that_must_not_be_written(tmp_path: Path) -> None:
    images, splits = leaky(5)
    np.save(tmp_path / "images.npy", images)
    expected = audit_split(torch.from_numpy(images), torch.from_numpy(splits), torch.arange(60))
    splits.flags.writeable = False
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert audit_split(mapped, splits, np.arange(60)[::-1]) == expected


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    images, splits = leaky(6)
    audit_split(images, splits, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told)


IMAGES = np.array([[0.5, 0.1], [0.2, 0.9]])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"near": -0.01}, r"near=-0\.01 .*choose 0"),
        ({"near": math.nan}, "near=nan "),
        ({"splits": np.arange(3)}, r"2 images but splits of shape \(3,\)"),
        ({"splits": np.array([0.0, 1.0])}, "splits of shape .* float64: give one integer per image"),
        ({"groups": torch.zeros(2, 1, dtype=torch.int64)}, r"groups of shape \(2, 1\)"),
        ({"groups": np.array(["a", "b"])}, r"groups of shape \(2,\), <U1: give one integer"),
        ({"images": IMAGES * 255}, r"pixels lie in \[25\.5, 229\.5\]: give uint8 images"),
        ({"images": IMAGES - 0.2}, r"pixels lie in \[-0\.1, 0\.7\]"),
        ({"images": IMAGES[:0]}, "empty"),
        ({"images": IMAGES * math.nan}, "NaN"),
    ],
)
def test_what_cannot_be_audited_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        audit_split(**({"images": IMAGES, "splits": np.arange(2)} | arguments))
