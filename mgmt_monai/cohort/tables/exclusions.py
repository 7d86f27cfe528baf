"""Patients left out on purpose, each with its reason."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.tables.table import names, parse_table, read_table, under_own_names

#: Stands for the packaged list of the RSNA-MICCAI 2021 patients that the hosts name as faulty.
DEFAULT_EXCLUSIONS = "default"

_COLUMNS = ("patient_id", "reason")


def read_exclusions(exclusions: str | Path, patients: Iterable[str] = ()) -> dict[str, str]:
    """Reasons by patient left out.

    Args:
        exclusions: ``"default"`` for the packaged list (RSNA-MICCAI 2021's hosts name 00109, 00123 and 00709 as
            faulty), ``"none"`` for an empty one, else a CSV with the columns ``patient_id,reason``.
        patients: Their own names, which count where the list's differ in their Unicode form alone.

    Raises:
        CohortError: The file is absent, lacks a column, names a patient twice or none, or gives no reason.
    """
    if str(exclusions).lower() == "none":
        return {}
    if str(exclusions) == DEFAULT_EXCLUSIONS:
        source = resources.files("mgmt_monai.cohort").joinpath("data/rsna_miccai_2021_exclusions.csv")
        table = parse_table(source.read_text(encoding="utf-8"), str(exclusions))
    else:
        table = read_table(
            Path(exclusions),
            "no exclusion list. Expected a CSV with the columns patient_id,reason, or 'default' or 'none'.",
        )
    rows = table.rows(_COLUMNS)
    table.check_patients(_COLUMNS[0], [patient_id for patient_id, _ in rows], _COLUMNS)
    unexplained = [patient_id for patient_id, reason in rows if not reason]
    if unexplained:
        raise CohortError(
            f"{table.source}: expected a reason in every row, found none for {names(unexplained)}. "
            "Write why each is left out."
        )
    own_list = str(exclusions) != DEFAULT_EXCLUSIONS
    return under_own_names({row[0]: row[1] for row in rows}, patients, table.source, zeros=own_list)
