"""Slices of the real brain: labels, balance, and pixels against SciPy's interpolation of the volume."""

import re
import sys
from importlib import resources
from pathlib import Path

import nibabel
import nilearn.datasets.data
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from datamodules import BrainSlices, ImageTable
from metrics import InputError


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageTable:
    """Forty slices instead of thousands."""
    monkeypatch.setattr("datamodules.brain_slices._COUNT", 40)
    BrainSlices(str(tmp_path / "brain")).prepare_data()
    return ImageTable.open(tmp_path / "brain")


def _planes(table: ImageTable) -> list[tuple[float, float, float]]:
    """Height in mm, pitch and roll in degrees, as the manifest tells them."""
    pattern = r"icbm152 t1 z=(\S+)mm pitch=(\S+) roll=(\S+)"
    planes = []
    for source in table.columns["source"]:
        match = re.fullmatch(pattern, source)
        assert match, source
        planes.append((float(match[1]), float(match[2]), float(match[3])))
    return planes


def test_labels_say_on_which_side_of_the_boundary_a_slice_lies(table: ImageTable) -> None:
    labels, heights = table.labels("label"), np.array([height for height, _, _ in _planes(table)])
    assert np.bincount(labels).tolist() == [20, 20]
    assert (heights[labels == 1] >= 10).all()
    assert (heights[labels == 0] <= 0).all()
    assert (np.abs([plane[1:] for plane in _planes(table)]) <= 15).all()


def test_every_slice_is_its_own_group_and_differs_from_all_others(table: ImageTable) -> None:
    assert len(set(table.groups)) == 40
    assert table.images.shape == (40, 1, 128, 128)
    assert len(np.unique(table.images.reshape(40, -1), axis=0)) == 40
    assert (table.images.max(axis=(1, 2, 3)) > 100).all()


def test_slices_are_the_same_every_time(table: ImageTable) -> None:
    again = list(BrainSlices().samples())
    np.testing.assert_array_equal(table.images, [image for image, _ in again])
    assert [str(row["source"]) for _, row in again] == table.columns["source"].tolist()


def test_pixels_are_the_volume_on_that_plane(table: ImageTable) -> None:
    name = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    with resources.as_file(resources.files(nilearn.datasets.data) / name) as path:
        brain = nibabel.load(path)
        volume = np.asarray(brain.dataobj, dtype=np.float64)
    side = np.linspace(-112, 112, 129)[:-1] + 0.875  # centres of 128 pixels across 224 mm
    x, y = np.meshgrid(side, -18 - side)  # right to the right, front up
    for image, (height, pitch, roll) in zip(table.images[:4], _planes(table), strict=False):
        z = height + np.tan(np.radians(roll)) * x + np.tan(np.radians(pitch)) * (y + 18)
        voxels = np.linalg.inv(brain.affine) @ np.stack([x, y, z, np.ones_like(x)]).reshape(4, -1)
        plane = map_coordinates(volume, voxels[:3], order=1, cval=0.0).reshape(128, 128) * 255 / volume.max()
        # The manifest rounds heights and tilts to hundredths.
        assert np.abs(image[0] - plane).mean() < 0.5


def test_the_module_is_medical_and_reads_its_own_table(table: ImageTable) -> None:
    data = BrainSlices(str(table.folder), n_train=12, n_val=4, n_test=8, image_size=32)
    assert (data.domain, data.num_classes, data.input_shape) == ("medical", 2, (1, 32, 32))
    assert data.test_set.labels.bincount().tolist() == [4, 4]


@pytest.mark.parametrize("module", ["nilearn.datasets", "nibabel"])
def test_missing_packages_are_one_line_and_leave_nothing(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"^BrainSlices needs nilearn: pip install 'intrinsic-scaling\[demo\]'$"):
        BrainSlices(str(tmp_path / "brain")).prepare_data()
    assert list(tmp_path.iterdir()) == []
