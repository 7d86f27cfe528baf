"""The series that a user's ``series.csv`` takes in place of those that the rules chose."""

import logging
from dataclasses import replace
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts.found import Contender, Found, LeftOut, n_files_of
from mgmt_monai.cohort.tables.series_table import FILE, NOT_READ, SeriesRow, is_series_table, read_decisions
from mgmt_monai.cohort.tables.table import names, one_form, tell_other_form
from mgmt_monai.errors import printable

logger = logging.getLogger(__name__)


def decisions_of(data_dir: Path, named: Path | None = None) -> Path | None:
    """The table that counts for a data directory: the one that is named, else its own; None without one."""
    own = Path(data_dir) / FILE
    return named or (own if own.is_file() and is_series_table(own) else None)


def apply_decisions(found: Found, source: Path, data_dir: Path, drop: bool = False, study: Path | None = None) -> None:
    """Take what the table says, and leave out what it replaces.

    Args:
        found: What the rules chose; it is changed.
        source: The table.
        data_dir: The cohort's folder.
        drop: Rows of series that are not there are dropped with a warning; else they are refused.
        study: The folder of one patient, whose rows alone count.

    Raises:
        CohortError: The table cannot be read, or names a series that is not there.
    """
    by_key = {row_of(one, data_dir).key: one for one in found.contenders}
    forms = {tuple(map(one_form, key)): key for key in by_key}
    rows, n_other_form = [], 0
    for row in read_decisions(source):
        if study is not None and not (data_dir / row.file).is_relative_to(study):
            continue
        key = row.key if row.key in by_key else forms.get(tuple(map(one_form, row.key)))
        if key is not None:
            n_other_form += key != row.key
            rows.append(replace(row, patient_id=key[0], file=key[1]))
            continue
        frame = f", frame {names([row.frame])}" if row.frame else ""
        text = (
            f"{source}: patient {names([row.patient_id])}: expected a series among which one is chosen, found none "
            f"that begins with {names([row.file])}{frame}"
        )
        if not drop:
            raise CohortError(f"{text}. Remove the row, or run the doctor again and take its {FILE}.")
        logger.warning(f"{text}. The decision {row.decision} is dropped: decide again if the series has moved.")
    tell_other_form(str(source), n_other_form)
    n_before = n_files_of(found.series)
    replaced = {(row.patient_id, row.decision) for row in rows if row.decision != NOT_READ}
    touched = {(row.patient_id, by_key[row.key].series.modality) for row in rows} | replaced
    for row in rows:
        one = by_key[row.key]
        one.decision = row.decision
        if row.decision == NOT_READ:
            _leave_out(one, found)
        else:
            _read(one, row.decision, found)
    for one in found.contenders:
        if not one.decision and (one.series.patient_id, one.read_as) in replaced:
            _leave_out(one, found)
    named = [one.series for one in found.contenders if one.decision]
    for series in list(found.series):  # of files that were no choice to the rules
        if (series.patient_id, series.modality) in replaced and not any(series is one for one in named):
            found.series.remove(series)
            reason = f"not chosen in {FILE} ({series.reason})"
            item = LeftOut(series.patient_id, series.directory, series.directory.name, len(series.files or ()), reason)
            found.left_out.append(item)
    if found.files is not None:
        fewer = n_before - n_files_of(found.series)
        found.files.n_read -= fewer
        found.files.n_left_out += fewer
    found.findings = [
        finding
        for finding in found.findings
        if finding.id not in ("D034", "D038") or (finding.patient_id, finding.modality) not in touched
    ]
    found.decisions = rows


def row_of(one: Contender, data_dir: Path) -> SeriesRow:
    """A series as ``series.csv`` has it."""
    series = one.series
    first = series.directory / min(series.files or ("",))
    below = first.relative_to(data_dir) if first.is_relative_to(data_dir) else first
    frame = "" if series.frames is None else str(min(series.frames))
    read_as, reason = one.read_as, one.reason
    return SeriesRow(
        series.patient_id, printable(below.as_posix()), frame, str(one.n_slices), read_as, reason, one.decision
    )


def _read(one: Contender, modality: str, found: Found) -> None:
    found.left_out = [item for item in found.left_out if item is not one.left_out]
    found.series = [item for item in found.series if item is not one.series]
    reason = f"named in {FILE} ({one.series.reason})"
    one.series = replace(one.series, modality=modality, reason=reason)
    one.read_as, one.reason, one.left_out = modality, reason, None
    found.series.append(one.series)


def _leave_out(one: Contender, found: Found) -> None:
    one.reason = f"not chosen in {FILE} ({one.series.reason})"
    if not one.read_as:
        return
    series = one.series
    found.series = [item for item in found.series if item is not series]
    one.read_as = ""
    one.left_out = LeftOut(series.patient_id, series.directory, one.name, len(series.files or ()), one.reason)
    found.left_out.append(one.left_out)
