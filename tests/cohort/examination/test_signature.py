import base64

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift, zoom

from mgmt_monai.cohort.duplicates import SIMILARITY_LIMIT, similarity
from mgmt_monai.cohort.examination.signature import N_SLICES, make_signature, read_signature, thumbnail


def head(seed: int, n_slices: int = 30, side: int = 128) -> np.ndarray:
    """An ellipsoid with its own folds: smooth noise, another for each seed. (slices, rows, columns), float."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1.3, 1.3, n) for n in (n_slices, side, side)), indexing="ij")
    inside = z**2 + y**2 + (x / 0.8) ** 2 < 1
    folds = gaussian_filter(random.normal(size=z.shape), (3, 5, 5))
    return np.where(inside, 600 + 200 * folds / folds.std(), 0).clip(0)


def rows(volume: np.ndarray) -> np.ndarray:
    return read_signature(make_signature(np.stack([thumbnail(pixels) for pixels in volume])))


def test_thumbnail_is_the_mean_of_areas() -> None:
    pixels = np.arange(128 * 192, dtype=np.uint16).reshape(128, 192)
    expected = pixels.reshape(64, 2, 64, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(thumbnail(pixels), expected, rtol=1e-5)


def test_signature_reads_as_unit_rows() -> None:
    found = rows(head(0))
    assert found.shape == (N_SLICES, 162)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_short_series_is_described_slice_by_slice() -> None:
    assert rows(head(0)[12:17]).shape == (5, 162)


@pytest.mark.parametrize("volume", [np.zeros((5, 64, 64)), np.full((5, 64, 64), 7.0)], ids=["zeros", "sevens"])
def test_nothing_to_be_seen_has_no_signature(volume: np.ndarray) -> None:
    assert make_signature(volume.astype(np.float32)) == ""
    assert read_signature("").shape == (0, 162)


@pytest.mark.parametrize(
    "alter",
    [
        lambda v: 0.01 * v + 5,
        lambda v: np.clip(v / v.max() * 255, 0, 255).astype(np.uint8),
        lambda v: v[::-1],
        lambda v: v[2:-1],
        lambda v: zoom(v, (1, 0.5, 0.6), order=1),
        lambda v: gaussian_filter(v, (0, 1, 1)),
        lambda v: v + np.random.default_rng(1).normal(0, 20, v.shape),
        lambda v: shift(v, (0, 8, -5), order=1),
        lambda v: np.pad(v, ((3, 3), (20, 20), (20, 20))),
    ],
    ids=["rescaled", "8 bits", "reversed", "slices less", "smaller", "blurred", "noise", "moved", "border"],
)
def test_altered_copy_is_alike(alter) -> None:
    assert similarity(rows(head(0)), rows(alter(head(0)))) > SIMILARITY_LIMIT


def test_other_head_of_the_same_shape_is_not_alike() -> None:
    found = [rows(head(seed)) for seed in range(6)]
    values = [similarity(a, b) for i, a in enumerate(found) for b in found[i + 1 :]]
    assert max(values) < 0.9


def test_noise_alone_has_no_place_for_a_frame_and_still_a_signature() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    assert read_signature(make_signature(noise)).shape == (3, 162)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1:%%%", "other text"),
        ("0:" + base64.b64encode(bytes(162)).decode(), "another"),
        ("1:" + base64.b64encode(bytes(161)).decode(), "another"),
        ("1:" + base64.b64encode(bytes(162 * 17)).decode(), "another"),
        ("text", "another"),
    ],
    ids=["no base64", "version", "short", "long", "no version"],
)
def test_refuses_what_is_no_signature(text: str, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        read_signature(text)
