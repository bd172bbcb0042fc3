import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from callbacks import AdversarialRobustness
from callbacks.probe import Images
from datamodules import ImageTable
from metrics import Attack, InputError, attacked_outcomes, outcomes
from models import ImageClassifier
from tests.callbacks.helpers import LIGHTNING_WARNINGS, Tripwire, make_data, make_model, run

pytestmark = LIGHTNING_WARNINGS


def losses(model: ImageClassifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = model(images).double()
    return F.cross_entropy(logits, labels, reduction="none"), (logits.argmax(dim=1) == labels).double()


def fgsm(model: ImageClassifier, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """X + ε sign ∇ L(x), clipped, written out."""
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels), x)
    return (images + eps / 255 * gradient.sign()).clamp(0, 1)


def means(values: dict[str, Tensor]) -> dict[str, float]:
    """Mean and standard error of every column."""
    found = {}
    for name, column in values.items():
        found[name] = float(column.mean())
        found[f"{name}_stderr"] = float(
            ((column - column.mean()).square().sum() / (len(column) - 1)).sqrt()
        ) / math.sqrt(len(column))
    return found


def expected_fgsm(model: ImageClassifier, whole: Images, eps: float, name: str) -> dict[str, float]:
    model.eval()
    images = whole.images / 255
    loss, correct = losses(model, images, whole.labels)
    attacked_loss, attacked_correct = losses(model, fgsm(model, images, whole.labels, eps), whole.labels)
    return means(
        {
            "robust/clean/loss": loss,
            "robust/clean/acc": correct,
            f"robust/{name}/loss": attacked_loss,
            f"robust/{name}/acc": attacked_correct * correct,
            f"robust/{name}/acc_of_correct": attacked_correct[correct == 1],
            f"robust/{name}/loss_increase": attacked_loss - loss,
        }
    )


@pytest.mark.parametrize(
    ("stage", "eps", "name"), [("fit", 2, "fgsm_2"), ("validate", 0.5, "fgsm_0.5"), ("test", 8.0, "fgsm_8")]
)
def test_fgsm(tiny_table: ImageTable, stage: str, eps: float, name: str) -> None:
    data = make_data(tiny_table)
    model = make_model(data, drop_rate=0.5)
    probe = AdversarialRobustness(attacks=["fgsm"], eps=[eps], n_images=None, precision="float32")
    trainer = run(stage, data, probe, model=model)
    expected = expected_fgsm(model, data.test_set if stage == "test" else data.val_set, eps, name)
    assert probe.readings == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert {key: float(trainer.callback_metrics[key]) for key in expected} == pytest.approx(
        expected, rel=1e-5, abs=1e-8
    )
    assert expected[f"robust/{name}/loss_increase"] > 0


def test_names_of_several_attacks(tiny_table: ImageTable) -> None:
    probe = AdversarialRobustness(attacks=["fgsm", "pgd"], eps=[0.5, 255], steps=1, n_images=None)
    run("validate", make_data(tiny_table), probe)
    attacks = {f"{attack}_{eps}" for attack in ("fgsm", "pgd") for eps in ("0.5", "255")}
    names = {
        f"robust/{attack}/{what}" for attack in attacks for what in ("acc", "acc_of_correct", "loss", "loss_increase")
    }
    names |= {"robust/clean/acc", "robust/clean/loss"}
    assert set(probe.readings) == names | {f"{name}_stderr" for name in names}


def test_pgd(tiny_table: ImageTable) -> None:
    """Its random starts belong to the images, not to their batch; they depend on the seed."""
    data = make_data(tiny_table)
    model = make_model(data)
    found = []
    for batch_size, seed in ((100, 0), (5, 0), (100, 1)):
        probe = AdversarialRobustness(
            ["pgd"], eps=[8], steps=1, n_images=None, batch_size=batch_size, seed=seed, precision="float32"
        )
        run("validate", data, probe, model=model)
        found.append(probe.readings)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    name = "robust/pgd_8/loss"
    assert found[2][name] != pytest.approx(found[0][name], rel=1e-5)
    # From anywhere in the ball, a step of 2.5 ε ends at the boundary on the side that the gradient points to.
    steepest = expected_fgsm(model, data.val_set, 8, "fgsm_8")["robust/fgsm_8/loss"]
    assert found[0][name] == pytest.approx(steepest, rel=0.05)
    images, labels = data.val_set.images / 255, data.val_set.labels
    clean = outcomes(model.eval(), images, labels)
    longer = attacked_outcomes(model, images, labels, clean, attack=Attack("pgd", steps=5), eps=[8])[8]
    probe = AdversarialRobustness(["pgd"], eps=[8], steps=5, n_images=None)
    run("validate", data, probe, model=model)
    assert probe.readings[name] == pytest.approx(float(longer.loss.mean()), rel=0.02)  # other starts


def test_a_seeded_choice_of_images(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    model = make_model(data)
    each, _ = losses(model.eval(), data.val_set.images / 255, data.val_set.labels)
    found = []
    for n_images, seed in ((1, 0), (1, 0), (1, 1), (12, 0), (12, 5), (None, 5)):
        probe = AdversarialRobustness(["fgsm"], eps=[2], n_images=n_images, seed=seed)
        run("validate", data, probe, model=model)
        found.append(probe.readings["robust/clean/loss"])
        assert ("robust/clean/loss_stderr" in probe.readings) is (n_images != 1)
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert all(float((each - loss).abs().min()) < 1e-6 for loss in found[:3])
    assert found[3:] == pytest.approx([float(each.mean())] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"eps": [2, 0]}, "eps=0 "),
        ({"eps": [256]}, "eps=256 "),
        ({"eps": [-1]}, "eps=-1 "),
        ({"eps": [math.nan]}, "eps=nan "),
        ({"attacks": ["fgsm", "square"]}, "'square'.*fgsm, pgd, auto"),
        ({"norm": "l0"}, "'l0'.*linf, l2"),
        ({"restarts": 0}, "restarts=0"),
        ({"step_size": 3.0}, "step_size=3 "),
        ({"steps": 0}, "steps=0"),
        ({"n_images": 0}, "n_images=0"),
        ({"eps": [2, 2.0000001]}, "2.0000001.*six digits"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        AdversarialRobustness(**options)


def test_what_is_given_twice_counts_once() -> None:
    probe = AdversarialRobustness(["fgsm", "pgd", "fgsm"], eps=[2, 4, 2.0])
    assert [attack.name for attack in probe.attacks] == ["fgsm", "pgd"]
    assert probe.eps == (2, 4)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_more_images_than_there_are(tiny_table: ImageTable, stage: str) -> None:
    tripwire = Tripwire()
    available = 20 if stage == "test" else 12
    with pytest.raises(InputError, match=f"n_images={available + 1} .* {available} "):
        run(stage, make_data(tiny_table), tripwire, AdversarialRobustness(n_images=available + 1))
    assert not tripwire.begun
