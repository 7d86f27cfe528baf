"""The predictions as they may be shared: under names that only the holder of the run's folder can trace back."""

import hashlib

import pandas as pd


def pseudonym(key: str, patient_id: str) -> str:
    """A patient's pseudonym.

    Args:
        key: Secret; without it the pseudonym cannot be made from the patient's identifier.
        patient_id: Whose.

    Returns:
        Twelve hexadecimal digits.
    """
    return hashlib.sha256(f"{key}\0{patient_id}".encode()).hexdigest()[:12]


def under_pseudonyms(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """A table with a pseudonym in place of each patient.

    Args:
        table: With the patient in the column ``patient_id``, or in the index.
        key: Secret, as `pseudonym` takes it: with the same key a patient has the same pseudonym in all tables.
    """
    if "patient_id" in table:
        return table.assign(patient_id=[pseudonym(key, patient) for patient in table["patient_id"]])
    return table.set_axis([pseudonym(key, patient) for patient in table.index], axis="index")
