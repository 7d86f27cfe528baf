"""Labels land where another library puts them."""

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to

from mgmt_monai.transforms.segmentation import nearest_labels


def test_nearest_labels_are_those_of_nibabel() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, size=(12, 10, 8)).astype(np.uint8)
    to_ras, affine = np.diag([-2.0, -2.1, 2.3, 1]), np.diag([1.3, -1.2, 1.5, 1])
    to_ras[:3, 3], affine[:3, 3] = (9, 8, -7), (-9, 7, -6)
    # All within the outermost centres: nibabel gives nothing beyond them, ours half a voxel more.
    theirs = resample_from_to(nib.Nifti1Image(labels, to_ras), ((11, 13, 9), affine), order=0)
    ours = nearest_labels(labels > 0, to_ras, (9, 11, 13), affine)
    assert ours.any()
    np.testing.assert_array_equal(ours, np.moveaxis(np.asarray(theirs.dataobj), 2, 0) > 0)
