"""The scanner: how a series lies in space, and the pixels that it measures there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, uniform_filter1d

from mgmt_monai.phantom.anatomy import GRID_MM, GRID_ORIGIN_MM, Head, small_rotation
from mgmt_monai.phantom.fields import Volume, ramp, smooth_field

# Directions of growing column and row index, LPS. Slices are counted along their cross product.
PLANES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}
SLICE_RANGE = {"axial": (24, 36), "coronal": (28, 40), "sagittal": (22, 34)}  # 4 to 7 mm apart on any head
MATRICES = (160, 192, 224, 240, 256)
NUMBERINGS = ("ascending", "descending", "interleaved")

DARKEST = 0.06  # relative brightness that nothing in the brain falls below, so that half of it bounds the brain

# Repetition, echo and inversion time in ms, about those of clinical brain protocols.
TIMES_MS = {
    "FLAIR": (9000.0, 120.0, 2400.0),
    "T1w": (550.0, 10.0, None),
    "T1wCE": (600.0, 11.0, None),
    "T2w": (4200.0, 98.0, None),
}


@dataclass(frozen=True)
class SeriesPlan:
    """Everything about one series that its headers tell, and nothing that depends on label or look.

    Args:
        modality: ``FLAIR``, ``T1w``, ``T1wCE`` or ``T2w``.
        plane: ``axial``, ``coronal`` or ``sagittal``; some are a few degrees oblique.
        rows: Matrix size.
        columns: Matrix size.
        pixel_spacing_mm: Between rows, and between columns.
        slice_spacing_mm: Between slice centres.
        slice_thickness_mm: Excited thickness, at most the spacing.
        origin_mm: Centre of the first pixel of the first slice, LPS, ``(3,)``.
        row_direction: Along a row (growing column index), unit vector ``(3,)``.
        column_direction: Down a column (growing row index), unit vector ``(3,)``.
        numbers: ``n`` of ``Image-<n>.dcm`` for each slice, in geometric order along the normal.
        repetition_time_ms: TR.
        echo_time_ms: TE.
        inversion_time_ms: TI, where the sequence has one.
    """

    modality: str
    plane: str
    rows: int
    columns: int
    pixel_spacing_mm: float
    slice_spacing_mm: float
    slice_thickness_mm: float
    origin_mm: tuple[float, float, float]
    row_direction: tuple[float, float, float]
    column_direction: tuple[float, float, float]
    numbers: tuple[int, ...]
    repetition_time_ms: float
    echo_time_ms: float
    inversion_time_ms: float | None

    @property
    def n_slices(self) -> int:
        """How many slices."""
        return len(self.numbers)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The slice normal, row direction x column direction, ``(3,)``."""
        return np.cross(self.row_direction, self.column_direction)

    def position_mm(self, slice_index: int) -> NDArray[np.float64]:
        """Centre of a slice's first pixel, LPS, ``(3,)``, in mm; slices are counted along the normal."""
        return np.array(self.origin_mm) + slice_index * self.slice_spacing_mm * self.normal

    @property
    def affine_mm(self) -> NDArray[np.float64]:
        """Index ``(slice, row, column)`` to position in mm, LPS, ``(3, 3)``, without the origin."""
        return np.stack(
            [
                self.slice_spacing_mm * self.normal,
                self.pixel_spacing_mm * np.array(self.column_direction),
                self.pixel_spacing_mm * np.array(self.row_direction),
            ],
            axis=1,
        )


