import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from callbacks import AdversarialRobustness, MinimalRadius
from callbacks.probe import Images
from datamodules import ImageTable
from metrics import Attack, InputError, Norm, certified_radius, frozen_copy, median_estimate, minimal_radius
from models import ImageClassifier
from tests.callbacks import radius_two_processes
from tests.callbacks.helpers import LIGHTNING_WARNINGS, make_data, make_model, make_trainer, run
from tests.processes import in_two_processes

pytestmark = LIGHTNING_WARNINGS


def trained(table: ImageTable, **options: Any) -> tuple[Any, ImageClassifier]:
    """A network that has most images right."""
    data = make_data(table, **options)
    model = make_model(data)
    make_trainer(epochs=4).fit(model, datamodule=data)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # so few steps leave moving averages behind
    with torch.no_grad():
        model.train()(data.train_set.images / 255)
    return data, model.eval()


def pixels(images: Images) -> tuple[Tensor, Tensor]:
    return images.images / 255, images.labels


@pytest.mark.parametrize(("norm", "suffix", "largest"), [("linf", "", 255), ("l2", "_l2", 255 * 16)])
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_logged_numbers(tiny_table: ImageTable, stage: str, norm: Norm, suffix: str, largest: float) -> None:
    data, model = trained(tiny_table)
    whole = data.test_set if stage == "test" else data.val_set
    images, labels = pixels(whole)
    with torch.no_grad():
        first, second = model(images)[labels == 0].T
    model.backbone.network.fc.bias.data[1] += (first - second).quantile(0.35)  # so some images are wrong
    probe = MinimalRadius("fgsm", norm, certify=True, n_images=None, precision="float32")
    trainer = run(stage, data, probe, model=model)
    model.eval()
    network = frozen_copy(model, images)
    raw = minimal_radius(model, images, labels, attack=Attack("fgsm", norm), network=network).numpy()
    assert (raw == 0).any(), "none is wrong"
    radii = np.minimum(raw, largest)
    certified = certified_radius(model, images, labels)
    assert certified is not None
    flat, y = whole.images.flatten(1).double().numpy(), labels.numpy()
    apart = [np.linalg.norm(flat[i] - flat[j]) for i in range(len(y)) for j in range(i) if y[i] != y[j]]
    expected = {
        f"robust/radius{suffix}": np.median(radii),
        f"robust/radius{suffix}_stderr": median_estimate(torch.from_numpy(radii)).stderr,
        f"robust/radius{suffix}_mean": radii.mean(),
        f"robust/radius{suffix}_mean_stderr": radii.std(ddof=1) / math.sqrt(len(radii)),
        f"robust/radius{suffix}_q25": np.quantile(radii, 0.25),
        f"robust/radius{suffix}_q75": np.quantile(radii, 0.75),
        f"robust/unfooled{suffix}": np.isinf(raw).mean(),
        "robust/radius_certified": np.median(certified),
        "robust/radius_certified_stderr": median_estimate(certified).stderr,
        "robust/radius_K_F": min(apart) / 2,
    }
    assert probe.readings == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert {name: float(trainer.callback_metrics[name]) for name in expected} == pytest.approx(
        expected, rel=1e-4, abs=1e-12
    )
    assert probe.readings[f"robust/radius{suffix}_mean"] > 0


