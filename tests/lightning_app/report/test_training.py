"""Part 6: d_repr over epochs and depth. Numbers are compared with loops and closed forms."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from lightning_app.report.context import Context
from lightning_app.report.part import Part
from lightning_app.report.parts.training import make

NONE = pd.DataFrame()
LAYERS = {"resnet18": (0.1, 0.4, 0.7, 0.9), "vgg13": (0.2, 0.5, 0.8)}
SETS = {"MNIST": "natural", "SVHN": "natural", "OAI": "radiology", "DBC": "radiology", "MURA": "radiology"}


def records(sets: Mapping[str, str] = SETS) -> pd.DataFrame:
    """A run per data set, network and size."""
    cells = [(data, domain, backbone, n) for data, domain in sets.items() for backbone in LAYERS for n in (50, 100)]
    frame = pd.DataFrame(cells, columns=["data", "domain", "backbone", "n_train"])
    return frame.assign(run_id=[f"{i:012x}" for i in range(len(frame))], status="finished", command="fit")


def with_profiles(frame: pd.DataFrame, highest: Mapping[str, int], estimator: str = "twonn") -> pd.DataFrame:
    """Runs whose profile is a roof: d = 10 at one layer, whose place the data set decides, 2 less per layer from it."""
    columns: dict[str, list[float]] = {}
    for row, (data, backbone) in enumerate(zip(frame["data"], frame["backbone"], strict=True)):
        for place, depth in enumerate(LAYERS[backbone]):
            for name, value in ((f"d_{estimator}", 10 - 2 * abs(place - highest[data])), ("depth", depth)):
                columns.setdefault(f"repr/{backbone}.{place}/{name}", [np.nan] * len(frame))[row] = value
    return frame.assign(**columns)


def logged(frame: pd.DataFrame, epochs: int, every: int = 1, **slopes: float) -> pd.DataFrame:
    """Runs whose d_repr is 20 + slope · epochs, 3 more on vgg13, and after that the row of the test."""
    rows = []
    for _, run in frame.iterrows():
        level = 20 + 3 * (run["backbone"] == "vgg13")
        for epoch in range(every, epochs + 1, every):
            rows.append(
                {"run_id": run["run_id"], "epoch": epoch - 1, "repr/d_mle": level + slopes[run["data"]] * epoch}
            )
        rows.append({"run_id": run["run_id"], "epoch": epochs, "repr/d_mle": 99.0, "test/loss": 0.5})
    curves = pd.DataFrame(rows)
    return curves.astype({"epoch": "int32", "repr/d_mle": "float32", "test/loss": "float32"})


def part_of(frame: pd.DataFrame, curves: pd.DataFrame = NONE, no_curves: str = "") -> Part:
    return make(Context(frame, lambda: curves, no_curves))


def names(part: Part) -> list[str]:
    return [figure.name for figure in part.figures]


def caption(part: Part, name: str) -> str:
    (found,) = (figure.caption for figure in part.figures if figure.name == name)
    return found


def table(part: Part, name: str) -> pd.DataFrame:
    (found,) = (table.frame for table in part.tables if table.name == name)
    return found


SLOPES = {"MNIST": -1.0, "SVHN": -0.5, "OAI": 0.1, "DBC": 0.3, "MURA": 0.5}


@pytest.fixture(scope="module")
def epochs_part() -> Part:
    frame = records()
    return part_of(frame, logged(frame, 10, **SLOPES))


def test_change_over_epochs_with_its_error_over_data_sets(epochs_part: Part) -> None:
    # Over nine epochs: −9 and −4.5 in natural data; 0.9, 2.7 and 4.5 in the others. Levels: 20 and 23.
    errors = np.std([-9, -4.5], ddof=1) / 2**0.5, np.std([0.9, 2.7, 4.5], ddof=1) / 3**0.5
    finding = (
        f"d_repr (MLE) changes by −6.75 ± {errors[0]:.2g} in natural data ({21.5 - 0.75:.3g} after 10% of training, "
        f"{21.5 - 7.5:.3g} after 100%; 2 data sets), by +2.7 ± {errors[1]:.2g} in radiology data "
        f"({21.5 + 0.3:.3g} after 10% of training, {21.5 + 3:.3g} after 100%; 3 data sets)"
    )
    assert epochs_part.text[0] == f"{finding}."
    assert caption(epochs_part, "representation-over-epochs").startswith(f"{finding}. ")
    found = table(epochs_part, "representation-over-epochs").set_index("data set")
    for data, slope in SLOPES.items():
        row = found.loc[data]
        assert (row["first share"], row["last share"], row["domain"]) == (0.1, 1, SETS[data])
        assert row["share of the highest"] == (0.1 if slope < 0 else 1)
        assert [row["d_repr then"], row["d_repr at the end"]] == pytest.approx([21.5 + slope, 21.5 + 10 * slope])


def test_axes_say_what_they_show(epochs_part: Part) -> None:
    (figure,) = epochs_part.figures
    written = set(re.findall(r"<!-- (.*?) -->", figure.svg))
    assert {
        "share of training (epoch / last epoch of the run)",
        "d_repr, MLE (degrees of freedom)",
        "natural",
        "radiology",
    } <= written
    assert figure.pdf.startswith(b"%PDF")
    assert any("RepresentationDimension --trainer.callbacks.layers profile" in why for why in epochs_part.cannot)


def test_runs_of_other_lengths_count_by_their_share_of_training() -> None:
    frame = records({"OAI": "radiology"})
    small = frame["n_train"] == 50
    # 20 + 0.1 · epoch of 10, and 20 + 0.05 · epoch of 20: at equal shares they are equal.
    curves = pd.concat([logged(frame[small], 10, OAI=0.1), logged(frame[~small], 20, OAI=0.05)], ignore_index=True)
    part = part_of(frame, curves)
    (row,) = table(part, "representation-over-epochs").to_dict("records")
    assert (row["first share"], row["d_repr then"]) == (0.1, pytest.approx(21.5 + 0.1))
    assert (row["last share"], row["d_repr at the end"]) == (1, pytest.approx(21.5 + 1))
    assert "4 runs of 10 to 20 epochs" in caption(part, "representation-over-epochs")


def test_no_mean_jumps_where_a_run_begins() -> None:
    frame = records({"OAI": "radiology"})
    curves = logged(frame, 10, **SLOPES)
    late = (curves["run_id"] == frame["run_id"][0]) & (curves["epoch"] < 4)
    curves["repr/d_mle"] += 1000 * (curves["run_id"] == frame["run_id"][0])
    (row,) = table(part_of(frame, curves[~late]), "representation-over-epochs").to_dict("records")
    assert row["first share"] == 0.5
    assert row["d_repr at the end"] - row["d_repr then"] == pytest.approx(0.1 * 5, rel=1e-3)


def test_runs_that_logged_it_once_are_counted() -> None:
    frame = records({"OAI": "radiology"})
    curves = logged(frame, 10, **SLOPES)
    once = (curves["run_id"] == frame["run_id"][0]) & (curves["epoch"] != 9)
    part = part_of(frame, curves[~once])
    assert "d_repr over epochs: runs left out, which logged it after one epoch only: 1." in part.cannot


def test_epochs_between_those_that_were_measured_are_interpolated() -> None:
    frame = records({"OAI": "radiology"})
    each, every_fifth = (logged(frame, 10, every, **SLOPES) for every in (1, 5))
    mixed = pd.concat(
        [each[each["run_id"].isin(frame["run_id"][:2])], every_fifth[every_fifth["run_id"].isin(frame["run_id"][2:])]]
    )
    (row,) = table(part_of(frame, mixed), "representation-over-epochs").to_dict("records")
    # The second network is known from epoch 5 on; before that there is no mean over both.
    assert (row["first share"], row["d_repr then"]) == (0.5, pytest.approx(21.5 + 0.1 * 5))
    assert (row["last share"], row["d_repr at the end"]) == (1, pytest.approx(21.5 + 0.1 * 10))


HIGHEST = {"MNIST": 1, "SVHN": 2, "OAI": 0, "DBC": 1, "MURA": 0}


@pytest.fixture(scope="module")
def depth_part() -> Part:
    return part_of(with_profiles(records(), HIGHEST))


def test_peaks_over_depth(depth_part: Part) -> None:
    peaks = {data: (LAYERS["resnet18"][place] + LAYERS["vgg13"][place]) / 2 for data, place in HIGHEST.items()}
    natural, radiology = ([peaks[data] for data in SETS if SETS[data] == domain] for domain in ("natural", "radiology"))
    found = table(depth_part, "peaks").set_index("domain")
    for domain, expected, published in (("natural", natural, 0.57), ("radiology", radiology, 0.35)):
        row = found.loc[domain]
        assert row["depth of the peak"] == pytest.approx(np.mean(expected))
        assert row["spread"] == pytest.approx(np.std(expected, ddof=1))
        assert row["±"] == pytest.approx(np.std(expected, ddof=1) / len(expected) ** 0.5)
        assert (row["lowest"], row["highest"]) == pytest.approx((min(expected), max(expected)))
        assert (row["data sets"], row["runs"], row["estimator"]) == (len(expected), 4 * len(expected), "TwoNN")
        assert row["arXiv 2408.08381 (TwoNN)"] == published
        assert row["distance between layers"] == pytest.approx((0.8 / 3 + 0.3) / 2)
    # Of the last layer measured: SVHN on vgg13; of the first: OAI and MURA.
    assert found["at the first or last layer"].tolist() == pytest.approx([1 / 4, 2 / 3])
    of_sets = table(depth_part, "peaks-of-data-sets").set_index("data set")["depth of the peak"]
    assert of_sets.to_dict() == pytest.approx(peaks)
    difference = np.mean(natural) - np.mean(radiology)
    text = depth_part.text[0]
    assert text.startswith(f"Over depth, d_repr (TwoNN) peaks at {np.mean(natural):.2f} ± ")
    assert f" in radiology data (arXiv 2408.08381: 0.35); natural less radiology: +{difference:.3g} (95 % " in text
    assert names(depth_part) == ["representation-over-depth", "peaks"]


def test_profiles_are_means_where_every_network_has_layers(depth_part: Part) -> None:
    said = caption(depth_part, "representation-over-depth")
    # From 0.2 (the first layer of vgg13) to 0.8 (its last). At 0.2 resnet18 is a third of the way from 0.1 to 0.4.
    value = {}
    for data, place in HIGHEST.items():
        roof = [10 - 2 * abs(i - place) for i in range(4)]
        low = np.interp(0.2, LAYERS["resnet18"], roof), np.interp(0.8, LAYERS["resnet18"], roof)
        value[data] = ((low[0] + roof[0]) / 2, (low[1] + roof[2]) / 2)
    for domain in ("natural", "radiology"):
        ends = np.mean([value[data] for data in SETS if SETS[data] == domain], axis=0)
        assert (
            f"The mean of {domain} data goes from {ends[0]:.3g} at depth 0.20 to {ends[1]:.3g} at 0.80;".replace(
                " at 0.80", " at depth 0.80"
            )
            in said
        )


def test_one_estimator_is_shown_and_all_are_tabled() -> None:
    frame = with_profiles(with_profiles(records(), HIGHEST), dict.fromkeys(SETS, 1), "mle")
    part = part_of(frame)
    assert "d_repr (TwoNN) peaks" in part.text[0]
    found = table(part, "peaks").set_index(["estimator", "domain"])["depth of the peak"]
    assert found["MLE"].tolist() == pytest.approx([0.45, 0.45])
    mle = part_of(with_profiles(records(), dict.fromkeys(SETS, 1), "mle"))
    assert "d_repr (MLE) peaks at 0.45 in natural data" in mle.text[0]
    assert "less" not in mle.text[0]  # at one layer everywhere, no error is known


def test_how_profiles_form() -> None:
    frame = with_profiles(records(), HIGHEST)
    profile = [name for name in frame if name.startswith("repr/")]
    rows = [
        frame[["run_id", *profile]].assign(epoch=epoch).rename(columns=lambda name: name.replace("twonn", "mle"))
        for epoch in range(12)
    ]
    curves = pd.concat(rows, ignore_index=True)
    dimensions = [name for name in curves if name.endswith("d_mle")]
    curves[dimensions] = curves[dimensions].mul(1 + curves["epoch"], axis=0)
    part = part_of(frame, curves.astype(dict.fromkeys([name for name in curves if "repr" in name], "float32")))
    said = caption(part, "profiles-over-epochs")
    assert said.startswith("Between epoch 1 and 12 the highest point of the mean goes from ")
    numbers = [float(number) for number in re.findall(r"([\d.]+) at depth ([\d.]+)", said)[0]]
    last = [float(number) for number in re.findall(r"to ([\d.]+) at depth ([\d.]+)", said)[0]]
    assert last == pytest.approx([12 * numbers[0], numbers[1]], rel=5e-3)
    (figure,) = (figure for figure in part.figures if figure.name == "profiles-over-epochs")
    written = re.findall(r"<!-- (.*?) -->", figure.svg)
    assert [text for text in written if text.startswith("epoch ")] == ["epoch 1", "epoch 2", "epoch 5", "epoch 12"]
    assert "relative depth (share of the network's weight layers)" in written


@pytest.mark.parametrize(
    ("frame", "curves", "figures", "cannot"),
    [
        (records().assign(status="failed"), NONE, [], "No run of `fit` has finished."),
        (records()[:0], NONE, [], "No run of `fit` has finished."),
        (records(), NONE, [], "d_repr over epochs: no finished run has logged any. The callback"),
        (records(), logged(records(), 1, **SLOPES), [], "d_repr over epochs: no run has logged it twice."),
        (records(), logged(records().assign(run_id="other"), 3, **SLOPES), [], "no finished run has logged any"),
        (records(), logged(records(), 3, **SLOPES).assign(**{"repr/d_mle": np.nan}), [], "no finished run has logged"),
        (
            with_profiles(records({"OAI": "radiology"}), HIGHEST)[:1], NONE, ["representation-over-depth", "peaks"],
            "d_repr over depth, epoch by epoch: there are no two epochs after which all data sets have logged it",
        ),
        (
            with_profiles(records(), HIGHEST).drop(columns=["repr/vgg13.1/d_twonn"]), NONE,
            ["representation-over-depth", "peaks"], "d_repr over depth: 10 of 20 finished runs have no three layers.",
        ),
        (
            with_profiles(records(), HIGHEST).assign(n_train=np.nan), NONE, [], "n_train is missing or not finite (20)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said(frame: pd.DataFrame, curves: pd.DataFrame, figures: list[str], cannot: str) -> None:
    part = part_of(frame, curves)
    assert names(part) == figures
    assert any(cannot in sentence for sentence in part.cannot), part.cannot


def test_why_there_are_no_epochs_is_said() -> None:
    part = part_of(records(), no_curves="The table holds no epochs.")
    assert part.cannot[0] == "d_repr over epochs: The table holds no epochs."


def test_data_sets_that_share_no_part_of_training_have_no_mean() -> None:
    frame = records({"OAI": "radiology", "DBC": "radiology"})
    curves = logged(frame, 9, **SLOPES)
    early = curves["run_id"].isin(frame.loc[frame["data"] == "OAI", "run_id"])
    curves["repr/d_mle"] = curves["repr/d_mle"].where(early == (curves["epoch"] < 4))
    part = part_of(frame, curves)
    assert "d_repr over epochs: no share of training is common to all radiology data sets." in part.cannot
    assert names(part) == ["representation-over-epochs"]
    assert part.text == ()


def test_a_run_in_two_experiments_counts_once() -> None:
    frame = with_profiles(records(), HIGHEST)
    twice = pd.concat([frame, frame[:4].assign(name="copy")], ignore_index=True)
    assert table(part_of(twice), "peaks")["runs"].tolist() == [8, 12]
