"""What a network sees of a series, and where each pixel of it lies in the patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Resized
from monai.utils import convert_to_tensor
from torch import Tensor

from mgmt_monai.cohort.series import Series
from mgmt_monai.errors import one_line
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.explain.grids import Grid, index_map
from mgmt_monai.inference.model import BundleModel
from mgmt_monai.transforms import LoadSeries


@dataclass(frozen=True)
class SeenSeries:
    """A series' slices on the way to the network. All grids are (slices, rows, columns).

    Args:
        images: What the network gets, ``(K, 1, H, W)`` float32 in [0, 1].
        anatomy: The same slices, padded, before they were resized, ``(K, R, C)`` float32 in [0, 1].
        displayed: The grid of ``anatomy``.
        from_displayed: ``(3, 4)``, (row, column, slice, 1) of ``displayed`` to (row, column, slice) of ``images``.
        stored: The series' own grid: all its slices as they are read.
        from_stored: The same of ``stored``; slices that the network does not see are mapped beyond ``images``.
        slice_indices: Which slices they are, in geometric order along the series; along the reformatted stack where
            the model asks for a plane.
        n_slices: How many slices that series or stack has.
        geometry_fault: Why ``stored`` does not say where each slice lies; empty when it does.
    """

    images: Tensor
    anatomy: np.ndarray
    displayed: Grid
    from_displayed: np.ndarray
    stored: Grid
    from_stored: np.ndarray
    slice_indices: tuple[int, ...]
    n_slices: int
    geometry_fault: str = ""


def see(model: BundleModel, series: Series) -> SeenSeries:
    """Run a model's chain on a series, and keep what lies on the way.

    Raises:
        InferenceError: It cannot be read, or the chain yields slices that are none of the series'.
    """
    kept, loaded, anatomy, network = _steps(model, series)
    stored = _stored_grid(series, kept, loaded)
    displayed, seen = Grid(_shape(anatomy), _affine(anatomy)), Grid(_shape(network), _affine(network))
    from_stored = index_map(Grid(_shape(loaded), _affine(loaded)), seen)
    # By index, not by place: where the spacing is uneven, the mean step of some slices is not that of all.
    from_stored[:, 3] -= kept.start * from_stored[:, 2]
    indices, n_slices = _slice_indices(from_stored, stored.shape, seen.shape[0])
    return SeenSeries(
        images=convert_to_tensor(network, track_meta=False).float().unsqueeze(1),
        anatomy=convert_to_tensor(anatomy, track_meta=False).float().numpy(),
        displayed=displayed,
        from_displayed=index_map(displayed, seen),
        stored=stored,
        from_stored=from_stored,
        slice_indices=indices,
        n_slices=n_slices,
        geometry_fault=series.geometry_fault,
    )


def _steps(model: BundleModel, series: Series) -> tuple[range, MetaTensor, MetaTensor, MetaTensor]:
    """Which stored slices were loaded, and the volume as it was loaded, before it was resized, and at the end."""
    item: dict[str, Any] = model.item(series)
    kept, loaded, anatomy = series.slices, None, None
    try:
        for transform in model.chain.transforms:
            if isinstance(transform, Resized) and anatomy is None:
                anatomy = item["image"]
            item = transform(item)
            if loaded is None and isinstance(item["image"], torch.Tensor):
                loaded = item["image"]
            elif loaded is None:
                kept = item["image"].slices
    except Exception as error:
        message = one_line(error)  # MONAI wraps what a transform raises
        if message is None:
            raise
        raise InferenceError(message) from error
    network = item["image"]
    anatomy = network if anatomy is None else anatomy
    for volume in (loaded, anatomy, network):
        if not isinstance(volume, MetaTensor) or volume.ndim != 3:
            raise InferenceError(
                f"{model.bundle.name}: expected a chain whose volumes (slices, rows, columns) know their place, found "
                f"{type(volume).__name__}. This bundle cannot be explained; predict with it."
            )
    return kept, loaded, anatomy, network


def _stored_grid(series: Series, kept: range, loaded: MetaTensor) -> Grid:
    """The grid of all slices of the series: its step along them is the mean between the first and the last."""
    affine = _affine(loaded).copy()
    affine[:3, 3] -= kept.start * affine[:3, 2]
    if len(kept) < series.n_slices and not series.is_nifti and not series.geometry_fault:
        ends = _affine(LoadSeries()(series[:: series.n_slices - 1]))
        affine[:3, 2] = ends[:3, 2] / (series.n_slices - 1)
        affine[:3, 3] = ends[:3, 3]
    return Grid((series.n_slices, *_shape(loaded)[1:]), affine)


def _slice_indices(mapping: np.ndarray, shape: tuple[int, int, int], n_seen: int) -> tuple[tuple[int, ...], int]:
    """Of each seen slice, counted along the axis of the stored grid that the slices follow, in their direction."""
    axis = int(np.abs(mapping[2, :3]).argmax())
    step, offset = int(mapping[2, axis]), int(mapping[2, 3])
    n = (shape[1], shape[2], shape[0])[axis]  # mapping counts (row, column, slice)
    along = [(k - offset) * step for k in range(n_seen)]
    return tuple(index if step > 0 else n - 1 - index for index in along), n


def _shape(volume: MetaTensor) -> tuple[int, int, int]:
    n_slices, rows, columns = volume.shape
    return int(n_slices), int(rows), int(columns)


def _affine(volume: MetaTensor) -> np.ndarray:
    return volume.affine.detach().cpu().numpy().astype(np.float64)
