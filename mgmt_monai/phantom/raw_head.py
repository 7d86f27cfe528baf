"""What a scanner sees around the brain: fluid, skull, scalp, eyes, neck; and a head that moves between two series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from mgmt_monai.phantom.anatomy import GRID_MM, GRID_ORIGIN_MM, Head, Tissue, rotation_about
from mgmt_monai.phantom.fields import Volume

#: Voxels added below and above the brain's grid along x, y, z: most below, where the neck is.
_WIDER = ((28, 28), (28, 28), (48, 28))
ORIGIN_MM = GRID_ORIGIN_MM - GRID_MM * np.array([before for before, _ in _WIDER])
"""Centre of the first voxel of a raw head's grid, head frame, ``(3,)``."""

# Distances from the brain at which each layer ends, in mm.
_FLUID_MM, _INNER_MM, _MARROW_MM, _BONE_MM, _SCALP_MM = 3.0, 5.0, 8.0, 10.0, 15.0
_EYE_MM, _ORBIT_MM = 12.5, 16.0


#: What a voxel of a raw head holds.
_AIR, _FAT, _MUSCLE, _BONE, _MARROW, _EYE, _FLUID, _BRAIN = range(8)

#: Brightness of each in that order, relative as in `appearance.Contrast`; the brain's own image takes the last place.
_TONES = {
    "FLAIR": (0.0, 0.70, 0.30, 0.05, 0.30, 0.12, 0.12, 0.0),
    "T1w": (0.0, 1.00, 0.40, 0.06, 0.45, 0.20, 0.14, 0.0),
    "T1wCE": (0.0, 1.00, 0.45, 0.06, 0.45, 0.20, 0.14, 0.0),
    "T2w": (0.0, 0.70, 0.25, 0.05, 0.30, 1.00, 1.00, 0.0),
}


def build_surroundings(tissue: Tissue, head: Head) -> NDArray[np.uint8]:
    """What each voxel of the whole head holds, on the brain's grid with more voxels around, of origin `ORIGIN_MM`.

    Args:
        tissue: The brain's.
        head: Whose it is.
    """
    brain = np.pad(tissue.depth_mm > 0, _WIDER)
    distance = distance_transform_edt(~brain).astype(np.float32) * np.float32(GRID_MM)
    x, y, z = np.meshgrid(
        *(np.arange(n, dtype=np.float32) * GRID_MM + start for n, start in zip(brain.shape, ORIGIN_MM, strict=True)),
        indexing="ij",
    )
    neck = (np.hypot(x / 52, (y - 25) / 58) < 1) & (z < -20)
    face = np.hypot(np.hypot(x / 58, (y + 55) / 45), (z + 75) / 60) < 1
    flesh = neck | face
    held = np.zeros(brain.shape, np.uint8)
    held[flesh] = _FAT  # under the skin
    held[binary_erosion(flesh, iterations=2)] = _MUSCLE
    for end_mm, what in ((_SCALP_MM, _FAT), (_BONE_MM, _BONE), (_MARROW_MM, _MARROW), (_INNER_MM, _BONE)):
        held[distance < end_mm] = what
    for side in (-1, 1):
        from_eye = np.sqrt((x - side * 31) ** 2 + (y + head.cerebrum_mm[1] + 4) ** 2 + (z + head.base_mm - 2) ** 2)
        held[from_eye < _ORBIT_MM] = _FAT
        held[from_eye < _EYE_MM] = _EYE
    held[distance < _FLUID_MM] = _FLUID
    held[brain] = _BRAIN
    return held


def surround(image: Volume, surroundings: NDArray[np.uint8], modality: str) -> Volume:
    """The whole head's ideal image in one modality, relative brightness, float32, on the grid of ``surroundings``.

    Args:
        image: The brain's, on its grid.
        surroundings: As `build_surroundings` gives them.
        modality: ``FLAIR``, ``T1w``, ``T1wCE`` or ``T2w``.
    """
    whole = np.array(_TONES[modality], np.float32)[surroundings]
    brain = surroundings == _BRAIN
    whole[brain] = np.pad(image, _WIDER)[brain]
    return gaussian_filter(whole, 0.4)


def moved(head: Head, rng: np.random.Generator, largest: float) -> Head:
    """The head after it has moved: a turn about a random axis and a shift, both of random size.

    Args:
        head: Before.
        rng: Draws the move.
        largest: Bound of the shift in mm and of the turn in degrees.
    """
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    shift, turn = rng.uniform(0, largest, 2)
    rotation = rotation_about(axis, float(np.deg2rad(turn)))
    return replace(head, centre_mm=head.centre_mm + shift * direction, rotation=rotation @ head.rotation)


def pose(head: Head) -> NDArray[np.float64]:
    """Head frame to scanner, ``(4, 4)``, LPS, in mm: of two series of one head, what registers them."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = head.rotation, head.centre_mm
    return matrix
