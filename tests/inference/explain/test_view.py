"""Slices are seen as radiologists see them, whichever way they were stored."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mgmt_monai.inference.explain.grids import Grid
from mgmt_monai.inference.explain.view import as_stored, radiological

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: What ITK calls the radiological view of each plane: columns to, rows to, slices to.
SEEN = {"axial": ("LPS", "ALPR"), "coronal": ("LIP", "SLIR"), "sagittal": ("PIL", "SPIA")}


@pytest.mark.parametrize("plane", list(SEEN))
@pytest.mark.parametrize("turn", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_radiological_view_is_that_of_itk(plane: str, turn: tuple[int, int], swapped: bool) -> None:
    wanted, letters = SEEN[plane]
    pixels = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    truth = sitk.GetImageFromArray(pixels)
    truth.SetSpacing((1.0, 2.0, 3.0))
    truth.SetDirection(sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(wanted))
    axes = "".join(opposite(letter) if sign < 0 else letter for letter, sign in zip(wanted[:2], turn, strict=True))
    axes = axes[::-1] if swapped else axes
    stored = sitk.DICOMOrient(truth, axes + wanted[2])

    view = radiological(grid_of(stored))

    seen = [view(image) for image in sitk.GetArrayFromImage(stored)]
    np.testing.assert_array_equal(seen, pixels)
    assert view.pixel_mm == (2.0, 1.0)
    assert view.letters == letters


def test_view_as_stored_turns_nothing() -> None:
    image = np.arange(6).reshape(2, 3)
    view = as_stored(Grid((1, 2, 3), np.diag([2.0, 1.0, 1.0, 1.0])))
    np.testing.assert_array_equal(view(image), image)
    assert (view.pixel_mm, view.letters) == ((2.0, 1.0), "")


def opposite(letter: str) -> str:
    return dict(zip("LRPASI", "RLAPIS", strict=True))[letter]


def grid_of(image: sitk.Image) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return Grid(tuple(reversed(image.GetSize())), (LPS_TO_RAS @ affine)[:, [1, 0, 2, 3]])
