"""Maps and labels land where another library puts them."""

from __future__ import annotations

import numpy as np
import pytest

from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.explain.grids import Grid, carried, index_map


def affine(step: tuple[float, float, float], origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    made = np.diag([*step, 1.0])
    made[:3, 3] = origin
    return made


def test_carried_to_the_same_grid_is_the_same() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    grid = Grid((3, 4, 5), affine((1, 2, 3)))
    np.testing.assert_allclose(carried(maps, index_map(grid, grid), grid.shape), maps, rtol=1e-6)


def test_carried_is_zero_outside_the_slices_used() -> None:
    whole = Grid((6, 4, 4), affine((1, 1, 2)))
    middle = Grid((2, 4, 4), affine((1, 1, 2), (0, 0, 4)))
    laid = carried(np.ones((2, 4, 4)), index_map(whole, middle), whole.shape)
    assert laid.sum(axis=(1, 2)).tolist() == [0, 0, 16, 16, 0, 0]


def test_carried_between_sizes_keeps_a_hot_pixel_in_its_place() -> None:
    fine = Grid((1, 40, 40), affine((1, 1, 1)))
    coarse = Grid((1, 10, 10), affine((4, 4, 1), (1.5, 1.5, 0)))  # the corners of both grids coincide
    maps = np.zeros((1, 10, 10))
    maps[0, 3, 6] = 1
    laid = carried(maps, index_map(fine, coarse), fine.shape)[0]
    centre = np.array(np.nonzero(laid == laid.max())).mean(axis=1)
    np.testing.assert_allclose(centre, [3 * 4 + 1.5, 6 * 4 + 1.5])


def test_index_map_refuses_slices_that_are_no_planes() -> None:
    turned = affine((1, 1, 1))
    turned[:2, :2] = [[0.9, 0.1], [-0.1, 0.9]]
    turned[2, 1] = 0.3
    with pytest.raises(InferenceError, match="no slices of the series"):
        index_map(Grid((4, 8, 8), affine((1, 1, 1))), Grid((4, 8, 8), turned))
