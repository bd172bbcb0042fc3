"""d_repr: how many degrees of freedom a network's representation of the training images has."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from callbacks.probe import Network, Probe, Prospect, Readings, Subject, check_neighbors, readings
from metrics import InputError, check_estimator, intrinsic_dimension, neighborhoods, require_at_least

_PENULTIMATE = "penultimate"
_STAGES = 6  # layers of a usual network's profile


class RepresentationDimension(Probe):
    """Logs the intrinsic dimension of the network's features of the training images.

    ``repr/d_mle`` and ``repr/d_twonn`` are those of the penultimate layer (pooled); every other layer is
    flattened and logged as ``repr/<layer>/d_mle`` with its relative depth as ``repr/<layer>/depth``. The
    estimators are those of d_data, so that the two can be compared; see :func:`metrics.intrinsic_dimension`.

    Args:
        layers: Names of layers, or ``profile`` for the network's stages and its penultimate layer.
        estimators: Estimators of intrinsic dimension: mle, twonn, geomle, or a class of scikit-dimension.
        k: Neighbours per point of the estimator mle.
        max_samples: Use at most so many training images (a seeded choice); default all.
        seed: Seed of that choice.
        batch_size: Images per forward pass.
        every_n_epochs: Measure after every so many epochs; null about twenty times in a run, and after the last.

    Raises:
        InputError: Unknown layer, or too few training images for k.
    """

    def __init__(
        self,
        layers: Sequence[str] | Literal["profile"] = (_PENULTIMATE,),
        estimators: Sequence[str] = ("mle", "twonn"),
        k: int = 20,
        max_samples: int | None = None,
        seed: int = 0,
        batch_size: int = 100,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        if isinstance(layers, str) and layers != "profile":
            layers = (layers,)
        require_at_least(0, seed=seed)
        require_at_least(1, max_samples=max_samples, batch_size=batch_size)
        require_at_least(3, k=k)
        self.layers = layers
        for estimator in estimators:
            check_estimator(estimator)
        self.estimators = tuple(estimators)
        self.k = k
        self.max_samples = max_samples
        self.seed = seed
        self.batch_size = batch_size

    def check(self, prospect: Prospect) -> None:
        """Checks the layers and the number of images."""
        prospect.network.check_layers(self._layers(prospect.network))
        available = min(prospect.n_train, self.max_samples or prospect.n_train)
        option = "n_train" if available == prospect.n_train else "max_samples"
        check_neighbors(self.estimators, self.k, available, "training", option)

    def logs(self) -> Mapping[str, object]:
        """Names of all layers and estimators; those of a profile depend on the network."""
        layers = [_PENULTIMATE] if self.layers == "profile" else self.layers
        deciding = self.k, self.max_samples, self.seed
        return {f"repr/{layer}/d_{estimator}": deciding for layer in layers for estimator in self.estimators}

    def measure(self, subject: Subject) -> Readings:
        """Dimension of every chosen layer, one layer in memory at a time."""
        found: Readings = {}
        for layer in self._layers(subject.network):
            features = self._features(subject, layer)
            prefix = "repr" if layer == _PENULTIMATE else f"repr/{layer}"
            try:
                near = neighborhoods(
                    features, estimators=self.estimators, k=self.k, max_samples=self.max_samples, seed=self.seed
                )
                for estimator in self.estimators:
                    dimension = intrinsic_dimension(near, estimator=estimator, k=self.k, seed=self.seed)
                    found |= readings(f"{prefix}/d_{estimator}", dimension)
            except InputError as error:
                raise InputError(f"features of layer {layer!r}: {error}") from error
            if layer != _PENULTIMATE:
                found[f"{prefix}/depth"] = subject.network.depths[layer]
        return found

    def passes(self, n_train: int, n_evaluation: int) -> float:
        """Every layer is read in a pass of its own."""
        return float(n_train * (_STAGES if self.layers == "profile" else len(self.layers)))

    def _features(self, subject: Subject, layer: str) -> Tensor:
        def compute(images: Tensor, labels: Tensor, positions: list[int]) -> dict[str, Tensor]:
            with torch.no_grad():
                return subject.network.features(images, [layer])

        return subject.map_images(subject.data.train_set, compute, self.batch_size)[layer]

    def _layers(self, network: Network) -> Sequence[str]:
        return network.depth_profile() if self.layers == "profile" else self.layers
