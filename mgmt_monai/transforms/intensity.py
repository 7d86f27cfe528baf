"""Robust intensity scaling of a whole volume to [0, 1]."""

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from mgmt_monai.cohort.files.background import Background, find_background
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.containers import as_given, finite_voxels
from mgmt_monai.transforms.errors import TransformError


def foreground_range(
    volume: np.ndarray, lower_percentile: float, upper_percentile: float, background: Background | None = None
) -> tuple[float, float]:
    """Two percentiles (0 to 100) of the voxels that are not background, of a volume of any shape, finite, float32.

    Background is one value: the lowest as a rule, for after skull-stripping the air is exactly one value. Where the air
    is noise hardly a voxel equals the minimum, and leaving those out changes nothing.

    Returns:
        Both percentiles (linear interpolation between order statistics, as numpy's default). Where they
        coincide the first is the background instead, so that a mask stays a mask. For a constant volume, or one
        without voxels, both are equal.

    Source:
        Definition 7 of Hyndman and Fan, Sample Quantiles in Statistical Packages, Am. Stat. 50 (1996).
    """
    if volume.size == 0:
        return 0.0, 0.0
    background = background or find_background(volume)
    foreground = volume[background.foreground(volume)]
    if foreground.size == 0:
        return background.value, background.value
    upper = _percentile_in_place(foreground, upper_percentile)
    lower = _percentile_in_place(foreground, lower_percentile)
    return (lower, upper) if lower < upper else (background.value, upper)


class ScaleIntensityRobust(Transform):
    """Map two percentiles of a volume's foreground linearly to 0 and 1 and clip what lies beyond.

    One pair for the whole series, so that its slices stay comparable. The background, which is found, not assumed
    (:func:`~mgmt_monai.cohort.files.background.find_background`), becomes 0; so does everything in a constant volume.

    Args:
        lower_percentile: Percentile of the foreground that becomes 0; 0 to 100.
        upper_percentile: Percentile of the foreground that becomes 1; above ``lower_percentile``, at most 100.

    Raises:
        TransformError: When the percentiles are outside 0..100 or not in order.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's class attribute)

    def __init__(self, lower_percentile: float, upper_percentile: float) -> None:
        if not 0 <= lower_percentile < upper_percentile <= 100:
            raise TransformError(
                "'lower_percentile' and 'upper_percentile' must be 0 <= lower < upper <= 100 "
                f"(got {lower_percentile} and {upper_percentile}), e.g. 1 and 99"
            )
        self.lower_percentile = lower_percentile
        self.upper_percentile = upper_percentile

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """The volume in [0, 1], float32, in the same container, with its meta.

        Args:
            volume: (slices, rows, columns), any real dtype, finite; or NaN outside the head, where the edge of
                the slices is made of it. It is not changed.

        Raises:
            TransformError: When the volume is not an array or tensor or holds other NaN or infinite values.
        """
        if not isinstance(volume, np.ndarray | torch.Tensor):
            raise TransformError(
                "ScaleIntensityRobust: expected an array or tensor (slices, rows, columns), found "
                f"{type(volume).__name__}"
            )
        return as_given(volume, self._scale(finite_voxels(volume, "ScaleIntensityRobust")))

    def _scale(self, voxels: np.ndarray) -> np.ndarray:
        background = find_background(voxels)
        lower, upper = foreground_range(voxels, self.lower_percentile, self.upper_percentile, background)
        air = voxels == background.value if background.tissue_below else None
        if not lower < upper:
            return np.zeros_like(voxels)
        # The width may overflow or vanish in float32; a quotient that overflows is clipped to 1 all the same.
        with np.errstate(over="ignore"):
            width = np.float32(upper - lower)
            if not 0 < width < np.inf:
                voxels = voxels.astype(np.float64)
            voxels -= voxels.dtype.type(lower)
            voxels /= voxels.dtype.type(upper - lower)
        if air is not None:
            voxels[air] = 0
        return np.clip(voxels, 0, 1, out=voxels).astype(np.float32, copy=False)


class ScaleIntensityRobustd(AtKeys):
    """Dictionary twin of :class:`ScaleIntensityRobust`."""

    backend = ScaleIntensityRobust.backend

    def __init__(
        self, keys: KeysCollection, lower_percentile: float, upper_percentile: float, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, ScaleIntensityRobust(lower_percentile, upper_percentile), allow_missing_keys)


def _percentile_in_place(values: np.ndarray, percentile: float) -> float:
    """One percentile, reordering ``values``: a single partition is many times as fast as numpy's percentile."""
    position = percentile / 100 * (values.size - 1)
    below = int(position)
    values.partition(below)
    value = float(values[below])
    if position > below:
        value += (float(values[below + 1 :].min()) - value) * (position - below)
    return value
