from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def make_nifti(tmp_path: Path) -> Callable[..., None]:
    """Writes volumes of 3 x 4 x 5 voxels: ``make_nifti("a.nii.gz", "folder/b.nii.gz")``."""

    def make(*names: str) -> None:
        rng = np.random.default_rng(0)
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(rng.integers(0, 99, (3, 4, 5)).astype(np.int16), np.eye(4)), path)

    return make


@pytest.fixture
def make_series(tmp_path, make_dicom):
    """Writes the slices of one series: ``make_series("AX T1", "a/1", "a/2", patient="P1", uid="1.2.3", ...)``."""

    def make(text, *names, patient="P1", study="1.1", uid="1.1.1", **attributes):
        for index, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            make_dicom(
                path,
                np.arange(6, dtype=np.uint16).reshape(2, 3),
                position=(0, 0, index),
                PatientID=patient,
                StudyInstanceUID=study,
                SeriesInstanceUID=uid,
                SeriesDescription=text,
                **attributes,
            )

    return make
