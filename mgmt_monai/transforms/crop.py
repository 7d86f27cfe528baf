"""The middle slices of a series: which they are, and the transforms that keep them."""

from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from mgmt_monai.cohort.series import Series, middle_slices
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.containers import checked_volume
from mgmt_monai.transforms.errors import TransformError


class CropMiddleSlices(Transform):
    """Keep the middle slices of a series reference or of a volume, by `middle_slices`; the slices are the same.

    Put it before `LoadSeries` and only the kept slices are read from disk.

    Args:
        fraction: Share of the slices to keep, 0 < fraction <= 1.

    Raises:
        TransformError: When ``fraction`` is outside (0, 1].
    """

    backend = [TransformBackends.NUMPY, TransformBackends.TORCH]  # noqa: RUF012 (MONAI's class attribute)

    def __init__(self, fraction: float) -> None:
        if not 0 < fraction <= 1:
            raise TransformError(f"'fraction' must be above 0 and at most 1 (got {fraction}), e.g. 0.2")
        self.fraction = fraction

    def __call__(self, series: Any) -> Any:
        """The `Series`, or array or tensor (slices, rows, columns), with only its middle slices.

        The affine of a ``MetaTensor`` is moved to its new first slice.

        Raises:
            TransformError: When the input is neither.
            CohortError: When it has no slice.
        """
        if isinstance(series, Series):
            return series[middle_slices(series.n_slices, self.fraction)]
        checked_volume(series, "CropMiddleSlices", "a Series or a volume (slices, rows, columns)")
        return keep_slices(series, middle_slices(series.shape[0], self.fraction))


def keep_slices(volume: Any, kept: slice) -> Any:
    """These slices of an array or tensor (slices, rows, columns); a ``MetaTensor``'s affine moves to the first."""
    cropped = volume[kept]
    if isinstance(cropped, MetaTensor) and isinstance(volume, MetaTensor):
        affine = volume.affine.clone()
        affine[:3, 3] += kept.start * affine[:3, 2]
        cropped.meta = {**volume.meta, "affine": affine}
    return cropped


class CropMiddleSlicesd(AtKeys):
    """Dictionary twin of :class:`CropMiddleSlices`."""

    backend = CropMiddleSlices.backend

    def __init__(self, keys: KeysCollection, fraction: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, CropMiddleSlices(fraction), allow_missing_keys)
