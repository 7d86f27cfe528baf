"""How much of a map lies inside a region, beside what a map that knows nothing would have there."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.explain.grids import Grid
from mgmt_monai.transforms.conceal import head_mask
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.segmentation import nearest_labels, read_segmentation


@dataclass(frozen=True)
class Share:
    """Of one map and one region, both within the slices that the network saw.

    Args:
        inside: Share of the map's positive part that lies in the region, 0 to 1; None where the map has none.
        uniform: Share of the head that lies in the region: what a map that is the same everywhere would have.
        n_voxels: Voxels of the region in these slices.
    """

    inside: float | None
    uniform: float
    n_voxels: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        inside = "none of it positive" if self.inside is None else f"{self.inside:.1%}"
        return f"in the segmentation: {inside}; of an even map: {self.uniform:.1%}"


def share_inside(laid: np.ndarray, region: np.ndarray, head: np.ndarray) -> Share:
    """Measure a map's positive part against a region, both of any shape; nothing outside ``head`` counts.

    Example:
        >>> laid = np.array([3.0, 1.0, 0.0, -2.0])
        >>> share_inside(laid, np.array([True, False, True, False]), np.ones(4, dtype=bool))
        Share(inside=0.75, uniform=0.5, n_voxels=2)
    """
    positive = np.where(head, np.maximum(laid, 0), 0).astype(np.float64)
    total, n_head = float(positive.sum()), int(head.sum())
    return Share(
        inside=float(positive[region].sum()) / total if total > 0 else None,
        uniform=int((region & head).sum()) / n_head if n_head else 0.0,
        n_voxels=int((region & head).sum()),
    )


def head_pixels(anatomy: np.ndarray) -> np.ndarray:
    """The pixels of the head, bool, in ``(K, R, C)`` float32 with a background at or near 0.

    They are brighter than the darkest within the generous outline of the head; all, where no head is found.
    """
    head = head_mask(anatomy) & (anatomy > anatomy.min(initial=np.inf))
    return head if head.any() else np.ones(anatomy.shape, dtype=bool)


def read_region(path: Path, grid: Grid) -> np.ndarray:
    """An annotation (NIfTI, every label but 0 counts), carried to a grid by the nearest voxel; bool.

    Raises:
        InferenceError: No such file, no 3D NIfTI of labels, or nothing of it lies in the grid.
    """
    try:
        labels, affine = read_segmentation(path)
    except TransformError as error:
        raise InferenceError(f"{error}. Name the segmentation of this study.") from error
    region = nearest_labels(labels, affine, grid.shape, grid.affine)
    if not region.any():
        raise InferenceError(
            f"{path}: nothing annotated in it lies within the series. Name the segmentation of this study."
        )
    return region
