"""Voxel grids, and what lies where between two of them: maps and labels carried from one to the other."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from mgmt_monai.inference.errors import InferenceError

INDEX_TOLERANCE = 0.01
"""How far a slice's index on one grid may be from a whole number on the other. Rounding makes a thousandth of it; more,
and the slices of one grid are no planes of the other."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume (slices, rows, columns) lie.

    ``affine``: ``(4, 4)`` float64, (row, column, slice, 1) to RAS in mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Distance between rows, and between columns."""
        rows, columns = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(rows), float(columns)


def index_map(grid: Grid, other: Grid) -> np.ndarray:
    """Where the voxels of ``grid`` lie in another whose slices are planes of it; their rows and columns may differ.

    Returns:
        ``(3, 4)``: (row, column, slice, 1) in ``grid`` to (row, column, slice) in ``other``, a slice to a whole number.

    Raises:
        InferenceError: The slices of ``other`` are no planes of ``grid``.
    """
    mapping = (np.linalg.inv(other.affine) @ grid.affine)[:3]
    whole = np.rint(mapping[2])
    drift = np.abs(mapping[2] - whole) @ [*(size - 1 for size in _by_index(grid.shape)), 1]
    if np.abs(whole[:3]).tolist() not in np.eye(3).tolist() or drift > INDEX_TOLERANCE:
        raise InferenceError(
            "the slices that the network sees are no slices of the series: a map of them cannot be laid on the scan. "
            "Explain with a bundle that this version of mgmt-monai wrote."
        )
    mapping[2] = whole
    return mapping


def carried(maps: np.ndarray, mapping: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Maps ``(K, H, W)`` of slices laid on a grid, of which these slices are planes, by `index_map`; float32.

    Within a plane they are interpolated linearly; between planes nothing is interpolated, and planes without a map are
    zero, as is what lies beyond the maps' edges.
    """
    axis = int(np.abs(mapping[2, :3]).argmax())
    laid = np.zeros(shape, dtype=np.float32)
    planes = np.moveaxis(laid, 0, 2)  # a view, by (row, column, slice) as the mapping
    sizes = [size for index, size in enumerate(planes.shape) if index != axis]
    for position in range(planes.shape[axis]):
        k = int(mapping[2, axis]) * position + int(mapping[2, 3])
        if 0 <= k < len(maps):
            indices = np.insert(np.indices(sizes, dtype=np.float64).reshape(2, -1), axis, position, axis=0)
            where = mapping[:2, :3] @ indices + mapping[:2, 3:]
            values = _interpolated(np.asarray(maps[k], dtype=np.float32), where).reshape(sizes)
            planes[(slice(None),) * axis + (position,)] = values
    return laid


def _interpolated(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Values of ``image`` at (row, column), ``(2, n)``; up to half a pixel beyond the outermost centres as there."""
    sizes = np.array(image.shape)[:, None]
    inside = ((where >= -0.5 - 1e-6) & (where <= sizes - 0.5 + 1e-6)).all(axis=0)
    return np.where(inside, map_coordinates(image, where, order=1, mode="nearest"), np.float32(0))


def _by_index(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(slices, rows, columns) as (row, column, slice)."""
    return shape[1], shape[2], shape[0]
