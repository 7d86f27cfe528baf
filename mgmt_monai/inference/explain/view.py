"""How a slice is turned to be looked at: as radiologists have it, with letters at its edges."""

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import aff2axcodes

from mgmt_monai.inference.explain.grids import Grid
from mgmt_monai.transforms.reformat import DISPLAY

_PLANES = {"L": "sagittal", "R": "sagittal", "P": "coronal", "A": "coronal", "S": "axial", "I": "axial"}
_OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))


@dataclass(frozen=True)
class View:
    """A way to look at the slices of one grid: transposed first, then turned upside down, then mirrored.

    ``pixel_mm`` are height and width as shown; ``letters`` say what lies beyond the upper, right, lower and left edge,
    such as ``ALPR``, "" where nobody knows.
    """

    transposed: bool
    upside_down: bool
    mirrored: bool
    pixel_mm: tuple[float, float]
    letters: str

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image ``(rows, columns)``, turned."""
        turned = image.T if self.transposed else image
        turned = turned[::-1] if self.upside_down else turned
        return turned[:, ::-1] if self.mirrored else turned


def as_stored(grid: Grid) -> View:
    """The view of slices of which nobody knows how they lie in the patient."""
    return View(False, False, False, grid.pixel_mm, "")


def radiological(grid: Grid) -> View:
    """The view in which radiologists see slices of this plane, turned by quarters and mirrored alone.

    Axial and coronal slices have the patient's left on the right, sagittal ones the face on the left; of an oblique
    plane the nearest axes count.
    """
    # Letters say where rows (downwards), columns and slices run to.
    down, right, through = aff2axcodes(grid.affine)
    across, downwards, _ = tuple(DISPLAY[_PLANES[through]])
    transposed = right not in (across, _OPPOSITE[across])
    if transposed:
        down, right = right, down
    rows_mm, columns_mm = grid.pixel_mm
    return View(
        transposed=transposed,
        upside_down=down != downwards,
        mirrored=right != across,
        pixel_mm=(columns_mm, rows_mm) if transposed else (rows_mm, columns_mm),
        letters="".join((_OPPOSITE[downwards], across, downwards, _OPPOSITE[across])),
    )
