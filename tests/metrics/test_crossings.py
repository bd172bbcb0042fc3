"""Crossings: roots of known functions, in few evaluations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metrics.crossings import crossings


def find(
    margin: Callable[[Tensor, Tensor], Tensor], start: Tensor, largest: float = 1e6
) -> tuple[Tensor, Tensor, list[int]]:
    """Of margins that depend on strength and position."""
    looks = []

    def evaluate(strength: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        looks.append(len(which))
        values = margin(strength, which)
        return values, values > 0

    everything = torch.arange(len(start))
    at_zero = margin(torch.zeros(len(start)).double(), everything)
    low, high = crossings(evaluate, at_zero, start, torch.full((len(start),), largest))
    return low, high, looks


ROOTS = torch.logspace(-5, 5, 21, dtype=torch.float64)


@pytest.mark.parametrize("first", [0.001, 0.3, 1.25, 700.0])
@pytest.mark.parametrize(
    "shape",
    [
        lambda ratio: 1 - ratio,
        lambda ratio: 1 - ratio**3,
        lambda ratio: torch.cos(ratio * torch.pi / 2) * (ratio < 1.5) - 0.2 * (ratio >= 1.5),
        lambda ratio: torch.exp(-40 * ratio) - torch.exp(torch.tensor(-40.0)),
        lambda ratio: (ratio < 1).double() - 0.5,
        lambda ratio: 1 - torch.exp(50 * (ratio - 1)).clamp_max(1e300),
    ],
    ids=["line", "cubic", "cosine", "flat", "step", "steep"],
)
def test_a_root_lies_between_the_two_ends(shape: Callable[[Tensor], Tensor], first: float) -> None:
    low, high, _ = find(lambda strength, which: shape(strength / ROOTS[which]), first * ROOTS, largest=1e12)
    assert (low < ROOTS).all()
    assert (high >= ROOTS * (1 - 1e-12)).all()
    assert (high - low <= 1e-5 * high).all()


def test_a_straight_margin_takes_three_looks() -> None:
    _, _, looks = find(lambda strength, which: ROOTS[which] - strength, 1.25 * ROOTS)
    assert looks == [len(ROOTS)] * 3


def test_what_never_breaks() -> None:
    low, high, looks = find(lambda strength, which: (which + 1.0) * 3 - strength, torch.ones(3), largest=4.0)
    assert (high[0] - low[0], low[0]) == (pytest.approx(0, abs=4e-5), pytest.approx(3, rel=1e-5))
    assert low[1:].tolist() == [4, 4]
    assert high[1:].tolist() == [torch.inf] * 2
    assert looks[:3] == [3, 3, 3]  # 1, 2, 4
    assert set(looks[3:]) == {1}


def test_margins_that_say_nothing_only_cost_looks() -> None:
    def evaluate(strength: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(strength, torch.nan), strength < 0.3

    low, high = crossings(evaluate, torch.tensor([torch.nan]), torch.tensor([1.0]), torch.tensor([1.0]))
    assert low.item() < 0.3 <= high.item() <= low.item() * (1 + 1.1e-5)
