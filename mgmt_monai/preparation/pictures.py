"""What a person looks at: the brain's edge on each plane, and a checkerboard of a series and the reference."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from numpy.typing import NDArray
from scipy import ndimage

from mgmt_monai.preparation.prepare import REFERENCE_ORDER, Prepared

SIDE = 192
"""Of one picture, in pixels."""

_TILE_MM = 24
_AROUND_MM = 30
_EDGE = (255, 96, 64)


def sheet(prepared: Prepared, modality: str) -> bytes:
    """A JPEG of one series: three planes with the brain's edge and, below, its checkerboard with the reference.

    Args:
        prepared: The head.
        modality: One that was accepted.
    """
    shown, inside = _shown(prepared, modality)
    rows = [_planes(shown, inside, edge=True)]
    if modality != prepared.reference:
        reference, _ = _shown(prepared, prepared.reference)
        size = max(1, round(_TILE_MM / prepared.mask.GetSpacing()[0]))
        tiles = (np.indices(shown.shape) // size).sum(axis=0) % 2 == 0
        rows.append(_planes(np.where(tiles, shown, reference), inside, edge=False))
    return _jpeg(np.vstack(rows))


def overview(prepared: Prepared) -> bytes:
    """A JPEG of the patient: the middle axial slice of each series that was accepted, with the brain's edge."""
    series = [m for m in REFERENCE_ORDER if m in prepared.whole]
    return _jpeg(np.hstack([_planes(*_shown(prepared, m), edge=True)[:, :SIDE] for m in series]))


def _shown(prepared: Prepared, modality: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grey values and brain, cut to the brain and a little more."""
    inside = sitk.GetArrayFromImage(prepared.mask) > 0
    grey = _grey(prepared.whole[modality], prepared.mask)
    around = round(_AROUND_MM / prepared.mask.GetSpacing()[0])
    box = tuple(
        slice(max(0, where.start - around), where.stop + around)
        for where in ndimage.find_objects(inside.astype(int))[0]
    )
    return grey[box], inside[box]


def _grey(image: sitk.Image, mask: sitk.Image) -> NDArray[np.uint8]:
    values = sitk.GetArrayFromImage(image)
    low, high = np.quantile(values[sitk.GetArrayViewFromImage(mask) > 0], (0.01, 0.995))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255, np.uint8)


def _planes(grey: NDArray[np.uint8], inside: NDArray[np.bool_], edge: bool) -> NDArray[np.uint8]:
    """Axial, coronal, sagittal through the brain's middle, side by side: ``(SIDE, 3 * SIDE, 3)``, heads upright."""
    from PIL import Image

    middle = [round(float(value)) for value in ndimage.center_of_mass(inside)]
    pictures = []
    for axis in range(3):
        cut = np.take(grey, middle[axis], axis)
        colour = np.repeat(cut[..., None], 3, axis=-1)
        if edge:
            part = np.take(inside, middle[axis], axis)
            colour[part & ~ndimage.binary_erosion(part)] = _EDGE
        if axis:  # rows go up along the body
            colour = colour[::-1]
        picture = Image.fromarray(colour)
        picture.thumbnail((SIDE, SIDE))
        frame = Image.new("RGB", (SIDE, SIDE))
        frame.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
        pictures.append(np.asarray(frame))
    return np.hstack(pictures)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=82)
    return out.getvalue()
