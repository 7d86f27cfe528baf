"""The predictions as they may be shared: under names that only the holder of the run's folder can trace back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from mgmt_monai.evaluation.predictions import write_patients, write_slices


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
    pseudonyms = {p: hashlib.sha256(f"{key}\0{p}".encode()).hexdigest()[:12] for p in patients["patient_id"].unique()}
    write_patients(patients.assign(patient_id=patients["patient_id"].map(pseudonyms)), folder / "predictions.csv")
    write_slices(slices.assign(patient_id=slices["patient_id"].map(pseudonyms)), folder / "slice_predictions.csv")
    return [folder / "predictions.csv", folder / "slice_predictions.csv"]
