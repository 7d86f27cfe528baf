import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.series import Series, middle_slices
from mgmt_monai.transforms.crop import CropMiddleSlices, CropMiddleSlicesd
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import LoadSeries


@pytest.mark.parametrize(
    ("n_slices", "fraction", "start", "stop"),
    [
        pytest.param(190, 0.2, 76, 114, id="the-papers-20-percent"),
        pytest.param(10, 0.2, 4, 6, id="centred"),
        pytest.param(11, 0.2, 4, 6, id="one-more-left-off-at-the-end"),
        pytest.param(1, 0.2, 0, 1, id="single-slice"),
        pytest.param(2, 0.2, 0, 1, id="at-least-one"),
        pytest.param(5, 0.5, 1, 4, id="half-rounds-up-2.5"),
        pytest.param(7, 0.5, 1, 5, id="half-rounds-up-3.5"),
        pytest.param(50, 0.29, 17, 32, id="half-hidden-by-floating-point"),
        pytest.param(24, 1.0, 0, 24, id="all"),
    ],
)
def test_middle_slices_by_hand(n_slices, fraction, start, stop):
    assert middle_slices(n_slices, fraction) == slice(start, stop)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fraction_outside_range_refused(fraction):
    with pytest.raises(TransformError, match="'fraction' must be above 0 and at most 1"):
        CropMiddleSlicesd("image", fraction)


def test_no_slices_refused():
    with pytest.raises(CohortError, match="at least 1 slice, found 0"):
        middle_slices(0, 0.2)


@pytest.mark.parametrize("value", [np.zeros((4, 4)), "path", None], ids=["2d", "str", "none"])
def test_crop_of_other_input_refused(value):
    with pytest.raises(TransformError, match="expected a Series or a volume"):
        CropMiddleSlices(0.2)(value)


@pytest.mark.parametrize("n_slices", [5, 10, 11])
def test_crop_before_and_after_loading_agree(make_series, n_slices):
    series = make_series(np.random.default_rng(0).integers(0, 999, (n_slices, 6, 5)).astype(np.uint16))
    crop = CropMiddleSlices(0.4)
    before, after = LoadSeries()(crop(series)), crop(LoadSeries()(series))
    np.testing.assert_array_equal(before.numpy(), after.numpy())
    np.testing.assert_allclose(before.affine, after.affine)


def test_crop_reads_only_the_kept_files(make_series):
    series = make_series(np.arange(10 * 4, dtype=np.uint16).reshape(10, 2, 2))
    for index in {*range(10)} - {4, 5}:
        series.files[index].unlink()
    volume = LoadSeries()(CropMiddleSlices(0.2)(series))
    np.testing.assert_array_equal(volume.numpy().ravel(), np.arange(16, 24))


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor], ids=["numpy", "torch", "meta"])
def test_crop_of_volume_keeps_container(container):
    volume = container(torch.arange(5.0)[:, None, None].expand(5, 2, 2).numpy().copy())
    cropped = CropMiddleSlices(0.2)(volume)
    assert type(cropped) is type(volume)
    assert cropped.tolist() == [[[2.0, 2.0], [2.0, 2.0]]]


def test_crop_leaves_the_original_alone():
    volume = MetaTensor(torch.zeros(5, 2, 2), affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))
    cropped = CropMiddleSlicesd("image", 0.2)({"image": volume})["image"]
    assert cropped.affine[2, 3] == 6
    assert volume.affine[2, 3] == 0
    assert volume.shape == (5, 2, 2)


def test_crop_of_missing_key_follows_monai():
    with pytest.raises(KeyError):
        CropMiddleSlicesd("image", 0.2)({})
    assert CropMiddleSlicesd("image", 0.2, allow_missing_keys=True)({"label": 1}) == {"label": 1}


def test_crop_of_reference_twice_counts_within_it():
    series = Series("1", "T1w", (), range(100))
    assert CropMiddleSlices(0.5)(CropMiddleSlices(0.2)(series)).slices == range(45, 55)
