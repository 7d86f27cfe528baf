"""Slices around the tumour, and images without it, beside what is known by hand of a drawn head."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mgmt_monai.transforms import CropTumourSlices, CropTumourSlicesd, HideTumour, HideTumourd
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import GEOMETRY_FAULT

#: (row, column, slice) to RAS of slices 4 mm apart, rows along posterior, columns along left.
AFFINE = np.array([[0, -2.0, 0, 60], [-2.0, 0, 0, 70], [0, 0, 4.0, -30], [0, 0, 0, 1]])


@pytest.fixture
def volume() -> MetaTensor:
    """40 slices of a head of 100 in air of 0; the tumour, of 300, has its centre in slice 30."""
    voxels = np.zeros((40, 60, 50), np.float32)
    voxels[:, 10:50, 10:40] = 100
    voxels[28:33, 20:26, 14:20] = 300
    return MetaTensor(torch.from_numpy(voxels), affine=torch.from_numpy(AFFINE))


def annotated(path: Path, low: list[float], high: list[float], spacing: float = 2.0, label: float = 4) -> Path:
    """A box in RAS mm, on a grid of its own along the axes of the body."""
    origin = np.array([-60.0, -60.0, -60.0])
    axes = [origin[axis] + spacing * np.arange(int(220 / spacing)) for axis in range(3)]
    inside = [(axis >= least) & (axis <= most) for axis, least, most in zip(axes, low, high, strict=True)]
    voxels = np.zeros([len(axis) for axis in axes], np.float32)
    voxels[np.ix_(*inside)] = label
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = origin
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def box(slices: tuple[float, float], rows: tuple[float, float], columns: tuple[float, float]):
    """Corners in RAS mm of a box of (slice, row, column)."""
    corners = np.array([(AFFINE @ [r, c, s, 1])[:3] for s in slices for r in rows for c in columns])
    return corners.min(axis=0).tolist(), corners.max(axis=0).tolist()


@pytest.fixture
def tumour(tmp_path: Path) -> Path:
    return annotated(tmp_path / "seg.nii.gz", *box((27.6, 32.4), (19.6, 25.4), (13.6, 19.4)), spacing=1.0)


@pytest.mark.parametrize(
    ("fraction", "first", "n"),
    [
        (0.2, 26, 8),  # 30 - 3.5 rounds to the even one
        (0.1, 28, 4),
        (0.025, 30, 1),
        (0.7, 12, 28),  # 30 - 13.5 would end beyond the last slice
        (1.0, 0, 40),
    ],
)
def test_slices_lie_around_the_centre_of_mass_and_the_affine_follows(volume, tumour, fraction, first, n):
    kept = CropTumourSlices(fraction)(volume, tumour)

    assert kept.shape == (n, 60, 50)
    assert torch.equal(kept.as_tensor(), volume.as_tensor()[first : first + n])
    np.testing.assert_allclose(kept.affine.numpy() @ [0, 0, 0, 1], AFFINE @ [0, 0, first, 1])


@pytest.mark.parametrize("spacing", [0.7, 2.0, 3.0])
def test_grid_of_the_segmentation_may_be_another(volume, tmp_path, spacing):
    path = annotated(tmp_path / "seg.nii.gz", *box((27, 33), (18, 28), (12, 22)), spacing=spacing)
    assert torch.equal(CropTumourSlices(0.1)(volume, path).as_tensor(), volume.as_tensor()[28:32])


def test_slices_that_run_the_other_way_are_the_same(volume, tumour):
    turned = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 39], [0, 0, 0, 1]])
    other = MetaTensor(volume.as_tensor().flip(0), affine=torch.from_numpy(turned))
    kept = CropTumourSlices(0.125)(other, tumour)
    assert torch.equal(kept.as_tensor().flip(0), CropTumourSlices(0.125)(volume, tumour).as_tensor())


def test_tumour_is_hidden_and_nothing_else_is_changed(volume, tumour):
    before = volume.clone()
    hidden = HideTumour()(volume, tumour)
    assert torch.equal(volume.as_tensor(), before.as_tensor())
    assert torch.equal(hidden.as_tensor()[volume.as_tensor() != 300], volume.as_tensor()[volume.as_tensor() != 300])
    assert set(hidden.as_tensor()[volume.as_tensor() == 300].tolist()) == {100.0}
    few = MetaTensor(volume.as_tensor()[:5], affine=volume.affine)
    assert torch.equal(HideTumour()(few, tumour).as_tensor(), few.as_tensor())


@pytest.mark.parametrize("what", [CropTumourSlices(0.2), HideTumour()])
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"no image"), ".*not gzip"),
        (lambda path: annotated(path, [0, 0, 0], [9, 9, 9], label=0), "nothing annotated"),
        (lambda path: annotated(path, [0, 0, 0], [9, 9, 9], label=0.4), "other numbers"),
        (lambda path: annotated(path, [0, 0, 0], [9, 9, 9], label=-1), "other numbers"),
    ],
)
def test_segmentation_that_is_none_is_told(volume, tmp_path, what, make, found):
    make(tmp_path / "seg.nii.gz")
    with pytest.raises(TransformError, match=rf"seg\.nii\.gz: expected .*found {found}"):
        what(volume, tmp_path / "seg.nii.gz")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(box((27, 33), (0, 5), (0, 5)), id="in the air"),
        pytest.param(box((41, 46), (20, 26), (14, 20)), id="beyond the last slice"),
        pytest.param(box((-8, 1), (20, 26), (14, 20)), id="for the most part before the first"),
    ],
)
def test_segmentation_of_another_space_is_refused(volume, tmp_path, place):
    path = annotated(tmp_path / "seg.nii.gz", *place)
    with pytest.raises(TransformError, match=r"expected at least 50% of what is annotated in the head, found \d+%"):
        CropTumourSlices(0.2)(volume, path)


@pytest.mark.parametrize("twin", [CropTumourSlicesd("image", 0.2), HideTumourd("image")])
def test_twins_name_the_patient(volume, tumour, twin):
    item = {"image": volume, "segmentation": tumour, "patient_id": "P7"}
    assert torch.equal(twin(item)["image"].as_tensor(), twin.transform(volume, tumour).as_tensor())
    with pytest.raises(TransformError, match="patient P7: expected a segmentation of the tumour, found none"):
        twin({"image": volume, "patient_id": "P7"})
    fault = MetaTensor(volume.as_tensor(), affine=volume.affine, meta={GEOMETRY_FAULT: "a slice is missing"})
    with pytest.raises(TransformError, match=r"patient P7: .*have a place in the patient, found a slice is missing"):
        twin({**item, "image": fault})


def test_fraction_is_checked():
    with pytest.raises(TransformError, match="fraction"):
        CropTumourSlices(0)
