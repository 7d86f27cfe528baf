"""The label table: MGMT promoter status by patient, 1 = methylated, 0 = not."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError

ID_COLUMN = "BraTS21ID"
LABEL_COLUMN = "MGMT_value"


def read_labels(labels_csv: Path) -> dict[str, int]:
    """Labels by patient, in the file's order.

    Args:
        labels_csv: CSV with the columns ``BraTS21ID`` and ``MGMT_value`` (0 or 1), as RSNA-MICCAI 2021 gives it.
            Identifiers are text: leading zeros count.

    Returns:
        ``{patient_id: label}``, label 1 = MGMT promoter methylated.

    Raises:
        CohortError: The file is absent or empty, lacks a column, names a patient twice or none, or holds another
            value than 0 or 1.
    """
    labels_csv = Path(labels_csv)
    if not labels_csv.is_file():
        raise CohortError(
            f"{labels_csv}: no label file. Expected a CSV with the columns {ID_COLUMN},{LABEL_COLUMN}; "
            "name yours with --labels (manifest build) or --labels_csv (training)."
        )
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            raw = [(row.get(ID_COLUMN), row.get(LABEL_COLUMN)) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortError(f"{labels_csv}: not a readable CSV ({error}). Save it as plain UTF-8 text.") from error
    for column in (ID_COLUMN, LABEL_COLUMN):
        if column not in columns:
            raise CohortError(
                f"{labels_csv}: expected the columns {ID_COLUMN},{LABEL_COLUMN}, found {','.join(columns) or 'none'}. "
                "Name them so in the first line."
            )
    rows = [((patient_id or "").strip(), (value or "").strip()) for patient_id, value in raw]
    rows = [row for row in rows if row != ("", "")]  # a spreadsheet's empty rows
    nameless = sum(not patient_id for patient_id, _ in rows)
    if nameless:
        raise CohortError(
            f"{labels_csv}: expected a {ID_COLUMN} in every row, found {nameless} without. Add or remove."
        )
    repeated = [patient_id for patient_id, count in Counter(patient_id for patient_id, _ in rows).items() if count > 1]
    if repeated:
        raise CohortError(
            f"{labels_csv}: expected one row a patient, found several for {_names(repeated)}. Keep one row each."
        )
    unknown = [f"{patient_id} = {value!r}" for patient_id, value in rows if value not in ("0", "1")]
    if unknown:
        raise CohortError(
            f"{labels_csv}: expected {LABEL_COLUMN} 0 or 1, found {_names(unknown)}. Correct or remove these rows."
        )
    if not rows:
        raise CohortError(f"{labels_csv}: expected at least one patient, found only the header. Add the labels.")
    return {patient_id: int(value) for patient_id, value in rows}


def _names(items: list[str], shown: int = 10) -> str:
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
