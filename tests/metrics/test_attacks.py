"""Attacks: closed forms on linear models, the ball, and nothing else changed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from metrics import (
    ATTACKS,
    NORMS,
    Attack,
    AttackName,
    Frozen,
    InputError,
    Norm,
    adversarial,
    adversarial_images,
    check_eps,
    frozen_copy,
    torch_attacks,
)

every_attack = pytest.mark.parametrize("attack", ATTACKS)
both_norms = pytest.mark.parametrize("norm", NORMS)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack with a few steps in place of thousands."""
    monkeypatch.setattr(torch_attacks, "_STEPS", 10)
    monkeypatch.setattr(torch_attacks, "_QUERIES", 30)


def _linear(classes: int, seed: int = 0) -> nn.Module:
    """Logits that are linear in the 12 pixels, in float64."""
    rng = np.random.default_rng(seed)
    layer = nn.Linear(12, classes, dtype=torch.float64)
    state = {
        "weight": torch.from_numpy(rng.normal(size=(classes, 12))),
        "bias": torch.from_numpy(rng.normal(size=classes)),
    }
    layer.load_state_dict(state)
    return nn.Sequential(nn.Flatten(), layer).eval()


def _images(n: int, low: float = 0.0, high: float = 1.0, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, (n, 3, 2, 2)))


def _labels(n: int, classes: int) -> Tensor:
    return torch.arange(n) % classes


def _gradient_sign(model: nn.Module, images: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Sign of the derivative of cross-entropy: Σ_c p_c w_c − w_y for a linear model."""
    weight, bias = (parameter.detach().numpy() for parameter in model.parameters())
    exponentials = np.exp(images.flatten(1).numpy() @ weight.T + bias)
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return np.sign(p @ weight - weight[labels]).reshape(images.shape)


class _Layers(nn.Module):
    """What attacks could disturb: batch statistics, dropout, modes and gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(12, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(torch.tanh(self.norm(images))).flatten(1))
        return logits


class _NoParameters(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]


@pytest.mark.parametrize("eps", [0.5, 8, 255])
@pytest.mark.parametrize("classes", [2, 3])
def test_fgsm_on_a_linear_model_is_the_closed_form(classes: int, eps: float) -> None:
    model, images, labels = _linear(classes), _images(20), _labels(20, classes)
    expected = (images.numpy() + eps / 255 * _gradient_sign(model, images, labels)).clip(0, 1)
    moved = adversarial_images(model, images, labels, attack=Attack("fgsm"), eps=eps)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-14)


