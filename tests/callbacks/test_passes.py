"""What probes say they compute is what they compute."""

import pytest
from torch import Tensor, nn

from callbacks import AdversarialRobustness, DatasetProperties, Probe, RepresentationDimension
from datamodules import ImageTable
from tests.callbacks.helpers import LIGHTNING_WARNINGS, make_data, make_model, run

pytestmark = LIGHTNING_WARNINGS

N_TRAIN, N_VAL = 40, 12


@pytest.mark.parametrize(
    "probe",
    [
        RepresentationDimension(k=5, batch_size=16),
        RepresentationDimension(["layer2", "penultimate"], k=5),
        RepresentationDimension("profile", k=5),
        AdversarialRobustness(("fgsm", "pgd"), eps=(2, 4, 8), steps=3, restarts=2, n_images=10),
        AdversarialRobustness(("fgsm",), eps=(2, 4), n_images=None, batch_size=5),
        DatasetProperties(k=5),
    ],
    ids=["penultimate", "layers", "profile", "attacks", "one attack, all images", "properties"],
)
def test_every_pass_is_counted(probe: Probe, tiny_table: ImageTable) -> None:
    data = make_data(tiny_table, n_train=N_TRAIN, n_val=N_VAL)
    model = make_model(data)
    passed = 0

    def backward(gradient: Tensor) -> None:
        nonlocal passed
        passed += len(gradient)

    def forward(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal passed
        passed += len(output)
        if output.requires_grad:
            output.register_hook(backward)

    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(forward)
    run("validate", data, probe, model=model)
    assert passed - N_VAL == probe.passes(N_TRAIN, N_VAL)
