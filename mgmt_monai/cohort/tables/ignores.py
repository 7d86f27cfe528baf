"""Findings that somebody looked at and decided to accept, so that the decision is made once."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import KINDS, Finding
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.tables.table import names, one_form, read_table

logger = logging.getLogger(__name__)

_COLUMNS = ("finding", "patient_id", "reason")


@dataclass(frozen=True)
class Ignored:
    """One decision.

    Args:
        finding: Identifier of the kind of finding, ``D012``.
        patient_id: Whose.
        reason: Why it is accepted.
    """

    finding: str
    patient_id: str
    reason: str


class IgnoreList:
    """The decisions taken."""

    def __init__(self, decisions: Iterable[Ignored] = ()) -> None:
        self.decisions = tuple(decisions)
        self._by_key = {(ignored.finding, one_form(ignored.patient_id)): ignored for ignored in self.decisions}

    def decision(self, finding: Finding) -> Ignored | None:
        """The decision that covers a finding: of its kind, for its patient or for one of the others it concerns."""
        for patient_id in (finding.patient_id, *finding.others):
            found = self._by_key.get((finding.id, one_form(patient_id)))
            if found is not None:
                return found
        return None

    def warn_of_strangers(self, patients: Collection[str]) -> None:
        """Log the decisions on patients who are not in the cohort: mistyped, perhaps."""
        known = {one_form(patient) for patient in patients}
        for ignored in self.decisions:
            if one_form(ignored.patient_id) not in known:
                logger.warning(
                    f"ignore list: {ignored.finding} of patient {ignored.patient_id}: no such patient in these data"
                )


def ignore_list(manifest: Manifest) -> IgnoreList:
    """The decisions that a manifest records."""
    return IgnoreList(Ignored(**entry) for entry in manifest.ignored)


def read_ignores(path: Path) -> IgnoreList:
    """Read an ignore list.

    Args:
        path: A CSV with the columns ``finding,patient_id,reason``.

    Returns:
        The decisions, in the file's order.

    Raises:
        CohortError: Absent, unreadable, a missing column, an unknown identifier, no patient or no reason in a row.
    """
    table = read_table(Path(path), f"no ignore list. Expected a CSV with the columns {','.join(_COLUMNS)}.")
    decisions = [Ignored(*row) for row in table.rows(_COLUMNS)]
    for decision in decisions:
        if decision.finding not in KINDS:
            raise CohortError(
                f"{path}: expected the identifier of a finding ({min(KINDS)} to {max(KINDS)}), found "
                f"{names([repr(decision.finding)])}. The documentation lists them all."
            )
        if decision.finding in ("D043", "D060"):
            raise CohortError(
                f"{path}: expected findings of patients, found {decision.finding}, which is of the whole cohort. "
                "Remove the row: it cannot be accepted for one."
            )
        if not decision.patient_id or not decision.reason:
            raise CohortError(
                f"{path}: expected a patient_id and a reason in every row, found "
                f"{names([repr(decision.patient_id)])} and {names([repr(decision.reason)])} for "
                f"{decision.finding}. Write who it is and why it is accepted."
            )
    return IgnoreList(decisions)
