"""The strength at which something ceases to hold, for many things at once and in few evaluations."""

from collections.abc import Callable

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Given strengths and the positions of what they are for: a margin that falls towards 0 as it ceases to hold, and
whether it holds."""

_CLOSE = 1e-5  # between the two ends, relative
_ROUNDS = 60  # of which a third are bisections, enough to come that close


def crossings(evaluate: Evaluate, margin: Tensor, start: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """Close in on the strength at which something that holds at strength 0 ceases to hold.

    The strength is doubled until it breaks; then two secants through the margins and one bisection take turns. Where it
    breaks and holds again in between, one of the crossings is found, not certainly the first. Margins only say where to
    look: a crossing lies between two strengths that were tried.

    Args:
        evaluate: Tells whether it holds.
        margin: ``(n,)``, at strength 0.
        start: ``(n,)``, the first strength to try, above 0.
        largest: ``(n,)``, the last one.

    Returns:
        The strength up to which it was seen to hold and the one at which it was seen to break, each ``(n,)`` float64,
        at most 1e-5 apart (relative); the second is infinite where it holds at the largest strength.

    Example:
        >>> roots = torch.tensor([0.3, 5.0])
        >>> margins = lambda strength, which: (roots[which] - strength, strength < roots[which])
        >>> low, high = crossings(margins, roots, torch.ones(2), torch.full((2,), 2.0))
        >>> bool(low[0] < 0.3 <= high[0]), low[1].item(), high[1].item()
        (True, 2.0, inf)
    """
    strength, largest = torch.minimum(start, largest).double(), largest.double()
    low, at_low = torch.zeros_like(strength), margin.double().clone()
    high, at_high = torch.full_like(strength, torch.inf), torch.full_like(strength, -torch.inf)

    def look(which: Tensor) -> Tensor:
        """Move one end of each to its strength; return those that hold there."""
        values, holds = evaluate(strength[which], which)
        held, broken = which[holds], which[~holds]
        low[held], at_low[held] = strength[held], values[holds].double()
        high[broken], at_high[broken] = strength[broken], values[~holds].double()
        return held

    growing = torch.arange(len(strength), device=strength.device)
    while len(growing):
        held = look(growing)
        growing = held[strength[held] < largest[held]]
        strength[growing] = torch.minimum(2 * strength[growing], largest[growing])
    for turn in range(_ROUNDS):
        which = (high.isfinite() & (high - low > _CLOSE * high)).nonzero().flatten()
        if not len(which):
            break
        a, b = low[which], high[which]
        middle = (a + b) / 2
        if turn % 3 == 2:
            strength[which] = middle
        else:
            f, g = at_low[which].clamp_min(0), at_high[which].clamp_max(0)
            root = a + (b - a) * (f / (f - g))
            root = torch.where(root.isfinite(), root, middle)
            # A little beyond the root, seen from the nearer end: where margins are straight, the other end follows.
            slack = _CLOSE * b / 3
            beyond = torch.where(root < middle, root + slack, root - slack)
            strength[which] = torch.minimum(torch.maximum(beyond, a + slack), b - slack)
        look(which)
    return low, high
