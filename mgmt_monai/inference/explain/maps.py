"""A map as NIfTI in the series' own space, so that a viewer shows it on the scan."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from mgmt_monai.atomic import atomic_file
from mgmt_monai.cohort.files.nifti import reading_codes
from mgmt_monai.cohort.series import Series
from mgmt_monai.inference.explain.grids import Grid


def write_map(path: Path, volume: np.ndarray, series: Series, grid: Grid) -> None:
    """Write a volume ``(slices, rows, columns)``, float32, on the grid of all of a series' slices, as ``.nii.gz``.

    It has the axes, affine and codes of a NIfTI series' file.

    Raises:
        OSError: It cannot be written.
    """
    image = _like_nifti(volume, series.files[0]) if series.is_nifti else _like_dicom(volume, grid)
    with atomic_file(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))  # the same map, the same bytes


def _like_dicom(volume: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    """By (column, row, slice), as ITK reads the series, in the scanner's coordinates."""
    affine = grid.affine[:, [1, 0, 2, 3]]
    image = nib.Nifti1Image(volume.transpose(2, 1, 0).astype(np.float32), affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return image


def _like_nifti(volume: np.ndarray, path: Path) -> nib.Nifti1Image:
    """By the axes of the file, with its affines as they are."""
    source = nib.load(path)
    to_stored = ornt_transform(
        axcodes2ornt(reading_codes(source.affine, source.header.get_dim_info()[2])), io_orientation(source.affine)
    )
    stored = apply_orientation(volume.transpose(2, 1, 0), to_stored)
    image = nib.Nifti1Image(np.ascontiguousarray(stored, dtype=np.float32), source.affine)
    for name in ("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                 "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"):  # fmt: skip
        if name in source.header:
            image.header[name] = source.header[name]
    return image
