"""What a table says about the patients: site, scanner, age, or anything else in a CSV with one row a patient."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.aliases import normalised
from mgmt_monai.cohort.tables.table import Table, is_unknown, names, read_table, under_own_names

ID_COLUMNS = ("patient_id", "BraTS21ID", "BraTS2021", "ID")
"""Columns that can name the patient, the first that is there does."""

logger = logging.getLogger(__name__)


def read_columns(path: Path, patients: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read what a CSV says about these patients.

    Args:
        path: CSV with one of the columns `ID_COLUMNS` and any others. Identifiers are compared as
            `mgmt_monai.cohort.tables.aliases.normalised` leaves them: ``BraTS2021_00495`` is the row of patient
            ``00495``.
        patients: Patient identifiers; rows of others are passed over.

    Returns:
        ``{patient_id: {column: text}}`` for the patients that have a row, sorted; all columns but the identifier's,
        text without spaces around it, "" for an empty cell. Of several scans of one person (``UPENN-GBM-00001_11``
        and ``_21``) the row with the patient's very name counts, else that of the first scan.

    Raises:
        CohortError: The file is absent or unreadable, has no column of identifiers, a column or an identifier twice,
            a row without identifier, or none of these patients.
    """
    table = read_table(
        Path(path), f"no such table. Expected a CSV with one of the columns {', '.join(ID_COLUMNS)}, and others."
    )
    id_column = _id_column(table)
    patients = sorted(set(patients))
    rows = under_own_names(dict(_rows(table, id_column)), patients, table.source)
    by_person: dict[str, list[str]] = defaultdict(list)
    for name in sorted(rows):
        by_person[normalised(name)].append(name)
    found = {}
    for patient in patients:
        if patient in rows:
            found[patient] = rows[patient]
        elif same := by_person.get(normalised(patient)):
            found[patient] = rows[same[0]]
    if not found:
        raise CohortError(
            f"{path}: expected rows of this cohort's patients, found none; its column {id_column} holds "
            f"{names(sorted(rows), shown=3)}. Give the table that belongs to these data."
        )
    return found


def values_of(columns: Mapping[str, Mapping[str, str]], column: str, patients: Iterable[str]) -> dict[str, str]:
    """One column, by patient: what `mgmt_monai.cohort.splits.groups.groups_of` takes.

    Args:
        columns: As `read_columns` returns them.
        column: Its name.
        patients: Patient identifiers.

    Returns:
        ``{patient_id: text}`` of the patients with a value, sorted. Those without (no row, an empty cell, ``N/A``,
        ``Not Available``, ``unknown``) are named in the log: they are joined to nobody.

    Raises:
        CohortError: No such column, or none of the patients has a value in it.
    """
    there = sorted({name for row in columns.values() for name in row})
    if column not in there:
        raise CohortError(f"column {column}: expected it in the table, found {', '.join(there) or 'none'}. Name one.")
    texts = {patient: columns.get(patient, {}).get(column, "") for patient in sorted(set(patients))}
    lacking = [patient for patient, text in texts.items() if is_unknown(text)]
    if len(lacking) == len(texts):
        raise CohortError(f"column {column}: expected values, found none for any patient. Group by another column.")
    if lacking:
        logger.warning("column %s: no value for %d patients, left ungrouped: %s", column, len(lacking), names(lacking))
    return {patient: text for patient, text in texts.items() if patient not in set(lacking)}


def _id_column(table: Table) -> str:
    lower = {column.lower(): column for column in reversed(table.columns)}
    for wanted in ID_COLUMNS:
        if wanted.lower() in lower and any(column for column in table.columns if column != lower[wanted.lower()]):
            return lower[wanted.lower()]
    raise table.without(f"{' or '.join(ID_COLUMNS)}, and others")


def _rows(table: Table, id_column: str) -> list[tuple[str, dict[str, str]]]:
    """Identifier and the other cells of every row."""
    columns = (id_column, *(column for column in table.columns if column and column != id_column))
    texts = [text for text in table.rows(columns) if text[0].lower() != "n/a"]  # in an older BraTS, not in this one
    table.check_patients(id_column, [text[0] for text in texts], columns)
    return [(text[0], dict(zip(columns[1:], text[1:], strict=True))) for text in texts]
