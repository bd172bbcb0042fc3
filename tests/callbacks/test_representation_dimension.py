from typing import Any

import pytest
import torch

from callbacks import RepresentationDimension
from datamodules import ImageTable
from metrics import InputError, intrinsic_dimension
from tests.callbacks.helpers import LIGHTNING_WARNINGS, Tripwire, make_data, make_model, run

pytestmark = LIGHTNING_WARNINGS


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_values_of_a_depth_profile(tiny_table: ImageTable, stage: str) -> None:
    data = make_data(tiny_table)
    model = make_model(data, drop_rate=0.5)
    probe = RepresentationDimension("profile", k=5, batch_size=16)
    trainer = run(stage, data, probe, model=model)

    model.eval()
    layers = ["act1", "layer1", "layer2", "layer3", "layer4", "penultimate"]
    weight_layers = {"act1": 3, "layer1": 5, "layer2": 7, "layer3": 10, "layer4": 12}  # of 13, counted by hand
    with torch.no_grad():
        # In the batches of the probe, so that the last bit is the same.
        batches = [model.features(images / 255, layers) for images in data.train_set.images.split(16)]
    expected: dict[str, float] = {}
    for layer in layers:
        points = torch.cat([batch[layer] for batch in batches])
        prefix = "repr" if layer == "penultimate" else f"repr/{layer}"
        for estimator in ("mle", "twonn"):
            dimension = intrinsic_dimension(points, estimator=estimator, k=5)
            assert dimension.stderr is not None
            expected[f"{prefix}/d_{estimator}"] = dimension.value
            expected[f"{prefix}/d_{estimator}_stderr"] = dimension.stderr
        if layer in weight_layers:
            expected[f"{prefix}/depth"] = weight_layers[layer] / 13
    assert probe.readings == pytest.approx(expected, rel=1e-9)
    assert {name: float(trainer.callback_metrics[name]) for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"repr/d_mle", "repr/d_twonn"}),
        ({"layers": "layer3"}, {"repr/layer3/d_mle", "repr/layer3/d_twonn"}),
        ({"layers": ["penultimate"], "estimators": ["twonn"]}, {"repr/d_twonn"}),
        ({"layers": ["fc"], "estimators": ["mle"]}, {"repr/fc/d_mle"}),
    ],
)
def test_names(tiny_table: ImageTable, options: dict[str, Any], names: set[str]) -> None:
    probe = RepresentationDimension(k=5, **options)
    run("validate", make_data(tiny_table), probe)
    depths = {f"{name.rsplit('/', 1)[0]}/depth" for name in names if name.count("/") == 2}
    assert set(probe.readings) == names | {f"{name}_stderr" for name in names} | depths


def test_a_seeded_choice_of_images(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    found = []
    for max_samples, seed in ((20, 0), (20, 0), (20, 1), (40, 0), (None, 0)):
        probe = RepresentationDimension(k=5, max_samples=max_samples, seed=seed)
        run("validate", data, probe)
        found.append(probe.readings)
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4] != found[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 40}, "40 training images .* k=40"),
        ({"k": 20, "max_samples": 20}, "20 training images .* k=20"),
        ({"layers": ["layer1", "layer9"], "k": 5}, r"'layer9'.*layer\d"),
    ],
)
def test_errors_come_before_training(tiny_table: ImageTable, options: dict[str, Any], match: str) -> None:
    tripwire = Tripwire()
    with pytest.raises(InputError, match=match):
        run("fit", make_data(tiny_table), tripwire, RepresentationDimension(**options))
    assert not tripwire.begun
