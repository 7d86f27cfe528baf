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
from mgmt_monai.preparation.hd_bet import NAME as HD_BET
from mgmt_monai.preparation.hd_bet import hd_bet_mask

#: The sides that the networks were trained on: of the whole field of view, then of the head alone.
_WHERE, _EDGE = (128, 128, 128), (256, 256, 256)
_MARGIN = 0.1
#: A plane belongs to the head where the mask covers this share of it.
_PLANE = 0.02
#: What a brain holds, in cm3, from a small child's on; what is larger is no brain alone.
VOLUME_CM3 = (500.0, 2200.0)
#: A brain is cut off where its last slice at an edge is larger than this share of its largest; of a whole one in slices
#: of 10 mm, the last has 0.31.
_CUT = 0.4
#: The brain seen from afar lies on the one seen near, at least so far (Dice): 0.95 to 0.98 in heads, 0.80 to 0.84 in
#: bottles and a fruit, 0.80 to 0.94 in halves of heads. A whole T2w head in slices of 10 mm has 0.87 to 0.91, with a
#: brain a third too large, and is mostly refused.
_AGREED = 0.9
#: A brain without its skull is all that is no background: the brain seen from afar lies on it further than this (Dice),
#: 0.90 to 0.97; with the skull it is 0.75.
_STRIPPED = 0.85
#: A whole brain's shortest side, as a standard deviation, is at least this share of its longest: 0.73 to 0.82 in heads,
#: 0.43 to 0.56 where half or two thirds are in the field of view.
_FLAT = 0.62
#: The middle half of a brain's grey values spans more than this share of their median; a bottle's does not.
_EVEN = 0.08


def brain_mask(volume: sitk.Image, tool: str = "") -> sitk.Image:
    """The brain, uint8, 1 inside, on the volume's grid: one piece, without holes; all of a brain without skull.

    Args:
        volume: 3D, float32, of any contrast, orientation and spacing.
        tool: What sees the brain near: "" for deepbet, or ``hd-bet``; from afar it is deepbet, which holds the other.

    Raises:
        PreparationError: Nothing in it looks like a brain.

    Source:
        Fisch et al., deepbet, Comput Biol Med 2024: the whole field of view at 128 x 128 x 128 shows where the head
        is, the head at 256 x 256 x 256 its brain.
    """
    oriented = sitk.DICOMOrient(volume, "LPS")
    # RAS order of the axes (x, y, z), as the networks know it.
    voxels = torch.from_numpy(sitk.GetArrayFromImage(oriented).transpose(2, 1, 0).copy()).flip(0, 1)
    small = _sized(voxels, _WHERE)
    low, high = (float(value) for value in np.quantile(small.numpy(), (0.005, 0.995)))
    if not high > low:
        raise PreparationError("expected a head, found one grey value")
    where = _largest(_probability(small, low, high, "where") > 0.5)
    afar = _sized(torch.from_numpy(where).float(), voxels.shape).numpy() > 0
    mask = _without_skull(voxels.numpy(), afar)
    if mask is None:
        if tool == HD_BET:
            mask = hd_bet_mask(voxels.numpy(), oriented.GetSpacing())
        else:
            box = _box(where, voxels.shape)
            inside = torch.from_numpy(_probability(_sized(voxels[box], _EDGE), low, high, "edge"))
            mask = np.zeros(voxels.shape, bool)
            mask[box] = _sized(inside, voxels[box].shape).numpy() > 0.5
        mask = ndimage.binary_fill_holes(_largest(mask))
        if (agreed := _dice(mask, afar)) < _AGREED:
            raise PreparationError(
                f"expected a brain that is the same from afar and near (Dice at least {_AGREED:g}), found "
                f"{agreed:.3f}, as in a bottle, a neck or half a head"
            )
    found = _image(np.ascontiguousarray(mask[::-1, ::-1].transpose(2, 1, 0)), oriented)
    return sitk.Resample(found, volume, sitk.Transform(), sitk.sitkNearestNeighbor)


def check_brain(volume: sitk.Image, mask: sitk.Image) -> None:
    """Hold a brain that was found to what every whole brain has.

    Raises:
        PreparationError: Too small or too large, cut off by the field of view, flat, or as even as a bottle of water.
    """
    inside = sitk.GetArrayViewFromImage(mask) > 0
    cm3 = brain_cm3(mask)
    if not VOLUME_CM3[0] <= cm3 <= VOLUME_CM3[1]:
        limits = " to ".join(f"{limit:g}" for limit in VOLUME_CM3)
        raise PreparationError(f"expected a whole brain of {limits} cm3, found {cm3:.0f} cm3")
    sides = []
    for axis, spacing in enumerate(mask.GetSpacing()[::-1]):
        sizes = inside.sum(axis=tuple(other for other in range(3) if other != axis))
        if int(sizes[[0, -1]].max()) > _CUT * int(sizes.max()):
            raise PreparationError("expected a whole brain, found one that the edge of the field of view cuts off")
        places = np.arange(len(sizes)) * spacing
        sides.append(np.average((places - np.average(places, weights=sizes)) ** 2, weights=sizes) ** 0.5)
    if min(sides) < _FLAT * max(sides):
        raise PreparationError(
            f"expected a whole brain, whose shortest side is at least {_FLAT:g} of its longest, found "
            f"{min(sides) / max(sides):.3f}, as where a part of it is outside the field of view"
        )
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
    return _image(ndimage.binary_fill_holes(_largest(votes >= 0.5)), masks[0])


def brain_cm3(mask: sitk.Image) -> float:
    """The volume of a mask."""
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask))) * math.prod(mask.GetSpacing()) / 1000


def dice(one: sitk.Image, other: sitk.Image) -> float:
    """Twice what two masks on one grid share, by what they hold together: from 0 to 1."""
    return _dice(*(sitk.GetArrayViewFromImage(mask) > 0 for mask in (one, other)))


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    held = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * int(np.count_nonzero(one & other)) / int(held) if held else 1.0


def _image(mask: NDArray[np.bool_], like: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.CopyInformation(like)
    return image


def _without_skull(voxels: NDArray[np.float32], afar: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """All that is no background, where that is a brain; None where there is more around it."""
    head = voxels != voxels[0, 0, 0]
    if head.mean() >= 0.5:
        return None
    head = ndimage.binary_fill_holes(_largest(head))
    return head if _dice(head, afar) > _STRIPPED else None


def _sized(volume: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A volume in as many voxels as ``shape`` says: of each the nearest."""
    return interpolate(volume[None, None], tuple(shape), mode="nearest-exact")[0, 0]


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
