import json
import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from phantom_runs import BUNDLES
from scipy.spatial import Delaunay

from mgmt_monai.cohort.series import Series
from mgmt_monai.transforms import ScaleIntensityRobust
from mgmt_monai.transforms.conceal import MARGIN, Blank, Blankd, HideHead, HideHeadd, head_mask
from mgmt_monai.transforms.crop import CropMiddleSlices
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import LoadSeries

ROWS, COLUMNS = np.mgrid[:100, :80]
DISTANCE = np.hypot((ROWS - 50) / 35, (COLUMNS - 40) / 28)  # 1 on the head's edge


@pytest.fixture
def head():
    """Noise of the air below 20; scalp of 400, skull of 30, brain of 200 to 260; two slices, the second smaller."""
    rng = np.random.default_rng(0)
    volume = rng.uniform(1, 20, (2, 100, 80)).astype(np.float32)
    for slice_, size in zip(volume, (1.0, 0.8), strict=True):
        for outer, value in ((1.0, 400), (0.9, 30), (0.8, 0)):
            slice_[outer * size > DISTANCE] = value
        brain = 0.8 * size > DISTANCE
        slice_[brain] = rng.uniform(200, 260, np.count_nonzero(brain))
    return volume


def test_nothing_of_the_head_is_left(head):
    hidden = HideHead()(head)
    assert hidden.max() < 20


def test_what_lies_beyond_the_margin_is_left_as_it_was(head):
    hidden = HideHead()(head)
    for index, size in enumerate((1.0, 0.8)):
        far = size + (MARGIN * 100 + 2) / 28 < DISTANCE  # two pixels for the corners of the edge's pixels
        np.testing.assert_array_equal(hidden[index][far], head[index][far])


def test_hidden_voxels_have_the_lowest_value_outside(head):
    head[0, 50, 40] = -500  # a voxel of the head must not say what is left
    hidden = HideHead()(head)
    assert set(np.unique(hidden[head_mask(head)])) == {head[~head_mask(head)].min()}


def test_mark_in_a_corner_is_left_even_where_it_is_all_there_is(head):
    slices = np.concatenate([head, head[:1] * 0 + 5])
    slices[:, 4:10, 4:10] = 400
    hidden = HideHead()(slices)
    assert (hidden[:, 4:10, 4:10] == 400).all()
    assert (hidden[2] == slices[2]).all()


def test_open_ring_hides_the_brain_inside(head):
    """Brain as dark as air, so that only the scalp is above the threshold, and a gap in the scalp."""
    head[:, DISTANCE < 0.9] = 10
    head[:, 60:, 38:42] = 10
    head[0, 50:54, 40:44] = 15  # the tumour
    assert head_mask(head)[0][DISTANCE < 0.9].all()


def test_very_bright_mark_does_not_draw_the_threshold_up(head):
    head[:, 2:6, 2:6] = 60000
    hidden = HideHead()(head)
    assert np.delete(hidden.ravel(), np.flatnonzero(hidden.ravel() == 60000)).max() < 20


def test_hull_equals_scipys_triangulation_of_the_corners():
    rng = np.random.default_rng(1)
    volume = np.zeros((1, 60, 50), np.float32)
    volume[0, 20:40, 15:20] = volume[0, 35:40, 15:35] = 1  # an L
    volume[0, 20:40, 15:35] += rng.uniform(0, 1e-3, (20, 20))
    pixels = np.argwhere(volume[0] > 0.5)
    corners = np.concatenate(
        [pixels + np.array(shift) for shift in ((0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5))]
    )
    inside = Delaunay(corners).find_simplex(np.argwhere(np.ones((60, 50)))).reshape(60, 50) >= 0
    near = np.array([np.hypot(*(np.argwhere(inside) - pixel).T).min() for pixel in np.ndindex(60, 50)]).reshape(60, 50)
    np.testing.assert_array_equal(head_mask(volume)[0], near <= MARGIN * 60)


def test_rest_is_stretched_by_the_scaling_that_follows(head):
    scaled = ScaleIntensityRobust(0.5, 99.5)(HideHead()(head))
    assert scaled.min() == 0 and scaled.max() == 1
    assert not scaled[head_mask(head)].any()
    assert np.median(scaled[~head_mask(head)]) == pytest.approx(0.5, abs=0.05)  # the noise is uniform


