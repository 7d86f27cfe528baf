import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mgmt_monai.cohort.files.background import Background, find_background
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.intensity import ScaleIntensityRobust, ScaleIntensityRobustd, foreground_range


@pytest.fixture
def brain():
    """A skull-stripped volume: exactly 0 outside, intensities from 100 up inside."""
    rng = np.random.default_rng(1)
    volume = np.zeros((4, 30, 20), dtype=np.float32)
    volume[:, 5:25, 4:16] = 100 + rng.gamma(2, 200, (4, 20, 12))
    return volume


@pytest.mark.parametrize(
    ("lower", "upper"), [(1, 99), (0, 100), (0.5, 99.5), (25, 75), (0, 0.01)], ids=lambda value: str(value)
)
def test_scaling_equals_numpy_percentiles_of_the_brain(brain, lower, upper):
    low, high = np.percentile(brain[brain > 0].astype(np.float64), [lower, upper])
    expected = np.clip((brain - low) / (high - low), 0, 1)
    scaled = ScaleIntensityRobust(lower, upper)(brain)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, expected, atol=2e-6)
    assert not scaled[brain == 0].any()


def test_percentiles_by_hand():
    volume = np.array([0, 0, 0, 10, 30, 20, 50, 40], dtype=np.float32)
    assert foreground_range(volume, 25, 90) == (20, pytest.approx(46))


def test_range_does_not_depend_on_the_share_of_air(brain):
    more_air = np.zeros((4, 90, 80), dtype=np.float32)
    more_air[:, 30:60, 30:50] = brain
    scaled = ScaleIntensityRobust(1, 99)(more_air)[:, 30:60, 30:50]
    np.testing.assert_array_equal(scaled, ScaleIntensityRobust(1, 99)(brain))


def test_one_pair_for_all_slices_keeps_them_comparable(brain):
    brain[1] *= 0.5
    scaled = ScaleIntensityRobust(1, 99)(brain)
    order = np.argsort(brain.ravel(), kind="stable")
    assert np.all(np.diff(scaled.ravel()[order]) >= 0)


def test_negative_background_becomes_zero(brain):
    shifted = ScaleIntensityRobust(1, 99)(brain - 1024)
    np.testing.assert_allclose(shifted, ScaleIntensityRobust(1, 99)(brain), atol=1e-5)


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(np.zeros((2, 3, 4)), id="blank"),
        pytest.param(np.full((2, 3, 4), 7), id="constant"),
        pytest.param(np.full((1, 1, 1), -5.0), id="one-voxel"),
        pytest.param(np.zeros((0, 3, 4)), id="no-slice"),
    ],
)
def test_nothing_to_scale_gives_zeros_silently(volume):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = ScaleIntensityRobust(1, 99)(volume)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, np.zeros(volume.shape))


