"""What stands beside prepared patients: how they were prepared, who is left out, whose brain mask is their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.exclusions import read_exclusions
from mgmt_monai.cohort.tables.table import names, one_form, read_table, under_own_names
from mgmt_monai.csv_file import csv_text
from mgmt_monai.json_file import JsonFileError, read_json

FILE = "review.csv"
"""What it is called in the folder of prepared patients."""

COLUMNS = ("patient_id", "decision", "detail")
DECISIONS = ("accept", "exclude", "mask")

RECORD = "prepare.json"
"""What ``mgmt-monai prepare`` writes into a patient's folder."""


def prepared_as(folder: Path) -> dict[str, Any] | None:
    """How the series of a folder were prepared: ``version`` and each setting; None where they were not.

    Args:
        folder: Of the series.

    Raises:
        CohortError: The record that is there cannot be read.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        record = read_json(path, "mgmt_monai.preparation", "prepare.schema.json")
    except JsonFileError as error:
        raise CohortError(
            f"{path}: {error}. Prepare the patient again (mgmt-monai prepare --overwrite), or remove this file."
        ) from error
    return {"version": record["version"], **record["settings"]}


def in_words(how: Mapping[str, Any]) -> str:
    """What `prepared_as` tells, for a sentence."""
    return ", ".join(f"{name} {value}" for name, value in how.items())


def read_review(data_dir: Path) -> dict[str, tuple[str, str]]:
    """Decision and detail by patient, those without a decision left out; empty where there is no table.

    Args:
        data_dir: The folder of prepared patients. ``exclude`` has a reason as its detail, ``mask`` a file.

    Raises:
        CohortError: A column, patient or detail is missing, a patient stands twice, or a decision is none of these.
    """
    path = Path(data_dir) / FILE
    if not path.is_file():
        return {}
    table = read_table(path, "no such table.")
    rows = table.rows(COLUMNS)
    table.check_patients(COLUMNS[0], [row[0] for row in rows], COLUMNS)
    decided = {patient_id: (decision.lower(), detail) for patient_id, decision, detail in rows if decision}
    unknown = [patient_id for patient_id, (decision, _) in decided.items() if decision not in DECISIONS]
    if unknown:
        raise CohortError(
            f"{path}: expected a decision of {', '.join(DECISIONS)} or none, found another for {names(unknown)}. "
            "Correct it."
        )
    bare = [p for p, (decision, detail) in decided.items() if decision != "accept" and not detail]
    if bare:
        raise CohortError(
            f"{path}: expected a detail for {names(bare)}, found none. Write why a patient is left out, or which file "
            "the mask is."
        )
    return decided


def add_to_review(data_dir: Path, patients: Iterable[str]) -> None:
    """Give patients that have no row in the table an empty one; what stands there stays as it is.

    Args:
        data_dir: The folder of prepared patients; it gets the table where it has none.
        patients: Who is to have a row.

    Raises:
        CohortError: The table cannot be read.
        OSError: It cannot be written.
    """
    path = Path(data_dir) / FILE
    there = read_table(path, "") if path.is_file() else None
    known = {one_form(patient) for (patient,) in there.rows(COLUMNS[:1])} if there else set()
    if new := sorted(patient for patient in patients if one_form(patient) not in known):
        columns = there.columns if there else COLUMNS
        added = csv_text(columns, [[patient if name == COLUMNS[0] else "" for name in columns] for patient in new])
        before = path.read_bytes().decode().rstrip("\r\n") + "\n" if there else ""
        write_text(path, before + (added.split("\n", 1)[1] if there else added))


def left_out(data_dir: Path, exclusions: str | Path, patients: Iterable[str]) -> dict[str, str]:
    """Reasons by patient left out: of the exclusion list, and of the data directory's own review.

    Args:
        data_dir: The cohort's folder.
        exclusions: As `read_exclusions` takes it.
        patients: As `read_exclusions` takes them.

    Raises:
        CohortError: One of the two cannot be read.
    """
    reviewed = {p: detail for p, (decision, detail) in read_review(data_dir).items() if decision == "exclude"}
    patients = list(patients)
    return under_own_names(reviewed, patients, str(Path(data_dir) / FILE)) | read_exclusions(exclusions, patients)
