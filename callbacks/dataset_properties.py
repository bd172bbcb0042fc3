"""d_data and K_F of the images that a network is trained on."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from callbacks.probe import Images, Probe, Readings, Subject, readings
from metrics import (
    InputError,
    check_estimator,
    intrinsic_dimension,
    label_sharpness,
    map_shared,
    n_processes,
    neighborhoods,
    require_at_least,
)

_CACHE_VERSION = 2  # raise when a measured value changes its meaning


class DatasetProperties(Probe):
    """Logs intrinsic dimension and label sharpness of the training images, at every epoch.

    They depend on the data alone: they are computed once and kept on disk under a fingerprint of pixels, labels and
    options. Two sets are measured: the training subset (``data/…``) and the reference sample (``data_ref/…``),
    which is the same for every training size and network.

    Logged: ``d_mle``, ``d_twonn``, … (see :func:`metrics.intrinsic_dimension`), ``K_F``, ``K_F_per_pixel``
    (:func:`metrics.label_sharpness`), each with ``_stderr`` where known, and the counts ``n_images``,
    ``n_duplicates`` and ``n_conflicts``.

    Args:
        estimators: Estimators of intrinsic dimension: mle, twonn, geomle, or a class of scikit-dimension.
        k: Neighbours per point of the estimator mle.
        max_samples: Images per sample for label sharpness; null takes all.
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
        trials: int = 10,
        seed: int = 0,
        cache_dir: str | None = None,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(every_n_epochs)
        require_at_least(0, seed=seed)
        require_at_least(1, trials=trials, max_samples=max_samples)
        require_at_least(3, k=k)
        for estimator in estimators:
            check_estimator(estimator)
        self.estimators = tuple(estimators)
        self.k = k
        self.max_samples = max_samples
        self.trials = trials
        self.seed = seed
        self.cache_dir = cache_dir

    def prepare(self, subject: Subject) -> None:
        """Measures before training starts, so that unfit data stops a run early."""
        self.measure(subject)

    def measure(self, subject: Subject) -> Readings:
        """Properties of the training subset and of the reference sample."""
        folder = Path(self.cache_dir or Path(subject.trainer.default_root_dir) / ".properties")
        found: Readings = {}
        for prefix, images in (("data", subject.data.train_set), ("data_ref", subject.data.reference_set)):
            values = self._cached(folder, images)
            found |= {f"{prefix}/{name}": value for name, value in values.items()}
        return found

    def _cached(self, folder: Path, images: Images) -> Readings:
        options = [_CACHE_VERSION, *self.estimators, self.k, self.max_samples, self.trials, self.seed]
        name = "-".join([images.fingerprint, *map(str, options)])
        file = folder / f"{name}.json"
        # The processes share the work, so all of them must do it, or none.
        known = [values for values in map_shared(lambda _: _read(file), range(n_processes())) if values is not None]
        if len(known) == n_processes():
            return known[0]
        values = self._compute(images)
        _write_atomically(file, json.dumps(values))
        return values

    def _compute(self, images: Images) -> Readings:
        found: Readings = {"n_images": len(images)}
        if self.estimators:
            near = neighborhoods(images.images, estimators=self.estimators, k=self.k)
            found["n_duplicates"] = near.n_dropped
        for estimator in self.estimators:
            found |= readings(f"d_{estimator}", intrinsic_dimension(near, estimator=estimator, k=self.k))
        sharpness = label_sharpness(
            images.images, images.labels, max_samples=self.max_samples, trials=self.trials, seed=self.seed
        )
        found |= readings("K_F", sharpness)
        found["K_F_per_pixel"] = sharpness.per_pixel
        found["n_conflicts"] = sharpness.n_conflicts
        return {name: float(value) for name, value in found.items()}


def _read(file: Path) -> Readings | None:
    """What is kept in a file; None where there is none, or something else, so that it is measured anew."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(values, dict) and "K_F" in values and all(isinstance(v, float) for v in values.values())
    return values if whole else None


def _write_atomically(file: Path, text: str) -> None:
    """Several processes may measure the same images: the last rename wins, and no reader sees half a file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:16]}-")
    except OSError as error:
        raise InputError(f"cannot keep measured values in {file.parent}: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(beside, file)
