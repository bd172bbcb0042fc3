"""Minimal radius: how small a change of an image fools a network."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metrics.attacks import Attack, Norm, check_batch
from metrics.crossings import crossings
from metrics.errors import InputError
from metrics.frozen import Frozen, frozen_copy
from metrics.gradient_attacks import ascent, fgsm, pgd, starts
from metrics.outcomes import outcomes

_RIVALS = 9  # other classes whose boundaries are looked at, the likeliest ones
_BEYOND = 1.25  # a step slightly beyond the boundary, where it is expected, brackets it
_FLOOR = 2.0**-12  # the least first step, as a part of the largest


def largest_radius(shape: Sequence[int], norm: Norm) -> float:
    """The largest distance between two images with values in [0, 1], in grey levels of 255.

    Args:
        shape: Of one image.
        norm: linf or l2.

    Example:
        >>> largest_radius((1, 4, 4), "linf"), largest_radius((1, 4, 4), "l2")
        (255.0, 1020.0)
    """
    return 255.0 if norm == "linf" else 255 * math.sqrt(math.prod(shape))


def minimal_radius(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    seeds: Sequence[int] | None = None,
    network: Frozen | None = None,
    tolerance: float = 0.05,
) -> Tensor:
    r"""The distance to the nearest image that an attack finds and that the model gets wrong, for every image.

    .. math:: r(x) = 255 \cdot \min \{\lVert x' - x \rVert : x' \in [0, 1]^d \text{ seen, and misclassified} \}

    So it is an upper bound on the distance to the decision boundary, and every value has an image that proves it.
    On a linear model it is that distance, :math:`255\,|\mathrm{margin}| / \lVert w \rVert`, with the 1-norm for L∞ and
    the 2-norm for L2, the least over the other classes (as long as no pixel leaves [0, 1]).

    - ``fgsm`` follows one gradient per image: the strength is doubled from the linear estimate until the model errs,
      then the crossing is closed in on to 1e-5 (relative). With more than two classes it follows the direction towards
      the other class whose boundary is nearest by the linear estimate (of the nine likeliest), too. Where the verdict
      changes several times along a direction, one of the changes from right to wrong is found, not certainly the first.
    - ``pgd`` goes on from there: it attacks with a strength just below the radius found so far, closes in along the
      straight line to what it finds, and so on until it fails. Random starts follow one another, so more restarts never
      give a larger radius, nor does ``pgd`` give a larger one than ``fgsm``.

    Args:
        model: The judge; maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits. In eval mode.
        images: ``(n, c, h, w)``, floating point in [0, 1], on the model's device.
        labels: ``(n,)`` integers.
        attack: ``fgsm`` or ``pgd``.
        seeds: One per image; by default 0, 1, 2, ….
        network: What gradients are taken from; default a frozen copy of the model.
        tolerance: PGD's last strength, at which it fails, is (1 − tolerance) times the radius, rounded down to seven
            binary digits.

    Returns:
        ``(n,)`` float64, in grey levels of 255 in either norm; 0 where the model is wrong without any attack or its
        logits are no numbers; infinite where it is not fooled even at the largest strength (255 in L∞; in L2 255 √d for
        d values).

    Raises:
        InputError: Another attack, tolerance not in (0, 1), images outside [0, 1], or a wrong number of seeds.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Identity())  # logits are the two pixels
        >>> images, labels = torch.tensor([[[[0.4, 0.6]]], [[[0.8, 0.2]]]]), torch.tensor([1, 1])
        >>> minimal_radius(model, images, labels, attack=Attack("fgsm")).round(decimals=2).tolist()
        [25.5, 0.0]
    """
    if attack.name == "auto":
        raise InputError("attack 'auto' has no strength to search over: choose fgsm or pgd")
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance={tolerance:g} is out of range: choose 0 < tolerance < 1")
    seeds = check_batch(images, seeds)
    radii = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    clean = outcomes(model, images, labels)
    standing = clean.correct.nonzero().flatten()
    if len(standing):
        search = _Search(model, network or frozen_copy(model), images[standing], labels[standing], attack)
        search.follow_gradients()
        if attack.name == "pgd":
            own = [seeds[i] for i in standing.tolist()]
            for start in starts(search.images, own, attack.norm, attack.restarts):
                search.descend(start, tolerance)
        radii[standing] = 255 * search.nearest
    return radii


def sharpness_bound(sharpness: float) -> float:
    r"""The L2 radius that no classifier can have at both images of the sharpest pair, in grey levels of 255.

    Let :math:`K_F = 1 / \lVert x - x' \rVert_2` for two images with different labels. A classifier that is right on
    both changes its mind on the straight line between them, so that one of them has a minimal radius of at most

    .. math:: r = \frac{255}{2 K_F}.

    The same holds for the pair of any image and its nearest enemy, with :func:`metrics.image_sharpness` in place of
    label sharpness; and in L∞, where radii are never larger than in L2.

    Args:
        sharpness: K_F, in 1 / (distance in units of the full pixel range).

    Example:
        >>> sharpness_bound(0.1)
        1275.0
    """
    return 255 / (2 * sharpness)


def _rounded(strength: Tensor) -> Tensor:
    """Down to seven binary digits: what the judge rounds differently in another batch is not to reach an attack."""
    mantissa, exponent = torch.frexp(strength)
    return torch.ldexp((mantissa * 2**7).floor(), exponent - 7)


class _Search:
    """The nearest image that fools the model, for each of some images that it has right.

    Attributes:
        nearest: ``(n,)`` float64, distance to the nearest seen so far, in units of pixel values in [0, 1].
    """

    def __init__(self, model: nn.Module, network: Frozen, images: Tensor, labels: Tensor, attack: Attack) -> None:
        self.model, self.network, self.images, self.labels, self.attack = model, network, images, labels, attack
        self.nearest = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
        self.largest = torch.full_like(self.nearest, largest_radius(images.shape[1:], attack.norm) / 255)
        self.towards, self.margin, estimate, self.n_classes = _boundary(network, images, labels, attack.norm)
        # What a network of lower precision believes can be far from what the judge does.
        self.first = torch.minimum(torch.maximum(_BEYOND * estimate, _FLOOR * self.largest), self.largest)

    def judge(self, moved: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Margins of the right class, and whether it wins; takes note of images that fool the model."""
        with torch.no_grad():
            logits = self.model(moved).double()
        label = self.labels[which][:, None]
        margins = (logits.gather(1, label) - logits.scatter(1, label, -torch.inf).amax(1, keepdim=True))[:, 0]
        offset = (moved.double() - self.images[which].double()).flatten(1)
        distance: Tensor = torch.linalg.vector_norm(offset, ord=torch.inf if self.attack.norm == "linf" else 2, dim=1)
        # A gradient that is no number leads to no image.
        fooled = (logits.argmax(1) != label[:, 0]) & distance.isfinite()
        self.nearest[which] = torch.where(fooled, torch.minimum(self.nearest[which], distance), self.nearest[which])
        return margins, ~fooled

    def follow_gradients(self) -> None:
        """Look along the direction towards the nearest boundary, and along FGSM's where that is another one."""
        directions = [self.towards]
        if self.n_classes > 2:
            directions.append(ascent(self.network, self.images, self.labels, self.attack.norm))
        for direction in directions:
            self._along(direction)

    def descend(self, start: Tensor, tolerance: float) -> None:
        """Attack from a start, just below the nearest distance, until that fails."""
        growing = self.first.clone()  # strengths for images that nothing has fooled yet
        which = torch.arange(len(self.images), device=self.images.device)
        while len(which):
            before = self.nearest[which].clone()
            strength = torch.where(before.isfinite(), _rounded((1 - tolerance) * before), growing[which])
            moved = pgd(
                self.network,
                self.images[which],
                self.labels[which],
                strength,
                start=start[which],
                norm=self.attack.norm,
                steps=self.attack.steps,
                step=self.attack.step,
            )
            self._between(moved, which)
            growing[which] = torch.minimum(2 * strength, self.largest[which])
            fooled, unfooled = self.nearest[which] < before, self.nearest[which].isinf()
            which = which[fooled | (unfooled & (strength < self.largest[which]))]

    def _along(self, direction: Tensor) -> None:
        def evaluate(strength: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
            return self.judge(fgsm(self.images[which], direction[which], strength), which)

        crossings(evaluate, self.margin, self.first, torch.minimum(self.largest, self.nearest))

    def _between(self, moved: Tensor, which: Tensor) -> None:
        """Look along the straight lines from images to where an attack has moved them."""
        offset = moved - self.images[which]
        ones = torch.ones_like(self.nearest[which])

        def evaluate(part: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
            return self.judge(fgsm(self.images[which[among]], offset[among], part), which[among])

        crossings(evaluate, self.margin[which], ones, ones)


def _boundary(network: Frozen, images: Tensor, labels: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor, int]:
    """Linear estimates: unit direction to the nearest boundary, least margin, distance; and how many classes."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        logits = network(leaf)
        if logits.shape[1] < 2:
            raise InputError("a network with one class is never wrong: a radius needs two")
        rivals = logits.detach().scatter(1, labels[:, None], -torch.inf)
        rivals = rivals.topk(min(_RIVALS, logits.shape[1] - 1), dim=1).indices
        gaps = (logits.gather(1, labels[:, None]) - logits.gather(1, rivals)).unbind(1)
        gradients = [torch.autograd.grad(gap.sum(), leaf, retain_graph=True)[0] for gap in gaps]
    towards, least = torch.zeros_like(images), torch.full((len(images),), torch.inf, device=images.device).double()
    for gap, gradient in zip(gaps, gradients, strict=True):
        dual: Tensor = torch.linalg.vector_norm(gradient.double().flatten(1), ord=1 if norm == "linf" else 2, dim=1)
        distance = (gap.detach().double() / dual).nan_to_num(torch.inf, torch.inf).clamp_min(0)
        nearer = (distance < least)[:, None, None, None]
        unit = gradient.sign() if norm == "linf" else (gradient.double() / dual[:, None, None, None]).to(gradient)
        towards = torch.where(nearer, -unit, towards)
        least = torch.minimum(least, distance)
    return towards, gaps[0].detach().double(), least, logits.shape[1]
