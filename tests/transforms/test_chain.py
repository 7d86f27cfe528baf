"""The transforms as a bundle config strings them together, with MONAI's stock resize between ours."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy.stats import norm

ROOM = "mgmt_monai.transforms"
RESIZE = {
    "_target_": "Resized",
    "keys": "image",
    "spatial_size": [300, 300],
    "mode": "bilinear",
    "anti_aliasing": True,
}
CONFIG = {
    "slice_fraction": 0.4,
    "deterministic": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": f"{ROOM}.crop.CropMiddleSlicesd", "keys": "image", "fraction": "@slice_fraction"},
            {"_target_": f"{ROOM}.load.LoadSeriesd", "keys": "image"},
            {
                "_target_": f"{ROOM}.intensity.ScaleIntensityRobustd",
                "keys": "image",
                "lower_percentile": 1,
                "upper_percentile": 99,
            },
            RESIZE,
        ],
    },
    "random": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": f"{ROOM}.augment.RandSliceAffined",
                "keys": "image",
                "zoom_min": 0.8,
                "zoom_max": 1.2,
                "rotation_deg": 15,
                "shift": 0.1,
                "flip_prob": 0.5,
            },
            {
                "_target_": f"{ROOM}.augment.RandBrightnessd",
                "keys": "image",
                "brightness_min": 0.8,
                "brightness_max": 1.2,
            },
        ],
    },
}


@pytest.fixture
def parser():
    return ConfigParser(CONFIG)


def resized(parser, volume):
    return parser.get_parsed_content("deterministic").transforms[-1]({"image": volume})["image"]


def test_config_chain_gives_slices_in_range(parser, make_series):
    series = make_series(np.random.default_rng(0).integers(0, 4096, (10, 40, 50)).astype(np.uint16))
    volume = parser.get_parsed_content("deterministic")({"image": series, "label": 1})["image"]
    assert volume.shape == (4, 300, 300)
    assert volume.dtype == torch.float32
    assert 0 <= volume.min() < volume.max() <= 1
    augmented = parser.get_parsed_content("random").set_random_state(0)({"image": volume[:1]})["image"]
    assert augmented.shape == (1, 300, 300)
    assert type(augmented) is torch.Tensor


def test_affine_follows_the_resize(parser, make_series):
    series = make_series(np.random.default_rng(0).integers(0, 4096, (10, 150, 100)).astype(np.uint16))
    volume = parser.get_parsed_content("deterministic")({"image": series})["image"]
    spacing_mm = np.linalg.norm(volume.affine[:3, :3].numpy(), axis=0)
    np.testing.assert_allclose(spacing_mm, [0.5 * 150 / 300, 0.75 * 100 / 300, 2])
    # The edge between the pixels outside and inside stays where it was: half a pixel before the first centre.
    before = np.diag([-1, -1, 1, 1]) @ np.array([[0, 0.75, 0, 0], [0.5, 0, 0, 0], [0, 0, 2, 6], [0, 0, 0, 1]])
    corner = [-0.5, -0.5, 0, 1]
    np.testing.assert_allclose(volume.affine.numpy() @ corner, before @ corner, atol=1e-9)


def test_enlarging_resize_equals_scipy(parser):
    image = np.random.default_rng(0).random((3, 40, 50)).astype(np.float32)
    enlarged = resized(parser, MetaTensor(torch.from_numpy(image))).numpy()
    np.testing.assert_allclose(enlarged, at_pixel_centres(image), atol=1e-5)


def test_shrinking_resize_smooths_as_scipy(parser):
    image = np.random.default_rng(0).random((2, 600, 450)).astype(np.float32)
    shrunk = resized(parser, MetaTensor(torch.from_numpy(image))).numpy()
    smooth = image
    for axis, size in ((1, 600), (2, 450)):
        # MONAI's sigma, and the Gaussian integrated over each pixel.
        sigma = (size / 300 - 1) / 2
        edges = np.arange(-4.5, 5) / sigma
        smooth = scipy.ndimage.convolve1d(smooth, np.diff(norm.cdf(edges)), axis, mode="constant")
    np.testing.assert_allclose(shrunk, at_pixel_centres(smooth), atol=1e-3)


def at_pixel_centres(image: np.ndarray) -> np.ndarray:
    """(slices, 300, 300): linear interpolation where the new pixels' centres lie, edges repeated."""
    grid = [(np.arange(300) + 0.5) * size / 300 - 0.5 for size in image.shape[1:]]
    places = np.meshgrid(*grid, indexing="ij")
    return np.stack([scipy.ndimage.map_coordinates(one, places, order=1, mode="nearest") for one in image])
