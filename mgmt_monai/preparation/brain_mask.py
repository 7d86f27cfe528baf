"""Where the brain is in a volume with skull, eyes and neck: by deepbet's network, in the volume's own space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn.functional import interpolate

from mgmt_monai.preparation.brain_network import brain_network
from mgmt_monai.preparation.errors import PreparationError

#: The sides that the networks were trained on: of the whole field of view, then of the head alone.
_WHERE, _EDGE = (128, 128, 128), (256, 256, 256)
_MARGIN = 0.1
#: A plane belongs to the head where the mask covers this share of it.
_PLANE = 0.02
#: What a brain holds, in cm3, from a small child's on; what is larger is no brain alone.
VOLUME_CM3 = (500.0, 2200.0)
#: A brain is cut off where its last slice at an edge is larger than this share of its largest.
_CUT = 0.3
#: The middle half of a brain's grey values spans more than this share of their median; a bottle's does not.
_EVEN = 0.08


def brain_mask(volume: sitk.Image) -> sitk.Image:
    """The brain, uint8, 1 inside, on the volume's grid: one piece, without holes.

    Args:
        volume: 3D, float32, of any contrast, orientation and spacing.

    Raises:
        PreparationError: Nothing in it looks like a brain.

    Source:
        Fisch et al., deepbet, Comput Biol Med 2024: the whole field of view at 128 x 128 x 128 shows where the head
        is, the head at 256 x 256 x 256 its brain.
    """
    oriented = sitk.DICOMOrient(volume, "LPS")
    # RAS order of the axes (x, y, z), as the networks know it.
    voxels = torch.from_numpy(sitk.GetArrayFromImage(oriented).transpose(2, 1, 0).copy()).flip(0, 1)
    small = interpolate(voxels[None, None], _WHERE, mode="nearest-exact")[0, 0]
    low, high = (float(value) for value in np.quantile(small.numpy(), (0.005, 0.995)))
    if not high > low:
        raise PreparationError("expected a head, found one grey value")
    where = _largest(_probability(small, low, high, "where") > 0.5)
    box = _box(where, tuple(voxels.shape))
    head = interpolate(voxels[box][None, None], _EDGE, mode="nearest-exact")[0, 0]
    inside = torch.from_numpy(_probability(head, low, high, "edge"))
    mask = np.zeros(voxels.shape, bool)
    shape = tuple(voxels[box].shape)
    mask[box] = interpolate(inside[None, None], shape, mode="nearest-exact")[0, 0].numpy() > 0.5
    mask = ndimage.binary_fill_holes(_largest(mask))[::-1, ::-1]
    found = sitk.GetImageFromArray(np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8))
    found.CopyInformation(oriented)
    return sitk.Resample(found, volume, sitk.Transform(), sitk.sitkNearestNeighbor)


def check_brain(volume: sitk.Image, mask: sitk.Image) -> None:
    """Hold a brain that was found to what every whole brain has.

    Raises:
        PreparationError: Too small or too large, cut off by the field of view, or as even as a bottle of water.
    """
    inside = sitk.GetArrayViewFromImage(mask) > 0
    cm3 = float(np.count_nonzero(inside)) * math.prod(mask.GetSpacing()) / 1000
    if not VOLUME_CM3[0] <= cm3 <= VOLUME_CM3[1]:
        limits = " to ".join(f"{limit:g}" for limit in VOLUME_CM3)
        raise PreparationError(f"expected a whole brain of {limits} cm3, found {cm3:.0f} cm3")
    for axis in range(3):
        sizes = inside.sum(axis=tuple(other for other in range(3) if other != axis))
        if int(sizes[[0, -1]].max()) > _CUT * int(sizes.max()):
            raise PreparationError("expected a whole brain, found one that the edge of the field of view cuts off")
    quarter, median, three = (
        float(v) for v in np.quantile(sitk.GetArrayViewFromImage(volume)[inside], (0.25, 0.5, 0.75))
    )
    if three - quarter <= _EVEN * abs(median):
        raise PreparationError("expected a brain, found an even grey, as a bottle of water has")


def one_mask(masks: list[sitk.Image]) -> sitk.Image:
    """The brain by the masks of several series on one grid: where at least half of them see it.

    One piece, without holes.
    """
    votes = np.mean([sitk.GetArrayViewFromImage(mask) for mask in masks], axis=0)
    together = sitk.GetImageFromArray(ndimage.binary_fill_holes(_largest(votes >= 0.5)).astype(np.uint8))
    together.CopyInformation(masks[0])
    return together


def dice(one: sitk.Image, other: sitk.Image) -> float:
    """Twice what two masks on one grid share, by what they hold together: from 0 to 1."""
    first, second = (sitk.GetArrayViewFromImage(mask) > 0 for mask in (one, other))
    shared, held = np.count_nonzero(first & second), np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * shared / held if held else 1.0


@torch.inference_mode()
def _probability(volume: torch.Tensor, low: float, high: float, name: str) -> NDArray[np.float32]:
    scaled = ((volume - low) / (high - low)).clamp(0, 1)
    scaled = 0.226 * (scaled - scaled.mean()) / scaled.std() + 0.449
    return np.asarray(brain_network(name)(scaled[None, None])[0].numpy())


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, n_pieces = ndimage.label(mask, np.ones((3, 3, 3)))
    if not n_pieces:
        raise PreparationError("expected a head, found nothing that looks like a brain")
    return np.asarray(labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1)


def _box(mask: NDArray[np.bool_], shape: Sequence[int]) -> tuple[slice, ...]:
    """The part of a volume of ``shape`` that the small mask lies in, with a margin."""
    box = []
    for axis, side in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(mask.mean(axis=others) > _PLANE)
        if not planes.size:
            raise PreparationError("expected a head, found nothing that looks like a brain")
        scale = side / mask.shape[axis]
        start, stop = planes[0] * scale, (planes[-1] + 1) * scale
        reach = (stop - start) * _MARGIN
        box.append(slice(max(0, round(start - reach)), min(side, round(stop + reach))))
    return tuple(box)
