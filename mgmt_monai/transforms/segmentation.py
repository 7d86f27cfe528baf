"""A segmentation of the tumour in a NIfTI file, and its labels at the voxels of another volume."""

from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from mgmt_monai.cohort.files.headers import HeaderError
from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.series import Series
from mgmt_monai.machine import check_machine
from mgmt_monai.transforms.errors import SeriesReadError, TransformError
from mgmt_monai.transforms.load import load_nifti


def read_segmentation(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where anything is annotated, bool (rows, columns, slices), and its affine to RAS in mm (4, 4).

    Raises:
        TransformError: No 3D NIfTI file, not the whole numbers of labels, or nothing annotated.
    """
    try:
        labels, affine = load_nifti(Series("", "segmentation", (path,), range(read_nifti(path).n_slices)))
    except (OSError, HeaderError, SeriesReadError) as error:
        check_machine(error, path)
        found = "one that cannot be read" if isinstance(error, SeriesReadError) else error
        found = "no such file" if isinstance(error, FileNotFoundError) else found
        raise TransformError(f"{path}: expected a 3D NIfTI segmentation, found {found}") from error
    if not labels.any() or (labels != np.rint(labels)).any() or labels.min() < 0:
        found = "other numbers" if labels.any() else "nothing annotated"
        raise TransformError(f"{path}: expected the whole numbers of labels, 0 outside the tumour, found {found}")
    return (labels > 0).transpose(1, 2, 0), affine


def nearest_labels(
    labels: np.ndarray, to_ras: np.ndarray, shape: tuple[int, int, int], affine: np.ndarray
) -> np.ndarray:
    """The label at the centre of each voxel of a volume, bool (slices, rows, columns); False beyond the labels' own.

    Args:
        labels: Bool (rows, columns, slices).
        to_ras: Of the labels, (4, 4), as `read_segmentation` returns it.
        shape: Of the volume (slices, rows, columns).
        affine: Of the volume, (row, column, slice, 1) to RAS in mm.
    """
    mapping = (np.linalg.inv(to_ras) @ affine)[:3]
    # Half-way points, as between two voxels of an even ratio of sizes, are moved off the edge by less than rounding.
    mapping[:, 3] += 1e-6
    n_slices, rows, columns = shape
    found = affine_transform(
        labels.astype(np.uint8), mapping, output_shape=(rows, columns, n_slices), order=0, mode="grid-constant"
    )
    return np.moveaxis(found, 2, 0).astype(bool)
