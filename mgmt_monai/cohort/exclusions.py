"""Patients left out on purpose, each with its reason."""

from __future__ import annotations

import csv
import io
from importlib import resources
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError

#: Stands for the packaged list of the RSNA-MICCAI 2021 patients that the hosts name as faulty.
DEFAULT_EXCLUSIONS = "default"


def read_exclusions(exclusions: str | Path) -> dict[str, str]:
    """Reasons by patient left out.

    Args:
        exclusions: ``"default"`` for the packaged list (RSNA-MICCAI 2021's hosts name 00109, 00123 and 00709 as
            faulty), ``"none"`` for an empty one, else a CSV with the columns ``patient_id,reason``.

    Returns:
        ``{patient_id: reason}``.

    Raises:
        CohortError: The file is absent, lacks a column, names a patient twice or none, or gives no reason.
    """
    if str(exclusions).lower() == "none":
        return {}
    if str(exclusions) == DEFAULT_EXCLUSIONS:
        source = resources.files("mgmt_monai.cohort").joinpath("data/rsna_miccai_2021_exclusions.csv")
        text = source.read_text(encoding="utf-8")
    else:
        path = Path(exclusions)
        if not path.is_file():
            raise CohortError(
                f"{path}: no exclusion list. Expected a CSV with the columns patient_id,reason, or 'default' or 'none'."
            )
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise CohortError(f"{path}: not a readable CSV ({error}). Save it as plain UTF-8 text.") from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = reader.fieldnames or []
        rows = [((row.get("patient_id") or "").strip(), (row.get("reason") or "").strip()) for row in reader]
    except csv.Error as error:
        raise CohortError(f"{exclusions}: not a readable CSV ({error}). Save it as plain UTF-8 text.") from error
    if not {"patient_id", "reason"} <= set(columns):
        raise CohortError(
            f"{exclusions}: expected the columns patient_id,reason, found {','.join(columns) or 'none'}. "
            "Name them so in the first line."
        )
    rows = [row for row in rows if row != ("", "")]
    if any(not patient_id for patient_id, _ in rows):
        raise CohortError(f"{exclusions}: expected a patient_id in every row, found a row without. Add or remove it.")
    reasons = dict(rows)
    if len(reasons) < len(rows):
        twice = sorted({patient_id for patient_id, _ in rows if sum(patient_id == other for other, _ in rows) > 1})
        raise CohortError(
            f"{exclusions}: expected one row a patient, found several for {', '.join(twice)}. Keep one row each."
        )
    unexplained = [patient_id for patient_id, reason in reasons.items() if not reason]
    if unexplained:
        raise CohortError(
            f"{exclusions}: expected a reason in every row, found none for {', '.join(unexplained)}. "
            "Write why each is left out."
        )
    return reasons
