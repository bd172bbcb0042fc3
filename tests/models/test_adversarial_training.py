"""Training on attacked images: against the closed form, against training on the same images without an attack."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.nn import functional as F

from metrics import InputError
from models import AdversarialTraining, ImageClassifier
from tests.models.helpers import Batch, loader, make_batches, make_model, make_trainer
from tests.processes import in_two_processes

pytestmark = [
    # Lightning says so on a machine that has a GPU.
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
]

ATTACKS = [
    AdversarialTraining("fgsm", eps=4),
    AdversarialTraining("pgd", eps=4, steps=3),
    AdversarialTraining("pgd", eps=60, norm="l2", steps=3),
]


def linear(weights: Tensor) -> nn.Module:
    """Logits 0 and ⟨w, x⟩."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel(), 2, bias=False))
    network[1].weight.data = torch.stack([torch.zeros_like(weights), weights])
    return network


def grey(n: int, side: int) -> tuple[Tensor, Tensor, range]:
    """Images too far from black and white for an attack to get there, labels, seeds."""
    return torch.full((n, 1, side, side), 0.5), torch.arange(n) % 2, range(100, 100 + n)


def test_pgd_finds_the_worst_image_of_a_linear_model() -> None:
    weights = torch.randn(64, generator=torch.Generator().manual_seed(0))
    images, labels, seeds = grey(6, 8)
    moved = AdversarialTraining("pgd", eps=10).attacked(linear(weights), images, labels, seeds)
    sides = torch.where(labels == 0, 1, -1)[:, None]
    expected = 0.5 + 10 / 255 * sides * weights.sign()
    torch.testing.assert_close(moved.flatten(1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("step_size", "share"),
    # A coordinate starts at u, uniform in [−1, 1], and goes to min(1, u + step): on average 1 − (2 − step)²/4.
    [(None, 1 - 0.75**2 / 4), (1.0, 0.75), (2.0, 1.0)],
)
def test_fgsm_is_one_step_from_a_random_start(step_size: float | None, share: float) -> None:
    weights = torch.randn(64 * 64, generator=torch.Generator().manual_seed(0))
    images, labels, seeds = grey(8, 64)
    moved = AdversarialTraining("fgsm", eps=10, step_size=step_size).attacked(linear(weights), images, labels, seeds)
    sides = torch.where(labels == 0, 1, -1)[:, None]
    uphill = (moved - images).flatten(1) * sides * weights.sign() / (10 / 255)
    # 32,768 coordinates with a standard deviation below 0.58: three standard errors are 0.01.
    assert float(uphill.mean()) == pytest.approx(share, abs=0.01)
    assert float(uphill.min()) >= (1.25 if step_size is None else step_size) - 1 - 1e-5
    assert float(uphill.max()) <= 1 + 1e-5


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_l2_attacks_stay_in_the_ball_and_go_along_the_weights(attack: Any) -> None:
    weights = torch.randn(64, generator=torch.Generator().manual_seed(0))
    images, labels, seeds = grey(6, 8)
    moved = AdversarialTraining(attack, eps=20, norm="l2", steps=40, step_size=1.0).attacked(
        linear(weights), images, labels, seeds
    )
    offsets = (moved - images).flatten(1)
    lengths = torch.linalg.vector_norm(offsets, dim=1) / (20 / 255)
    assert float(lengths.max()) <= 1 + 1e-5
    along = offsets @ (weights / weights.norm()) * torch.where(labels == 0, 1, -1) / (20 / 255)
    assert float(along.min()) > (0.99 if attack == "pgd" else 0.25)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_attacked_images_are_near_and_in_range(attack: AdversarialTraining) -> None:
    (batch,) = make_batches([20])
    moved = attack.attacked(make_model(), batch["image"], batch["label"], range(20))
    offsets = (moved - batch["image"]).flatten(1)
    order = 2 if attack.norm == "l2" else torch.inf
    assert 0 < float(torch.linalg.vector_norm(offsets, order, dim=1).max()) <= attack.eps / 255 + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert not moved.requires_grad


def test_without_an_attack_images_are_as_they_are() -> None:
    (batch,) = make_batches([4])
    model = make_model()
    assert AdversarialTraining().attacked(model, batch["image"], batch["label"], range(4)) is batch["image"]
    assert model.adversarial_training == AdversarialTraining()


def state_of(model: nn.Module) -> dict[str, Any]:
    return {
        "modes": {name: part.training for name, part in model.named_modules()},
        "trainable": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "weights": copy.deepcopy(model.state_dict()),
        "random": torch.get_rng_state(),
    }


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("fails", [False, True])
def test_an_attack_leaves_no_trace(attack: AdversarialTraining, fails: bool) -> None:
    model = make_model(drop_rate=0.5)
    model.backbone.network.layer1.eval()  # a part that the user froze
    next(model.parameters()).requires_grad = False
    (batch,) = make_batches([4])
    modes: set[bool] = set()

    def watch(module: nn.Module, inputs: object) -> None:
        modes.update(part.training for part in module.modules())
        if fails:
            raise ZeroDivisionError

    handle = model.backbone.register_forward_pre_hook(watch)
    before = state_of(model)
    if fails:
        with pytest.raises(ZeroDivisionError):
            attack.attacked(model, batch["image"], batch["label"], range(4))
    else:
        attack.attacked(model, batch["image"], batch["label"], range(4))
    handle.remove()
    assert modes == {False}
    torch.testing.assert_close(state_of(model), before, rtol=0, atol=0)


class Kept(AdversarialTraining):
    """Keeps what it was asked and what it gave."""

    made: list[dict[str, Any]] = []  # noqa: RUF012  # replaced in every test

    def attacked(self, network: nn.Module, images: Tensor, labels: Tensor, seeds: Any) -> Tensor:
        moved = super().attacked(network, images, labels, seeds)
        self.made.append({"network": network, "clean": images, "image": moved, "seeds": list(seeds)})
        return moved


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "made", [])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_a_step_is_that_of_plain_training_on_the_attacked_images(attack: Any, precision: Any) -> None:
    def trained(model: ImageClassifier, batches: list[Batch]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        trainer = make_trainer(precision=precision)
        torch.manual_seed(1)  # dropout
        trainer.fit(model, loader(batches))
        return dict(model.backbone.state_dict()), dict(trainer.callback_metrics)

    batches = make_batches([6, 6], side=32)
    options: dict[str, Any] = {"drop_rate": 0.5, "input_shape": (1, 32, 32)}
    model = make_model(adversarial_training=Kept(attack, steps=2), **options)
    before = copy.deepcopy(model.backbone.state_dict())
    weights, logged = trained(model, batches)
    attacked = [batch | {"image": made["image"]} for batch, made in zip(batches, Kept.made, strict=True)]
    expected = trained(make_model(**options), attacked)
    torch.testing.assert_close((weights, logged), expected, rtol=0, atol=0)
    for made, batch in zip(Kept.made, batches, strict=True):
        assert made["network"] is model
        assert torch.equal(made["clean"], batch["image"])
        assert made["image"].dtype == torch.float32
        # In eight grey levels and not in fewer: half precision did not round what the attack added.
        assert float((made["image"] - batch["image"]).abs().max()) == pytest.approx(8 / 255, rel=1e-3)
    still = [name for name, value in model.backbone.named_parameters() if torch.equal(value, before[name])]
    assert not still


def test_train_loss_is_that_of_attacked_images() -> None:
    model = make_model(
        "test_vit", optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0), adversarial_training=Kept("pgd")
    )
    batches = make_batches([5, 3])
    trainer = make_trainer()
    trainer.fit(model, loader(batches), loader(batches))
    labels = torch.cat([batch["label"] for batch in batches])

    def loss(images: list[Tensor]) -> float:
        with torch.no_grad():
            return float(F.cross_entropy(model.eval()(torch.cat(images)).double(), labels))

    attacked, clean = loss([made["image"] for made in Kept.made]), loss([batch["image"] for batch in batches])
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(attacked, rel=1e-5)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(clean, rel=1e-5)
    assert attacked > clean