def test_mask_stays_a_mask():
    mask = np.array([[[0, 5], [5, 0]]])
    assert ScaleIntensityRobust(1, 99)(mask).tolist() == [[[0, 1], [1, 0]]]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([-3.4e38, -1e38, 0.0, 1e38, 3.4e38], id="whole-float32"),
        pytest.param([0.0, 1e-45, 3e-45, 7e-45, 1e-44], id="denormal"),
        pytest.param([0.0, 1.0, 2.0, 3.0, 3e38], id="one-outlier"),
        pytest.param([1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3, 1e6 + 4], id="far-offset"),
    ],
)
def test_extreme_ranges_stay_within_zero_and_one(values):
    volume = np.array(values, dtype=np.float32).reshape(1, 1, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = ScaleIntensityRobust(0, 100)(volume).ravel()
    exact = volume.astype(np.float64).ravel()
    expected = np.clip((exact - exact[1]) / (exact[4] - exact[1]), 0, 1)
    np.testing.assert_allclose(scaled, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
def test_stored_types_scale_alike(dtype):
    values = np.arange(100).reshape(4, 5, 5)
    scaled = ScaleIntensityRobust(0, 100)(values.astype(dtype))
    np.testing.assert_allclose(scaled.ravel(), np.clip((np.arange(100) - 1) / 98, 0, 1), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels_refused(brain, bad):
    brain[0, 0, :2] = bad
    with pytest.raises(TransformError, match="found 2 NaN or infinite of 2400"):
        ScaleIntensityRobust(1, 99)(brain)


def test_input_kept_and_meta_passed_on(brain):
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    volume = MetaTensor(torch.from_numpy(brain.copy()), affine=affine)
    scaled = ScaleIntensityRobustd("image", 1, 99)({"image": volume, "label": 1})["image"]
    assert isinstance(scaled, MetaTensor)
    assert torch.equal(scaled.affine, affine)
    np.testing.assert_array_equal(volume.numpy(), brain)
    np.testing.assert_array_equal(scaled.numpy(), ScaleIntensityRobust(1, 99)(brain))


def test_tensor_in_tensor_out(brain):
    scaled = ScaleIntensityRobust(1, 99)(torch.from_numpy(brain))
    assert type(scaled) is torch.Tensor
    np.testing.assert_array_equal(scaled.numpy(), ScaleIntensityRobust(1, 99)(brain))


def test_other_input_refused():
    with pytest.raises(TransformError, match="expected an array or tensor"):
        ScaleIntensityRobust(1, 99)("volume")


@pytest.mark.parametrize(("lower", "upper"), [(99, 1), (5, 5), (-1, 99), (1, 101), (float("nan"), 99)])
def test_percentiles_out_of_order_refused(lower, upper):
    with pytest.raises(TransformError, match="must be 0 <= lower < upper <= 100"):
        ScaleIntensityRobustd("image", lower, upper)


def one_negative(volume: np.ndarray) -> np.ndarray:
    volume[0, 5, 4] = -0.5
    return volume


def overshoot(volume: np.ndarray) -> np.ndarray:
    volume[0, 4, 4:16:6] = -30
    return volume


def z_scored(volume: np.ndarray) -> np.ndarray:
    brain = volume != 0
    volume[brain] = (volume[brain] - volume[brain].mean()) / volume[brain].std()
    return volume


def padded_below(volume: np.ndarray) -> np.ndarray:
    volume[:, :2] = -1  # of the air
    return volume


def masked(part: tuple[slice, ...], value: float):
    """A form: z-scored, with one low value in a part of what lies outside."""

    def form(volume: np.ndarray) -> np.ndarray:
        outside = volume == 0
        volume = z_scored(volume)
        volume[part] = np.where(outside[part], value, volume[part])
        return volume

    form.__name__ = f"masked {value}"
    return form


masked_corner = masked((slice(None), slice(0, 3), slice(0, 6)), -8)
masked_mostly = masked((slice(None), slice(0, 28)), -8)
masked_wholly = masked((slice(None),), -8)


def masked_inside_air_and_tissue(volume: np.ndarray) -> np.ndarray:
    """The air is no 0 either."""
    outside = volume == 0
    volume = z_scored(volume)
    volume[outside] = volume.min() - 0.1
    volume[:, :3, :6] = -40
    return volume


def nan_outside(volume: np.ndarray) -> np.ndarray:
    volume[volume == 0] = np.nan
    return volume


def z_scored_nan(volume: np.ndarray) -> np.ndarray:
    outside = volume == 0
    volume = z_scored(volume)
    volume[outside] = np.nan
    return volume


@pytest.mark.parametrize(
    "form",
    [
        one_negative, overshoot, padded_below, z_scored, nan_outside, z_scored_nan, masked_corner, masked_mostly,
        masked_wholly, masked_inside_air_and_tissue,
    ],
)  # fmt: skip
def test_same_head_in_another_form_gives_the_same_picture(brain, form):
    expected = ScaleIntensityRobust(1, 99)(brain)
    scaled = ScaleIntensityRobust(1, 99)(form(brain.copy()))
    assert not scaled[brain == 0].any()
    assert scaled[brain != 0].mean() == pytest.approx(expected[brain != 0].mean(), abs=1e-2)
    tissue = brain != 0
    tissue[0, 5, 4] = False
    np.testing.assert_allclose(scaled[tissue], expected[tissue], atol=0.01)


def test_z_scored_head_that_fills_the_slices_has_its_zeros_for_background(brain):
    volume = z_scored(brain.copy())[:, 5:25, 4:16]
    volume[1, 8:10, 4] = 0  # 0.2 % of the volume, then 2 %
    assert find_background(volume).value == volume.min()
    volume[:, 8:10, 4:6] = 0
    assert find_background(volume) == Background(0.0, "zeros", tissue_below=True)


@pytest.mark.parametrize(("deviation", "share", "is_background"), [(3, 0.13, True), (6, 0.065, False)])
def test_zeros_among_integers_around_them_are_background_only_where_they_are_many(deviation, share, is_background):
    volume = np.random.default_rng(0).normal(0, deviation, (4, 30, 20)).round().astype(np.float32)
    assert np.mean(volume == 0) == pytest.approx(share, abs=0.01)
    assert find_background(volume).value == (0 if is_background else volume.min())


@pytest.mark.parametrize("inset", [0, 1, 2])
@pytest.mark.parametrize("form", [lambda volume: volume, one_negative, z_scored], ids=["plain", "negative", "z-scored"])
def test_tightly_cropped_head_gives_the_same_picture_in_every_form(form, inset):
    """A round head in its bounding box, then cut on all sides: air is left in the corners alone, at last 2 %."""
    rows, columns = np.mgrid[-9.5:10, -9.5:10]
    volume = np.where(rows**2 + columns**2 < 101, 100 + np.random.default_rng(1).gamma(2, 200, (4, 20, 20)), 0)
    crop = (slice(None), slice(inset, 20 - inset), slice(inset, 20 - inset))
    head = volume.astype(np.float32)[crop]
    scaled, expected = ScaleIntensityRobust(1, 99)(form(head.copy())), ScaleIntensityRobust(1, 99)(head)
    expected[0, 5, 4] = scaled[0, 5, 4]  # what may be negative
    np.testing.assert_allclose(scaled, expected, atol=0.01)
    assert not scaled[head == 0].any()


def test_mask_within_the_head_is_as_dark_as_air(brain):
    hidden = (slice(None), slice(10, 13), slice(8, 11))
    expected, volume = brain.copy(), z_scored(brain.copy())
    expected[hidden], volume[hidden] = 0, -8
    np.testing.assert_allclose(ScaleIntensityRobust(1, 99)(volume), ScaleIntensityRobust(1, 99)(expected), atol=1e-4)
    assert find_background(volume).mask == -8


def test_noise_of_air_is_no_background(brain):
    """Raw integers whose air is noise around one value, the lowest among it: as ever, the lowest is left out."""
    noise = np.random.default_rng(0).choice([0, 1, 2], size=brain.shape, p=[0.2, 0.6, 0.2])
    volume = np.where(brain > 0, brain, noise).astype(np.float32)
    assert find_background(volume) == Background(0.0)
    assert foreground_range(volume, 1, 99) == pytest.approx(tuple(np.percentile(volume[volume > 0], [1, 99])))
