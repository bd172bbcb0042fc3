"""d_data and K_F of the images that a network is trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from callbacks.kept import measured_once
from callbacks.probe import Images, Probe, Prospect, Readings, Subject, check_neighbors, readings
from metrics import (
    InputError,
    check_estimator,
    intrinsic_dimension,
    label_sharpness,
    neighborhoods,
    require_at_least,
)

_CACHE_VERSION = 4  # raise when a measured value changes its meaning


class DatasetProperties(Probe):
    """Logs intrinsic dimension and label sharpness of the training images, at every epoch.

    They depend on the data alone: they are computed once, however many runs start together, and kept on disk under a
    fingerprint of pixels, labels and options. Two sets are measured: the training subset (``data/…``) and the
    reference sample (``data_ref/…``), which is the same for every training size and network.

    Logged: ``d_mle``, ``d_twonn``, … (see :func:`metrics.intrinsic_dimension`), ``K_F``, ``K_F_per_pixel``
    (:func:`metrics.label_sharpness`), each with ``_stderr`` where known, the images per sample ``K_F_n_images``, and
    the counts ``n_images``, ``n_duplicates`` and ``n_conflicts``.

    Args:
        estimators: Estimators of intrinsic dimension: mle, twonn, geomle, or a class of scikit-dimension.
        k: Neighbours per point of the estimator mle.
        max_samples: Images per sample for label sharpness of the training subset; null takes all.
        reference_samples: The same for the reference sample: as K_F grows with it, one number for all that is to be
            compared.
        trials: Samples over which label sharpness is averaged, where a sample is not the whole set.
        seed: Seed of the samples.
        cache_dir: Where measured values are kept; default .properties in the folder of all runs.
        every_n_epochs: Log after every so many epochs.

    Raises:
        InputError: Too few images for k, or any other condition of the two functions.
    """

    def __init__(
        self,
        estimators: Sequence[str] = ("mle", "twonn"),
        k: int = 20,
        max_samples: int | None = 1000,
        reference_samples: int | None = 500,
        trials: int = 10,
        seed: int = 0,
        cache_dir: str | None = None,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(every_n_epochs)
        require_at_least(0, seed=seed)
        require_at_least(1, trials=trials, max_samples=max_samples, reference_samples=reference_samples)
        require_at_least(3, k=k)
        for estimator in estimators:
            check_estimator(estimator)
        self.estimators = tuple(estimators)
        self.k = k
        self.max_samples = max_samples
        self.reference_samples = reference_samples
        self.trials = trials
        self.seed = seed
        self.cache_dir = cache_dir
        self._found: dict[str, Readings] = {}

    def check(self, prospect: Prospect) -> None:
        """Checks the numbers of images."""
        check_neighbors(self.estimators, self.k, prospect.n_train, "training", "n_train")
        check_neighbors(self.estimators, self.k, prospect.n_reference, "reference", "n_reference")

    def prepare(self, subject: Subject) -> None:
        """Measures before training starts, so that unfit data stops a run early."""
        self.measure(subject)

    def logs(self) -> Mapping[str, object]:
        """Names of both sets' properties."""
        shared = self.estimators, self.k, self.trials, self.seed
        return {"data/": (shared, self.max_samples), "data_ref/": (shared, self.reference_samples)}

    def measure(self, subject: Subject) -> Readings:
        """Properties of the training subset and of the reference sample."""
        folder = Path(self.cache_dir or Path(subject.trainer.default_root_dir) / ".properties")
        found: Readings = {}
        for prefix, images, option, samples in (
            ("data", subject.data.train_set, "max_samples", self.max_samples),
            ("data_ref", subject.data.reference_set, "reference_samples", self.reference_samples),
        ):
            classes = len(set(images.labels.tolist()))
            if samples is not None and samples < classes:
                raise InputError(f"{option}={samples} is less than the {classes} classes: it takes one image of each")
            values = self._cached(folder, images, samples)
            found |= {f"{prefix}/{name}": value for name, value in values.items()}
        return found

    def _cached(self, folder: Path, images: Images, samples: int | None) -> Readings:
        options = [_CACHE_VERSION, *self.estimators, self.k, samples, self.trials, self.seed]
        name = "-".join([images.fingerprint, *map(str, options)])
        if name not in self._found:
            self._found[name] = measured_once(folder / f"{name}.json", lambda: self._compute(images, samples))
        return self._found[name]

    def _compute(self, images: Images, samples: int | None) -> Readings:
        found: Readings = {"n_images": len(images)}
        if self.estimators:
            near = neighborhoods(images.images, estimators=self.estimators, k=self.k)
            found["n_duplicates"] = near.n_dropped
        for estimator in self.estimators:
            found |= readings(f"d_{estimator}", intrinsic_dimension(near, estimator=estimator, k=self.k))
        sharpness = label_sharpness(
            images.images, images.labels, max_samples=samples, trials=self.trials, seed=self.seed
        )
        found |= readings("K_F", sharpness)
        found["K_F_per_pixel"] = sharpness.per_pixel
        found["K_F_n_images"] = sharpness.n_used
        found["n_conflicts"] = sharpness.n_conflicts
        return {name: float(value) for name, value in found.items()}
