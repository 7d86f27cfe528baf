"""The label table: MGMT promoter status by patient, 1 = methylated, 0 = not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import Table, is_unknown, names, read_table, under_own_names

#: Columns of a plain table; its label may be blank where it is not known.
PLAIN_COLUMNS = ("patient_id", "label")

#: Columns of the tables that give the label as 0 or 1: RSNA-MICCAI 2021's, and a plain one.
BINARY_COLUMNS = (("BraTS21ID", "MGMT_value"), PLAIN_COLUMNS)

#: Columns of UPENN-GBM's clinical table (TCIA, UPENN-GBM_clinical_info_v2.1.csv), which gives the label in words.
CLINICAL_COLUMNS = ("ID", "MGMT")

#: Columns of UCSF-PDGM's metadata (TCIA, UCSF-PDGM-metadata_v5.csv); the index counts the methylated CpG sites.
UCSF_COLUMNS, UCSF_INDEX = ("ID", "MGMT status"), "MGMT index"

#: The column of identifiers in BIDS' ``participants.tsv``, and what one with labels is called, in lower case.
PARTICIPANT = "participant_id"
BIDS_LABELS = ("mgmt", "mgmt_status", "mgmt_value", "mgmt_methylation", "mgmt_promoter_methylation", "label")

_WORDS = {"methylated": 1, "unmethylated": 0}
_UCSF_WORDS = {"positive": 1, "negative": 0}
_BIDS_WORDS = {**_WORDS, **_UCSF_WORDS, "1": 1, "0": 0, "1.0": 1, "0.0": 0}
_INDETERMINATE = "indeterminate"

#: UPENN-GBM's identifiers end in the visit: 11 before surgery, 21 a follow-up.
_UPENN_ID = re.compile(r"(?P<patient>.+)_(?P<visit>\d\d)")
#: UCSF-PDGM's in the days to a follow-up, if it is one. The table's numbers have three digits, the folders' four.
_UCSF_ID = re.compile(r"(?P<patient>UCSF-PDGM-\d+)(?:_(?P<visit>FU\d+d))?", re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """What a label table says.

    Args:
        labels: By patient, in the file's order: 1 = MGMT promoter methylated, 0 = not.
        unlabelled: Why, by patient that the table names without saying a status: "MGMT is Indeterminate".
    """

    labels: dict[str, int]
    unlabelled: dict[str, str] = field(default_factory=dict)

    def under_names_of(self, patients: Iterable[str]) -> Labels:
        """The same under the patients' own names, where these differ in their Unicode form alone."""
        told: dict[str, int | str] = under_own_names({**self.unlabelled, **self.labels}, patients, "labels", False)
        return Labels(
            {name: label for name, label in told.items() if isinstance(label, int)},
            {name: reason for name, reason in told.items() if isinstance(reason, str)},
        )


def holds_labels(path: Path) -> bool:
    """Whether a table has the columns of a label table; ``cohort.csv`` need not.

    Raises:
        CohortError: It cannot be read as CSV.
    """
    table = read_table(path, "no label file.")
    return any(table.has(columns) for columns in (*BINARY_COLUMNS, CLINICAL_COLUMNS))


def read_labels(labels_csv: Path) -> Labels:
    """Labels by patient.

    Args:
        labels_csv: CSV with the columns ``BraTS21ID,MGMT_value`` (as RSNA-MICCAI 2021 gives it) or
            ``patient_id,label``, both with 0 or 1; UPENN-GBM's clinical table with ``ID,MGMT``: Methylated,
            Unmethylated, Indeterminate, Not Available; UCSF-PDGM's metadata with ``ID,MGMT status``: positive,
            negative, indeterminate, unknown, and no label where ``MGMT index`` says the opposite; or BIDS'
            ``participants.tsv`` with ``participant_id`` and one of `BIDS_LABELS`. Other columns are passed over.
            Identifiers are text: leading zeros count. Where they end in a visit, a patient's label is that of the
            first visit in the table, the one whose images are read, and there is none where a later visit says the
            opposite.

    Raises:
        CohortError: The file is absent or empty, lacks a column, names a patient twice or none, or holds another
            value than these.
    """
    labels_csv = Path(labels_csv)
    expected = f"{','.join(BINARY_COLUMNS[0])} (or {','.join(BINARY_COLUMNS[1])}, or {','.join(CLINICAL_COLUMNS)}, "
    expected += f"or {','.join(UCSF_COLUMNS)}, or {PARTICIPANT} and one of {', '.join(BIDS_LABELS)})"
    table = read_table(
        labels_csv,
        f"no label file. Expected a CSV with the columns {expected}; "
        "name yours with --labels (mgmt-monai doctor, manifest build) or --labels_csv (training).",
    )
    for columns in BINARY_COLUMNS:
        if table.has(columns):
            return _binary(table, columns)
    if table.has(UCSF_COLUMNS):
        return _ucsf(table)
    if table.has(CLINICAL_COLUMNS):
        words = "MGMT Methylated, Unmethylated, Indeterminate or Not Available"
        return _worded(table, CLINICAL_COLUMNS, _WORDS, words, _UPENN_ID)
    by_name = {column.lower(): column for column in table.columns}
    if len(by_name) < len(table.columns):
        twice = sorted(name for name, n in Counter(column.lower() for column in table.columns).items() if n > 1)
        raise CohortError(f"{table.source}: expected each column once, found {names(twice)} twice. Remove the other.")
    label = next((by_name[name] for name in BIDS_LABELS if name in by_name), None)
    if table.has([PARTICIPANT]) and label is not None:
        return _participants(table, label)
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


