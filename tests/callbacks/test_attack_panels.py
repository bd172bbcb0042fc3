"""Figures of attacks: what is drawn, when, where it goes. As a script: one of two processes."""

import io
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.figure import Figure
from PIL import Image

from callbacks import AdversarialRobustness, AttackPanels
from callbacks.attack_figures import Curve, Example, draw_curves, draw_examples
from datamodules import ImageTable
from metrics import Attack, InputError
from tests.callbacks.helpers import LIGHTNING_WARNINGS, equal, make_data, make_model, make_trainer, run
from tests.processes import in_two_processes

pytestmark = LIGHTNING_WARNINGS

Shown = tuple[list[Example], Attack, float, list[str], str]
Figures = list[Figure]


class Gallery(DummyLogger):
    """A logger that takes images."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, tuple[int, int]] = {}
        self.epochs: list[float] = []

    def log_image(self, key: str, images: list[Image.Image]) -> None:
        (image,) = images
        self.images[key] = image.size

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if set(metrics) == {"epoch"}:
            self.epochs.append(metrics["epoch"])

    @property
    def save_dir(self) -> None:
        return None


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    """What is drawn of images, instead of a figure."""
    found: list[Shown] = []
    monkeypatch.setattr("callbacks.attack_figures.draw_examples", lambda *given: found.append(given) or b"png")
    return found


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> list[list[Curve]]:
    """What is drawn of accuracies, instead of a figure."""
    found: list[list[Curve]] = []
    monkeypatch.setattr("callbacks.attack_figures.draw_curves", lambda given, title: found.append(given) or b"png")
    return found


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Figures:
    """Figures as they are before they become PNG."""
    found: Figures = []
    monkeypatch.setattr("callbacks.attack_figures._png", lambda figure: found.append(figure) or b"")
    return found


def example(channels: int = 1, classes: int = 2, label: int = 0, fooled: bool = True, move: float = 0.1) -> Example:
    clean = torch.linspace(0.2, 0.7, channels * 16).reshape(channels, 4, 4)
    sure, torn = torch.full((classes,), 0.01), torch.full((classes,), 0.02)
    sure[label] = 1 - 0.01 * (classes - 1)
    torn[(label + fooled) % classes] = 1 - 0.02 * (classes - 1)
    attacked = clean + move * torch.tensor([1.0, -1.0]).repeat(2)
    return Example(label, clean, attacked, sure, torn)


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("epochs", [1, 3])
def test_weights_are_those_of_a_run_without(tiny_table: ImageTable, epochs: int) -> None:
    weights = []
    for probes in ([], [AttackPanels(steps=2), AdversarialRobustness(eps=(4,), n_images=10)]):
        data = make_data(tiny_table)
        model = make_model(data, drop_rate=0.5)
        trainer = make_trainer(*probes, epochs=epochs)
        trainer.fit(model, datamodule=data)
        trainer.test(model, datamodule=data, verbose=False)
        weights.append(model.state_dict())
    assert equal(*weights)


def test_figures_are_drawn_at_the_end_only(tiny_table: ImageTable, shown: list[Shown], curves: list[Any]) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    trainer = make_trainer(AttackPanels(steps=1), AdversarialRobustness(eps=(4,), n_images=10), epochs=3)
    trainer.fit(model, datamodule=data)
    assert (len(shown), len(curves)) == (1, 1)
    trainer.validate(model, datamodule=data, verbose=False)
    assert (len(shown), len(curves)) == (2, 2)
    trainer.test(model, datamodule=data, verbose=False)
    assert (len(shown), len(curves)) == (3, 3)
    assert [given[-1] for given in shown] == ["val images of tiny", "val images of tiny", "test images of tiny"]
    stems = {f"{stem}_{part}.png" for stem in ("accuracy_over_eps", "attacked_images") for part in ("val", "test")}
    assert files(Path("figures")) == stems


@pytest.mark.parametrize("first", [True, False])
def test_a_curve_is_what_was_measured(tiny_table: ImageTable, curves: list[list[Curve]], first: bool) -> None:
    panels, probe = AttackPanels(steps=1), AdversarialRobustness(["fgsm", "pgd"], eps=[8, 2], norm="l2", n_images=None)
    run("test", make_data(tiny_table), *([panels, probe] if first else [probe, panels]))
    (drawn,) = curves
    assert [curve.attack for curve in drawn] == [Attack("fgsm", "l2"), Attack("pgd", "l2")]
    for curve, name in zip(drawn, ("fgsm_l2", "pgd_l2"), strict=True):
        assert list(curve.accuracy) == [0, 8, 2]
        for eps, of in ((0, "clean"), (2, f"{name}_2"), (8, f"{name}_8")):
            expected = (probe.readings[f"robust/{of}/acc"], probe.readings[f"robust/{of}/acc_stderr"])
            assert curve.accuracy[eps] == expected


@pytest.mark.parametrize(("every_n_epochs", "drawn"), [(1, 1), (2, 0), (3, 1)])
def test_a_curve_is_of_the_last_epoch_or_of_none(
    tiny_table: ImageTable, curves: list[list[Curve]], every_n_epochs: int, drawn: int
) -> None:
    probe = AdversarialRobustness(eps=(4,), n_images=10, every_n_epochs=every_n_epochs)
    data = make_data(tiny_table)
    make_trainer(AttackPanels(steps=1), probe, epochs=3).fit(make_model(data), datamodule=data)
    assert len(curves) == drawn


def test_without_a_robustness_probe_there_is_no_curve(tiny_table: ImageTable) -> None:
    run("test", make_data(tiny_table), AttackPanels(steps=1))
    assert files(Path("figures")) == {"attacked_images_test.png"}


def test_images_shown_were_right_and_those_that_are_fooled_come_first(
    tiny_table: ImageTable, shown: list[Shown]
) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    make_trainer(epochs=1).fit(model, datamodule=data)
    for seed in (0, 0, 1):
        run("test", data, AttackPanels(eps=48, steps=4, n_examples=20, seed=seed), model=model)
    model.eval()
    pixels = data.test_set.images / 255
    right = int((model(pixels).argmax(dim=1) == data.test_set.labels).sum())
    orders = []
    for examples, attack, eps, names, _ in shown:
        assert (attack, eps, names) == (Attack("pgd", steps=4), 48, ("0", "1"))
        assert len(examples) == right < 20
        fooled = []
        for each in examples:
            # It is a test image of that label; nothing moved further than ε; the network says what is shown.
            (row,) = (pixels == each.clean).flatten(1).all(dim=1).nonzero().flatten().tolist()
            assert int(data.test_set.labels[row]) == each.label
            assert float((each.attacked - each.clean).abs().max()) <= 48 / 255 + 1e-6
            for image, said in ((each.clean, each.before), (each.attacked, each.after)):
                expected = model(image[None]).softmax(dim=1)[0].detach()
                assert said.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
            assert int(each.before.argmax()) == each.label
            fooled.append(int(each.after.argmax()) != each.label)
        assert fooled == sorted(fooled, reverse=True)
        assert True in fooled
        assert False in fooled
        orders.append([tuple(each.clean.flatten().tolist()) for each in examples])
    assert orders[0] == orders[1] != orders[2]


def test_as_many_examples_as_asked_for(tiny_table: ImageTable, shown: list[Shown]) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    make_trainer(epochs=2).fit(model, datamodule=data)
    run("test", data, AttackPanels(steps=1, n_examples=3), model=model)
    assert len(shown[0][0]) == 3


def test_where_nothing_was_right_nothing_is_shown(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    with torch.no_grad():  # every image is said to be of a class, and the images are of the other
        model.backbone.network.fc.weight.zero_()
        model.backbone.network.fc.bias.copy_(torch.tensor([1.0, 0.0]))
    data.test_set.labels.fill_(1)
    run("test", data, AttackPanels(steps=1), model=model)
    assert not Path("figures").exists()


def test_names_of_classes_come_from_the_data(tiny_table: ImageTable, shown: list[Shown]) -> None:
    run("test", make_data(tiny_table, classes=[1, 0]), AttackPanels(steps=1))
    assert shown[0][3] == ("1", "0")


def test_a_logger_that_takes_images_gets_them(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    gallery = Gallery()
    probes = [AttackPanels(steps=1), AdversarialRobustness(eps=(4,), n_images=10)]
    make_trainer(*probes, logger=gallery, log_every_n_steps=1, epochs=2).fit(make_model(data), datamodule=data)
    assert gallery.images.keys() == {"figures/accuracy_over_eps_val", "figures/attacked_images_val"}
    assert all(min(size) > 300 for size in gallery.images.values())
    assert gallery.epochs == [2.0, 2.0]


def test_figures_lie_in_the_folder_of_the_run(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    trainer = make_trainer(AttackPanels(steps=1), logger=CSVLogger("logs", "mine", version=3))
    trainer.test(make_model(data), datamodule=data, verbose=False)
    assert files(Path("logs/mine/version_3/figures")) == {"attacked_images_test.png"}
    run("test", data, AttackPanels(steps=1, folder="elsewhere", part="all"))
    assert files(Path("elsewhere")) == {"attacked_images_all.png"}


def test_a_folder_that_cannot_be_written(tiny_table: ImageTable) -> None:
    Path("taken").write_text("")
    with pytest.raises(InputError, match="cannot write figures to taken: File exists"):
        run("test", make_data(tiny_table), AttackPanels(steps=1, folder="taken"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attack": "square"}, "'square'"),
        ({"eps": 0}, "eps=0 "),
        ({"norm": "l1"}, "'l1'"),
        ({"n_examples": 0}, "n_examples=0"),
        ({"n_images": 0}, "n_images=0"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        AttackPanels(**options)


def test_no_images_at_all(tiny_table: ImageTable) -> None:
    with pytest.raises(InputError, match="no images to attack"):
        run("fit", make_data(tiny_table, n_val=0, n_test=0), AttackPanels())


@pytest.mark.slow
def test_two_processes_draw_what_one_does(tiny_table: ImageTable, tmp_path: Path) -> None:
    data = make_data(tiny_table, n_test=37)
    torch.save(make_model(data).state_dict(), tmp_path / "weights.pt")
    draw(tiny_table, tmp_path, "one")
    in_two_processes("tests.callbacks.test_attack_panels", tiny_table.folder, tmp_path)
    names = {"accuracy_over_eps_test.png", "attacked_images_test.png"}
    assert files(tmp_path / "one") == files(tmp_path / "two") == names
    for name in names:
        one, two = (np.asarray(Image.open(tmp_path / which / name)) for which in ("one", "two"))
        assert np.array_equal(one, two)


def draw(table: ImageTable, folder: Path, name: str, **options: Any) -> Trainer:
    data = make_data(table, n_test=37)
    model = make_model(data)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    # One image at a time: the last digits, and so pixels, would differ between batches of different sizes.
    probes = AttackPanels(steps=2, batch_size=1, folder=str(folder / name)), AdversarialRobustness(n_images=37)
    trainer = make_trainer(*probes, **options)
    trainer.test(model, datamodule=data, verbose=False)
    return trainer


def test_the_curve_starts_at_zero_and_names_its_attacks(figures: Figures) -> None:
    accuracy = {8.0: (0.25, 0.05), 0.0: (0.9, 0.03), 2.0: (0.5, 0.05)}
    draw_curves([Curve(Attack("fgsm"), accuracy), Curve(Attack("auto"), accuracy)], "test images")
    (axes,) = figures[0].axes
    for container in axes.containers:
        line, _, (bars,) = container.lines
        assert line.get_xydata().tolist() == [[0, 0.9], [2, 0.5], [8, 0.25]]
        ends = [(round(a[1], 6), round(b[1], 6)) for a, b in bars.get_segments()]
        assert ends == [(0.87, 0.93), (0.45, 0.55), (0.2, 0.3)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["FGSM", "AutoAttack"]
    assert axes.get_xlabel() == "ε in grey levels of 255, L∞"
    looks = [(container.lines[0].get_marker(), container.lines[0].get_linestyle()) for container in axes.containers]
    assert len({look for pair in looks for look in pair}) == 4  # told apart without colour


def test_each_norm_has_its_axes_and_each_setting_its_name(figures: Figures) -> None:
    accuracy = {0.0: (0.9, 0.03), 2.0: (0.5, 0.05)}
    attacks = [Attack("pgd"), Attack("pgd", restarts=3), Attack("pgd", "l2", steps=5)]
    draw_curves([Curve(attack, accuracy) for attack in attacks], "x")
    left, right = figures[0].axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["PGD, 10 steps", "PGD, 10 steps, 3 starts"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["PGD"]
    assert right.get_xlabel().endswith("L2")


def test_ticks_do_not_touch(figures: Figures) -> None:
    radii = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128]
    draw_curves([Curve(Attack("pgd"), {float(eps): (0.5, 0.1) for eps in (0, *radii)})], "x")
    (axes,) = figures[0].axes
    figures[0].draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert len(boxes) > 4
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 10), (2, 3)])
def test_examples_name_what_is_shown(figures: Figures, channels: int, classes: int) -> None:
    examples = [example(channels, classes, 0), example(channels, classes, 1, fooled=False, move=0.03)]
    draw_examples(examples, Attack("pgd"), 25.5, [f"c{i}" for i in range(classes)], "test images")
    rows = np.array(figures[0].axes).reshape(2, 3)
    assert [axes.get_title() for axes in rows[0]] == ["as it is", "what was added, × 5", "attacked"]
    sure, torn = f"{100 - (classes - 1):g} %", f"{100 - 2 * (classes - 1):g} %"
    assert [axes.get_xlabel() for axes in rows[0]] == [
        *(f"✓ c0, {sure}", f"L∞ 25.5, L2 {25.5 * np.sqrt(16 * channels):.3g}", f"✗ c1, {torn}")
    ]
    assert [rows[1][i].get_xlabel() for i in (0, 2)] == [f"✓ c1, {sure}", f"✓ c1, {torn}"]
    assert [row[0].get_ylabel() for row in rows] == ["c0", "c1"]
    for row, each in zip(rows, examples, strict=True):
        (change,) = row[1].images
        expected = 0.5 + 5 * (each.attacked - each.clean)
        expected = expected.mean(dim=0, keepdim=True) if channels == 2 else expected
        found = np.asarray(change.get_array())
        assert np.allclose(found if channels == 3 else found[..., None], expected.permute(1, 2, 0), atol=1e-6)
        assert (change.norm.vmin, change.norm.vmax) == (0, 1)


def test_an_attack_that_moves_nothing_can_be_drawn() -> None:
    assert draw_examples([example(move=0.0)], Attack("pgd"), 2, ["a", "b"], "x").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["$x_1$", "a$b", "肺炎", "two\nlines", "x" * 100, ""])
def test_any_name_can_be_drawn(name: str) -> None:  # warnings are errors here
    assert draw_examples([example()], Attack("pgd"), 2, [name, "b"], name).startswith(b"\x89PNG")


def test_long_names_are_cut(figures: Figures) -> None:
    draw_examples([example()], Attack("pgd"), 2, ["pneumonia " * 9, "b"], "x")
    assert figures[0].axes[0].get_ylabel() == "pneumonia pneumon…"


@pytest.mark.parametrize(
    "draw_one",
    [
        lambda: draw_examples([example(3)], Attack("fgsm", "l2"), 200, ["a", "b"], "x"),
        lambda: draw_curves([Curve(Attack("fgsm"), {0.0: (1.0, 0.0), 2.0: (0.5, 0.1)})], "x"),
    ],
)
def test_a_figure_is_the_same_every_time_whatever_others_have_set(draw_one: Callable[[], bytes]) -> None:
    expected, before = draw_one(), dict(mpl.rcParams)
    assert Image.open(io.BytesIO(expected)).format == "PNG"
    with mpl.rc_context({"font.size": 30, "axes.grid": False, "image.cmap": "jet"}):
        assert draw_one() == expected
    assert dict(mpl.rcParams) == before


if __name__ == "__main__":
    signal.alarm(280)  # for one that waits for the other in vain
    draw(
        ImageTable.open(sys.argv[1]), Path(sys.argv[2]), "two",
        strategy="ddp", devices=2, default_root_dir=sys.argv[2],
    )  # fmt: skip
