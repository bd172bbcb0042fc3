"""Attacks: closed forms on linear models, the ball, and nothing else changed."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from metrics import ATTACKS, AttackName, InputError, adversarial_images, check_attack

both_attacks = pytest.mark.parametrize("attack", ATTACKS)


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
    moved = adversarial_images(model, images, labels, attack="fgsm", eps=eps)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-14)


def test_fgsm_on_two_classes_moves_towards_the_other_weights() -> None:
    model, images = _linear(2), _images(20, 0.3, 0.7)
    weight = next(model.parameters()).detach()
    towards = (weight[1] - weight[0]).sign().reshape(3, 2, 2)
    moved = adversarial_images(model, images, torch.zeros(20, dtype=torch.int64), attack="fgsm", eps=51)
    torch.testing.assert_close(moved, images + 0.2 * towards, rtol=0, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_pgd_on_a_linear_model_reaches_the_corner_that_fgsm_reaches(steps: int) -> None:
    # steps · 2.5 ε / steps exceeds the ball's width 2 ε, whatever the start.
    model, images, labels = _linear(2), _images(20, 0.3, 0.7), _labels(20, 2)
    fgsm = adversarial_images(model, images, labels, attack="fgsm", eps=40)
    pgd = adversarial_images(model, images, labels, attack="pgd", eps=40, steps=steps)
    torch.testing.assert_close(pgd, fgsm, rtol=0, atol=1e-14)
    clean, attacked_fgsm, attacked_pgd = (
        F.cross_entropy(model(x), labels, reduction="none") for x in (images, fgsm, pgd)
    )
    assert (attacked_pgd >= attacked_fgsm - 1e-12).all()
    assert (attacked_fgsm > clean).all()


@both_attacks
@pytest.mark.parametrize("eps", [1, 64, 255])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attacked_images_stay_in_the_ball_and_in_0_1(attack: AttackName, eps: float, dtype: torch.dtype) -> None:
    model, images = _Layers().eval().to(dtype), _images(20).round(decimals=1).to(dtype)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    before = images.clone()
    moved = adversarial_images(model, images, _labels(20, 2), attack=attack, eps=eps, steps=4)
    assert (moved.dtype, moved.shape, moved.requires_grad) == (dtype, images.shape, False)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (moved - images).abs().max() <= eps / 255 + 1e-7
    assert not torch.equal(moved, images)
    assert torch.equal(images, before), "the caller's images were changed"


@both_attacks
def test_the_result_for_an_image_does_not_depend_on_its_batch(attack: AttackName) -> None:
    torch.manual_seed(0)
    curved = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    images, labels = _images(9), _labels(9, 3)
    for model in (_linear(3), curved):
        whole = adversarial_images(model, images, labels, attack=attack, eps=30, steps=3, seeds=range(100, 109))
        for part in ([4], [8, 0, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
            alone = adversarial_images(
                model, images[part], labels[part], attack=attack, eps=30, steps=3, seeds=[100 + i for i in part]
            )
            torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-12)


def _start(images: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
    """Where PGD starts: a model that ignores its input has no gradient to leave by."""
    blind = _linear(2)
    for parameter in blind.parameters():
        nn.init.zeros_(parameter)
    return adversarial_images(blind, images, _labels(len(images), 2), attack="pgd", eps=25.5, seeds=seeds)


def test_pgd_starts_at_a_random_point_of_the_ball_from_each_images_own_seed() -> None:
    images = torch.full((3, 3, 20, 20), 0.5, dtype=torch.float64)
    blind = nn.Sequential(nn.AdaptiveAvgPool2d(2), _linear(2))
    for parameter in blind.parameters():
        nn.init.zeros_(parameter)
    labels = _labels(3, 2)
    offsets = adversarial_images(blind, images, labels, attack="pgd", eps=25.5, seeds=[7, 0, 7]) - 0.5
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


@both_attacks
@pytest.mark.parametrize("frozen", [False, True])
def test_the_model_and_the_global_random_state_stay_as_they_are(attack: AttackName, frozen: bool) -> None:
    model = _Layers().eval()
    model.norm.requires_grad_(not frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    adversarial_images(model, _images(5).float(), _labels(5, 2), attack=attack, eps=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [not frozen, not frozen, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@both_attacks
def test_a_model_without_parameters_can_be_attacked(attack: AttackName) -> None:
    images = _images(4, 0.3, 0.7)
    moved = adversarial_images(
        _NoParameters(), images, torch.zeros(4, dtype=torch.int64), attack=attack, eps=51, steps=1
    )
    torch.testing.assert_close(moved.flatten(1)[:, 0], images.flatten(1)[:, 0] - 0.2, rtol=0, atol=1e-14)
    torch.testing.assert_close(moved.flatten(1)[:, 1], images.flatten(1)[:, 1] + 0.2, rtol=0, atol=1e-14)


@both_attacks
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
        adversarial_images(_NoParameters(), images.reshape(1, 1, 1, 2), torch.tensor([0]), attack=attack, eps=8)


@pytest.mark.parametrize(
    ("attack", "eps", "steps", "message"),
    [
        ("fgsm", 0, 1, "eps=0 "),
        ("pgd", -1, 1, "eps=-1 "),
        ("fgsm", 255.5, 1, "eps=255.5 "),
        ("fgsm", float("nan"), 1, "eps=nan "),
        ("pgd", 8, 0, "steps=0 "),
        ("apgd", 8, 1, "unknown attack 'apgd': choose from fgsm, pgd"),
    ],
)
def test_attacks_that_do_not_exist_are_refused(attack: AttackName, eps: float, steps: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_attack(attack, eps, steps)
    with pytest.raises(InputError, match=message):
        adversarial_images(_linear(2), _images(1), torch.tensor([0]), attack=attack, eps=eps, steps=steps)
