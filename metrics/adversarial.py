"""An attack on a batch of images, at one strength or at many, with the model as the judge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metrics.attacks import Attack, check_batch, check_eps
from metrics.frozen import Frozen, frozen_copy
from metrics.gradient_attacks import ascent, fgsm, pgd, starts
from metrics.outcomes import Outcomes, outcomes
from metrics.torch_attacks import STAGES


@dataclass(frozen=True)
class Attacked:
    """Attacked images and what the model makes of them.

    Attributes:
        images: ``(n, c, h, w)`` in [0, 1].
        outcomes: Loss and verdict for each.
    """

    images: Tensor
    outcomes: Outcomes


class Assault:
    """An attack on a batch of images, whose strength may differ from image to image.

    What does not depend on the strength (FGSM's gradient, random starts) is computed once.

    Args:
        attack: The attack.
        model: The judge: it decides what counts as fooled. Used in the mode it is in, and left as it is.
        images: ``(n, c, h, w)``, floating point in [0, 1], on the model's device.
        labels: ``(n,)`` integers.
        seeds: One per image; by default 0, 1, 2, ….
        network: What gradients are taken from; default a frozen copy of the model.

    Raises:
        InputError: Images that are not floating point in [0, 1], or a wrong number of seeds.
    """

    def __init__(
        self,
        attack: Attack,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        seeds: Sequence[int] | None = None,
        network: Frozen | None = None,
    ) -> None:
        self.attack, self.model, self.images, self.labels = attack, model, images, labels
        self.seeds = check_batch(images, seeds)
        self.network = network or frozen_copy(model)
        if attack.name == "fgsm":
            self._direction = ascent(self.network, images, labels, attack.norm)
        else:
            self._starts = starts(images, self.seeds, attack.norm, attack.restarts)

    def at(self, radius: Tensor, which: Tensor | None = None) -> Attacked:
        """The worst that the attack finds at a strength.

        Args:
            radius: ``(n,)``, or one per image of ``which``, in units of pixel values in [0, 1].
            which: Positions of the images to attack; default all.

        Returns:
            For each image one that fools the model, if there is one, and among these the one of highest loss.
        """
        which = torch.arange(len(self.images), device=self.images.device) if which is None else which
        radius, labels = radius.to(self.images.device), self.labels[which]
        found: Attacked | None = None
        for moved in self._candidates(which, radius):
            attacked = Attacked(moved, outcomes(self.model, moved, labels))
            found = attacked if found is None else _worse(found, attacked)
        assert found is not None
        if self.attack.name == "auto":
            for stage in STAGES:
                standing = found.outcomes.correct.nonzero().flatten()
                if not len(standing):
                    break
                subset = which[standing]
                moved = found.images[standing].clone()
                for strength in torch.unique(radius[standing]).tolist():
                    at = (radius[standing] == strength).nonzero().flatten()
                    seeds = [self.seeds[i] for i in subset[at].tolist()]
                    images, named = self.images[subset[at]], self.labels[subset[at]]
                    moved[at] = stage(self.network, images, named, strength, self.attack.norm, seeds)
                verdicts = outcomes(self.model, moved, labels[standing])
                found = _put(found, standing, _worse(_part(found, standing), Attacked(moved, verdicts)))
        return found

    def _candidates(self, which: Tensor, radius: Tensor) -> Iterator[Tensor]:
        images, labels = self.images[which], self.labels[which]
        if self.attack.name == "fgsm":
            yield fgsm(images, self._direction[which], radius)
            return
        for start in self._starts:
            yield pgd(
                self.network,
                images,
                labels,
                radius,
                start=start[which],
                norm=self.attack.norm,
                steps=self.attack.steps,
                step=self.attack.step,
            )


def adversarial_images(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    eps: float,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    """Perturb images within a ball so that the model's loss rises.

    The model is used as it is: the caller puts it in eval mode. Its parameters, their gradients, its modes and the
    global random state stay as they are.

    Args:
        model: Maps ``(n, c, h, w)`` images in [0, 1] to ``(n, classes)`` logits.
        images: ``(n, c, h, w)``, floating point in [0, 1], on the model's device.
        labels: ``(n,)`` integers.
        attack: The attack.
        eps: Radius ε in grey levels of 255: 0 < ε ≤ 255 in L∞, any positive number in L2.
        seeds: One seed per image for whatever is random, so that it does not depend on batches, order or the number of
            processes; by default 0, 1, 2, ….

    Returns:
        Images of the same shape in [0, 1], no further than ε/255 from the original. Of several candidates (restarts,
        parts of ``auto``) one that fools the model, and among these the one with the highest loss.

    Raises:
        InputError: ε out of range, images outside [0, 1], or a wrong number of seeds.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x = torch.full((1, 1, 2, 2), 0.5)
        >>> moved = adversarial_images(model.eval(), x, torch.tensor([0]), attack=Attack("fgsm"), eps=51)
        >>> bool(((moved - x).abs() <= 0.2 + 1e-6).all())
        True
    """
    check_eps(eps, attack.norm)
    assault = Assault(attack, model, images, labels, seeds=seeds)
    return assault.at(torch.full((len(images),), eps / 255, dtype=torch.float64)).images


def _worse(a: Attacked, b: Attacked) -> Attacked:
    """Image by image, the one that is wrong, or else the one of higher loss."""
    fooled = a.outcomes.correct & ~b.outcomes.correct
    even = a.outcomes.correct == b.outcomes.correct
    take = fooled | (even & (b.outcomes.loss > a.outcomes.loss))
    return Attacked(
        torch.where(take[:, None, None, None], b.images, a.images),
        Outcomes(
            torch.where(take, b.outcomes.loss, a.outcomes.loss),
            a.outcomes.correct & b.outcomes.correct,
        ),
    )


def _part(found: Attacked, which: Tensor) -> Attacked:
    return Attacked(found.images[which], Outcomes(found.outcomes.loss[which], found.outcomes.correct[which]))


def _put(whole: Attacked, which: Tensor, part: Attacked) -> Attacked:
    """The whole, with a part of it replaced."""
    images, loss, correct = whole.images.clone(), whole.outcomes.loss.clone(), whole.outcomes.correct.clone()
    images[which], loss[which], correct[which] = part.images, part.outcomes.loss, part.outcomes.correct
    return Attacked(images, Outcomes(loss, correct))
