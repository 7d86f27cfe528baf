"""``series.csv``: every series among which one was chosen, and which the user has decided on."""

from dataclasses import dataclass
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.cohort.tables.table import names, one_form, read_table

FILE = "series.csv"
COLUMNS = ("patient_id", "file", "frame", "slices", "read_as", "reason", "decision")
_READ = ("patient_id", "file", "frame", "decision")

NOT_READ = "none"
"""The decision that a series is not read."""


@dataclass(frozen=True)
class SeriesRow:
    """One series.

    Args:
        patient_id: Whose.
        file: Its first file, below the data directory, with ``/``.
        frame: Its first frame, where it is a part of a multi-frame file; else "".
        slices: How many slices it has.
        read_as: Its modality; "" where it is not read.
        reason: Why.
        decision: The user's: a modality, ``none``, or "" where there is none.
    """

    patient_id: str
    file: str
    frame: str
    slices: str = ""
    read_as: str = ""
    reason: str = ""
    decision: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.patient_id, self.file, self.frame


def read_decisions(path: Path) -> list[SeriesRow]:
    """The rows of a table that have a decision.

    Args:
        path: A table that the doctor wrote, and somebody has filled in.

    Raises:
        CohortError: Absent, unreadable, a column missing, a decision that is none, two series of one patient for one
            modality, or one series twice.
    """
    source = Path(path)
    table = read_table(source, f"no such table. Expected a CSV with the columns {','.join(_READ)}.")
    if not table.has(_READ):
        raise table.without(",".join(_READ))
    rows = [SeriesRow(who, file, frame, decision=told) for who, file, frame, told in table.rows(_READ) if told]
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        if row.decision not in (*MODALITIES, NOT_READ):
            raise CohortError(
                f"{source}: patient {names([row.patient_id])}, {names([row.file])}: expected the decision "
                f"{', '.join(MODALITIES)} or {NOT_READ}, found {names([repr(row.decision)])}. Write one of these, or "
                "leave it blank."
            )
        key, taken = tuple(map(one_form, row.key)), (one_form(row.patient_id), row.decision)
        if key in seen or (row.decision != NOT_READ and taken in seen):
            raise CohortError(
                f"{source}: patient {names([row.patient_id])}: expected one decision a series and one series a "
                f"modality, found a second for {names([row.file])}, {row.decision}. Keep one."
            )
        seen |= {key, taken}
    return rows


def is_series_table(path: Path) -> bool:
    """Whether a file is such a table, and not another one of this name."""
    try:
        return read_table(path, "").has(_READ)
    except CohortError:
        return False
