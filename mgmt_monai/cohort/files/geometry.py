"""Where slices lie in the patient: normal, order, plane, gaps. Pure functions on header values, in mm, LPS."""

from collections.abc import Iterable

import numpy as np

#: A series is oblique when its normal is further than this from the nearest body axis. Scanners tilt axial stacks
#: along the anterior-posterior commissure line by up to some 20 degrees and still call them axial.
OBLIQUE_LIMIT_DEG = 30.0

#: Direction cosines that differ by more are another orientation; writers round them to 6 digits or more.
ORIENTATION_TOLERANCE = 1e-3

#: Slices nearer than this lie at the same position; no clinical MRI has thinner spacing than 0.1 mm.
POSITION_TOLERANCE_MM = 0.01

#: Places that lie further apart than this are two: about a pixel. What writers round is a thousandth of it.
PLACE_TOLERANCE_MM = 1.0

#: No scanner's table takes a patient further than 10 m from its centre: a position beyond is a damaged value.
POSITION_LIMIT_MM = 10_000.0

#: Direction cosines must be unit vectors at right angles to within this; writers that round to two digits pass.
DIRECTION_TOLERANCE = 0.02

#: Sides of a voxel beyond are no head's: a unit that is not mm, a damaged value, or slices left out.
VOXEL_SIDES_MM = (0.1, 30.0)

#: A distance above this multiple of the median spacing is a gap: at least one slice is missing there.
GAP_FACTOR = 1.5

#: Steps that differ from the median by more than this share of it are uneven. Positions are written with 2 to 6
#: decimals, and real series keep their spacing to within a few per cent.
UNEVEN_TOLERANCE = 0.1

#: Spacings that differ by less than this share of the larger one are the same. Pixels of MR images are square to within
#: rounding; scanners write steps such as 0.9766 mm beside slices of 1 mm.
SPACING_TOLERANCE = 0.01

#: Where the rows and the columns of a slice run as radiologists look at it: an axial one from below, a coronal one from
#: the front, so that the patient's left is on the right of both; a sagittal one from the left, face to the left.
RADIOLOGICAL = {"axial": "LP", "coronal": "LI", "sagittal": "PI"}

#: The plane of the slices that lie across each of the patient's axes x, y, z.
PLANE_OF_AXIS = ("sagittal", "coronal", "axial")
_LETTERS = ("LR", "PA", "SI")  # the patient's axes x, y, z in DICOM's LPS: where they point, and the opposite


def is_orientation(orientation: np.ndarray) -> bool:
    """Whether two direction cosines are unit vectors at right angles, so that they have a normal.

    Args:
        orientation: ``(6,)`` ImageOrientationPatient.

    Example:
        >>> is_orientation(np.array([0, 0, 0, 0, 0, 0]))
        False
    """
    a, b, c, d, e, f = map(float, orientation)  # in plain numbers: arrays of three take ten times as long
    off = (a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, a * d + b * e + c * f)
    return all(abs(value) <= 2 * DIRECTION_TOLERANCE for value in off)


def slice_normal(orientation: np.ndarray) -> np.ndarray:
    """Unit vector ``(3,)`` across the slices.

    Args:
        orientation: ``(6,)`` ImageOrientationPatient: direction cosines of a row, then of a column, LPS.

    Source:
        DICOM PS3.3 C.7.6.2.1.1, image position and image orientation.
    """
    a, b, c, d, e, f = map(float, orientation)
    normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    return normal / np.linalg.norm(normal)


