"""A volume shown in the same anatomical plane for every patient: axial, coronal or sagittal."""

import math

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from mgmt_monai.cohort.files.background import find_background
from mgmt_monai.cohort.series import middle_slices
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.crop import CropMiddleSlices
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import GEOMETRY_FAULT, LPS_TO_RAS

DISPLAY = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}
"""Where a row's columns, the rows and the slices run to, as radiologists look at each plane: the patient's left on the
right of an axial and a coronal slice, the face on the left of a sagittal one. The slices follow the normal (row
direction x column direction, PS3.3 C.7.6.2.1.1), as acquired ones do."""

PLANES = tuple(DISPLAY)
"""What a volume can be reformatted to."""

SQUARE_TOLERANCE = 0.01
"""Sides of a pixel that differ by less than this share count as equal: 1 % of an image is at most 3 pixels of 300."""

SIDE_LIMIT = 2048
"""No reformatted slice is larger, in pixels: 400 mm in steps of 0.2 mm. Beyond, the spacing in a header is damaged,
and memory would not suffice."""

_PLANE_OF_LETTER = {"L": "sagittal", "R": "sagittal", "P": "coronal", "A": "coronal", "S": "axial", "I": "axial"}


class ReformatPlane(Transform):
    """Show a volume in another plane: permuted and flipped to the closest axes of the body, never rotated.

    A volume that was acquired in the plane keeps its pixels: it is flipped or transposed at most. Any other is brought
    to square pixels, the coarser side interpolated to the finer, and padded to a square with the background; no slice
    is interpolated between others. `DISPLAY` says how each plane lies.

    Args:
        plane: ``axial``, ``coronal`` or ``sagittal``.
        fraction: Share of the new slices to keep around the middle, 0 < fraction <= 1; the others are dropped before
            anything is interpolated.

    Raises:
        TransformError: When ``plane`` is another word or ``fraction`` is outside (0, 1].

    Example:
        >>> affine = torch.tensor([[0, -1.0, 0, 0], [-1, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
        >>> axial = MetaTensor(torch.zeros(20, 64, 48), affine=affine)
        >>> ReformatPlane("coronal")(axial).shape
        torch.Size([64, 100, 100])
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's class attribute)

    def __init__(self, plane: str, fraction: float = 1.0) -> None:
        if plane not in PLANES:
            raise TransformError(f"'plane' must be one of {', '.join(PLANES)} (got {plane!r})")
        self.plane = plane
        self.fraction = CropMiddleSlices(fraction).fraction

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """The volume in the plane, float32, with its own affine.

        Args:
            volume: (slices, rows, columns), any real dtype, with an affine that maps (row, column, slice, 1) to RAS in
                mm, as `LoadSeries` gives; its ``meta["geometry_fault"]`` tells why the affine cannot be relied on.

        Raises:
            TransformError: When the input is no volume with an affine; when another plane is asked of a single slice,
                of a stack with a geometry fault, or of pixels so unequal that a side would exceed `SIDE_LIMIT`.
        """
        if not isinstance(volume, MetaTensor) or volume.ndim != 3 or 0 in volume.shape:
            found = f"shape {tuple(volume.shape)}" if hasattr(volume, "shape") else type(volume).__name__
            raise TransformError(
                f"expected a volume (slices, rows, columns) with an affine to show it {self.plane}, found {found}"
            )
        pixels = volume.detach().cpu().numpy().astype(np.float32, copy=False)
        direction, spacing_mm, origin_mm = _itk_geometry(volume.affine.detach().cpu().numpy())
        acquired = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())
        in_plane = _PLANE_OF_LETTER[acquired[2]] == self.plane
        if not in_plane:
            self._check_stack(volume, _PLANE_OF_LETTER[acquired[2]])

        # Only the slices that stay are copied into ITK's image: axis x, y or z of it is axis 2, 1 or 0 of the array.
        axis = next(i for i in range(3) if _PLANE_OF_LETTER[acquired[i]] == self.plane)
        n_slices = pixels.shape[2 - axis]
        kept = middle_slices(n_slices, self.fraction)
        if acquired[axis] != DISPLAY[self.plane][2]:
            kept = slice(n_slices - kept.stop, n_slices - kept.start)
        image = sitk.GetImageFromArray(np.ascontiguousarray(pixels[(slice(None),) * (2 - axis) + (kept,)]))
        image.SetDirection(direction.ravel().tolist())
        image.SetSpacing(spacing_mm.tolist())
        image.SetOrigin((origin_mm + kept.start * spacing_mm[axis] * direction[:, axis]).tolist())

        image = sitk.DICOMOrient(image, DISPLAY[self.plane])
        if not in_plane:
            air = find_background(sitk.GetArrayViewFromImage(image)).value
            image = _pad_to_square(_square_pixels(image, self.plane), air)
        reformatted = torch.from_numpy(sitk.GetArrayFromImage(image)).to(volume.device)
        return MetaTensor(reformatted, meta={**volume.meta, "affine": torch.from_numpy(_affine(image))})

    def _check_stack(self, volume: MetaTensor, acquired: str) -> None:
        fault = volume.meta.get(GEOMETRY_FAULT) or ("there is a single slice" if volume.shape[0] == 1 else "")
        if fault:
            raise TransformError(
                f"its {acquired} slices cannot be reformatted to {self.plane}: {fault}; "
                "leave the patient out with an exclusion list, or train with --plane native"
            )


class ReformatPlaned(AtKeys):
    """Dictionary twin of :class:`ReformatPlane`."""

    backend = ReformatPlane.backend

    def __init__(
        self, keys: KeysCollection, plane: str, fraction: float = 1.0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, ReformatPlane(plane, fraction), allow_missing_keys)


def _itk_geometry(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Direction (3, 3), spacing (3,) and origin (3,) in LPS and mm, by (column, row, slice), of an affine to RAS."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        to_lps = (LPS_TO_RAS @ affine)[:3, [1, 0, 2, 3]]
        spacing_mm = np.linalg.norm(to_lps[:, :3], axis=0)
        direction = to_lps[:, :3] / spacing_mm
        volume = abs(np.linalg.det(direction)) if np.isfinite(direction).all() else 0.0
    # Of a unit cube, sheared: steps within 6 degrees of the slice have no plane of their own.
    if not np.isfinite(to_lps).all() or not volume > 0.1:
        raise TransformError(
            f"expected an affine with three directions, found {np.round(affine[:3], 3).tolist()}; "
            "export the series again or leave the patient out"
        )
    return direction, spacing_mm, to_lps[:, 3]


def _affine(image: sitk.Image) -> np.ndarray:
    """(row, column, slice, 1) to RAS in mm, (4, 4), float64."""
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())[:, [1, 0, 2]]
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


def _square_pixels(image: sitk.Image, plane: str) -> sitk.Image:
    """Slices whose coarser side is interpolated to the finer, about their centre; the slices stay where they are."""
    size, spacing_mm = list(image.GetSize()), list(image.GetSpacing())
    finer_mm = min(spacing_mm[:2])
    axis = int(spacing_mm[1] > spacing_mm[0])
    ratio = spacing_mm[axis] / finer_mm
    if ratio <= 1 + SQUARE_TOLERANCE:
        return image
    # Rounded down: no pixel's centre then lies outside the outermost old pixels, where there is nothing to read.
    n_pixels = math.floor(size[axis] * ratio + 1e-6) if math.isfinite(ratio) else math.inf
    if n_pixels > SIDE_LIMIT:
        raise TransformError(
            f"expected at most {SIDE_LIMIT} pixels a side in {plane} slices, found {n_pixels:g} "
            f"({size[axis]} of {spacing_mm[axis]:g} mm in steps of {finer_mm:g} mm); if the spacing in the files is "
            "wrong, mend it; else leave the patient out with an exclusion list, or train with --plane native"
        )
    first = [0.0, 0.0, 0.0]
    first[axis] = (size[axis] - 1) / 2 - (n_pixels - 1) / 2 / ratio
    size[axis], spacing_mm[axis] = int(n_pixels), finer_mm
    resample = sitk.ResampleImageFilter()
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetSize(size)
    resample.SetOutputSpacing(spacing_mm)
    resample.SetOutputDirection(image.GetDirection())
    resample.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint(first))
    return resample.Execute(image)


def _pad_to_square(image: sitk.Image, value: float) -> sitk.Image:
    """Both ends of the shorter side padded with a value; an odd pixel goes to the far end."""
    columns, rows, _ = image.GetSize()
    if columns == rows:
        return image
    missing = [max(columns, rows) - columns, max(columns, rows) - rows, 0]
    before = [count // 2 for count in missing]
    after = [count - count // 2 for count in missing]
    return sitk.ConstantPad(image, before, after, value)
