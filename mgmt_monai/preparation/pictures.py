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


def pictures(prepared: Prepared) -> tuple[bytes, dict[str, bytes]]:
    """JPEGs of the patient: the overview, and a sheet for each series that was accepted.

    The overview is each series' middle axial slice with the brain's edge; a sheet, three planes of the series with the
    edge and, below, its checkerboard with the reference; of the reference, with the template where there is one.

    Args:
        prepared: The head.
    """
    inside, spacing_mm = sitk.GetArrayFromImage(prepared.mask) > 0, prepared.mask.GetSpacing()[0]
    around = round(_AROUND_MM / spacing_mm)
    box = tuple(
        slice(max(0, where.start - around), where.stop + around)
        for where in ndimage.find_objects(inside.astype(int))[0]
    )
    series = [m for m in REFERENCE_ORDER if m in prepared.whole]
    grey = {m: _grey(prepared.whole[m], inside)[box] for m in series}
    others = {m: grey[prepared.reference] for m in series if m != prepared.reference}
    if prepared.template is not None:
        others[prepared.reference] = _grey(prepared.template, inside)[box]
    inside = inside[box]
    planes = {m: _planes(grey[m], inside, edge=True) for m in series}
    tiles = (np.indices(inside.shape) // max(1, round(_TILE_MM / spacing_mm))).sum(axis=0) % 2 == 0
    sheets = {}
    for modality in series:
        rows = [planes[modality]]
        if modality in others:
            rows.append(_planes(np.where(tiles, grey[modality], others[modality]), inside, edge=False))
        sheets[modality] = _jpeg(np.vstack(rows))
    return _jpeg(np.hstack([planes[m][:, :SIDE] for m in series])), sheets


def _grey(image: sitk.Image, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    values = sitk.GetArrayFromImage(image)
    low, high = np.quantile(values[inside], (0.01, 0.995))
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