def test_fgsm_on_two_classes_moves_towards_the_other_weights() -> None:
    model, images = _linear(2), _images(20, 0.3, 0.7)
    weight = next(model.parameters()).detach()
    towards = (weight[1] - weight[0]).sign().reshape(3, 2, 2)
    moved = adversarial_images(model, images, torch.zeros(20, dtype=torch.int64), attack=Attack("fgsm"), eps=51)
    torch.testing.assert_close(moved, images + 0.2 * towards, rtol=0, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_pgd_on_a_linear_model_reaches_the_corner_that_fgsm_reaches(steps: int) -> None:
    # steps · 2.5 ε / steps exceeds the ball's width 2 ε, whatever the start.
    model, images, labels = _linear(2), _images(20, 0.3, 0.7), _labels(20, 2)
    fgsm = adversarial_images(model, images, labels, attack=Attack("fgsm"), eps=40)
    pgd = adversarial_images(model, images, labels, attack=Attack("pgd", steps=steps), eps=40)
    torch.testing.assert_close(pgd, fgsm, rtol=0, atol=1e-14)
    clean, attacked_fgsm, attacked_pgd = (
        F.cross_entropy(model(x), labels, reduction="none") for x in (images, fgsm, pgd)
    )
    assert (attacked_pgd >= attacked_fgsm - 1e-12).all()
    assert (attacked_fgsm > clean).all()


@every_attack
@pytest.mark.parametrize("eps", [1, 64, 255])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attacked_images_stay_in_the_ball_and_in_0_1(attack: AttackName, eps: float, dtype: torch.dtype) -> None:
    model, images = _Layers().eval().to(dtype), _images(20).round(decimals=1).to(dtype)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    before = images.clone()
    moved = adversarial_images(model, images, _labels(20, 2), attack=Attack(attack, steps=4), eps=eps)
    assert (moved.dtype, moved.shape, moved.requires_grad) == (dtype, images.shape, False)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (moved - images).abs().max() <= eps / 255 + 1e-7
    assert not torch.equal(moved, images)
    assert torch.equal(images, before), "the caller's images were changed"


@every_attack
def test_the_result_for_an_image_does_not_depend_on_its_batch(attack: AttackName) -> None:
    torch.manual_seed(0)
    curved = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    images, labels = _images(9), _labels(9, 3)
    for model in (_linear(3), curved):
        whole = adversarial_images(model, images, labels, attack=Attack(attack, steps=3), eps=30, seeds=range(100, 109))
        for part in ([4], [8, 0, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
            alone = adversarial_images(
                model, images[part], labels[part], attack=Attack(attack, steps=3), eps=30, seeds=[100 + i for i in part]
            )
            torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-12)


def _start(images: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
    """Where PGD starts: a model that ignores its input has no gradient to leave by."""
    blind = _linear(2)
    for parameter in blind.parameters():
        nn.init.zeros_(parameter)
    return adversarial_images(blind, images, _labels(len(images), 2), attack=Attack("pgd"), eps=25.5, seeds=seeds)


def test_pgd_starts_at_a_random_point_of_the_ball_from_each_images_own_seed() -> None:
    images = torch.full((3, 3, 20, 20), 0.5, dtype=torch.float64)
    blind = nn.Sequential(nn.AdaptiveAvgPool2d(2), _linear(2))
    for parameter in blind.parameters():
        nn.init.zeros_(parameter)
    labels = _labels(3, 2)
    offsets = adversarial_images(blind, images, labels, attack=Attack("pgd"), eps=25.5, seeds=[7, 0, 7]) - 0.5
    assert torch.equal(offsets[0], offsets[2])
    assert not torch.equal(offsets[0], offsets[1])
    # Uniform on ±0.1 over 1,200 values: mean 0 ± 0.1 / √3 / √1200, variance 0.1² / 3.
    assert offsets[:2].abs().max() <= 0.1 + 1e-12
    assert offsets[:2].abs().max() > 0.099
    assert (offsets[:2].mean(dim=(1, 2, 3)).abs() < 5 * 0.1 / 3**0.5 / 1200**0.5).all()
    torch.testing.assert_close(offsets[:2].var(dim=(1, 2, 3)), torch.full((2,), 0.01 / 3).double(), rtol=0.15, atol=0)


def test_seeds_count_from_zero_by_default() -> None:
    images = _images(4, 0.2, 0.8)
    assert torch.equal(_start(images), _start(images, range(4)))
    assert not torch.equal(_start(images), _start(images, range(1, 5)))


@every_attack
@pytest.mark.parametrize("frozen", [False, True])
def test_the_model_and_the_global_random_state_stay_as_they_are(attack: AttackName, frozen: bool) -> None:
    model = _Layers().eval()
    model.norm.requires_grad_(not frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    adversarial_images(model, _images(5).float(), _labels(5, 2), attack=Attack(attack), eps=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [not frozen, not frozen, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_attack
def test_a_model_without_parameters_can_be_attacked(attack: AttackName) -> None:
    images = _images(4, 0.3, 0.7)
    moved = adversarial_images(
        _NoParameters(), images, torch.zeros(4, dtype=torch.int64), attack=Attack(attack, steps=1), eps=51
    )
    torch.testing.assert_close(moved.flatten(1)[:, 0], images.flatten(1)[:, 0] - 0.2, rtol=0, atol=1e-14)
    torch.testing.assert_close(moved.flatten(1)[:, 1], images.flatten(1)[:, 1] + 0.2, rtol=0, atol=1e-14)


@every_attack
@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (torch.tensor([0.0, 1.5]), r"float32 in \[0, 1.5\]"),
        (torch.tensor([-0.25, 1.0]), r"float32 in \[-0.25, 1\]"),
        (torch.tensor([0.5, torch.nan]), r"float32 in \[nan, nan\]"),
        (torch.tensor([0, 1], dtype=torch.uint8), r"torch.uint8 in \[0, 1\]"),
    ],
)
def test_images_that_are_no_floats_in_0_1_are_refused(attack: AttackName, images: Tensor, shown: str) -> None:
    with pytest.raises(InputError, match=shown):
        adversarial_images(_NoParameters(), images.reshape(1, 1, 1, 2), torch.tensor([0]), attack=Attack(attack), eps=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 "),
        ({"restarts": 0}, "restarts=0 "),
        ({"step_size": 0.0}, "step_size=0 "),
        ({"step_size": 2.5}, "step_size=2.5 "),
        ({"name": "apgd"}, "unknown attack 'apgd': choose from fgsm, pgd, auto"),
        ({"norm": "l1"}, "unknown norm 'l1': choose from linf, l2"),
    ],
)
def test_attacks_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Attack(**options)


@pytest.mark.parametrize(
    ("eps", "norm", "allowed"),
    [
        (0, "linf", False),
        (-1, "l2", False),
        (255, "linf", True),
        (255.5, "linf", False),
        (255.5, "l2", True),
        (float("inf"), "l2", False),
        (float("nan"), "linf", False),
    ],
)
def test_strengths_that_mean_nothing_are_refused(eps: float, norm: Norm, allowed: bool) -> None:
    if allowed:
        check_eps(eps, norm)
        return
    with pytest.raises(InputError, match=f"eps={eps:g} is out of range"):
        check_eps(eps, norm)
    with pytest.raises(InputError, match=f"eps={eps:g} is out of range"):
        adversarial_images(_linear(2), _images(1), torch.tensor([0]), attack=Attack("fgsm", norm), eps=eps)


@every_attack
def test_no_images_are_refused(attack: AttackName) -> None:
    with pytest.raises(InputError, match="no images to attack"):
        adversarial_images(_linear(2), _images(0), _labels(0, 2), attack=Attack(attack), eps=8)


def test_a_wrong_number_of_seeds_is_refused() -> None:
    with pytest.raises(InputError, match="3 seeds for 2 images"):
        adversarial_images(_linear(2), _images(2), _labels(2, 2), attack=Attack("pgd"), eps=8, seeds=range(3))


@every_attack
def test_in_l2_two_classes_move_along_the_weights(attack: AttackName) -> None:
    # Each step of the radius halves what a random start had across the gradient.
    model, images, labels = _linear(2), _images(20, 0.4, 0.6), _labels(20, 2)
    weight = next(model.parameters()).detach()
    along = (weight[1] - weight[0]) / (weight[1] - weight[0]).norm()
    towards = torch.where(labels[:, None] == 0, along, -along).reshape(images.shape)
    moved = adversarial_images(model, images, labels, attack=Attack(attack, "l2", steps=30, step_size=1), eps=20)
    loss = F.cross_entropy(model(moved), labels, reduction="none")
    best = F.cross_entropy(model(images + 20 / 255 * towards), labels, reduction="none")
    torch.testing.assert_close(loss, best, rtol=1e-12, atol=0)
    assert (moved - images).flatten(1).norm(dim=1).max() <= 20 / 255 * (1 + 1e-5)


def test_a_network_that_is_sure_of_itself_has_a_gradient() -> None:
    # Cross-entropy in float32 has none: 1 − p rounds to 0, and then the other logit's share does too.
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    weight = torch.from_numpy(np.random.default_rng(3).normal(size=(3, 12))).float()
    model[1].load_state_dict({"weight": weight, "bias": torch.tensor([500.0, 0.0, -400.0])})
    images = _images(5, 0.3, 0.7).float()
    moved = adversarial_images(model, images, torch.zeros(5, dtype=torch.int64), attack=Attack("fgsm"), eps=51)
    towards = (weight[1] - weight[0]).sign().reshape(3, 2, 2)
    torch.testing.assert_close(moved, images + 0.2 * towards, rtol=0, atol=1e-6)


def _curved(classes: int) -> nn.Module:
    """A convolutional network with batch norm and bends."""
    with torch.random.fork_rng():
        torch.manual_seed(classes)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 64, classes),
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
        with torch.no_grad():  # so that images lie on all sides
            model[-1].bias -= model.eval()(_textures(40)).mean(0)
    return model


def _textures(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(0.1, 0.9, (n, 3, 8, 8))).float()


@both_norms
def test_pgd_is_torchattacks_own_from_the_same_start(norm: Norm) -> None:
    model, images = _curved(3), _textures(12)
    labels = model(images).argmax(1)
    eps, steps = (2 / 255, 7) if norm == "linf" else (40 / 255, 7)
    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    theirs = []
    with torch.random.fork_rng():
        for i in range(len(images)):  # theirs draws for the whole batch at once, so one image at a time
            torch.manual_seed(100 + i)
            theirs.append(
                kind(model, eps=eps, alpha=2.5 * eps / steps, steps=steps)(images[i : i + 1], labels[i : i + 1])
            )
    ours = adversarial_images(
        model, images, labels, attack=Attack("pgd", norm, steps=steps), eps=255 * eps, seeds=range(100, 112)
    )
    their_logits, our_logits = model(torch.cat(theirs)).detach(), model(ours).detach()
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-3, atol=1e-3 * float(their_logits.abs().max()))
    assert torch.equal(our_logits.argmax(1), their_logits.argmax(1))
    assert 0 < (our_logits.argmax(1) == labels).sum() < 12


@pytest.mark.parametrize(
    ("norm", "eps", "classes", "stronger"), [("linf", 4, 2, False), ("l2", 40, 2, True), ("linf", 4, 4, True)]
)
def test_auto_is_never_weaker_than_pgd(norm: Norm, eps: float, classes: int, stronger: bool) -> None:
    model, images = _curved(classes), _textures(40)
    labels = model(images).argmax(1)
    standing = {}
    names: tuple[AttackName, ...] = ("pgd", "auto")
    for name in names:
        moved = adversarial_images(model, images, labels, attack=Attack(name, norm, steps=1), eps=eps)
        standing[name] = model(moved).argmax(1) == labels
        order = torch.inf if norm == "linf" else 2
        assert torch.linalg.vector_norm((moved - images).flatten(1), ord=order, dim=1).max() <= eps / 255 * (1 + 1e-4)
    assert not (standing["auto"] & ~standing["pgd"]).any()
    assert 0 < standing["pgd"].sum() < 40
    if stronger:
        assert standing["auto"].sum() < standing["pgd"].sum()


def test_an_attack_that_raises_leaves_everything_as_it_was() -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(12, 2)
            self.norm = nn.BatchNorm1d(12)
            self.calls = 0

        def forward(self, images: Tensor) -> Tensor:
            if images.requires_grad:
                raise RuntimeError("in the middle")
            logits: Tensor = self.head(self.norm(images.flatten(1)))
            return logits

    model = Breaks().eval()
    model.norm.train()
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="in the middle"):
        adversarial_images(model, _images(3).float(), _labels(3, 2), attack=Attack("auto"), eps=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == [False, False, True]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_more_restarts_are_never_weaker() -> None:
    model, images = _curved(3), _textures(30)
    labels = model(images).argmax(1)
    loss = {}
    for restarts in (1, 4):
        moved = adversarial_images(model, images, labels, attack=Attack("pgd", steps=2, restarts=restarts), eps=0.5)
        right = model(moved).argmax(1) == labels
        loss[restarts] = (right, F.cross_entropy(model(moved).detach(), labels, reduction="none"))
    assert not (loss[4][0] & ~loss[1][0]).any()
    same = loss[4][0] == loss[1][0]
    assert (loss[4][1] >= loss[1][1] - 1e-6)[same].all()
    assert (loss[4][1] > loss[1][1] + 1e-6).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stage", torch_attacks.STAGES)
def test_every_part_of_auto_lowers_the_margin(stage: torch_attacks.Stage, norm: Norm) -> None:
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval(), 0.4 + 0.2 * torch.rand(6, 1, 6, 6)
    labels = model(images).argmax(1)

    def margins(of: Tensor) -> Tensor:
        logits = model(of)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        return logits.gather(1, labels[:, None])[:, 0] - others

    radius = 0.3 if norm == "linf" else 3.0
    moved = stage(frozen_copy(model), images, labels, radius, norm, range(6))
    assert (margins(moved) < margins(images)).all()


def test_every_part_of_auto_is_given_the_images_that_stand_with_their_own_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[float, Tensor, Tensor, list[int]]] = []

    def noted(
        network: Frozen, images: Tensor, labels: Tensor, radius: float, norm: Norm, seeds: Sequence[int]
    ) -> Tensor:
        given.append((radius, images, labels, list(seeds)))
        return images

    monkeypatch.setattr(adversarial, "STAGES", (noted,))
    model, images = _linear(2), _images(30)
    labels = model(images).argmax(dim=1)
    assault = adversarial.Assault(Attack("auto", steps=1), model, images, labels, seeds=range(500, 530))
    which = torch.tensor([21, 3, 17, 8, 26, 11, 4])
    radius = torch.tensor([1e-6, 2e-6, 1.0, 1e-6, 2e-6, 1e-6, 1.0], dtype=torch.float64)
    found = assault.at(radius, which)
    assert found.outcomes.correct.tolist() == [True, True, False, True, True, True, False]
    assert {strength: seeds for strength, _, _, seeds in given} == {1e-6: [521, 508, 511], 2e-6: [503, 526]}
    for _, attacked, named, seeds in given:
        places = torch.tensor(seeds) - 500
        assert torch.equal(attacked, images[places])
        assert torch.equal(named, labels[places])


