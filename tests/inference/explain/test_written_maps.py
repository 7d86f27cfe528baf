"""A map lies on the scan that it is of."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.explain.grids import Grid
from mgmt_monai.inference.explain.maps import write_map
from mgmt_monai.transforms.load import LoadSeries


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (1, 6, 1), (6, 1, 1)], ids=["isotropic", "coronal", "sagittal"])
def test_series_written_as_its_own_map_is_the_file_again(tmp_path: Path, spacing_mm: tuple[float, ...]) -> None:
    voxels = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([*spacing_mm, 1.0])), tmp_path / "scan.nii.gz")
    n_slices = 6 if len(set(spacing_mm)) == 1 else voxels.shape[int(np.argmax(spacing_mm))]
    series = Series("P", "T1w", (tmp_path / "scan.nii.gz",), range(n_slices))
    volume = LoadSeries()(series)
    grid = Grid(tuple(volume.shape), volume.affine.numpy())
    write_map(tmp_path / "map.nii.gz", volume.numpy(), series, grid)
    laid = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(np.asarray(laid.dataobj), voxels)
    np.testing.assert_array_equal(laid.affine, np.diag([*spacing_mm, 1.0]))