def seeds_by_image(sizes: list[int], epochs: int) -> list[dict[bytes, int]]:
    """For each epoch, the seed of every image."""
    Kept.made.clear()
    make_trainer(max_epochs=epochs).fit(
        make_model("test_vit", adversarial_training=Kept("fgsm")), loader(make_batches(sizes))
    )
    flat = [
        {image.numpy().tobytes(): seed for image, seed in zip(made["clean"], made["seeds"], strict=True)}
        for made in Kept.made
    ]
    n = len(sizes)
    return [dict(pair for part in flat[e * n : (e + 1) * n] for pair in part.items()) for e in range(epochs)]


def test_starts_depend_on_run_epoch_and_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    first, second = seeds_by_image([5, 3], epochs=2)
    assert seeds_by_image([2, 4, 2], epochs=1) == [first]
    assert len({*first.values(), *second.values()}) == 16
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    (other,) = seeds_by_image([5, 3], epochs=1)
    assert not {*other.values()} & {*first.values()}


def test_checkpoints_go_with_and_without(tmp_path: Path) -> None:
    plain, attacked = AdversarialTraining(), AdversarialTraining("fgsm")
    for first, second in ((attacked, plain), (plain, attacked)):
        model = make_model(adversarial_training=first)
        trainer = make_trainer()
        trainer.fit(model, loader(make_batches([4])))
        path = tmp_path / f"{first.attack}.ckpt"
        trainer.save_checkpoint(path)
        other = make_model(adversarial_training=second)
        make_trainer(max_epochs=2).fit(other, loader(make_batches([4])), ckpt_path=path, weights_only=True)
        restored = ImageClassifier.from_checkpoint(path)
        torch.testing.assert_close(dict(restored.state_dict()), dict(model.state_dict()), rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_attack_and_learn_as_one(tmp_path: Path) -> None:
    in_two_processes("tests.models.two_processes", tmp_path)
    from tests.models.two_processes import train

    model, starts = train(tmp_path / "one", batch_size=8)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(found[0]["weights"], found[1]["weights"], rtol=0, atol=0)
    assert sorted(seed for rank in found for seed in rank["seeds"]) == sorted(starts)
    # Without batch norm the mean of two halves is the whole. Sums in another order turn a few signs of the attack.
    torch.testing.assert_close(found[0]["weights"], dict(model.state_dict()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "auto"}, "attack='auto' cannot be trained on: choose from pgd, fgsm, or null"),
        ({"eps": 0}, "eps=0 is out of range"),
        ({"eps": 256}, "eps=256 is out of range"),
        ({"eps": float("nan")}, "eps=nan is out of range"),
        ({"eps": float("inf"), "norm": "l2"}, "eps=inf is out of range"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"steps": 0}, "steps=0 is out of range"),
        ({"step_size": 0.0}, "step_size=0 is out of range"),
        ({"attack": "fgsm", "step_size": 2.5}, "step_size=2.5 is out of range"),
    ],
)
def test_what_no_attack_can_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        AdversarialTraining(**options)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], AdversarialTraining()),
        (["--model.adversarial_training", "{attack: fgsm, eps: 2}"], AdversarialTraining("fgsm", eps=2)),
        (["--model.adversarial_training.attack", "pgd", "--model.adversarial_training.steps", "3"],
         AdversarialTraining("pgd", steps=3)),
    ],
)  # fmt: skip
def test_a_configuration_can_name_it(given: list[str], expected: AdversarialTraining) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ImageClassifier, "model", skip={"optimizer", "lr_scheduler"})
    small = ["--model.backbone", "test_vit", "--model.input_shape", "[1, 16, 16]"]
    model = parser.instantiate_classes(parser.parse_args([*small, *given])).model
    assert model.adversarial_training == expected
