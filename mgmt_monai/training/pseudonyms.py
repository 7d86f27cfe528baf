"""The predictions as they may be shared: under names that only the holder of the run's folder can trace back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from mgmt_monai.evaluation.predictions import write_patients, write_slices


def pseudonym(key: str, patient_id: str) -> str:
    """A patient's pseudonym.

    Args:
        key: Secret; without it the pseudonym cannot be made from the patient's identifier.
        patient_id: Whose.

    Returns:
        Twelve hexadecimal digits.
    """
    return hashlib.sha256(f"{key}\0{patient_id}".encode()).hexdigest()[:12]


def write_pseudonymous(patients: pd.DataFrame, slices: pd.DataFrame, key: str, folder: Path) -> list[Path]:
    """Write both tables of predictions with a pseudonym for each patient.

    Args:
        patients: One row a patient.
        slices: One row a slice.
        key: Secret; without it a pseudonym cannot be made from a patient's identifier.
        folder: Made if absent.

    Returns:
        The files written.
    """
    folder.mkdir(exist_ok=True)
    pseudonyms = {patient_id: pseudonym(key, patient_id) for patient_id in patients["patient_id"].unique()}
    write_patients(patients.assign(patient_id=patients["patient_id"].map(pseudonyms)), folder / "predictions.csv")
    write_slices(slices.assign(patient_id=slices["patient_id"].map(pseudonyms)), folder / "slice_predictions.csv")
    return [folder / "predictions.csv", folder / "slice_predictions.csv"]