def test_auto_finds_what_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_attacks, "_QUERIES", 300)

    class Stairs(nn.Module):
        """How bright an image is, in steps: noise averages out, and only squares that add up change it."""

        def forward(self, images: Tensor) -> Tensor:
            brightness = ((16 * images).round() / 16).mean((1, 2, 3)) + 0 * images.sum((1, 2, 3))
            return torch.stack([brightness, 0.9 - brightness], 1)

    images, labels = torch.full((3, 1, 8, 8), 0.5), torch.zeros(3, dtype=torch.long)
    found = {}
    for name in ("pgd", "auto"):
        moved = adversarial_images(Stairs().eval(), images, labels, attack=Attack(name), eps=40)
        found[name] = Stairs()(moved).argmax(1).tolist()
    assert found == {"pgd": [0] * 3, "auto": [1] * 3}


def test_auto_on_images_that_are_not_square_is_never_weaker_than_pgd() -> None:
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval(), torch.rand(4, 1, 6, 8)
    labels = model(images).argmax(1)
    correct = {}
    for name in ("pgd", "auto"):
        moved = adversarial_images(model, images, labels, attack=Attack(name, norm="l2"), eps=60)
        correct[name] = model(moved).argmax(1) == labels
    assert not (correct["auto"] & ~correct["pgd"]).any()
