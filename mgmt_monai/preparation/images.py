"""A series as an image that knows where it lies: between our arrays and SimpleITK."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch
from monai.data import MetaTensor

from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.transforms.load import GEOMETRY_FAULT, LPS_TO_RAS

#: What a volume needs to be registered: slices, and their extent in mm.
MIN_SLICES, MIN_EXTENT_MM = 8, 60.0
#: By how much the axes may miss a right angle, as the cosine between them: rounding of headers, no tilted gantry.
_RIGHT_ANGLE = 1e-3


def as_image(volume: MetaTensor) -> sitk.Image:
    """A loaded series as a SimpleITK image, float32.

    Args:
        volume: Shape (slices, rows, columns), with the affine that `LoadSeries` gives.

    Raises:
        PreparationError: Its slices cannot be placed in space, are too few, or cover too little for a registration.
    """
    fault = volume.meta.get(GEOMETRY_FAULT, "")
    if fault:
        raise PreparationError(f"expected slices whose place is known, found {fault}")
    if volume.shape[0] < MIN_SLICES:
        raise PreparationError(f"expected at least {MIN_SLICES} slices, found {volume.shape[0]}")
    affine = LPS_TO_RAS @ volume.affine.numpy()
    axes = affine[:3, [1, 0, 2]]  # along columns, rows, slices, as SimpleITK counts
    spacing = np.linalg.norm(axes, axis=0)
    extent = spacing * np.array(volume.shape)[::-1]
    if extent.min() < MIN_EXTENT_MM:
        raise PreparationError(
            f"expected a volume of at least {MIN_EXTENT_MM:g} mm a side, found {extent.min():.0f} mm"
        )
    directions = axes / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > _RIGHT_ANGLE:
        raise PreparationError("expected axes at right angles, found a tilted gantry or a sheared file")
    image = sitk.GetImageFromArray(volume.numpy())
    image.SetSpacing([float(value) for value in spacing])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    nearest, _, turned = np.linalg.svd(directions)  # the closest axes that are exactly at right angles
    image.SetDirection((nearest @ turned).ravel().tolist())
    return image


def as_volume(image: sitk.Image) -> MetaTensor:
    """An image as `LoadSeries` would give it: shape (slices, rows, columns), float32, with its affine."""
    affine = np.eye(4)
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = axes[:, [1, 0, 2]], image.GetOrigin()
    pixels = torch.from_numpy(sitk.GetArrayFromImage(image).astype(np.float32))
    return MetaTensor(pixels, affine=torch.from_numpy(LPS_TO_RAS @ affine))


def nifti_bytes(image: sitk.Image) -> bytes:
    """An image as a ``.nii.gz`` file, in its own type and the scanner's coordinates; the same image, the same bytes."""
    affine = as_volume(image).affine.numpy()[:, [1, 0, 2, 3]]
    nifti = nib.Nifti1Image(sitk.GetArrayViewFromImage(image).T, affine)
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    nifti.header.set_xyzt_units("mm")
    return gzip.compress(nifti.to_bytes(), compresslevel=6, mtime=0)
