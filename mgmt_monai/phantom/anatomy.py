"""The head: a skull-stripped brain with folds, ventricles and a tumour, as tissue shares on a grid.

All coordinates are millimetres. The head frame has its origin at the cerebrum's centre and DICOM's
directions: x to the patient's left, y to the back, z to the top. Nothing here knows label or latent value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from mgmt_monai.phantom.fields import Volume, ramp, smooth_field

GRID_MM = 1.5
GRID_SHAPE = (104, 130, 104)
GRID_ORIGIN_MM = np.array([-77.25, -96.75, -79.5])

WARP_MM = 1.7  # standard deviation of the smooth distortion that makes the two hemispheres differ
MARGIN_MM = 6.0  # what the distortion may add to the extent of the plain shapes
DISPLACED_SHARE = 0.55  # of the tumour's volume that pushes its surroundings aside


@dataclass(frozen=True)
class Head:
    """One patient's size, pose and tumour.

    Args:
        centre_mm: Where the head frame's origin lies in the scanner, ``(3,)``, LPS.
        rotation: Head frame to scanner, ``(3, 3)``.
        cerebrum_mm: Semi-axes ``(left-right, front-back, upward)`` of the cerebrum.
        base_mm: How far the cerebrum reaches down.
        tumour_centre_mm: Head frame, ``(3,)``.
        tumour_radius_mm: Outer edge of the enhancing part, mean over directions.
        tumour_stretch: Relative semi-axes of the tumour, ``(3,)``, product 1.
        oedema_mm: How far the oedema reaches beyond the tumour.
        ventricle_scale: Size of the ventricles, 1 is average.
    """

    centre_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    cerebrum_mm: tuple[float, float, float]
    base_mm: float
    tumour_centre_mm: NDArray[np.float64]
    tumour_radius_mm: float
    tumour_stretch: NDArray[np.float64]
    oedema_mm: float
    ventricle_scale: float

    @property
    def cerebellum_mm(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Centre (head frame) and semi-axes of the cerebellum."""
        width, length, _ = self.cerebrum_mm
        return (0.0, 0.40 * length, 6.0 - self.base_mm), (0.76 * width, 0.40 * length, 30.0)

    @property
    def stem_mm(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Centre (head frame) and semi-axes of the brain stem."""
        return (0.0, 12.0, 4.0 - self.base_mm), (14.0, 14.0, 29.0)

    def extent_mm(self, direction: NDArray[np.float64]) -> tuple[float, float]:
        """Lowest and highest coordinate of the brain along a unit vector of the scanner's frame, ``(3,)``, in mm.

        They are counted from the head's centre, with a safe margin.
        """
        along = self.rotation.T @ direction
        shapes = (((0.0, 0.0, 0.0), self.cerebrum_mm), self.cerebellum_mm, self.stem_mm)
        centres = [float(np.dot(centre, along)) for centre, _ in shapes]
        reaches = [float(np.linalg.norm(along * np.array(axes))) + MARGIN_MM for _, axes in shapes]
        return (
            min(centre - reach for centre, reach in zip(centres, reaches, strict=True)),
            max(centre + reach for centre, reach in zip(centres, reaches, strict=True)),
        )

    def to_scanner(self, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """A point of the head frame in the scanner's (patient, LPS) coordinates, ``(3,)``, in mm."""
        return self.centre_mm + self.rotation @ point_mm


@dataclass(frozen=True)
class Tissue:
    """What is where, on a grid of ``GRID_MM`` with axes (x, y, z) of the head frame; all arrays float32.

    Args:
        depth_mm: Distance below the brain's surface, negative outside.
        csf: Share of cerebrospinal fluid in a voxel, [0, 1].
        white: Share of white matter, [0, 1]; grey matter is what remains.
        oedema: Share of a voxel soaked by oedema, [0, 1].
        tumour_box: The part of the grid around the tumour, which the three arrays below cover.
        tumour_reach: Distance from the tumour's centre over its local radius: 1 at its outer edge.
        core_wobble: Random irregularity of the inner boundary, unit standard deviation.
        mottle: Random texture, unit standard deviation.
    """

    depth_mm: Volume
    csf: Volume
    white: Volume
    oedema: Volume
    tumour_box: tuple[slice, slice, slice]
    tumour_reach: Volume
    core_wobble: Volume
    mottle: Volume


def draw_head(rng: np.random.Generator) -> Head:
    """A random head: adult sizes, a nod and a turn of a few degrees, a tumour near the middle.

    The tumour lies 4 to 11 mm left or right of the middle and at most 9 mm off along the other axes, so
    that the middle slices of every plane cut it well.
    """
    axes = (rng.uniform(63, 69), rng.uniform(79, 86), rng.uniform(62, 68))
    base = rng.uniform(43, 47)
    low = base + 24.0  # the lowest point of the cerebellum lies this deep
    middle = np.array([0.0, 0.0, (axes[2] - low) / 2])
    offset = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(4, 11), rng.uniform(-9, 9), rng.uniform(-8, 8)])
    stretch = np.exp(rng.uniform(-0.12, 0.12, 3))
    return Head(
        centre_mm=rng.uniform(-15, 15, 3),
        rotation=small_rotation(rng, 6.0),
        cerebrum_mm=axes,
        base_mm=base,
        tumour_centre_mm=middle + offset,
        tumour_radius_mm=rng.uniform(20, 27),
        tumour_stretch=stretch / np.prod(stretch) ** (1 / 3),
        oedema_mm=rng.uniform(6, 20),
        ventricle_scale=rng.uniform(0.85, 1.3),
    )


