"""What a volume comes in, an array or a tensor with or without meta: its voxels out of it, and back into it."""

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor

from mgmt_monai.cohort.files.background import fill_outside, nan_outside
from mgmt_monai.transforms.errors import TransformError


def checked_volume(
    volume: NdarrayOrTensor, who: str, expected: str = "a volume (slices, rows, columns)"
) -> NdarrayOrTensor:
    """The array or tensor of three axes itself; ``who`` is the transform that asks, for the message.

    Raises:
        TransformError: It is neither an array nor a tensor, or has another number of axes.
    """
    if not isinstance(volume, np.ndarray | torch.Tensor) or volume.ndim != 3:
        found = f"shape {tuple(volume.shape)}" if hasattr(volume, "shape") else type(volume).__name__
        raise TransformError(f"{who}: expected {expected}, found {found}")
    return volume


def finite_voxels(volume: NdarrayOrTensor, who: str) -> np.ndarray:
    """A copy of the voxels, float32; NaN that fills the edge of the slices takes the lowest value of the others.

    ``who`` is the transform that asks, for the message.

    Raises:
        TransformError: Another voxel is NaN, or one is infinite.
    """
    plain = volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else volume
    with np.errstate(over="ignore", invalid="ignore"):
        voxels = np.array(plain, dtype=np.float32, order="C")
    missing = nan_outside(voxels) if voxels.ndim == 3 and voxels.size else None
    if missing is not None:
        fill_outside(voxels, missing)
    n_bad = voxels.size - np.count_nonzero(np.isfinite(voxels))
    if n_bad:
        raise TransformError(
            f"{who}: expected finite voxels, found {n_bad} NaN or infinite of {voxels.size}; export the series again "
            "or leave it out"
        )
    return voxels


def as_given(volume: NdarrayOrTensor, voxels: np.ndarray) -> NdarrayOrTensor:
    """The voxels, of any shape, in the container, and with the meta, of the volume."""
    if not isinstance(volume, torch.Tensor):
        return voxels
    tensor = torch.from_numpy(voxels).to(volume.device)
    return MetaTensor(tensor, meta=volume.meta) if isinstance(volume, MetaTensor) else tensor