@pytest.mark.parametrize("outside", [0.0, -1024.0])
def test_skull_stripped_head_leaves_a_constant_that_scales_to_zeros(outside):
    volume = np.full((3, 40, 40), outside, np.float32)
    volume[:, 10:30, 10:30] = np.random.default_rng(0).uniform(100, 900, (3, 20, 20))
    hidden = HideHead()(volume)
    assert (hidden == outside).all()
    assert not ScaleIntensityRobust(0.5, 99.5)(hidden).any()


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param(np.zeros((2, 3, 4)), id="blank"),
        pytest.param(np.full((2, 3, 4), 7), id="constant"),
        pytest.param(np.full((1, 1, 1), -5.0), id="one-voxel"),
        pytest.param(np.zeros((0, 3, 4)), id="no-slice"),
    ],
)
def test_constant_volume_stays_as_it_is(volume):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hidden = HideHead()(volume)
    np.testing.assert_array_equal(hidden, volume)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0, 1], id="mask"),
        pytest.param([-3.4e38, 3.4e38], id="whole-float32"),
        pytest.param([1e6, 1e6 + 1], id="far-offset"),
        pytest.param([0, 1e-44], id="denormal"),
    ],
)
def test_two_values_are_air_and_head(values):
    volume = np.full((1, 50, 50), values[0], np.float32)
    volume[0, 20:30, 20:30] = values[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hidden = HideHead()(volume)
    np.testing.assert_array_equal(hidden, np.full_like(volume, values[0]))


def test_head_that_fills_the_image_leaves_zeros():
    volume = np.random.default_rng(0).uniform(400, 500, (1, 30, 30)).astype(np.float32)
    volume[0, 15, 15] = 1
    assert not HideHead()(volume).any()


def test_single_voxel_is_hidden_with_its_margin():
    volume = np.zeros((1, 100, 100), np.float32)
    volume[0, 50, 50] = 9
    assert np.count_nonzero(head_mask(volume)) == 81  # the points of a grid within 5 of one


def test_real_slices_are_hidden(shared_data):
    patients = sorted((shared_data / "rsna_t1wce_slices/train").iterdir())[:20]
    assert len(patients) == 20
    for patient in patients:
        volume = LoadSeries()(Series(patient.name, "T1wCE", (sorted(patient.rglob("*.dcm"))[0],), range(1))).numpy()
        hidden = HideHead()(volume)
        tissue = np.median(volume[volume > volume.mean()])
        assert np.mean(volume > tissue / 2) > 0.05, patient.name
        assert np.mean(hidden > tissue / 2) < 1e-3, patient.name


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_voxels_refused(head, bad):
    head[0, 0, :3] = bad
    with pytest.raises(TransformError, match="found 3 NaN or infinite of 16000"):
        HideHead()(head)


@pytest.mark.parametrize("modality", ["T1w", "T1wCE", "T2w", "FLAIR"])
def test_of_what_a_training_sees_of_phantoms_nothing_is_left(phantom_dir, modality):
    for patient in json.loads((phantom_dir / "truth.json").read_text())["patients"]:
        name, numbers = patient["patient_id"], patient["series"][modality]["numbers"]  # in geometric order
        files = tuple(phantom_dir / "train" / name / modality / f"Image-{number}.dcm" for number in numbers)
        kept = CropMiddleSlices(0.2)(Series(name, modality, files, range(len(files))))
        volume = LoadSeries()(kept).numpy()
        assert volume.any()
        assert not HideHead()(volume).any(), name


@pytest.mark.parametrize("transform", [HideHead(), Blank()], ids=lambda transform: type(transform).__name__)
@pytest.mark.parametrize("given", ["volume", np.zeros((3, 4))], ids=["text", "one-slice"])
def test_other_input_refused(transform, given):
    with pytest.raises(TransformError, match=r"expected a volume \(slices, rows, columns\), found"):
        transform(given)


@pytest.mark.parametrize("transform", [HideHeadd("image"), Blankd("image")], ids=lambda made: type(made).__name__)
def test_input_kept_and_meta_passed_on(head, transform):
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    volume = MetaTensor(torch.from_numpy(head.copy()), affine=affine)
    item = transform({"image": volume, "label": 1})
    assert isinstance(item["image"], MetaTensor) and item["label"] == 1
    assert item["image"].dtype == torch.float32
    assert torch.equal(item["image"].affine, affine)
    np.testing.assert_array_equal(volume.numpy(), head)


def test_blank_is_zeros_of_the_same_shape():
    blank = Blank()(torch.full((2, 3, 4), 7, dtype=torch.int16))
    assert type(blank) is torch.Tensor and blank.dtype == torch.float32
    assert blank.shape == (2, 3, 4) and not blank.any()


@pytest.mark.parametrize(
    ("control", "expected"),
    [("none", []), ("background", ["HideHeadd"]), ("blank", ["Blankd"]), ("permuted_labels", [])],
)
@pytest.mark.parametrize("config", ["t1w", "t1wce", "t2w", "flair"])
def test_configs_conceal_before_they_scale(config, control, expected):
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(BUNDLES / f"{config}.json")
    parser.update({"control": control})
    parser.parse()
    for chain in (
        parser.get_parsed_content("train::deterministic_transforms"),
        parser.get_parsed_content("validate::preprocessing").transforms,
    ):
        names = [type(step).__name__ for step in chain]
        assert names == [
            "CropMiddleSlicesd", "LoadSeriesd", *expected, "ScaleIntensityRobustd", "PadToSquared", "Resized",
            "CastToTyped",
        ]  # fmt: skip
