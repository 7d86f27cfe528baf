"""Fields of view padded to a square: shapes and places by hand, and circles that arrive as circles."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from phantom_runs import BUNDLES

from mgmt_monai.transforms import PadToSquare
from mgmt_monai.transforms.errors import TransformError

CONFIG = str(BUNDLES / "t1w.json")


def bundle_chain(**overrides):
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update(overrides)
    return parser.get_parsed_content("validate::preprocessing")


def disc(rows: int, columns: int, spacing_mm: tuple[float, float], radius_mm: float, n_slices: int = 6) -> np.ndarray:
    """A disc about the centre of a field of view, uint16."""
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip((rows, columns), spacing_mm, strict=True))
    inside = y[:, None] ** 2 + x[None, :] ** 2 <= radius_mm**2
    texture = np.random.default_rng(0).integers(500, 900, (rows, columns))
    return np.repeat((inside * texture)[None].astype(np.uint16), n_slices, axis=0)


def extent(image: torch.Tensor) -> tuple[int, int]:
    """Rows and columns in which there is anything."""
    seen = image.numpy() > 0.1
    return int(seen.any(axis=1).sum()), int(seen.any(axis=0).sum())


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected", "first"),
    [
        pytest.param((4, 4), (1, 1), (4, 4), (0, 0), id="square"),
        pytest.param((6, 3), (1, 1), (6, 6), (0, 1), id="tall: an odd column at the far end"),
        pytest.param((2, 6), (0.5, 0.5), (6, 6), (2, 0), id="wide"),
        pytest.param((8, 4), (0.5, 1), (8, 4), (0, 0), id="square in mm"),
        pytest.param((4, 4), (0.5, 0.75), (6, 4), (1, 0), id="square in pixels alone"),
        pytest.param((256, 256), (0.9375, 0.9376), (256, 256), (0, 0), id="square to half a pixel"),
        pytest.param((3, 5), None, (5, 5), (1, 0), id="without an affine"),
    ],
)
def test_shorter_side_in_mm_is_padded_on_both_ends(shape, spacing_mm, expected, first):
    pixels = torch.arange(1.0, 1 + 2 * np.prod(shape)).reshape(2, *shape)
    affine = torch.tensor([[0, -1, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]], dtype=torch.float64)
    if spacing_mm:
        affine[:3, :2] *= torch.tensor(spacing_mm, dtype=torch.float64)
    given = pixels if spacing_mm is None else MetaTensor(pixels, affine=affine)
    found = PadToSquare()(given)
    assert found.shape == (2, *expected)
    plain = np.asarray(found)
    inner = plain[:, first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
    np.testing.assert_array_equal(inner, pixels)
    assert np.count_nonzero(plain) == pixels.numel()
    np.testing.assert_array_equal(PadToSquare()(np.asarray(pixels)).shape[1:], (max(shape), max(shape)))
    if spacing_mm:  # the same voxel lies at the same place
        for place in ((0, 0), (shape[0] - 1, shape[1] - 1)):
            before = affine @ torch.tensor([*place, 1, 1.0], dtype=torch.float64)
            after = found.affine @ torch.tensor([place[0] + first[0], place[1] + first[1], 1, 1.0], dtype=torch.float64)
            torch.testing.assert_close(before, after)


def test_damaged_spacing_is_told_and_not_padded_for():
    affine = torch.diag(torch.tensor([0.001, 1, 1, 1], dtype=torch.float64))
    with pytest.raises(TransformError, match=r"2048 pixels a side .* 16000 \(16 x 16 pixels of 0.001 x 1 mm.*squash"):
        PadToSquare()(MetaTensor(torch.ones(1, 16, 16), affine=affine))


def test_large_square_image_is_taken():
    assert PadToSquare()(np.zeros((1, 2100, 2100), np.float32)).shape == (1, 2100, 2100)


@pytest.mark.parametrize("plane", ["native", "axial"])
@pytest.mark.parametrize(
    ("rows", "columns", "spacing_mm"),
    [(64, 48, (1, 1)), (48, 64, (1, 1)), (64, 32, (1, 2)), (40, 64, (1.5, 0.5))],
    ids=["tall", "wide", "pixels twice as wide", "both"],
)
def test_circle_arrives_as_a_circle_unless_squashed(rows, columns, spacing_mm, plane, make_series):
    series = make_series(disc(rows, columns, spacing_mm, 12), PixelSpacing=list(spacing_mm))
    settings = {"plane": plane, "image_size": 120}
    high, wide = extent(bundle_chain(**settings)({"image": series})["image"][0])
    longest_mm = max(rows * spacing_mm[0], columns * spacing_mm[1])
    assert (high, wide) == pytest.approx((24 / longest_mm * 120,) * 2, abs=5)
    assert abs(high - wide) <= 3
    squashed = extent(bundle_chain(**settings, aspect="squash")({"image": series})["image"][0])
    sides_mm = rows * spacing_mm[0], columns * spacing_mm[1]
    assert squashed == pytest.approx([24 / side * 120 for side in sides_mm], abs=5)


def test_square_field_of_view_is_the_same_either_way(make_series):
    series = make_series(disc(40, 40, (0.5, 0.5), 8), PixelSpacing=[0.5, 0.5])
    kept, squashed = (
        bundle_chain(aspect=aspect, image_size=32)({"image": series})["image"] for aspect in ("keep", "squash")
    )
    assert torch.equal(kept.as_tensor(), squashed.as_tensor()) and torch.equal(kept.affine, squashed.affine)


@pytest.mark.parametrize("aspect", ["keep", "squash"])
def test_affine_finds_a_point_after_the_chain(aspect, make_series):
    """A bright pixel's place in mm, by the affine before and after."""
    pixels = np.zeros((1, 60, 40), np.uint16)
    pixels[0, 20:26, 8:14] = 1000
    series = make_series(pixels, PixelSpacing=[0.5, 0.75])
    image = bundle_chain(aspect=aspect, image_size=90)({"image": series})["image"]
    weights = image[0].as_tensor().double().numpy()
    centre = [np.average(np.indices(weights.shape)[axis], weights=weights) for axis in (0, 1)]
    place = image.affine.numpy() @ [*centre, 0, 1]
    # Row 22.5 of 0.5 mm and column 10.5 of 0.75 mm from the origin of LPS, in RAS.
    np.testing.assert_allclose(place[:2], [-10.5 * 0.75, -22.5 * 0.5], atol=0.15)


@pytest.mark.parametrize("row", [6, 30, 52])
@pytest.mark.parametrize("n_slices", [10, 23])
def test_tumour_off_the_centre_is_seen_where_its_slice_is_kept_and_lies_where_it_was(row, n_slices, make_series):
    pixels = np.full((n_slices, 60, 40), 100, np.uint16)
    pixels[:, 0] = 0  # air
    places = [5, 20, 34]  # column of the tumour, from slice to slice
    for index in range(n_slices):
        column = places[index % 3]
        pixels[index, row - 2 : row + 3, column - 2 : column + 3] = 1000
    image = (
        bundle_chain(image_size=120)({"image": make_series(pixels, PixelSpacing=[1, 1])})["image"].as_tensor().float()
    )
    n_kept = max(1, int(0.2 * n_slices + 0.5))
    first = (n_slices - n_kept) // 2
    assert len(image) == n_kept
    for number, picture in enumerate(image.numpy()):
        column = places[(first + number) % 3]
        centre = np.argwhere(picture > 0.5).mean(axis=0)
        # 40 columns are padded by 10 on both sides to 60; then each pixel becomes two.
        np.testing.assert_allclose(centre, [2 * row + 0.5, 2 * (column + 10) + 0.5], atol=0.6)
