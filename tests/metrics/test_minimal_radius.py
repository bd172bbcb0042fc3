"""Minimal radius: closed forms, and an image that proves every value."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metrics import (
    Attack,
    AttackName,
    InputError,
    Norm,
    adversarial_images,
    frozen_copy,
    label_sharpness,
    largest_radius,
    minimal_radius,
    sharpness_bound,
)

ORDERS = {"linf": torch.inf, "l2": 2}
DUAL = {"linf": 1, "l2": 2}

both_attacks = pytest.mark.parametrize("attack", ["fgsm", "pgd"])
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(classes: int, seed: int = 0) -> nn.Sequential:
    """Logits that are linear in 48 pixels."""
    rng = np.random.default_rng(seed)
    layer = nn.Linear(48, classes, dtype=torch.float64)
    layer.load_state_dict(
        {"weight": torch.from_numpy(rng.normal(size=(classes, 48))), "bias": torch.from_numpy(rng.normal(size=classes))}
    )
    return nn.Sequential(nn.Flatten(), layer).eval()


def curved(classes: int = 2) -> nn.Sequential:
    """Logits that are not."""
    with torch.random.fork_rng():
        torch.manual_seed(classes)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(6, 6, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, classes),
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.8)
    return model.double().eval()


def some_images(n: int = 40, low: float = 0.3, high: float = 0.7) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(low, high, (n, 3, 4, 4)))


def answers(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(dim=1)


class OfPixel(nn.Module):
    """Two classes, the margin of the first a function of the only pixel."""

    def __init__(self, margin: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, images: Tensor) -> Tensor:
        margin = self.margin(images.flatten(1)[:, :1])
        return torch.cat([margin, torch.zeros_like(margin)], dim=1)


class Witness(nn.Module):
    """A judge that remembers what fooled it."""

    def __init__(self, model: nn.Module, label: int) -> None:
        super().__init__()
        self.model, self.label = model, label
        self.fooling: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        self.fooling.extend(images[logits.argmax(dim=1) != self.label].detach())
        return logits


@both_attacks
@both_norms
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 2e-5), (torch.float32, 1e-4)])
def test_on_a_linear_model_it_is_the_distance_to_the_nearest_boundary(
    classes: int, norm: Norm, attack: AttackName, dtype: torch.dtype, close: float
) -> None:
    model, images = linear(classes), some_images()
    labels = answers(model, images)
    weight, bias = (parameter.detach().numpy() for parameter in model[1].parameters())
    expected = np.full(len(images), np.inf)
    for i, y in enumerate(labels.tolist()):
        for j in set(range(classes)) - {y}:
            w = weight[y] - weight[j]
            margin = w @ images[i].flatten().numpy() + bias[y] - bias[j]
            size = np.linalg.norm(w, ord=DUAL[norm])
            expected[i] = min(expected[i], margin / size)
            step = margin / size * (1 if norm == "linf" else np.abs(w).max() / size)
            assert step < 0.3 or expected[i] < margin / size, "a pixel would leave [0, 1]"
    found = minimal_radius(model.to(dtype), images.to(dtype), labels, attack=Attack(attack, norm))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, 255 * expected, rtol=close)


@both_norms
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_is_nowhere_larger_than_along_the_direction_of_fgsm(norm: Norm, classes: int) -> None:
    model, images = curved(classes), some_images(60)
    labels = answers(model, images)
    along = torch.full((len(images),), torch.inf, dtype=torch.float64)
    strengths = np.linspace(0, 0.6, 301)[1:]
    for strength in reversed(strengths):
        moved = adversarial_images(model, images, labels, attack=Attack("fgsm", norm), eps=255 * strength)
        along[answers(model, moved) != labels] = strength
    assert along.isfinite().sum() > 20
    radii = minimal_radius(model, images, labels, attack=Attack("fgsm", norm)) / 255
    assert (radii <= along + 1e-9).all()


def test_in_l2_a_round_boundary_is_reached_straight() -> None:
    # Inside a ball around the middle: the distance to its surface is its radius less the distance to the middle.
    class Ball(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            inside = 0.8**2 - (images - 0.5).flatten(1).square().sum(1, keepdim=True)
            return torch.cat([inside, torch.zeros_like(inside)], dim=1)

    images = some_images(low=0.45, high=0.55)
    expected = 0.8 - (images - 0.5).flatten(1).norm(dim=1)
    for attack in (Attack("fgsm", "l2"), Attack("pgd", "l2")):
        found = minimal_radius(Ball(), images, torch.zeros(len(images)).long(), attack=attack)
        torch.testing.assert_close(found, 255 * expected, rtol=2e-5, atol=0)


def test_of_several_changes_along_a_direction_one_is_found() -> None:
    # Right below 0.5, wrong up to 0.6, right up to 0.9, wrong above.
    model = OfPixel(lambda x: -(x - 0.5) * (x - 0.6) * (x - 0.9))
    for start in (0.1, 0.3, 0.45):
        found = minimal_radius(
            model, torch.full((1, 1, 1, 1), start).double(), torch.tensor([0]), attack=Attack("fgsm")
        )
        changes = 255 * torch.tensor([0.5 - start, 0.9 - start]).double()
        assert ((found - changes).abs() < 2e-5 * changes).any()


def test_what_the_gradient_leads_away_from_random_starts_can_find() -> None:
    # From 0.5 the margin falls to the left, onto a plain; to the right is a hill, and zero at 0.7.
    model = OfPixel(lambda x: torch.where(x > 0.45, 0.15 - (x - 0.55).abs(), 0.05))
    images, labels = torch.full((20, 1, 1, 1), 0.5).double(), torch.zeros(20).long()
    assert minimal_radius(model, images, labels, attack=Attack("fgsm")).isinf().all()
    one, six = (minimal_radius(model, images, labels, attack=Attack("pgd", restarts=n)).isfinite() for n in (1, 6))
    assert 0 < one.sum() < six.sum()
    found = minimal_radius(model, images, labels, attack=Attack("pgd"))[one]
    torch.testing.assert_close(found, torch.full_like(found, 51), rtol=2e-5, atol=0)


@both_norms
def test_pixels_at_the_edge_shorten_the_way(norm: Norm) -> None:
    # Wrong from x₀ + x₁ = 1.5 on, and x₀ is 1 already: only x₁ can move, by 0.3.
    layer = nn.Linear(2, 2).double()
    layer.load_state_dict({"weight": torch.tensor([[-1.0, -1.0], [0.0, 0.0]]), "bias": torch.tensor([1.5, 0.0])})
    images = torch.tensor([[[[1.0, 0.2]]]]).double()
    for attack in (Attack("fgsm", norm), Attack("pgd", norm)):
        found = minimal_radius(nn.Sequential(nn.Flatten(), layer), images, torch.tensor([0]), attack=attack)
        assert found.tolist() == pytest.approx([255 * 0.3], rel=2e-5)


@both_attacks
@both_norms
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_radius_is_the_distance_of_an_image_that_fools_the_model(
    attack: AttackName, norm: Norm, classes: int, dtype: torch.dtype
) -> None:
    model, images = curved(classes).to(dtype), some_images(12, -0.3, 1.3).clamp(0, 1).to(dtype)
    labels = answers(model, images)
    labels[0] = (labels[0] + 1) % classes
    whole = minimal_radius(model, images, labels, attack=Attack(attack, norm, steps=3, restarts=2))
    assert whole[0] == 0
    assert (whole[1:] > 0).all()
    assert whole.isfinite().sum() > 6
    for i in range(1, 12):
        judge = Witness(model, int(labels[i]))
        found = minimal_radius(
            judge, images[i : i + 1], labels[i : i + 1], attack=Attack(attack, norm, steps=3, restarts=2), seeds=[i],
            network=frozen_copy(model),
        )  # fmt: skip
        assert found.tolist() == pytest.approx([float(whole[i])], rel=2e-5)
        distances = [
            float((seen.double() - images[i].double()).flatten().norm(p=ORDERS[norm])) for seen in judge.fooling
        ]
        assert found.item() == pytest.approx(255 * min(distances, default=torch.inf), rel=1e-12)
        assert all(seen.min() >= 0 and seen.max() <= 1 for seen in judge.fooling)


def test_the_model_judges_whatever_gradients_come_from() -> None:
    model, images = linear(2), some_images()
    labels = answers(model, images)
    other = linear(2, seed=1)
    exact, found = (
        minimal_radius(model, images, labels, attack=Attack("pgd"), network=frozen_copy(network))
        for network in (model, other)
    )
    assert (found >= exact * (1 - 2e-5)).all()
    assert found.isinf().any()  # a direction that has nothing to do with the boundary


@both_norms
@pytest.mark.parametrize("classes", [2, 4])
def test_pgd_and_more_restarts_never_give_a_larger_radius(norm: Norm, classes: int) -> None:
    model, images = curved(classes), some_images(30, 0, 1)
    labels = answers(model, images)
    attacks = [Attack("fgsm", norm), *(Attack("pgd", norm, 3, restarts=restarts) for restarts in (1, 2, 4))]
    radii = [minimal_radius(model, images, labels, attack=attack) for attack in attacks]
    for larger, smaller in itertools.pairwise(radii):
        assert (smaller <= larger).all()
    assert (radii[1] < radii[0]).any()


@both_norms
def test_pgd_fails_just_below_the_radius(norm: Norm) -> None:
    model, images = curved(), some_images(30, 0, 1)
    labels, seeds = answers(model, images), range(7, 37)
    attack = Attack("pgd", norm, steps=4)
    radii = minimal_radius(model, images, labels, attack=attack, seeds=seeds, tolerance=0.1)
    assert radii.isfinite().any()
    for i in radii.isfinite().nonzero().flatten().tolist():
        strength = 0.9 * float(radii[i]) / 255
        digit = 2.0 ** (math.floor(math.log2(strength)) - 6)  # the seventh
        eps = 255 * math.floor(strength / digit) * digit
        below = adversarial_images(model, images[[i]], labels[[i]], attack=attack, eps=eps, seeds=[seeds[i]])
        assert answers(model, below) == labels[i]


@both_attacks
@both_norms
def test_a_radius_does_not_depend_on_batch_or_order(attack: AttackName, norm: Norm) -> None:
    for model in (linear(3), curved(3)):
        images = some_images(12, 0, 1)
        labels = answers(model, images)
        settings: dict[str, Any] = {"attack": Attack(attack, norm, steps=3, restarts=2)}
        whole = minimal_radius(model, images, labels, seeds=range(100, 112), **settings)
        for part in ([4], [8, 0, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
            seeds = [100 + i for i in part]
            alone = minimal_radius(model, images[part], labels[part], seeds=seeds, **settings)
            torch.testing.assert_close(alone, whole[part], rtol=1e-7, atol=0)


@both_attacks
@both_norms
@pytest.mark.parametrize("weight", [0.0, 0.01, torch.nan])
def test_what_cannot_be_fooled_is_infinitely_far(attack: AttackName, norm: Norm, weight: float) -> None:
    model = OfPixel(
        lambda x: 1 - weight * x if weight == weight else 1 - (x * 0).sqrt() * 0
    )  # its gradient is no number
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    found = minimal_radius(model, images, torch.tensor([0, 1, 0]), attack=Attack(attack, norm))
    assert found.tolist() == [torch.inf, 0, torch.inf]


def test_images_that_are_all_wrong_or_none() -> None:
    model, images = linear(2), some_images(5)
    assert minimal_radius(model, images, 1 - answers(model, images), attack=Attack("pgd")).tolist() == [0] * 5


def test_a_model_that_has_diverged_is_right_nowhere() -> None:
    model = OfPixel(lambda x: x * torch.nan)
    assert minimal_radius(model, some_images(2), torch.tensor([0, 1]), attack=Attack("pgd")).tolist() == [0, 0]


def test_nothing_is_left_changed() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, state = some_images(5).float(), torch.get_rng_state()
    pixels = images.clone()
    minimal_radius(model, images, answers(model, images), attack=Attack("pgd"))
    assert torch.equal(images, pixels)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part.training for part in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": Attack("auto")}, "'auto'.* choose fgsm or pgd"),
        ({"tolerance": 0}, "tolerance=0 "),
        ({"tolerance": 1}, "tolerance=1 "),
        ({"tolerance": float("nan")}, "tolerance=nan "),
        ({"seeds": [1]}, "1 seeds for 2 images"),
        ({"images": torch.full((2, 3, 4, 4), 1.5)}, r"float32 in \[1.5, 1.5\]"),
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, "uint8"),
        ({"labels": torch.tensor([0, 2])}, "the model has 2 classes"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"images": some_images(2), "labels": torch.tensor([0, 1]), "attack": Attack("fgsm")} | options
    with pytest.raises(InputError, match=message):
        minimal_radius(linear(2), given.pop("images"), given.pop("labels"), **given)


def test_one_class_has_no_radius() -> None:
    with pytest.raises(InputError, match="one class"):
        minimal_radius(linear(1), some_images(3), torch.zeros(3, dtype=torch.int64), attack=Attack("fgsm"))


def test_the_largest_radius_is_the_diagonal_of_the_cube() -> None:
    corners = torch.zeros(3, 5, 5), torch.full((3, 5, 5), 255.0)
    for norm in ("linf", "l2"):
        expected = float((corners[1] - corners[0]).flatten().norm(p=ORDERS[norm]))
        assert largest_radius((3, 5, 5), norm) == pytest.approx(expected)


def test_no_classifier_exceeds_half_the_distance_of_the_sharpest_pair_at_both_images() -> None:
    images = (255 * some_images(20, 0, 1)).round().to(torch.uint8)
    for seed in range(5):
        model = linear(2, seed)
        pixels = images.double() / 255
        labels = answers(model, pixels)
        sharpness = label_sharpness(images, labels, max_samples=None)
        bound = sharpness_bound(sharpness.value)
        pair = images[list(sharpness.pair)].double()
        assert bound == pytest.approx(float((pair[0] - pair[1]).norm()) / 2)
        for norm in ("linf", "l2"):
            radii = minimal_radius(model, pixels, labels, attack=Attack("fgsm", norm))
            assert radii[list(sharpness.pair)].min() <= bound
    # The plane halfway between two images keeps both as far away as can be.
    layer = nn.Linear(48, 2).double()
    difference = (pair[1] - pair[0]).flatten() / 255
    middle = (pair[1] + pair[0]).flatten() / 510
    layer.load_state_dict(
        {
            "weight": torch.stack([torch.zeros(48).double(), difference]),
            "bias": torch.tensor([0.0, -float(difference @ middle)]),
        }
    )
    radii = minimal_radius(
        nn.Sequential(nn.Flatten(), layer), pair / 255, torch.tensor([0, 1]), attack=Attack("fgsm", "l2")
    )
    assert radii.tolist() == pytest.approx([bound] * 2, rel=2e-5)
