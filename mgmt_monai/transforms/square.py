"""A field of view made square, so that a resize to a square keeps the proportions of what is in it."""

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.containers import checked_volume
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.reformat import SIDE_LIMIT


class PadToSquare(Transform):
    """Pad the shorter side, in mm, of the slices of a scaled volume on both ends with its background, 0.

    The sides of a pixel are those of the affine, so that pixels that are not square are resized to square ones too.
    Without an affine they count as square. A field of view that is square to half a pixel stays as it is.
    """

    backend = [TransformBackends.NUMPY, TransformBackends.TORCH]  # noqa: RUF012 (MONAI's class attribute)

    def __call__(self, volume: NdarrayOrTensor) -> NdarrayOrTensor:
        """The volume (slices, rows, columns) with more rows or columns, an odd one at the far end; its affine follows.

        Raises:
            TransformError: It is no volume, or pixels are so unequal that a side would exceed `SIDE_LIMIT`.
        """
        volume = checked_volume(volume, "PadToSquare")
        _, rows, columns = volume.shape
        row_mm, column_mm = _pixel_mm(volume)
        height_mm, width_mm = rows * row_mm, columns * column_mm
        sides = round(max(1.0, width_mm / height_mm) * rows), round(max(1.0, height_mm / width_mm) * columns)
        if max(sides) > max(SIDE_LIMIT, rows, columns):
            raise TransformError(
                f"expected at most {SIDE_LIMIT} pixels a side to keep the aspect, found {max(sides)} ({rows} x "
                f"{columns} pixels of {row_mm:g} x {column_mm:g} mm); if the spacing in the files is wrong, mend it; "
                "else leave the patient out with an exclusion list, or train with --aspect squash"
            )
        top, left = (sides[0] - rows) // 2, (sides[1] - columns) // 2
        if sides == (rows, columns):
            return volume
        margins = (top, sides[0] - rows - top), (left, sides[1] - columns - left)
        if isinstance(volume, np.ndarray):
            return np.pad(volume, ((0, 0), *margins))
        plain = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
        padded = torch.nn.functional.pad(plain, (*margins[1], *margins[0]))
        if not isinstance(volume, MetaTensor):
            return padded
        affine = volume.affine.clone()
        affine[:3, 3] -= top * affine[:3, 0] + left * affine[:3, 1]
        return MetaTensor(padded, meta={**volume.meta, "affine": affine})


class PadToSquared(AtKeys):
    """Dictionary twin of :class:`PadToSquare`."""

    backend = PadToSquare.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, PadToSquare(), allow_missing_keys)


def _pixel_mm(volume: NdarrayOrTensor) -> tuple[float, float]:
    """Between rows and between columns; 1 and 1 where nothing tells."""
    if isinstance(volume, MetaTensor):
        found = np.linalg.norm(volume.affine.detach().cpu().numpy()[:3, :2], axis=0)
        if np.isfinite(found).all() and (found > 0).all():
            return float(found[0]), float(found[1])
    return 1.0, 1.0