def small_rotation(rng: np.random.Generator, largest_deg: float) -> NDArray[np.float64]:
    """A random rotation by up to ``largest_deg`` about each axis, as a matrix ``(3, 3)`` with determinant 1."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-largest_deg, largest_deg, 3))):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i] = np.sin(angle)
        turn[i, j] = -turn[j, i]
        rotation = turn @ rotation
    return rotation


def rotation_about(axis: NDArray[np.float64], angle_rad: float) -> NDArray[np.float64]:
    """The turn by an angle about a unit vector ``(3,)``, as a matrix ``(3, 3)``."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross


def build_tissue(head: Head, rng: np.random.Generator) -> Tissue:
    """The head's tissue on its grid."""
    plain = [
        np.arange(n, dtype=np.float32) * np.float32(GRID_MM) + np.float32(start)
        for n, start in zip(GRID_SHAPE, GRID_ORIGIN_MM, strict=True)
    ]
    grid = list(np.meshgrid(*plain, indexing="ij"))
    points = [axis + WARP_MM * smooth_field(rng, GRID_SHAPE, (22, 22, 22)) for axis in grid]
    cerebrum, cerebellum, stem = _depths(head, points)
    depth = np.maximum(np.maximum(cerebrum, cerebellum), stem)

    box = _box(head.tumour_centre_mm, np.full(3, 1.3 * head.tumour_radius_mm + 2.2 * head.oedema_mm))
    reach, distance = _tumour(head, [axis[box] for axis in grid], rng)
    points = _displace(head, grid, points)
    noise = smooth_field(rng, GRID_SHAPE, (3.4, 3.4, 3.4), band_pass=True)
    fold = _fold(noise, points, cerebrum)
    csf, white = _cerebral_tissue(head, points, cerebrum, fold)

    below = ramp(np.maximum(cerebellum, stem) - cerebrum, 2.0)  # where the hindbrain takes over
    leaf = np.abs(np.sin(0.7 * cerebellum + 1.6 * noise))  # folia: wavy shells, 4.5 mm apart
    hind_white = np.maximum(ramp(leaf - 0.7, 1.0) * ramp(cerebellum - 5.0, 8.0), ramp(stem - 2.0, 3.0))
    tentorium = ramp(1.1 - np.abs(np.maximum(cerebellum, stem) - cerebrum), 1.2) * ramp(depth - 1.0, 2.0)
    csf = csf * (1 - below)
    csf = np.maximum(csf, tentorium)
    csf = np.maximum(csf, ramp(0.9 - depth, 1.8))  # a film of fluid under the surface
    white = (white * (1 - below) + below * hind_white) * (1 - csf)

    oedema = np.zeros(GRID_SHAPE, dtype=np.float32)
    finger = 0.35 * smooth_field(rng, csf[box].shape, (9, 9, 9)) + 0.25 * fold[box]
    soaked = ramp(head.oedema_mm * (1 + finger) - distance, 4.0)
    oedema[box] = soaked * (0.25 + 0.75 * white[box]) * (1 - csf[box])
    return Tissue(
        depth_mm=depth,
        csf=csf,
        white=white,
        oedema=oedema,
        tumour_box=box,
        tumour_reach=reach,
        core_wobble=smooth_field(rng, reach.shape, (6, 6, 6)),
        mottle=smooth_field(rng, reach.shape, (2.2, 2.2, 2.2)),
    )