def _ucsf(table: Table) -> Labels:
    words = "MGMT status positive, negative, indeterminate or unknown"
    told = _worded(table, UCSF_COLUMNS, _UCSF_WORDS, words, _UCSF_ID)
    labels, unlabelled = _spelled(table, UCSF_COLUMNS[0], told, _four_digits)
    if table.has([UCSF_INDEX]):
        for identifier, status, index in table.rows((*UCSF_COLUMNS, UCSF_INDEX)):
            patient, counted = _four_digits(identifier), re.fullmatch(r"\d+(\.\d+)?", index)
            if patient in labels and counted and (float(index) > 0) != labels[patient]:
                del labels[patient]
                unlabelled[patient] = f"MGMT status is {status}, but {UCSF_INDEX} is {index}"
    return Labels(labels, unlabelled)


def _spelled(
    table: Table, column: str, told: Labels, spell: Callable[[str], str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Labels under the folders' spelling of each patient, no two of whom may become one."""
    table.check_patients(column, [spell(patient) for patient in (*told.labels, *told.unlabelled)])
    unlabelled = {spell(patient): reason for patient, reason in told.unlabelled.items()}
    return {spell(patient): label for patient, label in told.labels.items()}, unlabelled


def _four_digits(patient: str) -> str:
    """As the folders have it: ``UCSF-PDGM-0004`` for the table's ``UCSF-PDGM-004``."""
    collection, _, number = patient.upper().rpartition("-")
    return f"{collection}-{number.lstrip('0').zfill(4)}" if number.isascii() and number.isdigit() else patient


def _participants(table: Table, label: str) -> Labels:
    words = f"{label} 0 or 1, negative or positive, unmethylated or methylated, indeterminate or n/a"
    told = _worded(table, (PARTICIPANT, label), _BIDS_WORDS, words)
    return Labels(*_spelled(table, PARTICIPANT, told, _subject))


def _subject(participant: str) -> str:
    return participant if participant.startswith("sub-") else f"sub-{participant}"


def _worded(
    table: Table,
    columns: tuple[str, str],
    words: Mapping[str, int],
    expected: str,
    scheme: re.Pattern[str] | None = None,
) -> Labels:
    """Labels of a table that gives them in words, of the first visit where identifiers end in one."""
    rows = table.rows(columns)
    table.check_patients(columns[0], [identifier for identifier, _ in rows], columns)
    unknown = [
        f"{name} = {value!r}"
        for name, value in rows
        if not (is_unknown(value) or value.lower() in (*words, _INDETERMINATE))
    ]
    if unknown:
        raise CohortError(f"{table.source}: expected {expected}, found {names(unknown)}. Correct or remove these rows.")
    _check_not_empty(table, rows)
    visits: dict[str, dict[str, str]] = {}
    for identifier, value in rows:
        match = scheme.fullmatch(identifier) if scheme else None
        patient, visit = (match["patient"], match["visit"] or "") if match else (identifier, "")
        visits.setdefault(patient, {})[visit] = value
    labels, unlabelled = {}, {}
    for patient, values in visits.items():
        first = min(values)
        told = {words[value.lower()] for value in values.values() if value.lower() in words}
        label = words.get(values[first].lower())
        if len(told) == 1 and label is not None:
            labels[patient] = label
        elif label is None:
            unlabelled[patient] = _unlabelled(values, first, columns[1], words)
        else:
            unlabelled[patient] = "the visits disagree: " + _by_visit(values, sorted(values))
    return Labels(labels, unlabelled)


def _unlabelled(values: dict[str, str], first: str, column: str, words: Mapping[str, int]) -> str:
    others = [visit for visit in sorted(values) if visit != first and values[visit].lower() in words]
    reason = f"{column} is {values[first] or 'blank'}"
    # Tissue of a later operation is no ground truth for the images taken before the first.
    return f"{reason} at visit {first or 1} ({_by_visit(values, others)})" if others else reason


def _by_visit(values: dict[str, str], visits: list[str]) -> str:
    return ", ".join(f"{values[visit]} at visit {visit or 1}" for visit in visits)


def _check_not_empty(table: Table, rows: list[tuple[str, ...]]) -> None:
    if not rows:
        raise CohortError(f"{table.source}: expected at least one patient, found only the header. Add the labels.")


def alike(patient_ids: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Why the names of patients may be in one of table and folders alone: words in brackets, "" where nobody knows.

    Args:
        patient_ids: That are in one of the two.
        others: That are in the other alone.
    """
    known = {_without_zeros(other): other for other in others}
    hints = {}
    for patient_id in patient_ids:
        hints[patient_id] = ""
        if other := known.get(_without_zeros(patient_id)):
            hints[patient_id] = f" (there is {other}: did a spreadsheet strip leading zeros?)"
        elif any("\ud800" <= letter <= "\udfff" for letter in patient_id):
            hints[patient_id] = " (the folder's name is no text in this locale: set LC_ALL=C.UTF-8, or rename it)"
    return hints


def _without_zeros(patient_id: str) -> str:
    return patient_id.lstrip("0") or "0"
