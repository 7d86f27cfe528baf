"""Images without what a model should look at, for negative controls: the head hidden, or nothing left at all."""

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends
from scipy import ndimage
from scipy.spatial import ConvexHull

from mgmt_monai.cohort.files.background import find_background
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.containers import as_given, checked_volume, finite_voxels
from mgmt_monai.transforms.intensity import foreground_range

MARGIN = 0.05
"""Hidden around the head, as a share of the image's longer side: 13 pixels of 256. The threshold runs through the
blurred edge of the head; beyond it lies what the point spread and the ringing carry outwards, and a dim rim around
heads that were stripped of the skull and resampled. The scaling that follows would stretch it to full brightness."""

BRIGHTEST_PERCENTILE = 99.0
"""Of the foreground: brighter voxels count as this bright when the threshold is sought, so that fat, contrast medium or
a mark burned into the image do not draw it up."""


PIECE = 0.05
"""A piece of the volume belongs to the head when it has at least this share of the largest one's voxels. Scalp that the
skull parts from the brain has some 15 %; a letter of 1/12 of the image's side has less than 2 %."""


def head_mask(volume: np.ndarray) -> np.ndarray:
    """Where the head is, generously: of each slice, the convex hull of the head in it, and a margin around it.

    Air and tissue are parted by the lower of Otsu's two thresholds between three classes: with two classes, dim brain
    often falls in with the air. A hull, not the filled holes alone: where a threshold breaks the ring of scalp and
    skull, the brain inside would be open, and hiding too little is the error that matters.

    Args:
        volume: (slices, rows, columns), finite, float32.

    Returns:
        The same shape, bool. All False for a constant volume.

    Source:
        N. Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. Syst. Man Cybern. 9 (1979), as
        ITK's ``OtsuMultipleThresholdsImageFilter`` has it.
    """
    mask = np.zeros(volume.shape, dtype=bool)
    volume = _brightness(volume)
    tissue = volume > _air_limit(volume)
    if not tissue.any():
        return mask
    for slice_ in tissue:
        ndimage.binary_fill_holes(slice_, output=slice_)
    pieces, _ = ndimage.label(tissue)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    margin = MARGIN * max(volume.shape[1:])
    for index, slice_ in enumerate((sizes >= PIECE * sizes.max())[pieces] & tissue):
        if slice_.any():
            mask[index] = ndimage.distance_transform_edt(~_convex_hull(slice_)) <= margin
    return mask


class HideHead(Transform):
    """Hide the head: only what lies outside it stays, which `ScaleIntensityRobust` then stretches to [0, 1]."""

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's class attribute)

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """The volume with the voxels of the head, by :func:`head_mask`, at the lowest value found outside it.

        Args:
            volume: (slices, rows, columns), any real dtype, finite. It is not changed.

        Returns:
            The same shape and container, with its meta, float32. Zeros where the head fills the volume.

        Raises:
            TransformError: When the input is no volume or holds NaN or infinite values.
        """
        return as_given(volume, _without_head(finite_voxels(checked_volume(volume, "HideHead"), "HideHead")))


class HideHeadd(AtKeys):
    """Dictionary twin of :class:`HideHead`."""

    backend = HideHead.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, HideHead(), allow_missing_keys)


class Blank(Transform):
    """Leave nothing of a volume but its shape: every voxel becomes 0."""

    backend = [TransformBackends.NUMPY, TransformBackends.TORCH]  # noqa: RUF012 (MONAI's class attribute)

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """Zeros, float32, in the shape and container of a volume (slices, rows, columns).

        Raises:
            TransformError: When the input is no volume.
        """
        return as_given(volume, np.zeros(checked_volume(volume, "Blank").shape, dtype=np.float32))


class Blankd(AtKeys):
    """Dictionary twin of :class:`Blank`."""

    backend = Blank.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, Blank(), allow_missing_keys)


def _without_head(voxels: np.ndarray) -> np.ndarray:
    head = head_mask(voxels)
    if head.all():
        return np.zeros_like(voxels)
    # The background, or the lowest value outside, not of all: no voxel of the head has a say in what is left.
    background = find_background(voxels)
    voxels[head] = voxels[~head].min() if background.found == "lowest" else background.value
    return voxels


def _brightness(volume: np.ndarray) -> np.ndarray:
    """The volume; or how far from the background it is, where tissue lies on both sides of that."""
    background = find_background(volume)
    if not background.tissue_below:
        return volume
    return np.abs(volume - np.float32(background.value)) * background.foreground(volume)


def _air_limit(volume: np.ndarray) -> float:
    """The value that tissue exceeds; infinite in a volume of one value."""
    low, high = foreground_range(volume, 0, BRIGHTEST_PERCENTILE)
    low = min(low, float(volume.min(initial=np.inf)))
    if not low < high:
        return float("inf")
    # From 0 to 1, so that values at float32's limits have a histogram too.
    clipped = np.clip((volume.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(sitk.GetImageFromArray(clipped))
    return low + otsu.GetThresholds()[0] * (high - low)


def _convex_hull(mask: np.ndarray) -> np.ndarray:
    """The pixels whose centres lie in the convex hull of a mask's pixels, corners included; (rows, columns), bool."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1) - 0.5
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1) - 0.5
    # Corners, not centres: even a single pixel then has an area, without which there is no hull.
    corners = [np.column_stack([rows + half, columns]) for half in (-0.5, 0.5) for columns in (first, last)]
    of_row, of_column, offset = ConvexHull(np.concatenate(corners)).equations.T
    between = np.arange(rows[0], rows[-1] + 1)
    slanted = np.abs(of_column) > 1e-9  # the others bound the rows
    bounds = -(np.outer(between, of_row[slanted]) + offset[slanted]) / of_column[slanted]
    rightmost = np.where(of_column[slanted] > 0, bounds, np.inf).min(axis=1)
    leftmost = np.where(of_column[slanted] < 0, bounds, -np.inf).max(axis=1)
    columns = np.arange(mask.shape[1])
    hull = np.zeros_like(mask)
    hull[between] = (columns >= leftmost[:, None] - 1e-6) & (columns <= rightmost[:, None] + 1e-6)
    return hull