def _ellipsoid(points: list[Volume], centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Volume:
    """Distance from ``centre`` relative to the ellipsoid: 0 at the centre, 1 on it."""
    total = np.zeros_like(points[0])
    for axis, middle, half in zip(points, centre, axes, strict=True):
        part = axis * np.float32(1 / half)
        part -= np.float32(middle / half)
        part *= part
        total += part
    return np.sqrt(total, out=total)


def _depths(head: Head, points: list[Volume]) -> tuple[Volume, Volume, Volume]:
    x, y, z = points
    _, length, height = head.cerebrum_mm
    # Wider behind than in front, and flatter below than above.
    x = x * (1 - 0.10 * y / length)
    z = np.where(z < 0, z * np.float32(height / head.base_mm), z)
    # Between an ellipsoid and a box, as skulls are: exponent 2.5 instead of 2.
    share = np.zeros_like(x)
    for axis, half in zip((x, y, z), head.cerebrum_mm, strict=True):
        part = np.abs(axis * np.float32(1 / half))
        share += part * part * np.sqrt(part)
    cerebrum = (1 - share ** np.float32(0.4)) * np.float32(height)
    parts = []
    for centre, axes in (head.cerebellum_mm, head.stem_mm):
        parts.append((1 - _ellipsoid(points, centre, axes)) * np.float32(min(axes)))
    return cerebrum, parts[0], parts[1]


def _box(centre_mm: NDArray[np.float64], half_mm: NDArray[np.float64]) -> tuple[slice, slice, slice]:
    """The part of the grid within ``half_mm`` of ``centre_mm`` along each axis, ``(3,)`` each."""
    first = np.floor((centre_mm - half_mm - GRID_ORIGIN_MM) / GRID_MM).astype(int)
    last = np.ceil((centre_mm + half_mm - GRID_ORIGIN_MM) / GRID_MM).astype(int) + 1
    x, y, z = (slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(first, last, GRID_SHAPE, strict=True))
    return x, y, z


def _tumour(head: Head, near: list[Volume], rng: np.random.Generator) -> tuple[Volume, Volume]:
    """Distance from the tumour's centre over its radius, and distance beyond its edge in mm."""
    axes = head.tumour_radius_mm * head.tumour_stretch
    centre = head.tumour_centre_mm
    reach = _ellipsoid(near, (centre[0], centre[1], centre[2]), (axes[0], axes[1], axes[2]))
    reach *= 1 + 0.09 * smooth_field(rng, reach.shape, (9, 9, 9))
    return reach, (reach - 1) * np.float32(head.tumour_radius_mm)


def _displace(head: Head, grid: list[Volume], points: list[Volume]) -> list[Volume]:
    """Where the tissue now seen at each point was before the tumour pushed it outwards.

    A ball of tissue that cannot be compressed: a shell of radius r held the shell of radius
    ``(r^3 - share R^3)^(1/3)``.
    """
    away = [axis - np.float32(c) for axis, c in zip(grid, head.tumour_centre_mm, strict=True)]
    cube = (away[0] ** 2 + away[1] ** 2 + away[2] ** 2) + np.float32(1.0)
    cube *= np.sqrt(cube)
    pushed = np.float32(DISPLACED_SHARE * head.tumour_radius_mm**3)
    shrink = np.cbrt(np.maximum(1 - pushed / cube, 0)) - 1
    return [point + shrink * step for point, step in zip(points, away, strict=True)]


def _fold(noise: Volume, points: list[Volume], depth: Volume) -> Volume:
    """The folding field: it changes along the surface more than below it, so that sulci run inwards."""
    x, y, z = points
    radius = np.sqrt(x * x + y * y + z * z) + np.float32(1.0)
    outward = (np.float32(25.0) + np.float32(0.55) * radius) / radius
    where = depth > -3
    at = np.stack(
        [
            (axis[where] * outward[where] - np.float32(start)) / np.float32(GRID_MM)
            for axis, start in zip(points, GRID_ORIGIN_MM, strict=True)
        ]
    )
    fold = np.ones_like(noise)
    fold[where] = map_coordinates(noise, at, output=np.float32, order=1, mode="nearest")
    return fold


def _cerebral_tissue(head: Head, points: list[Volume], depth: Volume, fold: Volume) -> tuple[Volume, Volume]:
    x, y, z = points
    side = np.abs(x)
    from_sulcus = np.abs(fold)
    tapering = np.clip(1 - depth / 24, 0, 1)  # sulci narrow with depth and end
    sulcus = ramp(0.26 * np.sqrt(tapering) - from_sulcus, 0.3) * ramp(21 - depth, 5.0)
    ribbon = ramp(0.80 - from_sulcus, 0.35) * ramp(23 - depth, 6.0)
    white = (1 - ribbon) * ramp(depth - 3.6, 1.8)

    inner = np.sqrt((y / 46) ** 2 + ((z - 4) / 30) ** 2)  # the hemispheres are joined within 1
    fissure = ramp(1.3 - side, 1.6) * ramp(inner - 1, 0.06)
    sylvian = (
        ramp(1.6 - np.abs(z + 6 - 0.25 * y + 2.5 * fold), 2.0) * ramp(side - 33, 5.0) * ramp(34 - np.abs(y + 6), 8.0)
    )
    # The medial cortex follows the fissure, as the lateral cortex follows the surface.
    white *= 1 - ramp(4.2 - side, 1.6) * ramp(inner - 1, 0.1)
    csf = np.maximum(sulcus, np.maximum(fissure, sylvian))
    middle = _box(np.array([0.0, 0.0, 8.0]), np.array([48.0, 62.0, 34.0]))
    ventricles, nuclei = _deep_structures(head, [axis[middle] for axis in points])
    csf[middle] = np.maximum(csf[middle], ventricles)
    white[middle] *= 1 - 0.85 * nuclei
    return csf, white


def _deep_structures(head: Head, points: list[Volume]) -> tuple[Volume, Volume]:
    """Shares of the ventricles and of the deep nuclei (thalamus, putamen, caudate head)."""
    x, y, z = points
    side = np.abs(x)
    scale = head.ventricle_scale
    bow = np.float32(0.0045) * (y + 4) ** 2
    lateral = _ellipsoid([side - bow, y, z + bow], (8.5, 3, 13), (5.0 * scale, 46, 7.5 * scale))
    third = _ellipsoid([side, y, z], (0, 4, -2), (2.2 * scale, 16, 9))
    nuclei = np.zeros_like(x)
    for centre, axes in (((11, 10, 3), (8.5, 15, 9)), ((25, -3, 2), (7, 19, 10)), ((12.5, -22, 9), (6, 10, 9))):
        nuclei = np.maximum(nuclei, ramp(1 - _ellipsoid([side, y, z], centre, axes), 0.25))
    return np.maximum(ramp(1 - lateral, 0.25), ramp(1 - third, 0.4)), nuclei
