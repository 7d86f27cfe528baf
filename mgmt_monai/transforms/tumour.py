"""What a segmentation of the tumour allows: the slices around it, and the image without it."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from mgmt_monai.cohort.files.background import find_background
from mgmt_monai.cohort.series import middle_slices
from mgmt_monai.transforms.at_keys import AtKeys
from mgmt_monai.transforms.crop import CropMiddleSlices, CropMiddleSlicesd, keep_slices
from mgmt_monai.transforms.errors import TransformError
from mgmt_monai.transforms.load import GEOMETRY_FAULT, LoadSeriesd
from mgmt_monai.transforms.reformat import ReformatPlaned
from mgmt_monai.transforms.segmentation import nearest_labels, read_segmentation

IN_HEAD = 0.5
"""Of the annotated volume, at least this share lies in the series, and there on something brighter than the background;
less is the segmentation of another study, or of another space."""


class CropTumourSlices(Transform):
    """Keep the slices around the tumour's centre of mass, as many as `CropMiddleSlices` keeps of the whole series.

    At the end of the series the block is moved so that it stays within it.

    Args:
        fraction: Share of the slices to keep, 0 < fraction <= 1.

    Raises:
        TransformError: When ``fraction`` is outside (0, 1].
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's class attribute)

    def __init__(self, fraction: float) -> None:
        self.fraction = CropMiddleSlices(fraction).fraction

    def __call__(self, volume: MetaTensor, segmentation: str | os.PathLike[str]) -> MetaTensor:
        """The volume (slices, rows, columns) with the slices around the tumour; its affine follows.

        Args:
            volume: All slices, with the affine that `LoadSeries` gives.
            segmentation: NIfTI in the patient's space, on any grid; every label but 0 is tumour.

        Raises:
            TransformError: The volume cannot be placed, or the segmentation cannot be read or is another study's.
        """
        path = Path(segmentation)
        labels, affine = read_segmentation(path)
        inside = _carried(labels, affine, volume, path)
        voxels = volume.numpy()
        n_annotated = abs(np.linalg.det(affine[:3, :3])) * np.count_nonzero(labels)
        n_in_head = abs(np.linalg.det(volume.affine.numpy()[:3, :3])) * np.count_nonzero(
            inside & find_background(voxels).foreground(voxels)
        )
        if n_in_head < IN_HEAD * n_annotated:
            raise TransformError(
                f"{path}: expected at least {IN_HEAD:.0%} of what is annotated in the head, found "
                f"{n_in_head / n_annotated:.0%}; name the segmentation of this study, in its own space"
            )
        centre = np.linalg.inv(volume.affine.numpy()) @ affine @ [*np.argwhere(labels).mean(axis=0), 1]
        middle = middle_slices(len(voxels), self.fraction)
        n_kept = middle.stop - middle.start
        start = int(np.clip(np.rint(centre[2] - (n_kept - 1) / 2), 0, len(voxels) - n_kept))
        return keep_slices(volume, slice(start, start + n_kept))


class HideTumour(Transform):
    """Put the median of the rest of the head where the tumour is. Its outline stays, and so its size and place."""

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's class attribute)

    def __call__(self, volume: MetaTensor, segmentation: str | os.PathLike[str]) -> MetaTensor:
        """The volume (slices, rows, columns), float32, without its tumour; some slices of a series will do.

        Raises:
            TransformError: As `CropTumourSlices`, but that nothing of the tumour need lie in these slices.
        """
        path = Path(segmentation)
        inside = _carried(*read_segmentation(path), volume, path)
        voxels = volume.numpy().astype(np.float32)
        rest = voxels[find_background(voxels).foreground(voxels) & ~inside]
        voxels[inside] = np.median(rest) if rest.size else voxels.min()
        return MetaTensor(torch.from_numpy(voxels), meta=volume.meta)


class _Segmentedd(AtKeys):
    """Applies an array transform to the volume at each key, with the file at the key of the segmentation."""

    def __init__(self, keys: KeysCollection, transform: Any, segmentation: str, allow_missing_keys: bool) -> None:
        super().__init__(keys, transform, allow_missing_keys)
        self.segmentation = segmentation

    def apply(self, value: Any, item: Mapping[Hashable, Any]) -> Any:
        """The new volume.

        Raises:
            TransformError: As the array class does, or the item has no segmentation.
        """
        if self.segmentation not in item:
            raise TransformError("expected a segmentation of the tumour, found none; --slices middle needs none")
        return self.transform(value, item[self.segmentation])


class CropTumourSlicesd(_Segmentedd):
    """Dictionary twin of :class:`CropTumourSlices`."""

    backend = CropTumourSlices.backend

    def __init__(
        self,
        keys: KeysCollection,
        fraction: float,
        segmentation: str = "segmentation",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, CropTumourSlices(fraction), segmentation, allow_missing_keys)


class HideTumourd(_Segmentedd):
    """Dictionary twin of :class:`HideTumour`."""

    backend = HideTumour.backend

    def __init__(
        self, keys: KeysCollection, segmentation: str = "segmentation", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, HideTumour(), segmentation, allow_missing_keys)


def with_segmentation(steps: Sequence[Any], slices: str, control: str) -> list[Any]:
    """A chain of dictionary transforms, changed by what a training does with segmentations.

    Args:
        steps: Up to the scaling: `CropMiddleSlicesd` or `ReformatPlaned` chooses the slices, `LoadSeriesd` reads them.
        slices: ``tumour``: as many around the tumour in their place; ``middle``: as they are.
        control: ``without_tumour``: the tumour is hidden before anything is scaled.

    Raises:
        TransformError: A chain that does not choose its slices so.
    """
    chain, fraction = list(steps), 1.0
    if slices == "tumour":
        chosen: list[Any] = [step.transform for step in chain if isinstance(step, CropMiddleSlicesd | ReformatPlaned)]
        if len(chosen) != 1:
            raise TransformError(f"slices tumour: expected one step that chooses slices, found {len(chosen)}")
        fraction = chosen[0].fraction
        chain = [
            ReformatPlaned(step.keys, chosen[0].plane) if isinstance(step, ReformatPlaned) else step
            for step in chain
            if not isinstance(step, CropMiddleSlicesd)
        ]
    place = 1 + max((n for n, step in enumerate(chain) if isinstance(step, LoadSeriesd | ReformatPlaned)), default=-1)
    keys = chain[place - 1].keys if place else ()
    added = [CropTumourSlicesd(keys, fraction)] if slices == "tumour" else []
    added += [HideTumourd(keys)] if control == "without_tumour" else []
    return [*chain[:place], *added, *chain[place:]]


def _carried(labels: np.ndarray, affine: np.ndarray, volume: MetaTensor, path: Path) -> np.ndarray:
    """The labels at the voxels of a volume (slices, rows, columns), by the nearest voxel; bool."""
    if not isinstance(volume, MetaTensor) or volume.ndim != 3 or volume.meta.get(GEOMETRY_FAULT):
        fault = volume.meta.get(GEOMETRY_FAULT) if isinstance(volume, MetaTensor) else "no affine"
        raise TransformError(f"{path}: expected a series whose slices have a place in the patient, found {fault}")
    return nearest_labels(labels, affine, volume.shape, volume.affine.numpy())
