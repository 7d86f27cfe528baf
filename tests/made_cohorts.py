"""Miniature cohorts in Kaggle's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textures import texture


def write_cohort(
    data_dir: Path, make_dicom: Callable[..., Path], n_patients: int = 20, modalities: Sequence[str] = ("T1w",)
) -> Path:
    """Patients 00001, 00002, ... (odd ones methylated), two slices a series, each of its own texture; the folder."""
    patients = [f"{number:05d}" for number in range(1, n_patients + 1)]
    for patient_id in patients:
        for modality in modalities:
            directory = data_dir / "train" / patient_id / modality
            directory.mkdir(parents=True)
            for z in (0, 1):  # file names count downwards: the order must come from the headers
                path = directory / f"Image-{2 - z}.dcm"
                make_dicom(path, texture(f"{patient_id} {modality} {z}", (8, 12)), position=(0, 0, 2.0 * z))
    rows = "".join(f"{patient_id},{int(patient_id) % 2}\n" for patient_id in patients)
    (data_dir / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n" + rows)
    return data_dir
