"""Certified radius: closed forms, and nothing inside that fools the network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional as F

from metrics import Attack, adversarial_images, certified_radius, minimal_radius
from metrics.boxes import Box, UnboundedError
from models import ImageClassifier


def linear(classes: int) -> nn.Sequential:
    rng = np.random.default_rng(classes)
    layer = nn.Linear(12, classes, dtype=torch.float64)
    layer.load_state_dict(
        {
            "weight": torch.from_numpy(rng.normal(size=(classes, 12))),
            "bias": torch.from_numpy(rng.normal(size=classes)),
        }
    )
    return nn.Sequential(nn.Flatten(), layer).eval()


class Residual(nn.Module):
    """One of everything that bounds are known for."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.two = nn.Conv2d(5, 5, (1, 3), padding=(0, 1), groups=5)
        self.drop = nn.Dropout(0.5)
        self.body = nn.Linear(20, 6)
        self.head = nn.Linear(6, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.one((images - 0.5) / 0.25)), inplace=True)
        shortcut = x
        x = torch.tanh(self.two(x)) * 0.5
        x += shortcut
        x = F.max_pool2d(x, 3, stride=2, padding=1) + F.avg_pool2d(x, 2)
        x = F.adaptive_avg_pool2d(x.contiguous(), 2)
        x = self.drop(torch.flatten(x, 1))
        return self.head(F.relu(self.body(x)).reshape(-1, 6))  # type: ignore[no-any-return]  # modules return Any


