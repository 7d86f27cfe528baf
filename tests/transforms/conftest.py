from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mgmt_monai.cohort.series import Series


@pytest.fixture
def make_series(tmp_path: Path, make_dicom: Callable[..., Path]) -> Callable[..., Series]:
    """Writes ``pixels`` (slices, rows, columns) 2 mm apart and returns the reference to all of them."""

    def make(pixels: Any, each: Any = None, **attributes: Any) -> Series:
        files = []
        for index, image in enumerate(pixels):
            # File names count downwards: only the reference knows the order.
            path = tmp_path / f"Image-{len(pixels) - index}.dcm"
            own = each[index] if each else {}
            files.append(make_dicom(path, image, **{"position": (0, 0, 2 * index), **attributes, **own}))
        return Series("00042", "T1w", tuple(files), range(len(files)))

    return make
