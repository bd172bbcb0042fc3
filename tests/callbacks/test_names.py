"""Probes of which one would write over what another logs are refused; those that log the same number are not."""

from typing import Any

import pytest

from callbacks import AdversarialRobustness, DatasetProperties, MinimalRadius, Probe, RepresentationDimension
from callbacks.probe import check_names
from datamodules import ImageTable
from metrics import InputError
from tests.callbacks.helpers import LIGHTNING_WARNINGS, Tripwire, make_data, run

pytestmark = LIGHTNING_WARNINGS


@pytest.mark.parametrize(
    ("kind", "one", "other", "name"),
    [
        (AdversarialRobustness, {"attacks": ["pgd"]}, {"attacks": ["fgsm", "pgd"], "restarts": 2}, "robust/pgd_1"),
        (AdversarialRobustness, {"attacks": ["pgd"], "eps": [2]}, {"attacks": ["pgd"], "steps": 5}, "robust/pgd_2"),
        (AdversarialRobustness, {"eps": [1]}, {"eps": [1.0000001]}, "robust/fgsm_1"),
        (AdversarialRobustness, {"norm": "l2"}, {"norm": "l2", "precision": "float32"}, "robust/fgsm_l2_1"),
        (AdversarialRobustness, {"with_loss": False}, {}, "robust/fgsm_1"),
        (AdversarialRobustness, {"eps": [1]}, {"eps": [2], "n_images": 50}, "robust/clean"),
        (AdversarialRobustness, {"eps": [1]}, {"eps": [2], "seed": 1}, "robust/clean"),
        (MinimalRadius, {}, {"attack": "pgd"}, "robust/radius"),
        (MinimalRadius, {"norm": "l2"}, {"norm": "l2", "seed": 1}, "robust/radius_l2"),
        (MinimalRadius, {"norm": "l2"}, {"n_images": 7}, "robust/radius_K_F"),
        (DatasetProperties, {}, {"k": 5}, "data/"),
        (DatasetProperties, {}, {"reference_samples": 40}, "data_ref/"),
        (RepresentationDimension, {}, {"k": 5, "layers": ["layer1", "penultimate"]}, "repr/penultimate/d_mle"),
        (RepresentationDimension, {"layers": "profile"}, {"max_samples": 50}, "repr/penultimate/d_mle"),
    ],
)
def test_one_would_write_over_the_other(
    kind: type[Probe], one: dict[str, Any], other: dict[str, Any], name: str
) -> None:
    match = rf"two callbacks \({kind.__name__}\) log {name} with different options"
    for first, second in ((one, other), (other, one)):
        with pytest.raises(InputError, match=match):
            check_names([kind(**first), kind(**second)])
        check_names([kind(**first), kind(**first, every_n_epochs=2)])


def test_other_names_are_no_clash() -> None:
    check_names(
        [
            AdversarialRobustness(["fgsm"], eps=[1, 2]),
            AdversarialRobustness(["fgsm"], eps=[1, 4], steps=3, restarts=2),
            AdversarialRobustness(["pgd"], eps=[1, 2], steps=20, every_n_epochs=10),
            AdversarialRobustness(["fgsm"], eps=[1], norm="l2"),
            MinimalRadius(),
            MinimalRadius("pgd", "l2", certify=True),
            RepresentationDimension("profile", every_n_epochs=5),
            RepresentationDimension(),
            RepresentationDimension(["layer1"], k=5),
            Tripwire(),
        ]
    )


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_it_is_found_before_anything_runs(tiny_table: ImageTable, stage: str) -> None:
    tripwire = Tripwire()
    with pytest.raises(InputError, match="log robust/radius "):
        run(stage, make_data(tiny_table), tripwire, MinimalRadius(n_images=5), MinimalRadius(n_images=6))
    assert not tripwire.begun