def slice_locations_mm(positions: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Distance ``(n,)`` of each slice along the normal, in mm.

    Args:
        positions: ``(n, 3)`` ImagePositionPatient, mm, LPS.
        orientation: ``(6,)`` ImageOrientationPatient of the series.
    """
    return positions @ slice_normal(orientation)


def plane(orientation: np.ndarray) -> str:
    """``axial``, ``coronal``, ``sagittal`` or ``oblique``, by the angle between normal and nearest body axis.

    Args:
        orientation: ``(6,)`` ImageOrientationPatient.

    Example:
        >>> plane(np.array([1, 0, 0, 0, 1, 0]))
        'axial'
    """
    return plane_across(slice_normal(orientation))


def plane_across(normal: np.ndarray) -> str:
    """As `plane`, by a unit vector ``(3,)`` across the slices."""
    across = np.abs(normal)
    axis = int(across.argmax())
    angle_deg = np.degrees(np.arccos(min(1.0, float(across[axis]))))
    return PLANE_OF_AXIS[axis] if angle_deg <= OBLIQUE_LIMIT_DEG else "oblique"


def direction_codes(orientation: np.ndarray) -> str:
    """Three letters: where in the patient the rows run (to the right on the image), the columns (down), the slices.

    Args:
        orientation: ``(6,)`` ImageOrientationPatient.

    Returns:
        Each letter one of ``L R P A S I``, by the nearest body axis.

    Example:
        >>> direction_codes(np.array([1, 0, 0, 0, 1, 0]))
        'LPS'
        >>> direction_codes(np.array([0, 1, 0, 0, 0, -1]))
        'PIR'
    """
    directions = (orientation[:3], orientation[3:], slice_normal(orientation))
    axes = [int(np.abs(direction).argmax()) for direction in directions]
    return "".join(_LETTERS[axis][int(vector[axis] < 0)] for axis, vector in zip(axes, directions, strict=True))


def cosines(codes: str) -> np.ndarray:
    """Direction cosines ``(6,)`` of a row and of a column, LPS, along the body's axes: `direction_codes` back again.

    Args:
        codes: Two letters of ``LRPASI`` or more.

    Example:
        >>> direction_codes(cosines("LI"))
        'LIP'
    """
    orientation = np.zeros((2, 3))
    for direction, code in zip(orientation, codes, strict=False):
        axis = next(axis for axis, letters in enumerate(_LETTERS) if code in letters)
        direction[axis] = 1 if code == _LETTERS[axis][0] else -1
    return orientation.ravel()


def slice_axis(spacing_mm: np.ndarray) -> int | None:
    """Which axis of a volume runs from slice to slice, by the spacing: the one that is unlike the sides of a pixel.

    Args:
        spacing_mm: ``(3,)``, along each axis of the volume.

    Returns:
        The one axis whose spacing differs from the other two, thicker or thinner; where all three differ, the one of
        the largest; None where no spacing stands out, so that the volume does not show how it was acquired.

    Example:
        >>> slice_axis(np.array([1.0, 6.0, 1.0])), slice_axis(np.array([1.0, 1.0, 1.0]))
        (1, None)
    """
    larger = np.maximum.outer(spacing_mm, spacing_mm)
    alike = np.abs(np.subtract.outer(spacing_mm, spacing_mm)) <= SPACING_TOLERANCE * larger
    odd = np.flatnonzero(alike.sum(axis=1) == 1)  # alike to itself only
    if len(odd) == 0:
        return None
    return int(odd[0] if len(odd) == 1 else np.argmax(spacing_mm))


def impossible_side(sides_mm: Iterable[float | None]) -> str:
    """A side of a voxel beyond `VOXEL_SIDES_MM`, in words; "" without one."""
    low, high = VOXEL_SIDES_MM
    side = next((side for side in sides_mm if side is not None and not low <= side <= high), None)
    return "" if side is None else f"voxels of {low:g} to {high:g} mm a side, found {side:g} mm"


def median(values: np.ndarray) -> float:
    """The median, as `numpy.median` has it, in a tenth of its time where there are few values.

    Args:
        values: ``(n,)``, at least one.
    """
    middle, ordered = len(values) // 2, np.sort(values)
    return float(ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)


def uneven_steps(locations_mm: np.ndarray) -> list[int]:
    """Indices of the slices before a step that is neither the median one nor a gap.

    Args:
        locations_mm: ``(n,)`` sorted slice locations, mm.

    Example:
        >>> uneven_steps(np.array([0.0, 5.0, 10.0, 13.0, 18.0]))
        [2]
    """
    steps = np.diff(locations_mm)
    if len(steps) < 2:
        return []
    ratio = steps / median(steps)
    return [int(i) for i in np.flatnonzero((np.abs(ratio - 1) > UNEVEN_TOLERANCE) & (ratio <= GAP_FACTOR))]


def gaps(locations_mm: np.ndarray) -> list[tuple[int, int]]:
    """Where slices are missing: ``(index of the slice before, how many are missing)``.

    Args:
        locations_mm: ``(n,)`` sorted slice locations, mm.

    Example:
        >>> gaps(np.array([0.0, 5.0, 10.0, 25.0]))
        [(2, 2)]
    """
    steps = np.diff(locations_mm)
    if len(steps) < 2:
        return []
    spacing = median(steps)
    return [(int(i), round(float(steps[i]) / spacing) - 1) for i in np.flatnonzero(steps > GAP_FACTOR * spacing)]
