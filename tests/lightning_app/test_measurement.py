"""The numbers of `lightning measure`: brute force over the pixels, and scikit-dimension on them."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skdim
import torch
from numpy.typing import NDArray
from PIL import Image

from datamodules import Collection
from lightning_app.measure_json import as_json
from lightning_app.measure_options import Options
from lightning_app.measurement import check, measure
from metrics import InputError, Progress

Numbers = dict[str, Any]
Pictures = dict[str, NDArray[np.uint8]]
Noise = Callable[..., Pictures]
Measured = Callable[..., Numbers]
Integers = NDArray[np.int64]


def quiet(what: str) -> Progress:
    """A stage that nobody looks at."""
    return lambda done, total: None


def rows_of(pictures: Pictures) -> NDArray[np.float64]:
    """Pixels as they are, ``(n, d)``."""
    return np.stack([pixels.flatten() for pixels in pictures.values()]).astype(np.float64)


def classes_of(pictures: Pictures) -> Integers:
    """The class of each picture by the name of its folder."""
    return np.unique([path.split("/")[0] for path in pictures], return_inverse=True)[1].astype(np.int64)


def squares(pictures: Pictures) -> Integers:
    """Squared distances between all pictures, ``(n, n)``, in whole numbers."""
    x = rows_of(pictures).astype(np.int64)
    return np.array([[int(((a - b) ** 2).sum()) for b in x] for a in x])


def sharpness(squared: Integers, y: Integers) -> float:
    """Label sharpness over every pair."""
    return 255 / math.sqrt(squared[y[:, None] != y].min())


def unclashing(squared: Integers, y: Integers) -> Integers:
    """Which pictures have no twin under another label."""
    clash = ((squared == 0) & (y[:, None] != y)).any(axis=1)
    return np.flatnonzero(~clash)


@pytest.mark.parametrize("shape", [(8, 8), (6, 9, 3)])
def test_label_sharpness_is_that_of_every_pair(shape: tuple[int, ...], noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 12, "dog": 12, "owl": 12}, shape)
    names, y, squared = list(pictures), classes_of(pictures), squares(pictures)
    found = measured("pets", "--k", "3", "--pairs", "5")

    assert (found["height"], found["width"], found["channels"]) == (*shape[:2], shape[2] if len(shape) == 3 else 1)
    assert (found["data"], found["n_images"], found["classes"]) == ("pets", 36, {"cat": 12, "dog": 12, "owl": 12})
    assert (found["n_groups"], found["splits"], found["audit"]) == (None, None, None)
    assert (found["skipped"], found["notes"], found["missing"]) == ([], [], [])

    expected = sharpness(squared, y)
    for name in ("K_F", "K_F_all"):
        assert found[name] == pytest.approx(expected, rel=1e-12)
        assert found[f"{name}_per_pixel"] == pytest.approx(expected * math.sqrt(math.prod(shape)), rel=1e-12)
    assert found["K_F_255"] == pytest.approx(expected / 255, rel=1e-12)
    # M = 1000 takes every image: all samples are the same, and have no scatter.
    assert (found["K_F_stderr"], found["K_F_n_images"], found["n_conflicts"]) == (None, 36, 0)
    assert found["K_F_over_M"] == [{"M": 36, "K_F": found["K_F"], "K_F_stderr": None}]

    apart = np.where(y[:, None] != y, squared, np.iinfo(np.int64).max)
    nearest = 255 / np.sqrt(apart.min(axis=1))
    assert [q["level"] for q in found["K_quantiles"]] == [0.5, 0.9, 0.99, 1.0]
    assert [q["K"] for q in found["K_quantiles"]] == pytest.approx(np.quantile(nearest, [0.5, 0.9, 0.99, 1.0]))
    assert found["K_quantiles"][-1]["K"] == pytest.approx(found["K_F_all"], rel=1e-12)

    classes = ["cat", "dog", "owl"]
    between = {tuple(entry["classes"]): entry for entry in found["K_F_class_pairs"]}
    assert list(between) == list(itertools.combinations(classes, 2))
    for (a, b), entry in between.items():
        block = squared[np.ix_(y == classes.index(a), y == classes.index(b))]
        assert entry["K_F"] == pytest.approx(255 / math.sqrt(block.min()), rel=1e-12)
        assert [name.split("/")[0] for name in entry["pair"]] == [a, b]
        i, j = map(names.index, entry["pair"])
        assert squared[i, j] == block.min()

    ranked = sorted((int(squared[i, j]), i, j) for i, j in itertools.combinations(range(36), 2) if y[i] != y[j])
    assert len(found["sharpest_pairs"]) == 5
    for pair, (d, i, j) in zip(found["sharpest_pairs"], ranked, strict=False):
        assert pair["images"] == [names[i], names[j]]
        assert pair["classes"] == [classes[y[i]], classes[y[j]]]
        assert pair["distance"] == pytest.approx(math.sqrt(d) / 255, rel=1e-12)
        assert pair["K"] == pytest.approx(255 / math.sqrt(d), rel=1e-12)


def test_samples_are_balanced_nested_and_averaged(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 140, "dog": 70})
    y, squared = classes_of(pictures), squares(pictures)
    found = measured("pets", "--k", "3", "--samples", "120", "--trials", "4", "--seed", "3")
    assert (found["M"], found["trials"], found["seed"], found["K_F_n_images"]) == (120, 4, 3, 120)
    expected = []
    for m in (60, 120):
        values = []
        for trial in range(4):
            rng = np.random.default_rng([3, trial])
            chosen = np.concatenate([rng.permutation(np.flatnonzero(y == label))[: m // 2] for label in (0, 1)])
            values.append(sharpness(squared[np.ix_(chosen, chosen)], y[chosen]))
        known = (m / 2) ** 2 / (140 * 70)  # of the pairs
        error = np.std(values, ddof=1) * math.sqrt(1 / 4 + known / (1 - known))
        expected.append({"M": m, "K_F": np.mean(values), "K_F_stderr": error})
    for point, wanted in zip(found["K_F_over_M"], expected, strict=True):
        assert point == pytest.approx(wanted, rel=1e-12)
    assert (found["K_F"], found["K_F_stderr"]) == (
        found["K_F_over_M"][-1]["K_F"],
        found["K_F_over_M"][-1]["K_F_stderr"],
    )
    assert found["K_F_all"] == pytest.approx(sharpness(squared, y), rel=1e-12)


def test_dimensions_are_scikit_dimensions_on_the_pixels(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 55, "dog": 55}, (6, 6, 3))
    x = rows_of(pictures)
    found = measured("pets", "--k", "4", "--estimators", "mle", "twonn", "lPCA")

    def mle(points: NDArray[np.float64], k: int) -> float:
        return float(skdim.id.MLE(unbiased=True).fit(points, n_neighbors=k, comb="mle").dimension_)

    assert found["d_mle"] == pytest.approx(mle(x, 4), rel=1e-8)
    assert found["d_twonn"] == pytest.approx(skdim.id.TwoNN().fit(x).dimension_, rel=1e-8)
    assert found["d_lPCA"] == pytest.approx(skdim.id.lPCA().fit(x).dimension_)
    assert found["d_mle_stderr"] > 0
    assert found["d_twonn_stderr"] > 0
    assert found["d_lPCA_stderr"] is None
    assert found["n_duplicates"] == 0

    assert list(found["d_over_k"]) == ["mle"]
    assert [point["k"] for point in found["d_over_k"]["mle"]] == [4, 5, 10, 20, 30, 50]
    for point in found["d_over_k"]["mle"]:
        assert point["d"] == pytest.approx(mle(x, point["k"]), rel=1e-8)
    assert found["d_over_k"]["mle"][0]["d_stderr"] == found["d_mle_stderr"]

    assert list(found["d_over_n"]) == ["mle", "twonn"]
    half = np.sort(np.random.default_rng(0).permutation(110)[:55])
    for estimator, expected in (("mle", mle(x[half], 4)), ("twonn", skdim.id.TwoNN().fit(x[half]).dimension_)):
        small, whole = found["d_over_n"][estimator]
        assert (small["n"], whole["n"]) == (55, 110)
        assert small["d"] == pytest.approx(expected, rel=1e-8)
        assert (whole["d"], whole["d_stderr"]) == (found[f"d_{estimator}"], found[f"d_{estimator}_stderr"])


def test_duplicates_and_conflicts_are_counted_and_left_out(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 15, "dog": 15})
    for copy, original in (("dog/003.png", "cat/005.png"), ("cat/007.png", "cat/001.png")):
        pictures[copy] = pictures[original]
        Image.fromarray(pictures[copy]).save(Path("pets") / copy)
    y, squared = classes_of(pictures), squares(pictures)
    found = measured("pets", "--k", "3")

    assert (found["n_duplicates"], found["n_conflicts"], found["K_F_n_images"]) == (2, 2, 28)
    kept = unclashing(squared, y)
    assert found["K_F_all"] == pytest.approx(sharpness(squared[np.ix_(kept, kept)], y[kept]), rel=1e-12)
    clash, second = found["sharpest_pairs"][:2]
    assert clash == {"images": ["cat/005.png", "dog/003.png"], "classes": ["cat", "dog"], "distance": 0.0, "K": None}
    assert second["distance"] > 0
    nearest = np.sqrt(np.where(y[:, None] != y, squared, np.iinfo(np.int64).max).min(axis=1))
    expected = np.quantile(255 / nearest[nearest > 0], [0.5, 0.9, 0.99, 1.0])
    assert [q["K"] for q in found["K_quantiles"]] == pytest.approx(expected)

    distinct = np.unique(rows_of(pictures), axis=0)
    assert len(distinct) == 28
    assert found["d_twonn"] == pytest.approx(skdim.id.TwoNN().fit(distinct).dimension_, rel=1e-8)


def test_split_audit_names_every_leak(noise: Noise, measured: Measured) -> None:
    pictures = noise("scans", {"a": 12, "b": 12})
    names = list(pictures)
    split = dict(zip(names, itertools.cycle(["train", "test", "val"]), strict=False))
    patient = {name: f"p{i:02}" for i, name in enumerate(names)}
    split["a/006.png"] = split["a/007.png"] = ""  # in none: whatever they are, nothing leaks
    faint, bold = pictures["a/000.png"].copy(), pictures["b/003.png"].copy()
    faint[2, 2] ^= 1
    bold[:4] ^= 24  # differs by 0.1 to 0.2 of its contrast
    changed = {
        "a/004.png": pictures["a/000.png"],
        "a/005.png": faint,
        "a/006.png": pictures["b/000.png"],
        "b/004.png": bold,
    }
    for name, pixels in changed.items():
        pictures[name] = pixels
        Image.fromarray(pixels).save(Path("scans") / name)
    patient["a/001.png"] = patient["a/002.png"] = patient["a/003.png"] = patient["a/007.png"] = "ann"
    split["a/003.png"] = split["a/002.png"]
    lines = ["path,label,patient,split", *(f"{n},{n[0]},{patient[n]},{split[n]}" for n in names)]
    Path("list.csv").write_text("\n".join(lines))
    columns = ("--labels", "list.csv", "--group-column", "patient", "--split-column", "split")
    found = measured("scans", *columns, "--k", "3", "--near", "0.2")

    assert found["n_groups"] == len(set(patient.values())) == 21
    counts = {name: list(split.values()).count(name) for name in ("train", "val", "test")}
    assert found["splits"] == counts | {"(none)": 2}
    sides = sorted({split["a/001.png"], split["a/002.png"]})
    assert found["audit"]["groups"] == [{"group": "ann", "splits": sides, "n_images": 3}]

    # By the definition: each image and the nearest of all other splits, within a part of its own contrast.
    used = [name for name in names if split[name]]
    exact: set[tuple[str, ...]] = set()
    near: dict[tuple[str, ...], tuple[float, float]] = {}
    for name in used:
        x = pictures[name].astype(np.float64)
        apart = {other: float(np.linalg.norm(x - pictures[other])) for other in used if split[other] != split[name]}
        nearest = min(apart, key=lambda other: (apart[other], other))
        relative = apart[nearest] / float(np.linalg.norm(x - x.mean()))
        pair = tuple(sorted((name, nearest)))
        if relative == 0:
            exact.add(pair)
        elif relative <= 0.2:
            near[pair] = (min(relative, near.get(pair, (math.inf,))[0]), apart[nearest] / 255 / 8)
    assert {tuple(leak["images"]) for leak in found["audit"]["exact"]} == exact == {("a/000.png", "a/004.png")}
    assert [tuple(leak["images"]) for leak in found["audit"]["near_duplicates"]] == sorted(near, key=near.__getitem__)
    assert min(near.values())[0] < 0.1 < max(near.values())[0]
    for leak in found["audit"]["near_duplicates"]:
        relative, rms = near[tuple(leak["images"])]
        assert (leak["relative"], leak["rms"]) == (pytest.approx(relative), pytest.approx(rms))
        assert leak["splits"] == [split[name] for name in leak["images"]]
    assert found["audit"]["counts"] == {"groups": 1, "exact": 1, "near": len(near)}
    assert found["audit"]["near"] == 0.2


def test_blank_splits_are_no_split(noise: Noise, measured: Measured) -> None:
    names = list(noise("scans", {"a": 4, "b": 4}))
    Path("list.csv").write_text("\n".join(["path,label,split", *(f"{name},{name[0]}," for name in names)]))
    found = measured("scans", "--labels", "list.csv", "--split-column", "split", "--k", "3")
    assert (found["audit"], found["splits"]) == (None, {"(none)": 8})


def test_max_images_is_a_balanced_and_seeded_choice(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 30, "dog": 10, "owl": 20})

    def chosen(seed: int) -> tuple[list[str], Numbers]:
        found = measured("pets", "--k", "3", "--max-images", "13", "--seed", str(seed), "--pairs", "1000")
        return sorted({name for pair in found["sharpest_pairs"] for name in pair["images"]}), found

    names, found = chosen(0)
    assert (found["n_images"], found["max_images"]) == (12, 13)
    assert found["classes"] == {"cat": 4, "dog": 4, "owl": 4}
    assert found["notes"] == ["12 of 60 images, class-balanced, drawn with seed 0"]
    few = {name: pictures[name] for name in names}
    assert len(few) == 12
    assert found["K_F_all"] == pytest.approx(sharpness(squares(few), classes_of(few)), rel=1e-12)
    assert found["d_twonn"] == pytest.approx(skdim.id.TwoNN().fit(rows_of(few)).dimension_, rel=1e-8)
    assert chosen(0) == (names, found)
    assert chosen(1)[0] != names
    whole = measured("pets", "--k", "3", "--max-images", "60")
    assert (whole["n_images"], whole["notes"]) == (60, [])


def test_k_that_is_too_large_leaves_the_rest(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"cat": 6, "dog": 6})
    found = measured("pets", "--k", "12")
    for name in ("d_mle", "d_mle_stderr", "d_twonn", "d_twonn_stderr", "d_over_k", "d_over_n", "n_duplicates"):
        assert found[name] is None, name
    (problem,) = found["missing"]
    assert "12 distinct points are too few for k=12" in problem
    assert found["K_F"] == pytest.approx(sharpness(squares(pictures), classes_of(pictures)), rel=1e-12)


def test_k_that_has_hardly_enough_neighbours(noise: Noise, measured: Measured) -> None:
    x = rows_of(noise("pets", {"cat": 6, "dog": 6}))
    found = measured("pets", "--k", "11")
    reference = skdim.id.MLE(unbiased=True).fit(x, n_neighbors=11, comb="mle").dimension_
    assert found["d_mle"] == pytest.approx(reference, rel=1e-8)
    assert [point["k"] for point in found["d_over_k"]["mle"]] == [5, 11]


def test_geomle_is_not_asked_for_more_neighbours_than_its_own(noise: Noise, measured: Measured) -> None:
    noise("pets", {"cat": 40, "dog": 40})
    found = measured("pets", "--k", "5", "--estimators", "mle", "geomle")
    assert found["missing"] == []
    assert found["d_geomle"] > 0
    assert [point["k"] for point in found["d_over_k"]["mle"]] == [5, 10, 20, 30, 50]


def test_an_estimator_that_fails_leaves_the_others(
    noise: Noise, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise("pets", {"cat": 6, "dog": 6})

    def fail(*_: object) -> None:
        raise ValueError("singular")

    monkeypatch.setattr(skdim.id.lPCA, "fit", fail)
    found = measured("pets", "--k", "3", "--estimators", "lPCA", "twonn")
    assert found["missing"] == ["d_lPCA: lPCA of scikit-dimension failed on these points: singular"]
    assert found["d_lPCA"] is None
    assert found["d_twonn"] > 0


def test_single_image_per_class(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"a": 1, "b": 1, "c": 1})
    found = measured("pets", "--k", "3")
    assert found["K_F"] == pytest.approx(sharpness(squares(pictures), classes_of(pictures)), rel=1e-12)
    assert len(found["sharpest_pairs"]) == 3
    assert "3 distinct points are too few" in found["missing"][0]


def test_two_images_in_all(noise: Noise, measured: Measured) -> None:
    pictures = noise("pets", {"a": 1, "b": 1})
    found = measured("pets")
    assert found["K_F"] == pytest.approx(255 / math.sqrt(squares(pictures)[0, 1]), rel=1e-12)
    assert [q["K"] for q in found["K_quantiles"]] == pytest.approx([found["K_F"]] * 4)
    assert found["K_F_class_pairs"] == []


def test_images_that_are_identical_within_each_class(measured: Measured, noise: Noise) -> None:
    pictures = noise("pets", {"a": 6, "b": 6})
    for name in list(pictures):
        pictures[name] = pictures[f"{name[0]}/000.png"]
        Image.fromarray(pictures[name]).save(Path("pets") / name)
    found = measured("pets", "--k", "3")
    assert "10 of 12 points are exact duplicates" in found["missing"][0]
    assert (found["d_mle"], found["n_conflicts"]) == (None, 0)
    assert found["K_F"] == pytest.approx(sharpness(squares(pictures), classes_of(pictures)), rel=1e-12)


def test_images_that_are_all_the_same(measured: Measured, noise: Noise) -> None:
    pictures = noise("pets", {"a": 3, "b": 3})
    for name in pictures:
        Image.fromarray(pictures["a/000.png"]).save(Path("pets") / name)
    found = measured("pets", "--k", "3")
    assert [problem.split(":")[0] for problem in found["missing"]] == ["intrinsic dimension", "label sharpness"]
    for name in ("K_F", "K_F_stderr", "K_F_per_pixel", "K_F_all", "K_quantiles", "sharpest_pairs", "n_conflicts"):
        assert found[name] is None, name


@pytest.mark.parametrize(("copies", "measurable"), [(5, True), (6, False)])
def test_more_than_a_fifth_of_duplicates_are_refused(
    copies: int, measurable: bool, noise: Noise, measured: Measured
) -> None:
    names = list(noise("pets", {"a": 13, "b": 12}))
    for name in names[:copies]:
        Image.open(Path("pets") / names[12]).save(Path("pets") / name)
    found = measured("pets", "--k", "3")
    assert (found["d_mle"] is not None) is measurable
    assert found["n_duplicates"] == (copies if measurable else None)
    assert bool(found["missing"]) is not measurable
    assert found["K_F"] > 0


def test_constant_images(measured: Measured) -> None:
    for name, start in (("a", 0), ("b", 10)):
        Path("flat", name).mkdir(parents=True)
        for i in range(8):
            Image.new("L", (4, 4), start + 20 * i + i * i).save(Path("flat", name, f"{i}.png"))
    found = measured("flat", "--k", "3")
    levels = [[20 * i + i * i for i in range(8)], [10 + 20 * i + i * i for i in range(8)]]
    closest = min(abs(a - b) for a in levels[0] for b in levels[1])
    assert found["K_F"] == pytest.approx(255 / (4 * closest), rel=1e-12)
    assert found["d_mle"] > 0  # points of a line


def test_images_of_one_pixel(measured: Measured) -> None:
    for name, levels in (("a", range(0, 100, 7)), ("b", range(3, 100, 11))):
        Path("dots", name).mkdir(parents=True)
        for level in levels:
            Image.new("L", (1, 1), level).save(Path("dots", name, f"{level}.png"))
    found = measured("dots", "--k", "3")
    both = set(range(0, 100, 7)) & set(range(3, 100, 11))
    a, b = set(range(0, 100, 7)) - both, set(range(3, 100, 11)) - both
    assert (found["height"], found["width"], found["n_conflicts"]) == (1, 1, 2 * len(both))
    assert both
    assert found["K_F_all"] == pytest.approx(255 / min(abs(p - q) for p in a for q in b), rel=1e-12)
    assert found["K_F_all_per_pixel"] == found["K_F_all"]


def test_images_between_which_no_dimension_lies(measured: Measured) -> None:
    Path("spots/a").mkdir(parents=True)
    Path("spots/b").mkdir()
    for i in range(16):  # one white pixel each: all are equally far from each other
        pixels = np.zeros(16, dtype=np.uint8)
        pixels[i] = 255
        Image.fromarray(pixels.reshape(4, 4)).save(Path("spots", "ab"[i % 2], f"{i:02}.png"))
    found = measured("spots", "--k", "3")
    assert [problem.split(":")[0] for problem in found["missing"]] == ["d_mle", "d_twonn"]
    assert all("equally far" in problem for problem in found["missing"])
    assert (found["d_mle"], found["d_twonn"], found["n_duplicates"]) == (None, None, 0)
    assert found["K_F"] == pytest.approx(1 / math.sqrt(2), rel=1e-12)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("classes", "listed"), [(2, 0), (12, 66), (13, 0)])
def test_class_pairs_are_listed_for_three_to_twelve_classes(
    classes: int, listed: int, noise: Noise, measured: Measured
) -> None:
    noise("pets", {f"c{i:02}": 2 for i in range(classes)})
    found = measured("pets", "--k", "3")
    assert len(found["classes"]) == classes
    assert len(found["K_F_class_pairs"]) == listed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(estimators=("mel",)), "unknown estimator 'mel'"),
        (Options(k=2), "k=2"),
        (Options(samples=1), "samples=1"),
        (Options(trials=0), "trials=0"),
        (Options(max_images=1), "max_images=1"),
        (Options(pairs=0), "pairs=0"),
        (Options(seed=-1), "seed=-1"),
        (Options(near=-0.1), "near=-0.1"),
        (Options(near=math.nan), "near=nan"),
        (Options(near=math.inf), "near=inf"),
    ],
)
def test_options_out_of_range_are_named(options: Options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(options)


def test_options_at_the_edge_of_their_range_are_taken() -> None:
    check(Options(k=3, samples=2, trials=1, max_images=2, pairs=1, near=0, seed=0))


@pytest.fixture
def collection() -> Collection:
    """Noise of three classes on two sides, in groups."""
    rng = np.random.default_rng(0)
    return Collection(
        name="noise",
        images=torch.from_numpy(rng.integers(0, 256, (120, 1, 4, 4), dtype=np.uint8)),
        labels=np.arange(120) % 3,
        class_names=("a", "b", "c"),
        groups=np.array([f"g{i // 2}" for i in range(120)]),
        splits=np.array(["train", "test"] * 60),
        sources=tuple(f"{i}.png" for i in range(120)),
    )


def test_every_part_of_the_work_tells_of_its_progress_to_the_end(collection: Collection) -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    def stage(what: str) -> Progress:
        assert what not in told
        told[what] = []
        return lambda done, total: told[what].append((done, total))

    measure(collection, Options(k=3, samples=60, trials=2), stage)
    instant = {what for what in told if what.startswith("dimension by")}
    assert len(told) - len(instant) >= 7
    for what in told.keys() - instant:
        steps = told[what]
        assert [done for done, _ in steps] == sorted(done for done, _ in steps), what
        assert steps, what
        assert steps[-1][0] == steps[-1][1], what


@pytest.mark.parametrize("option", ["max_images", "samples"])
def test_fewer_images_than_classes_name_the_option(option: str, collection: Collection) -> None:
    with pytest.raises(InputError, match=f"{option}=2 is less than the 3 classes"):
        measure(collection, Options(**{option: 2}), quiet)  # type: ignore[arg-type]


def test_measuring_leaves_the_images_and_global_randomness_alone(collection: Collection) -> None:
    before, torch_state = collection.images.clone(), torch.get_rng_state()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002  # the global state is the point
    first, second = (as_json(measure(collection, Options(k=3, samples=60), quiet)) for _ in range(2))
    assert first == second
    assert torch.equal(collection.images, before)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state(legacy=False)) == str(numpy_state)  # noqa: NPY002
    assert first["audit"]["counts"]["groups"] == 60


def test_json_names_do_not_depend_on_what_could_be_measured(collection: Collection) -> None:
    whole = as_json(measure(collection, Options(k=3), quiet))
    bare = as_json(measure(collection, Options(k=120), quiet))
    assert whole.keys() == bare.keys()
