"""How small a change fools the network: the minimal radius of every image."""

from collections.abc import Mapping
from typing import Literal

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from callbacks.attack_probe import AttackProbe, Batch, Part, deciding
from callbacks.probe import Readings, Subject, readings
from metrics import (
    Attack,
    InputError,
    Norm,
    Precision,
    certified_radius,
    label_sharpness,
    largest_radius,
    mean_estimate,
    median_estimate,
    minimal_radius,
    sharpness_bound,
)

_LOOKS = 10  # images judged along a direction, as a rule
_DESCENTS = 2  # attacks beside one from every start, as a rule
_BOUNDS = 40  # what a certificate costs, as a rule: two passes in double precision for each of ten radii


class MinimalRadius(AttackProbe):
    """Logs how small a change of an image fools the network, over a fixed part of the evaluation images.

    In ``test`` the images are test images; elsewhere validation images, or test images where there are none.

    Logged, all in grey levels of 255: the median of :func:`metrics.minimal_radius` as ``robust/radius`` (in L2
    ``robust/radius_l2``), and beside it ``…_mean``, the quartiles ``…_q25`` and ``…_q75``. ``_stderr`` of the median is
    Maritz and Jarrett's, that of the mean the usual one. An image that is wrong without any attack counts with radius
    0, one that is not fooled at all with the largest radius there is (255; in L2 255 √d for d values), and
    ``robust/unfooled`` (``robust/unfooled_l2``) says what share of the images that is.

    ``robust/radius_K_F`` is 255 / (2 K_F) of the images that are attacked: in L2, and so in L∞, no classifier that is
    right on both images of the sharpest pair has a larger radius at both. It is left out where all have one label.

    Args:
        attack: fgsm or pgd. FGSM's radii are too large by a third or so; PGD takes about six times as long.
        norm: linf or l2. K_F is about distances in L2.
        steps: Steps of PGD.
        restarts: Random starts of PGD.
        certify: Log ``robust/radius_certified``, the median of :func:`metrics.certified_radius`, too, with ``_stderr``:
            within it nothing fools the network, in either norm. Deep networks have next to none.
        n_images: How many images are attacked (a seeded choice); null takes all.
        seed: Seed of the choice and of whatever is random in an attack.
        batch_size: Images per forward pass.
        precision: Of the gradients that attacks follow: float32, bf16, or auto, which is bf16 where the hardware
            multiplies it. What counts as fooled is computed in float32 in any case.
        every_n_epochs: Measure after every so many epochs; null about twenty times in a run, and after the last.

    Raises:
        InputError: Unknown attack, a number out of range, or more images than there are.
    """

    def __init__(
        self,
        attack: Literal["fgsm", "pgd"] = "fgsm",
        norm: Norm = "linf",
        steps: int = 10,
        restarts: int = 1,
        certify: bool = False,
        n_images: int | None = 50,
        seed: int = 0,
        batch_size: int = 100,
        precision: Precision = "auto",
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(n_images, seed, batch_size, precision, every_n_epochs)
        if attack not in ("fgsm", "pgd"):
            raise InputError(f"attack {attack!r} cannot be searched for its least strength: choose fgsm or pgd")
        self.attack = Attack(attack, norm, steps, restarts=restarts)
        self.certify = certify

    def logs(self) -> Mapping[str, object]:
        """Names of the radii, of one norm."""
        found: dict[str, object] = {
            f"robust/radius{self._suffix}": (deciding(self.attack), self.precision, self.chosen),
            "robust/radius_K_F": self.chosen,
        }
        return found | ({"robust/radius_certified": self.chosen} if self.certify else {})

    def measure(self, subject: Subject) -> Readings:
        """Radii of the same images, and K_F's bound on them."""
        rows = self.map_batches(subject, self._radii)
        images = subject.evaluation_set
        attacked = Part(images, self._positions(images))
        largest = largest_radius(attacked.images.shape[1:], self.attack.norm)
        name = f"robust/radius{self._suffix}"
        radii = rows["radius"].clamp_max(largest)
        found = readings(name, median_estimate(radii)) | readings(f"{name}_mean", mean_estimate(radii))
        found |= {f"{name}_q{percent}": float(radii.quantile(percent / 100)) for percent in (25, 75)}
        found[f"robust/unfooled{self._suffix}"] = float(rows["radius"].isinf().double().mean())
        if "certified" in rows:
            found |= readings("robust/radius_certified", median_estimate(rows["certified"].clamp_max(255)))
        elif self.certify:
            rank_zero_warn("no radius can be certified: the network has an operation that has no known bounds")
        try:
            sharpness = label_sharpness(attacked.images, attacked.labels, max_samples=None)
        except InputError:  # no two of them that differ in their labels, and not only in these
            return found
        return found | {"robust/radius_K_F": sharpness_bound(sharpness.value)}

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """What it takes as a rule, with two classes: how many images are judged is known only afterwards."""
        each = 3 + _LOOKS
        if self.attack.name == "pgd":
            each += (_DESCENTS + self.attack.restarts) * (2 * self.attack.steps + 1) + _DESCENTS * _LOOKS
        if self.certify:
            each += _BOUNDS
        return float(self.n_attacked(n_evaluation) * each)

    @property
    def _suffix(self) -> str:
        return "" if self.attack.norm == "linf" else f"_{self.attack.norm}"

    def _radii(self, batch: Batch) -> dict[str, Tensor]:
        rows = {
            "radius": minimal_radius(
                batch.model, batch.images, batch.labels, attack=self.attack, seeds=batch.seeds, network=batch.network
            )
        }
        if self.certify and (certified := certified_radius(batch.model, batch.images, batch.labels)) is not None:
            rows["certified"] = certified
        return rows