def test_images_that_nothing_fools_count_with_the_largest_radius(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    head = model.backbone.network.fc
    nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor([1.0, 0.0])
    wrong = float((data.val_set.labels == 1).double().mean())
    assert 0 < wrong < 1
    for norm, suffix, largest in (("linf", "", 255.0), ("l2", "_l2", 255 * 16.0)):
        probe = MinimalRadius("pgd", norm, certify=True, n_images=None)  # type: ignore[arg-type]  # a literal
        run("validate", data, probe, model=model)
        assert all(math.isfinite(value) for value in probe.readings.values())
        assert probe.readings[f"robust/unfooled{suffix}"] == 1 - wrong
        assert probe.readings[f"robust/radius{suffix}_mean"] == pytest.approx(largest * (1 - wrong))
        assert probe.readings["robust/radius_certified"] == np.median(255 * (1 - data.val_set.labels))


def test_pgd_and_both_norms_beside_each_other(tiny_table: ImageTable) -> None:
    data, model = trained(tiny_table)
    found = []
    for batch_size, seed in ((100, 0), (5, 0)):
        options: dict[str, Any] = {"n_images": None, "batch_size": batch_size, "seed": seed, "precision": "float32"}
        probes = [MinimalRadius("pgd", norm, steps=3, restarts=2, **options) for norm in ("linf", "l2")]
        trainer = run("validate", data, *probes, model=model)
        assert {"robust/radius", "robust/radius_l2", "robust/radius_K_F"} <= set(trainer.callback_metrics)
        assert probes[0].readings["robust/radius_K_F"] == probes[1].readings["robust/radius_K_F"]
        assert probes[0].readings["robust/radius_mean"] <= probes[1].readings["robust/radius_l2_mean"]
        found.append(probes[0].readings | probes[1].readings)
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    fgsm = MinimalRadius("fgsm", n_images=None, precision="float32")
    run("validate", data, fgsm, model=model)
    assert found[0]["robust/radius"] < fgsm.readings["robust/radius"]


def test_accuracy_under_the_same_attack_falls_at_the_radius(tiny_table: ImageTable) -> None:
    data, model = trained(tiny_table)
    probe = MinimalRadius("fgsm", n_images=11, precision="float32")
    run("validate", data, probe, model=model)
    radius = probe.readings["robust/radius"]  # of the image in the middle
    assert 0 < radius < 200
    below, above = (0.999 * radius, 1.001 * radius)
    attacked = AdversarialRobustness(["fgsm"], eps=[below, above], n_images=11, precision="float32")
    run("validate", data, attacked, model=model)
    acc = [attacked.readings[f"robust/fgsm_{eps:g}/acc"] for eps in (below, above)]
    assert acc == pytest.approx([6 / 11, 5 / 11])


def test_attacked_images_of_one_label_have_no_sharpness(tiny_table: ImageTable) -> None:
    probe = MinimalRadius(n_images=1)
    run("validate", make_data(tiny_table), probe)
    assert set(probe.readings) == {
        "robust/radius",
        "robust/radius_mean",
        "robust/radius_q25",
        "robust/radius_q75",
        "robust/unfooled",
    }


def test_a_network_without_certificate_says_so(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table, image_size=32)
    probe = MinimalRadius(certify=True, n_images=3)
    with pytest.warns(UserWarning, match="no radius can be certified"):
        run("validate", data, probe, model=make_model(data, "test_efficientnet"))
    assert "robust/radius" in probe.readings
    assert "robust/radius_certified" not in probe.readings


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attack": "auto"}, "'auto'.* fgsm or pgd"),
        ({"norm": "l1"}, "'l1'.* linf, l2"),
        ({"steps": 0}, "steps=0"),
        ({"restarts": 0}, "restarts=0"),
        ({"n_images": 0}, "n_images=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"every_n_epochs": 0}, "every_n_epochs=0"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        MinimalRadius(**options)


@pytest.mark.parametrize(
    "options",
    [{"attack": "fgsm"}, {"attack": "pgd"}, {"attack": "pgd", "norm": "l2", "steps": 5, "restarts": 3}],
    ids=["fgsm", "pgd", "restarts"],
)
def test_passes_are_about_what_it_takes(tiny_table: ImageTable, options: dict[str, Any]) -> None:
    data, model = trained(tiny_table)
    taken = 0

    def forward(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal taken
        taken += len(output) * (2 if output.requires_grad else 1)  # gradients flow in attacks only, and always there

    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(forward)
    probe = MinimalRadius(**options, n_images=10)
    run("validate", data, probe, model=model)
    assert taken / 2 < probe.passes(40, 12) < 2 * taken
    certifying = MinimalRadius(**options, certify=True, n_images=None)
    assert certifying.passes(40, 12) > 1.2 * probe.passes(40, 12)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tiny_table: ImageTable, tmp_path: Path) -> None:
    _, model = trained(tiny_table, **radius_two_processes.SIZES)
    torch.save(model.state_dict(), tmp_path / radius_two_processes.WEIGHTS)
    expected = radius_two_processes.measure(tiny_table, model.state_dict())
    in_two_processes("tests.callbacks.radius_two_processes", tiny_table.folder, tmp_path)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert expected["robust/radius"] > 0
    assert expected["robust/radius_certified"] > 0
