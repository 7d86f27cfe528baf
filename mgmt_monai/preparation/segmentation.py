"""A tumour's segmentation that lies in a study's folder, carried along with the series that it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.cohort.tables.segmentations import is_segmentation
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.prepare import REFERENCE_ORDER, Prepared
from mgmt_monai.preparation.template import read_volume


def find_segmentation(study: Path) -> sitk.Image | None:
    """The segmentation in a study's folder, its labels as they are; None where there is none.

    Raises:
        PreparationError: Several, or one that cannot be read or holds nothing.
    """
    found = sorted(path for path in study.iterdir() if is_segmentation(path.name)) if study.is_dir() else []
    if not found:
        return None
    if len(found) > 1:
        raise PreparationError(f"{study}: expected one segmentation, found {len(found)}. Leave one there.")
    labels = read_volume(found[0], "segmentation")
    values = sitk.GetArrayViewFromImage(labels)
    if not values.any() or (values != np.rint(values)).any():
        raise PreparationError(f"{found[0]}: expected the whole numbers of labels, found none. Move it away.")
    return labels


def drawn_on(labels: sitk.Image, images: Mapping[str, sitk.Image]) -> str:
    """The modality on whose grid a segmentation lies, the first of `REFERENCE_ORDER`.

    Raises:
        PreparationError: It lies on none of them.
    """
    for modality in REFERENCE_ORDER:
        if modality in images and _same_grid(labels, images[modality]):
            return modality
    raise PreparationError(
        "expected a segmentation on the voxels of one of the series, found one on others. Move it away, or resample it."
    )


def carried(labels: sitk.Image, modality: str, prepared: Prepared) -> sitk.Image:
    """The labels in the common space, by the nearest voxel.

    Raises:
        PreparationError: The series that they were drawn on is not there.
    """
    if modality not in prepared.transforms:
        raise PreparationError(f"the segmentation was drawn on {modality}, which was refused. Move it away.")
    labels = sitk.Cast(labels, sitk.sitkInt16)
    return sitk.Resample(labels, prepared.mask, prepared.transforms[modality], sitk.sitkNearestNeighbor, 0)


def _same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    """Whether two images have the same voxels, in whatever order they are stored."""
    if sorted(one.GetSize()) != sorted(other.GetSize()):
        return False
    half = min(other.GetSpacing()) / 2
    return bool(np.abs(_corners(one) - _corners(other)).max() < half)


def _corners(image: sitk.Image) -> np.ndarray:
    """The least and the greatest coordinates of the voxels' centres, in mm."""
    last = [n - 1 for n in image.GetSize()]
    ends = [[of * end for of, end in zip((x, y, z), last, strict=True)] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    points = np.array([image.TransformIndexToPhysicalPoint(end) for end in ends])
    return np.stack([points.min(axis=0), points.max(axis=0)])
