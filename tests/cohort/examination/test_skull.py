"""Whether a head has its skull is told from the tissue's volume, and not guessed of a part of one."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mgmt_monai.cohort.examination.examine import examine_series
from mgmt_monai.cohort.layouts.found import FoundSeries

SIDE = 4.0  # of a voxel, in mm
SHAPE = (56, 64, 52)
_AT = (np.indices(SHAPE).transpose(1, 2, 3, 0) - (np.array(SHAPE) - 1) / 2) * SIDE


def ellipsoid(*radii_mm: float) -> np.ndarray:
    return np.linalg.norm(_AT / np.array(radii_mm), axis=-1) < 1


BRAIN = ellipsoid(66, 84, 62)  # 4/3 pi * 66 * 84 * 62 mm3 = 1440 cm3
HEAD = ellipsoid(82, 100, 94)  # 3229 cm3


def made(inside: np.ndarray, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.where(inside, rng.normal(300, 60, SHAPE), 0) + np.abs(rng.normal(0, noise, SHAPE))


def z_scored(values: np.ndarray) -> np.ndarray:
    tissue = values[values > 0]
    return np.where(values > 0, (values - tissue.mean()) / tissue.std(), 0)


@pytest.mark.parametrize(
    ("voxels", "stripped"),
    [
        pytest.param(made(BRAIN), True, id="a brain"),
        pytest.param(made(BRAIN, 6), True, id="a brain, noise around it"),
        pytest.param(z_scored(made(BRAIN)), True, id="a brain, z-scored"),
        pytest.param(made(HEAD, 6), False, id="a head"),
        pytest.param(made(HEAD), False, id="a head, its air cut away"),
        pytest.param(z_scored(made(HEAD)), False, id="a head, z-scored"),
        pytest.param(made(HEAD, 6)[:, :, 20:], False, id="a head without its neck"),
        pytest.param(made(HEAD, 6)[:, :, 20:32], None, id="a slab of a head"),
        pytest.param(made(BRAIN)[:, :, 26:], None, id="half a brain"),
        pytest.param(made(ellipsoid(40, 40, 40)), None, id="something small"),
    ],
)
def test_skull_is_told(tmp_path: Path, voxels: np.ndarray, stripped: bool | None) -> None:
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.diag([SIDE, SIDE, SIDE, 1])), tmp_path / "a.nii.gz")
    exam = examine_series(FoundSeries("a", "T1w", tmp_path, ("a.nii.gz",), "named"), tmp_path, True, False)
    assert exam.skull_stripped is stripped


def test_without_its_place_nothing_is_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(made(BRAIN).astype(np.float32), None)
    nib.save(image, tmp_path / "a.nii.gz")
    exam = examine_series(FoundSeries("a", "T1w", tmp_path, ("a.nii.gz",), "named"), tmp_path, True, False)
    assert exam.skull_stripped is None