def residual(classes: int, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Residual(classes)
        nn.init.normal_(model.norm.weight)
        nn.init.normal_(model.norm.running_mean)
        nn.init.uniform_(model.norm.running_var, 0.5, 2)
    return model.double().eval()


def perceptron() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()


def some_images(n: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(low, high, (n, *shape)))


def answers(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).argmax(dim=1)  # type: ignore[no-any-return]  # modules return Any


def check_nothing_inside_fools(model: nn.Module, images: Tensor, certified: Tensor, draws: int) -> None:
    """Random points, corners and attacks, all within the certified radius in L∞ and in [0, 1]."""
    labels = answers(model, images)
    generator = torch.Generator().manual_seed(0)
    reach = certified[:, None, None, None] / 255
    for _ in range(draws):
        offsets = 2 * torch.rand(images.shape, generator=generator, dtype=torch.float64) - 1
        for inside in (offsets, offsets.sign()):
            assert torch.equal(answers(model, (images + inside * reach).clamp(0, 1)), labels)
    for i, radius in enumerate(certified.clamp_max(255).tolist()):
        for norm in ("linf", "l2"):
            attack = Attack("pgd", norm, steps=20, restarts=2)
            moved = adversarial_images(model, images[[i]], labels[[i]], attack=attack, eps=radius)
            assert answers(model, moved) == labels[i]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_on_a_linear_model_it_is_the_minimal_radius(classes: int) -> None:
    model, images = linear(classes), some_images(40, 3, 2, 2)
    labels = answers(model, images)
    weight, bias = (parameter.detach().numpy() for parameter in model[1].parameters())
    expected = []
    for x, y in zip(images.flatten(1).numpy(), labels.tolist(), strict=True):
        # The margin falls by |w| times how far each pixel can go, ε or to the edge.
        margins = []
        for j in set(range(classes)) - {y}:
            w = weight[y] - weight[j]
            room = np.where(w > 0, x, 1 - x)
            margins.append(lambda e, w=w, m=w @ x + bias[y] - bias[j], room=room: m - np.abs(w) @ np.minimum(e, room))
        least = lambda e, margins=margins: min(margin(e) for margin in margins)  # noqa: E731  # a formula
        expected.append(np.inf if least(1) > 0 else 255 * brentq(least, 0, 1, xtol=1e-14))
    certified = certified_radius(model, images, labels)
    assert certified is not None
    np.testing.assert_allclose(certified, expected, rtol=2e-5)
    assert np.isfinite(expected).any()
    exact = minimal_radius(model, images, labels, attack=Attack("fgsm"))
    assert (certified <= exact).all()
    if classes == 2:
        torch.testing.assert_close(certified, exact, rtol=4e-5, atol=0)


@pytest.mark.parametrize("make", [lambda: residual(2), lambda: residual(4, seed=1), perceptron])
def test_nothing_inside_fools_a_small_network(make: Callable[[], nn.Module]) -> None:
    model, images = make(), some_images(20, 3, 4, 4)
    labels = answers(model, images)
    wrong = labels.clone()
    wrong[:3] = (wrong[:3] + 1) % 2
    certified = certified_radius(model, images, labels)
    assert certified is not None
    assert certified.dtype == torch.float64
    assert (certified > 0.01).all()
    check_nothing_inside_fools(model, images, certified, draws=200)
    for norm in ("linf", "l2"):
        radii = minimal_radius(model, images, labels, attack=Attack("pgd", norm, steps=20, restarts=2))
        assert (certified <= radii).all()
    with_errors = certified_radius(model, images, wrong)
    assert with_errors is not None
    assert with_errors[:3].tolist() == [0] * 3
    torch.testing.assert_close(with_errors[3:], certified[3:], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["test_resnet", "resnet18"])
def test_nothing_inside_fools_a_residual_network(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=2, in_chans=1).double().eval()
    images = some_images(2, 1, 32, 32)
    certified = certified_radius(model, images, answers(model, images))
    assert certified is not None
    assert (certified > 0).all()
    check_nothing_inside_fools(model, images, certified, draws=2)
    exact = minimal_radius(model, images, answers(model, images), attack=Attack("fgsm"))
    assert (certified < exact).all()


def test_a_classifier_with_its_normalisation_is_left_as_it_is() -> None:
    model = ImageClassifier("test_resnet", num_classes=2, input_shape=(1, 16, 16), mean=0.3, std=0.2).eval()
    images = some_images(2, 1, 16, 16).float()
    labels = answers(model, images)
    certified = certified_radius(model, images, labels)
    assert certified is not None
    assert (certified > 0).all()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_nothing_can_fool() -> None:
    layer = nn.Linear(4, 2)
    layer.load_state_dict({"weight": torch.full((2, 4), 0.1), "bias": torch.tensor([0.0, 1.0])})
    model = nn.Sequential(nn.Flatten(), layer)
    found = certified_radius(model, torch.rand(2, 1, 2, 2), torch.tensor([1, 0]))
    assert found is not None
    assert found.tolist() == [torch.inf, 0]


@pytest.mark.parametrize(
    "part",
    [
        nn.GELU(),
        nn.LayerNorm(4),
        nn.BatchNorm2d(1, track_running_stats=False),
        nn.MaxPool2d(1, return_indices=True),
        nn.Softmax(dim=1),
    ],
    ids=lambda part: type(part).__name__,
)
def test_without_known_bounds_there_is_no_certificate(part: nn.Module) -> None:
    model = nn.Sequential(part, nn.Flatten(), nn.Linear(16, 2)).eval()
    assert certified_radius(model, torch.rand(2, 1, 4, 4), torch.tensor([0, 1])) is None


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: 1 - x,
        lambda x: x * x,
        lambda x: 1 / x,
        lambda x: x / x,
        lambda x: x.float(),
        lambda x: x.to(torch.float32),
        lambda x: x if x > 0 else -x,
        lambda x: x[:, :2],
        lambda x: F.linear(torch.ones(3).double(), x),
        lambda x: F.dropout(x, 0.5, training=True),
        lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True),
        lambda x: torch.add(x, x, alpha=-1),
        lambda x: x.data,
        lambda x: x.nothing_of_the_kind,
        lambda x: len(x),
    ],
)
def test_what_is_not_known_of_boxes_is_an_error_of_one_type(forward: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        forward(Box(torch.ones(2, 3).double(), torch.ones(2, 3).double()))
    assert issubclass(UnboundedError, TypeError)


WEIGHT = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 3, 3)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.conv2d(x, WEIGHT, WEIGHT[:, 0, 0, 0], stride=2, padding=1),
        lambda x: F.linear(x, WEIGHT[0, 0, :, :].repeat(1, 2)),
        lambda x: F.batch_norm(x, WEIGHT[0, :, 0, 0], WEIGHT[1, :, 0, 0].abs(), WEIGHT[2, :, 0, 0], WEIGHT[3, :, 0, 0]),
        lambda x: F.batch_norm(x, WEIGHT[0, :, 0, 0], WEIGHT[1, :, 0, 0].abs()),
        lambda x: torch.relu(x),
        lambda x: F.relu(x.relu(), inplace=True),
        lambda x: torch.relu_(x + 0),
        lambda x: F.relu6(4 * x),
        lambda x: F.hardtanh(x),
        lambda x: x.tanh(),
        lambda x: x.sigmoid(),
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
        lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: x.mean(dim=1),
        lambda x: x - torch.tanh(x),
        lambda x: (x - 0.5) / torch.tensor([-0.2, 0.5, 3.0])[:, None, None],
        lambda x: torch.ones(3, 6, 6).double() + x * -2,
        lambda x: torch.ones(3, 6, 6).double() - x,
        lambda x: torch.full((6,), -2.0).double() * x,
        lambda x: x.permute(0, 2, 3, 1).reshape(1, 6, -1).flatten(1).view(1, -1, 1).squeeze(2).to(torch.float64),
    ],
)
def test_a_box_holds_what_is_computed_from_all_that_it_holds(function: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(2)
    centre = torch.from_numpy(rng.normal(size=(1, 3, 6, 6)))
    radius = torch.from_numpy(rng.exponential(0.3, size=(1, 3, 6, 6)))
    box = function(Box(centre.clone(), radius.clone()))
    low, high = box.ends
    for _ in range(300):
        offsets = torch.from_numpy(rng.uniform(-1, 1, size=(1, 3, 6, 6)))
        for inside in (offsets, offsets.sign()):
            found = function(centre + inside * radius)
            assert (found >= low - 1e-12).all()
            assert (found <= high + 1e-12).all()
    assert found.shape == box.shape
    # Without a radius it is the function itself.
    exact = function(Box(centre.clone(), torch.zeros_like(centre)))
    torch.testing.assert_close(exact.centre, function(centre.clone()), rtol=1e-12, atol=1e-12)
    assert exact.radius.abs().max() < 1e-12


def test_operations_in_place_change_what_others_see() -> None:
    def forward(x: Any) -> Any:
        y = x.flatten(1)
        torch.relu_(y)
        y += 1
        return x

    centre, radius = torch.tensor([[[-2.0, 1.0]]]).double(), torch.tensor([[[1.0, 2.0]]]).double()
    low, high = forward(Box(centre.clone(), radius)).ends
    assert low.tolist() == forward(centre - radius).tolist() == [[[1, 1]]]
    assert high.tolist() == [[[1, 4]]]


def test_the_last_linear_map_is_taken_together_with_the_margin() -> None:
    # z₀ − z₁ is 1 whatever the pixel is; of two separate boxes it would be anything in −1 … 3.
    box = F.linear(Box(torch.tensor([[0.0]]).double(), torch.tensor([[1.0]]).double()), torch.ones(2, 1).double(),
                   torch.tensor([1.0, 0.0]).double())  # fmt: skip
    assert box.least_margins(torch.tensor([0])).tolist() == [1]  # type: ignore[attr-defined]  # torch says: a tensor
    assert (box + 0).least_margins(torch.tensor([0])).tolist() == [-1]  # type: ignore[attr-defined]  # the same
    torch.relu_(box)
    assert box.least_margins(torch.tensor([0])).tolist() == [-1]  # type: ignore[attr-defined]  # the same
