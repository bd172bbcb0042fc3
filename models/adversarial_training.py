"""Adversarial training: attacked images in place of those that there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from metrics import Attack, InputError, Norm, check_eps, eval_mode
from metrics.gradient_attacks import pgd, starts

TrainingAttack = Literal["pgd", "fgsm"]

_FGSM_STEP = 1.25  # Wong et al.: with a random start, the step that trains the strongest networks


@dataclass(frozen=True)
class AdversarialTraining:
    r"""Whether, and how, every training batch is attacked anew, so that the network learns from attacked images alone.

    .. math:: \min_\theta \sum_i \max_{\lVert \delta \rVert \le \epsilon} L(f_\theta(x_i + \delta), y_i)

    - ``pgd`` (Madry et al., ICLR 2018): steps uphill from a random start in the ball, projected back after each.
    - ``fgsm`` (Wong et al., ICLR 2020): one step of 1.25 ε from such a start. Without the start, or with longer steps,
      networks may learn to resist this one step and nothing else.

    The attack sees the network in eval mode, as an adversary does (so Zhang et al., ICML 2019, and Pang et al., ICLR
    2021, who find eval mode no worse than train mode): for it no dropout is drawn, and neither running statistics nor
    modes change. The pass that is learned from is in train mode, as without attacks.

    Args:
        attack: pgd or fgsm; null trains on the images as they are.
        eps: Radius ε in grey levels of 255: 0 < ε ≤ 255 in L∞, any positive number in L2.
        norm: linf or l2.
        steps: Steps of PGD; FGSM makes one.
        step_size: Size of a step in units of ε; default 2.5 / steps for PGD and 1.25 for FGSM.

    Raises:
        InputError: An unknown attack, or a number out of range.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x = torch.full((1, 1, 2, 2), 0.5)
        >>> moved = AdversarialTraining("fgsm", eps=51).attacked(network, x, torch.tensor([0]), seeds=[0])
        >>> bool(((moved - x).abs() <= 0.2 + 1e-6).all()), network.training
        (True, True)
    """

    attack: TrainingAttack | None = None
    eps: float = 8.0
    norm: Norm = "linf"
    steps: int = 7
    step_size: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no attack can do."""
        if self.attack not in (None, *(known := get_args(TrainingAttack))):
            raise InputError(f"attack={self.attack!r} cannot be trained on: choose from {', '.join(known)}, or null")
        self._settings()
        check_eps(self.eps, self.norm)

    def attacked(self, network: nn.Module, images: Tensor, labels: Tensor, seeds: Sequence[int]) -> Tensor:
        """What to train on in place of a batch.

        Args:
            network: Maps images to logits; its modes, statistics and gradients are as they were afterwards.
            images: ``(n, c, h, w)``, floating point in [0, 1].
            labels: ``(n,)`` integers.
            seeds: One per image, for its random start; the global random state is left alone.

        Returns:
            Images of the same shape in [0, 1], no further than ε/255 from the original; the images themselves where
            there is no attack.
        """
        if self.attack is None:
            return images
        settings = self._settings()
        (start,) = starts(images, seeds, self.norm, restarts=1)
        radius = torch.full((len(images),), self.eps / 255, device=images.device)
        with eval_mode(network):
            return pgd(
                network, images, labels, radius, start=start, norm=self.norm, steps=settings.steps, step=settings.step
            )

    def _settings(self) -> Attack:
        if self.attack != "fgsm":
            return Attack("pgd", self.norm, self.steps, self.step_size)
        step_size = _FGSM_STEP if self.step_size is None else self.step_size
        return Attack("pgd", self.norm, steps=1, step_size=step_size)  # FGSM from a random start is PGD of one step
