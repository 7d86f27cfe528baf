"""The label table: MGMT promoter status by patient, 1 = methylated, 0 = not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import Table, is_unknown, names, read_table

#: Columns of a plain table; its label may be blank where it is not known.
PLAIN_COLUMNS = ("patient_id", "label")

#: Columns of the tables that give the label as 0 or 1: RSNA-MICCAI 2021's, and a plain one.
BINARY_COLUMNS = (("BraTS21ID", "MGMT_value"), PLAIN_COLUMNS)

#: Columns of UPENN-GBM's clinical table (TCIA, UPENN-GBM_clinical_info_v2.1.csv), which gives the label in words.
CLINICAL_COLUMNS = ("ID", "MGMT")

_WORDS = {"methylated": 1, "unmethylated": 0}
_INDETERMINATE = "indeterminate"

#: UPENN-GBM's identifiers end in the visit: 11 before surgery, 21 a follow-up.
_VISIT = re.compile(r"(?P<patient>.+)_(?P<visit>\d\d)")


@dataclass(frozen=True)
class Labels:
    """What a label table says.

    Args:
        labels: By patient, in the file's order: 1 = MGMT promoter methylated, 0 = not.
        unlabelled: Why, by patient that the table names without saying a status: "MGMT is Indeterminate".
    """

    labels: dict[str, int]
    unlabelled: dict[str, str] = field(default_factory=dict)


def read_labels(labels_csv: Path) -> Labels:
    """Labels by patient.

    Args:
        labels_csv: CSV with the columns ``BraTS21ID,MGMT_value`` (as RSNA-MICCAI 2021 gives it) or
            ``patient_id,label``, both with 0 or 1, or UPENN-GBM's clinical table with ``ID,MGMT``: Methylated,
            Unmethylated, Indeterminate, Not Available. Other columns are passed over. Identifiers are text: leading
            zeros count. UPENN-GBM's end in a visit; a patient's label is that of the first visit in the table, the one
            whose images are read, and there is none where a later visit says the opposite.

    Returns:
        Labels by patient, and why the others have none.

    Raises:
        CohortError: The file is absent or empty, lacks a column, names a patient twice or none, or holds another
            value than these.
    """
    labels_csv = Path(labels_csv)
    expected = f"{','.join(BINARY_COLUMNS[0])} (or {','.join(BINARY_COLUMNS[1])}, or {','.join(CLINICAL_COLUMNS)})"
    table = read_table(
        labels_csv,
        f"no label file. Expected a CSV with the columns {expected}; "
        "name yours with --labels (mgmt-monai doctor, manifest build) or --labels_csv (training).",
    )
    for columns in BINARY_COLUMNS:
        if table.has(columns):
            return _binary(table, columns)
    if table.has(CLINICAL_COLUMNS):
        return _clinical(table)
    raise table.without(expected)


def _binary(table: Table, columns: tuple[str, str]) -> Labels:
    rows = table.rows(columns)
    table.check_patients(columns[0], [patient for patient, _ in rows], columns)
    known = ("0", "1", "") if columns == PLAIN_COLUMNS else ("0", "1")
    unknown = [f"{patient} = {value!r}" for patient, value in rows if value not in known]
    if unknown:
        raise CohortError(
            f"{table.source}: expected {columns[1]} 0 or 1, found {names(unknown)}. Correct or remove these rows."
        )
    _check_not_empty(table, rows)
    unlabelled = {patient: f"{columns[1]} is blank" for patient, value in rows if not value}
    return Labels({patient: int(value) for patient, value in rows if value}, unlabelled)


def _clinical(table: Table) -> Labels:
    rows = table.rows(CLINICAL_COLUMNS)
    table.check_patients(CLINICAL_COLUMNS[0], [identifier for identifier, _ in rows], CLINICAL_COLUMNS)
    unknown = [
        f"{name} = {value!r}"
        for name, value in rows
        if not (is_unknown(value) or value.lower() in (*_WORDS, _INDETERMINATE))
    ]
    if unknown:
        raise CohortError(
            f"{table.source}: expected MGMT Methylated, Unmethylated, Indeterminate or Not Available, found "
            f"{names(unknown)}. Correct or remove these rows."
        )
    _check_not_empty(table, rows)
    visits: dict[str, dict[str, str]] = {}
    for identifier, value in rows:
        match = _VISIT.fullmatch(identifier)
        patient, visit = (match["patient"], match["visit"]) if match else (identifier, "")
        visits.setdefault(patient, {})[visit] = value
    labels, unlabelled = {}, {}
    for patient, values in visits.items():
        first = min(values)
        told = {_WORDS[value.lower()] for value in values.values() if value.lower() in _WORDS}
        label = _WORDS.get(values[first].lower())
        if len(told) == 1 and label is not None:
            labels[patient] = label
        elif label is None:
            unlabelled[patient] = _unlabelled(values, first)
        else:
            unlabelled[patient] = "the visits disagree: " + _by_visit(values, sorted(values))
    return Labels(labels, unlabelled)


def _unlabelled(values: dict[str, str], first: str) -> str:
    others = [visit for visit in sorted(values) if visit != first and values[visit].lower() in _WORDS]
    reason = f"MGMT is {values[first] or 'blank'}"
    # Tissue of a later operation is no ground truth for the images taken before the first.
    return f"{reason} at visit {first} ({_by_visit(values, others)})" if others else reason


def _by_visit(values: dict[str, str], visits: list[str]) -> str:
    return ", ".join(f"{values[visit]} at visit {visit}" for visit in visits)


def _check_not_empty(table: Table, rows: list[tuple[str, ...]]) -> None:
    if not rows:
        raise CohortError(f"{table.source}: expected at least one patient, found only the header. Add the labels.")
