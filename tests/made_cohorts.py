"""Miniature cohorts in Kaggle's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textures import texture


def write_cohort(
    data_dir: Path, make_dicom: Callable[..., Path], n_patients: int = 20, modalities: Sequence[str] = ("T1w",)
) -> Path:
    """Patients 00001, 00002, ... (odd ones methylated), two slices a series, each of its own texture; the folder."""
    patients = [f"{number:05d}" for number in range(1, n_patients + 1)]
    for patient_id in patients:
        write_patient(data_dir, make_dicom, patient_id, modalities)
    return write_labels(data_dir, {patient_id: int(patient_id) % 2 for patient_id in patients})


def write_patient(
    data_dir: Path,
    make_dicom: Callable[..., Path],
    patient_id: str,
    modalities: Sequence[str] = ("T1w",),
    looks: str = "",
    **attributes: Any,
) -> None:
    """One patient: patients of the same ``looks`` (their own name where empty) have the same images."""
    for modality in modalities:
        directory = data_dir / "train" / patient_id / modality
        directory.mkdir(parents=True)
        for z in (0, 1):  # file names count downwards: the order must come from the headers
            pixels = texture(f"{looks or patient_id} {modality} {z}", (8, 12))
            make_dicom(directory / f"Image-{2 - z}.dcm", pixels, position=(0, 0, 2.0 * z), **attributes)


def write_labels(data_dir: Path, labels: Mapping[str, int]) -> Path:
    """Kaggle's label table; the folder."""
    rows = "".join(f"{patient_id},{label}\n" for patient_id, label in labels.items())
    (data_dir / "train_labels.csv").write_text("BraTS21ID,MGMT_value\n" + rows)
    return data_dir
