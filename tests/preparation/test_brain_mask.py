"""What counts as a brain, and the brain of several series."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.preparation.brain_mask import brain_mask, check_brain, dice, one_mask
from mgmt_monai.preparation.errors import PreparationError


def ball(radius: float, centre: tuple[float, float, float] = (40, 40, 40), side: int = 80) -> sitk.Image:
    z, y, x = np.indices((side, side, side))
    inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing([2.0, 2.0, 2.0])
    return image


def textured(mask: sitk.Image) -> sitk.Image:
    values = np.random.default_rng(0).uniform(50, 150, sitk.GetArrayFromImage(mask).shape).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(mask)
    return image


def test_a_brain_of_usual_size_passes() -> None:
    mask = ball(34)  # 4/3 pi 68^3 mm3 = 1317 cm3
    check_brain(textured(mask), mask)


@pytest.mark.parametrize(
    ("mask", "words"),
    [(ball(20), "found 26[78] cm3"), (ball(42, side=90), "found 24.. cm3"), (ball(34, (5, 40, 40)), "cuts off")],
    ids=["a piece", "too large", "cut off"],
)
def test_what_no_whole_brain_has_is_refused(mask: sitk.Image, words: str) -> None:
    with pytest.raises(PreparationError, match=words):
        check_brain(textured(mask), mask)


def test_half_a_brain_is_refused_though_it_ends_before_the_edge() -> None:
    # By hand: half a ball is 0.545 as deep as it is wide, sqrt(1/5 - 9/64) / sqrt(1/5), and this one has 1240 cm3.
    array = sitk.GetArrayFromImage(ball(42, (45, 45, 45), 90))
    array[45:] = 0
    half = sitk.GetImageFromArray(array)
    half.SetSpacing([2.0, 2.0, 2.0])
    with pytest.raises(PreparationError, match=r"found 0\.5[34]\d, as where a part"):
        check_brain(textured(half), half)


def test_a_bottle_is_refused() -> None:
    mask = ball(34)
    even = sitk.Cast(mask, sitk.sitkFloat32) * 500
    with pytest.raises(PreparationError, match="even grey"):
        check_brain(even, mask)


def test_one_grey_value_is_no_head() -> None:
    with pytest.raises(PreparationError, match="one grey value"):
        brain_mask(sitk.Image([40, 40, 40], sitk.sitkFloat32))


def test_the_brain_of_several_series_is_where_half_see_it_without_holes_and_in_one_piece() -> None:
    large, small = ball(30), ball(20)
    array = sitk.GetArrayFromImage(large)
    array[40, 40, 40] = 0  # a hole
    array[0, 0, 0] = 1  # a piece apart
    holed = sitk.GetImageFromArray(array)
    holed.CopyInformation(large)
    assert dice(one_mask([holed, holed, small]), large) == 1.0
    assert dice(one_mask([holed, small]), large) == 1.0  # one of two is half
    assert dice(one_mask([large, small, small]), small) == 1.0


def test_dice_of_two_masks_by_hand() -> None:
    one = np.zeros((2, 2, 2), np.uint8)
    other = one.copy()
    one[0], other[0, 0] = 1, 1  # four voxels, two of them shared
    assert dice(sitk.GetImageFromArray(one), sitk.GetImageFromArray(other)) == pytest.approx(2 * 2 / (4 + 2))
