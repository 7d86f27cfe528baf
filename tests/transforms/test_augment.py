"""The one resampling against scipy's affine_transform, built from the definition in pixels."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandScaleIntensity

from mgmt_monai.transforms.augment import (
    RandBrightness,
    RandBrightnessd,
    RandSliceAffine,
    RandSliceAffined,
    SliceAffine,
    resample_slices,
    sampling_matrices,
)
from mgmt_monai.transforms.errors import TransformError

RANGES = {"zoom_min": 0.8, "zoom_max": 1.2, "rotation_deg": 15, "shift": 0.1, "flip_prob": 0.5}


def picture(height=24, width=32, channels=1) -> np.ndarray:
    noise = np.random.default_rng(5).random((channels, height, width))
    return scipy.ndimage.gaussian_filter(noise, (0, 1, 1)).astype(np.float32)


def with_scipy(image, zoom=1.0, rotation_deg=0.0, shift=(0.0, 0.0), flip=False) -> np.ndarray:
    """Flip, zoom, rotate and shift one (rows, columns) image about its centre, rows counted downward."""
    size = np.array(image.shape)
    angle = np.deg2rad(rotation_deg)
    # Counter-clockwise on a screen, in (row, column): a point on the right moves up.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = turn @ np.diag([zoom, zoom]) @ np.diag([1, -1 if flip else 1])
    backward = np.linalg.inv(forward)
    centre = (size - 1) / 2
    offset = centre - backward @ (centre + np.array(shift) * size)
    return scipy.ndimage.affine_transform(image, backward, offset, order=1, mode="grid-constant", cval=0)


DRAWS = [
    pytest.param({}, id="nothing"),
    pytest.param({"zoom": 1.2}, id="enlarged"),
    pytest.param({"zoom": 0.8}, id="shrunk"),
    pytest.param({"rotation_deg": 15}, id="rotated"),
    pytest.param({"rotation_deg": -90}, id="quarter-turn"),
    pytest.param({"shift": (0.1, 0)}, id="shifted-down"),
    pytest.param({"shift": (0, -0.1)}, id="shifted-left"),
    pytest.param({"flip": True}, id="flipped"),
    pytest.param({"zoom": 0.9, "rotation_deg": -11, "shift": (-0.07, 0.04), "flip": True}, id="all"),
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("size", [(32, 32), (24, 32), (33, 20), (1, 1)], ids=str)
def test_slice_affine_equals_scipy(draw, size):
    image = picture(*size)
    np.testing.assert_allclose(SliceAffine(**draw)(image)[0].numpy(), with_scipy(image[0], **draw), atol=2e-4)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        pytest.param({"shift": (0.25, 0)}, [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], id="down"),
        pytest.param({"shift": (0, 0.5)}, [[0, 0, 1, 2], [0, 0, 5, 6], [0, 0, 9, 10], [0, 0, 13, 14]], id="right"),
        pytest.param({"flip": True}, [[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9], [16, 15, 14, 13]], id="flip"),
        pytest.param(
            {"rotation_deg": 90},
            [[4, 8, 12, 16], [3, 7, 11, 15], [2, 6, 10, 14], [1, 5, 9, 13]],
            id="counter-clockwise",
        ),
        pytest.param(
            {"flip": True, "shift": (0, 0.25)},
            [[0, 4, 3, 2], [0, 8, 7, 6], [0, 12, 11, 10], [0, 16, 15, 14]],
            id="flip-comes-before-shift",
        ),
    ],
)
def test_slice_affine_by_hand(draw, expected):
    moved = SliceAffine(**draw)(np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4))
    np.testing.assert_allclose(moved[0].numpy(), expected, atol=1e-4)


def test_zoom_above_one_enlarges():
    disc = np.zeros((1, 40, 40), dtype=np.float32)
    disc[0, 15:25, 15:25] = 1
    assert SliceAffine(zoom=1.5)(disc).sum().item() == pytest.approx(100 * 1.5**2, rel=0.02)


def test_channels_move_alike():
    image = picture(channels=3)
    moved = SliceAffine(zoom=1.1, rotation_deg=5)(image)
    for channel in range(3):
        expected = with_scipy(image[channel], zoom=1.1, rotation_deg=5)
        np.testing.assert_allclose(moved[channel].numpy(), expected, atol=2e-4)


def test_batch_gives_the_pictures_of_the_random_transform():
    transform = RandSliceAffine(**RANGES).set_random_state(3)
    images = [picture() * (index + 1) for index in range(5)]
    one_by_one, drawn = [], []
    for image in images:
        one_by_one.append(transform(image))
        drawn.append(transform.parameters)
    batch = resample_slices(torch.from_numpy(np.stack(images)), sampling_matrices(drawn, 24, 32))
    torch.testing.assert_close(batch, torch.stack(one_by_one))


def test_random_affine_equals_scipy_with_its_parameters():
    transform = RandSliceAffine(**RANGES).set_random_state(11)
    image = picture()
    for _ in range(10):
        moved, drawn = transform(image), transform.parameters
        expected = with_scipy(image[0], drawn.zoom, drawn.rotation_deg, drawn.shift, drawn.flip)
        np.testing.assert_allclose(moved[0].numpy(), expected, atol=2e-4)


def test_draws_fill_their_ranges():
    transform = RandSliceAffine(**RANGES).set_random_state(0)
    drawn = []
    for _ in range(2000):
        transform.randomize()
        drawn.append(transform.parameters)
    for values, low, high in (
        ([d.zoom for d in drawn], 0.8, 1.2),
        ([d.rotation_deg for d in drawn], -15, 15),
        ([d.shift[0] for d in drawn], -0.1, 0.1),
        ([d.shift[1] for d in drawn], -0.1, 0.1),
    ):
        assert low <= min(values) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < max(values) <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    assert np.mean([d.flip for d in drawn]) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("flip_prob", "expected"), [(0, {False}), (1, {True})])
def test_flip_probability_at_its_ends(flip_prob, expected):
    transform = RandSliceAffine(**{**RANGES, "flip_prob": flip_prob}).set_random_state(0)
    drawn = set()
    for _ in range(50):
        transform.randomize()
        drawn.add(transform.parameters.flip)
    assert drawn == expected


def test_degenerate_ranges_draw_the_identity():
    still = RandSliceAffine(zoom_min=1, zoom_max=1, rotation_deg=0, shift=0, flip_prob=0).set_random_state(0)
    np.testing.assert_allclose(still(picture()).numpy(), picture(), atol=2e-4)
    assert still.parameters == SliceAffine()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: RandSliceAffined("image", **RANGES), id="affine"),
        pytest.param(lambda: RandBrightnessd("image", 0.8, 1.2), id="brightness"),
        pytest.param(
            lambda: Compose([RandSliceAffined("image", **RANGES), RandBrightnessd("image", 0.8, 1.2)]), id="both"
        ),
    ],
)
def test_seed_alone_determines_the_result(make):
    def run(global_seed):
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        transform = make().set_random_state(42)
        np.random.random(global_seed)
        return torch.stack([transform({"image": picture()})["image"] for _ in range(4)])

    first = run(1)
    assert torch.equal(first, run(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], make().set_random_state(43)({"image": picture()})["image"])


def test_drawing_leaves_global_random_states_alone():
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    transform = Compose([RandSliceAffined("image", **RANGES), RandBrightnessd("image", 0.8, 1.2)])
    transform.set_random_state(1)({"image": picture()})
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_array_and_dictionary_twins_agree():
    affine, affined = RandSliceAffine(**RANGES), RandSliceAffined(["image", "other"], **RANGES)
    affine.set_random_state(9), affined.set_random_state(9)
    out = affined({"image": picture(), "other": picture(), "label": 1})
    assert torch.equal(out["image"], affine(picture()))
    assert torch.equal(out["image"], out["other"])
    assert out["label"] == 1
    brightness, brightnessd = RandBrightness(0.8, 1.2), RandBrightnessd("image", 0.8, 1.2)
    brightness.set_random_state(9), brightnessd.set_random_state(9)
    assert torch.equal(brightnessd({"image": picture()})["image"], brightness(picture()))


def test_last_draw_can_be_applied_again():
    transform = RandSliceAffine(**RANGES).set_random_state(0)
    first = transform(picture())
    assert torch.equal(first, transform(picture(), randomize=False))


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor], ids=["numpy", "torch", "meta"])
@pytest.mark.parametrize("transform", [SliceAffine(zoom=1.1), RandBrightness(1.5, 1.5)], ids=["affine", "bright"])
def test_output_is_a_plain_tensor_and_input_kept(container, transform):
    image = container(picture())
    out = transform(image)
    assert type(out) is torch.Tensor
    assert out.dtype == torch.float32
    assert out.shape == (1, 24, 32)
    np.testing.assert_array_equal(np.asarray(image), picture())


def test_brightness_multiplies_by_its_factor():
    transform = RandBrightness(0.8, 1.2).set_random_state(4)
    factors = []
    for _ in range(500):
        out = transform(picture())
        np.testing.assert_allclose(out.numpy(), picture() * np.float32(transform.factor), rtol=1e-6)
        factors.append(transform.factor)
    assert 0.8 <= min(factors) < 0.805
    assert 1.195 < max(factors) <= 1.2


def test_brightness_equals_monais_scale_intensity():
    stock = RandScaleIntensity(factors=(-0.2, 0.2), prob=1).set_random_state(4)
    expected = stock(torch.from_numpy(picture()))
    ours = RandBrightness(0.8, 1.2)
    ours.factor = 1 + stock.factor
    np.testing.assert_allclose(ours(picture(), randomize=False).numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zoom_min": 0}, "'zoom_min' and 'zoom_max' must be"),
        ({"zoom_min": 1.3}, "'zoom_min' and 'zoom_max' must be"),
        ({"zoom_max": float("inf")}, "'zoom_min' and 'zoom_max' must be"),
        ({"rotation_deg": -1}, "'rotation_deg' must be 0 to 180"),
        ({"rotation_deg": 181}, "'rotation_deg' must be 0 to 180"),
        ({"shift": 1.1}, "'shift' must be 0 to 1"),
        ({"flip_prob": float("nan")}, "'flip_prob' must be 0 to 1"),
    ],
    ids=str,
)
def test_impossible_ranges_refused(change, message):
    with pytest.raises(TransformError, match=message):
        RandSliceAffined("image", **{**RANGES, **change})


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1), (1.2, 0.8), (float("nan"), 1), (1, float("inf"))])
def test_impossible_brightness_refused(low, high):
    with pytest.raises(TransformError, match="'brightness_min' and 'brightness_max' must be"):
        RandBrightnessd("image", low, high)


@pytest.mark.parametrize(
    "draw",
    [{"zoom": 0}, {"zoom": -1}, {"zoom": float("nan")}, {"rotation_deg": float("inf")}, {"shift": (1, 2, 3)}],
    ids=str,
)
def test_impossible_parameters_refused(draw):
    with pytest.raises(TransformError, match=r"'zoom'|'shift'"):
        SliceAffine(**draw)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((2, 1, 4, 4)), "slice"], ids=["2d", "4d", "str"])
@pytest.mark.parametrize("transform", [SliceAffine(), RandBrightness(1, 1)], ids=["affine", "brightness"])
def test_input_of_other_shape_refused(transform, image):
    with pytest.raises(TransformError, match="expected a slice"):
        transform(image)
