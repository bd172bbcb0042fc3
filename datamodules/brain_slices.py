"""Oblique slices through a real brain, from an installed package."""

from collections.abc import Iterator
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.base import TableDataModule
from datamodules.tables import Sample
from metrics import InputError

_FILE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_COUNT = 3000  # the paper's largest training set and its test set, with room to spare
_SIDE = 128  # pixels
_FIELD_OF_VIEW = 224.0  # mm
_HEIGHTS = (-45.0, 55.0)  # mm above the anterior commissure: cerebellum to crown
_BOUNDARY, _GAP = 5.0, 5.0  # mm: slices closer than the gap to the boundary are ambiguous
_MAX_TILT = 15.0  # degrees
_SEED = 0


class BrainSlices(TableDataModule):
    """Near-axial planes through the ICBM152 T1 brain that nilearn ships. Needs the extra ``demo``.

    The label says whether the plane lies above (1) or below (0) a height of 5 mm. This is ONE brain, averaged
    over 152 people, with derived labels: for demonstration, never for claims about patients. Every slice is its own
    group, since a split by patient is not possible.
    """

    default_table = "data/brain_slices"
    default_domain = "medical"

    def samples(self) -> Iterator[Sample]:
        """Planes at seeded heights and tilts, half of them on either side.

        Raises:
            InputError: nilearn is not installed.
        """
        volume, to_voxel = _brain()
        rng = np.random.default_rng(_SEED)
        for i in range(_COUNT):
            label = i % 2
            low, high = (_BOUNDARY + _GAP, _HEIGHTS[1]) if label else (_HEIGHTS[0], _BOUNDARY - _GAP)
            height = rng.uniform(low, high)
            pitch, roll = rng.uniform(-_MAX_TILT, _MAX_TILT, size=2)
            image = _plane(volume, to_voxel, height, pitch, roll)
            source = f"icbm152 t1 z={height:.2f}mm pitch={pitch:.2f} roll={roll:.2f}"
            yield image, {"label": label, "group": f"slice{i}", "source": source}


def _brain() -> tuple[Tensor, NDArray[np.float64]]:
    """The volume (x, y, z) scaled to 0 … 255, and the map from millimetres to voxels."""
    try:
        from nibabel import Nifti1Image
        from nilearn.datasets import data
    except ImportError:
        raise InputError("BrainSlices needs nilearn: pip install 'intrinsic-scaling[demo]'") from None
    with resources.as_file(resources.files(data) / _FILE) as path:
        image = Nifti1Image.from_filename(path)
        volume = np.asarray(image.dataobj, dtype=np.float64)
    return torch.from_numpy(volume * (255 / volume.max())), np.linalg.inv(image.affine)


def _plane(
    volume: Tensor,
    to_voxel: NDArray[np.float64],
    height: float,
    pitch: float,
    roll: float,
) -> NDArray[np.uint8]:
    """One plane, ``(1, side, side)``: front of the brain up, tilted about the point (0, 0, height)."""
    offsets = (np.arange(_SIDE) + 0.5) * (_FIELD_OF_VIEW / _SIDE) - _FIELD_OF_VIEW / 2
    x, y = np.meshgrid(offsets, -offsets)
    z = height + np.tan(np.radians(roll)) * x + np.tan(np.radians(pitch)) * y
    # The brain's middle lies behind the anterior commissure, the origin.
    points = np.stack([x, y - 18.0, z, np.ones_like(x)], axis=-1) @ to_voxel.T
    # grid_sample wants (z, y, x) order reversed and coordinates scaled to −1 … 1.
    size = np.array(volume.shape)
    grid = torch.from_numpy((2 * points[..., :3] / (size - 1) - 1)[None, None, :, :, ::-1].copy())
    values = F.grid_sample(volume[None, None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return values[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()
