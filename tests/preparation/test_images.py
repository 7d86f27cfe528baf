"""Between our arrays and SimpleITK, against SimpleITK's own geometry."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import as_image, as_volume
from mgmt_monai.preparation.transforms import PrepareSeriesd
from mgmt_monai.transforms.load import GEOMETRY_FAULT


def volume(shape: tuple[int, int, int] = (20, 50, 40), affine: np.ndarray | None = None, **meta: str) -> MetaTensor:
    pixels = torch.arange(float(np.prod(shape))).reshape(shape)
    if affine is None:  # (row, column, slice) to RAS: rows go back, columns to the left, slices up
        affine = np.array([[0, -2, 0, 30], [-2, 0, 0, 40], [0, 0, 4, -25], [0, 0, 0, 1.0]])
    return MetaTensor(pixels, affine=torch.from_numpy(affine), meta=meta)


def test_a_voxel_lies_where_the_affine_says() -> None:
    loaded = volume()
    image = as_image(loaded)
    row, column, slice_index = 7, 3, 5
    x, y, z = image.TransformIndexToPhysicalPoint((column, row, slice_index))
    # By hand: RAS = (30 - 2*3, 40 - 2*7, -25 + 4*5) = (24, 26, -5), and LPS turns the first two.
    assert (x, y, z) == (-24, -26, -5)
    assert image[column, row, slice_index] == loaded[slice_index, row, column].item()


def test_there_and_back_is_the_same() -> None:
    loaded = volume()
    again = as_volume(as_image(loaded))
    assert torch.equal(again.as_tensor(), loaded.as_tensor())
    assert np.allclose(again.affine, loaded.affine)


SHEARED = np.array([[0, -2, 0, 30], [-2, 0, 1.0, 40], [0, 0, 4, -25], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        (volume((7, 50, 40)), "at least 8 slices, found 7"),
        (volume((10, 50, 40)), "at least 60 mm a side, found 40 mm"),
        (volume(affine=SHEARED), "tilted gantry"),
        (volume(**{GEOMETRY_FAULT: "uneven gaps"}), "uneven gaps"),
    ],
    ids=["few slices", "thin", "sheared", "no place"],
)
def test_what_cannot_be_registered_is_named(loaded: MetaTensor, words: str) -> None:
    with pytest.raises(PreparationError, match=words):
        as_image(loaded)


def test_each_series_of_a_head_that_cannot_be_prepared_is_named() -> None:
    item = {"T1w": volume((7, 50, 40)), "T2w": volume(affine=SHEARED)}
    with pytest.raises(PreparationError, match=r"T1w: expected at least 8 slices, found 7; T2w: expected axes"):
        PrepareSeriesd(("T1w", "T2w"))(item)
    assert set(item) == {"T1w", "T2w"}  # the caller's own stays as it is