def draw_plan(head: Head, modality: str, rng: np.random.Generator) -> SeriesPlan:
    """A random series around a head: plane, matrix, spacing, slice count and file numbering, from its own stream.

    Slices cover the whole head, with one to three blank ones at each end.
    """
    plane = str(rng.choice(list(PLANES), p=[0.5, 0.25, 0.25]))
    tilt = small_rotation(rng, 4.0) if rng.random() < 0.3 else np.eye(3)
    row, column = (np.round(tilt @ np.array(direction), 7) for direction in PLANES[plane])
    normal = np.cross(row, column)

    n_slices = int(rng.integers(*SLICE_RANGE[plane], endpoint=True))
    before = int(rng.integers(1, 3))
    after = before + int(rng.integers(0, 2))
    if rng.random() < 0.5:
        before, after = after, before
    low, high = head.extent_mm(normal)
    spacing = round((high - low) / (n_slices - before - after) + 0.005, 2)
    thickness = round(spacing * float(rng.choice([1.0, 0.9, 0.8])), 2)

    matrix = int(rng.choice(MATRICES))
    rows = columns = matrix
    if rng.random() < 0.4:
        # The shorter side goes across the shorter side of the head.
        rows, columns = (matrix, matrix * 7 // 8) if plane == "axial" else (matrix * 7 // 8, matrix)
    pixel = round(float(rng.uniform(215, 250)) / matrix, 4)

    spans = [head.extent_mm(direction) for direction in (row, column)]
    middle = [(first + last) / 2 + rng.uniform(-4, 4) for first, last in spans]
    start = (
        head.centre_mm
        + (low + high) / 2 * normal
        + middle[0] * row
        + middle[1] * column
        - ((n_slices - 1) / 2 + (before - after) / 2) * spacing * normal
        - pixel * ((columns - 1) / 2 * row + (rows - 1) / 2 * column)
    )
    repetition, echo, inversion = TIMES_MS[modality]
    stretch = rng.uniform(0.9, 1.1, 2)
    return SeriesPlan(
        modality=modality,
        plane=plane,
        rows=rows,
        columns=columns,
        pixel_spacing_mm=pixel,
        slice_spacing_mm=spacing,
        slice_thickness_mm=thickness,
        origin_mm=_triple(np.round(start, 5)),
        row_direction=_triple(row),
        column_direction=_triple(column),
        numbers=_number(n_slices, rng),
        repetition_time_ms=round(repetition * stretch[0], 1),
        echo_time_ms=round(echo * stretch[1], 2),
        inversion_time_ms=inversion,
    )


def measure(
    image: Volume,
    depth_mm: Volume | None,
    head: Head,
    plan: SeriesPlan,
    rng: np.random.Generator,
    origin_mm: NDArray[np.float64] = GRID_ORIGIN_MM,
) -> NDArray[np.uint16]:
    """The pixels of a series: slice profile, coil shading, Rician noise, skull-stripping.

    Args:
        image: Ideal brightness on the head's grid.
        depth_mm: Depth below the brain's surface on the same grid; pixels outside are 0. None for a head that is not
            stripped, with noise everywhere.
        head: Where the grid lies in the scanner.
        plan: Where the slices lie.
        rng: The series' own stream for gain, shading and noise.
        origin_mm: Centre of the grid's first voxel, head frame, ``(3,)``.

    Returns:
        uint16 array ``(n_slices, rows, columns)``, slices along the normal.
    """
    across = int(np.argmax(np.abs(head.rotation.T @ plan.normal)))
    width = max(1, round(plan.slice_thickness_mm / GRID_MM))
    if depth_mm is None:
        width |= 1  # an even width moves the picture by half a voxel, which a registration would find
    image = uniform_filter1d(image, width, axis=across)
    crop = slice(0, plan.rows), slice(0, plan.columns)
    if depth_mm is not None:
        image = np.maximum(image, np.float32(DARKEST), out=image)
        image *= ramp(depth_mm - np.float32(0.4), 1.2)
        crop = _head_crop(head, plan)
    shape = (plan.n_slices, crop[0].stop - crop[0].start, crop[1].stop - crop[1].start)
    first = np.array(plan.origin_mm) + plan.affine_mm @ np.array([0, crop[0].start, crop[1].start])
    matrix = head.rotation.T @ plan.affine_mm / GRID_MM
    offset = (head.rotation.T @ (first - head.centre_mm) - origin_mm) / GRID_MM
    seen = affine_transform(image, matrix, offset, shape, np.float32, order=1)

    gain = rng.uniform(500, 1500)
    shading = rng.uniform(0.05, 0.12)
    noise = np.float32(rng.uniform(0.012, 0.028))
    brain = np.ones(shape, bool) if depth_mm is None else seen > DARKEST / 2
    field = smooth_field(rng, shape, [0.7 * length for length in shape])
    real = seen[brain] * (1 + np.float32(shading) * field[brain])
    real += noise * rng.standard_normal(real.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(real.shape, dtype=np.float32)
    magnitude = np.float32(gain) * np.sqrt(real * real + imaginary * imaginary)
    seen[...] = 0
    seen[brain] = np.rint(magnitude)
    pixels = np.zeros((plan.n_slices, plan.rows, plan.columns), dtype=np.uint16)
    pixels[:, crop[0], crop[1]] = seen
    return pixels


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) + 0.0 for value in vector)  # + 0.0 turns -0.0 into 0.0
    return x, y, z


def _number(n_slices: int, rng: np.random.Generator) -> tuple[int, ...]:
    order = np.arange(n_slices)
    numbering = rng.choice(NUMBERINGS, p=[0.45, 0.35, 0.2])
    if numbering == "descending":
        order = order[::-1]
    elif numbering == "interleaved":  # odd slices are excited first, then the even ones
        order = np.argsort(np.concatenate([order[::2], order[1::2]]))
    first = 1 if rng.random() < 0.6 else int(rng.integers(2, 20))
    return tuple(int(number) for number in order + first)


def _head_crop(head: Head, plan: SeriesPlan) -> tuple[slice, slice]:
    """Rows and columns that can hold brain; the rest is 0 and need not be computed."""
    crops = []
    for direction, n in ((plan.column_direction, plan.rows), (plan.row_direction, plan.columns)):
        low, high = head.extent_mm(np.array(direction))
        start = float(np.dot(head.centre_mm - np.array(plan.origin_mm), direction))
        first = int((start + low) / plan.pixel_spacing_mm)
        last = int((start + high) / plan.pixel_spacing_mm) + 2
        crops.append(slice(max(0, first), min(n, last)))
    return crops[0], crops[1]
