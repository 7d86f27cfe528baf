"""Patients left out on purpose, each with its reason."""

from __future__ import annotations

import csv
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
        CohortError: The file is absent, lacks a column, or a row has no reason.
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
        text = path.read_text(encoding="utf-8-sig")
    reader = csv.DictReader(text.splitlines())
    if not {"patient_id", "reason"} <= set(reader.fieldnames or []):
        raise CohortError(f"{exclusions}: expected the columns patient_id,reason, found {reader.fieldnames}.")
    reasons = {row["patient_id"].strip(): (row["reason"] or "").strip() for row in reader}
    unexplained = [patient_id for patient_id, reason in reasons.items() if not reason]
    if unexplained:
        raise CohortError(f"{exclusions}: patient {', '.join(unexplained)} has no reason. Write why it is left out.")
    return reasons
