"""A visit of the doctor: find the series of a data directory, examine them, write the report."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import check_replaceable, write_text
from mgmt_monai.cohort.doctor.doctor_report import REPORT_NAME, Cohort, Diagnosis, write_report
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.layouts import find_series
from mgmt_monai.cohort.layouts.decided import decisions_of, row_of
from mgmt_monai.cohort.layouts.found import Contender
from mgmt_monai.cohort.tables.aliases import read_aliases, with_own_table
from mgmt_monai.cohort.tables.columns import read_columns
from mgmt_monai.cohort.tables.exclusions import DEFAULT_EXCLUSIONS, read_exclusions
from mgmt_monai.cohort.tables.ignores import IgnoreList, read_ignores
from mgmt_monai.cohort.tables.labels import Labels, read_labels
from mgmt_monai.cohort.tables.review import left_out
from mgmt_monai.cohort.tables.series_table import COLUMNS, FILE, SeriesRow, is_series_table, read_decisions
from mgmt_monai.cohort.tables.table import names
from mgmt_monai.csv_file import csv_text
from mgmt_monai.errors import why
from mgmt_monai.json_file import JsonFileError, read_json

logger = logging.getLogger(__name__)

#: Series in dispute of which the page shows a picture; a page with more is opened by no browser in a moment.
PICTURES = 600


@dataclass(frozen=True)
class Visit:
    """What the doctor is told beside the data directory.

    Args:
        labels_csv: The label table; None for the one that the layout names, where it is there.
        layout: A name of `mgmt_monai.cohort.layouts`; None to find it.
        exclusions: ``"default"``, ``"none"`` or a CSV ``patient_id,reason``: not looked at.
        ignore_csv: Findings that are accepted, ``finding,patient_id,reason``.
        series_csv: Which series are read, as the user decided; None for the table in the report's folder, else the data
            directory's own, where there is one.
        columns_csv: What is known of each patient, such as the site.
        mappings: Tables of aliases.
        pixels: Whether pixels are looked at.
        workers: Processes that read; None for one a core.
        site_alone: From labels and columns, what the site alone tells of the label, as the report's ``site`` has it.
    """

    labels_csv: Path | None = None
    layout: str | None = None
    exclusions: str = "none"
    ignore_csv: Path | None = None
    series_csv: Path | None = None
    columns_csv: Path | None = None
    mappings: tuple[Path, ...] = ()
    pixels: bool = True
    workers: int | None = None
    site_alone: Callable[[Mapping[str, int], Mapping[str, Mapping[str, str]]], dict[str, Any] | None] | None = None


def visit(data_dir: Path, out_dir: Path, plan: Visit, overwrite: bool = False) -> Diagnosis:
    """Examine a cohort and write ``report.json`` and ``report.html``, and ``series.csv`` where series are in doubt.

    What was read is kept beside the data, so that a visit that was stopped goes on and a second one is quick.

    Args:
        data_dir: The cohort's folder.
        out_dir: Made where it is absent.
        plan: What else is known.
        overwrite: Whether the report of another data directory is replaced.

    Returns:
        What was found, and where it is written.

    Raises:
        CohortError: No data, a table that cannot be read, decisions or another report that would be lost, or a folder
            that cannot be written.
    """
    data_dir = Path(data_dir)
    _check_writable(out_dir)
    place = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    report = Path(out_dir) / REPORT_NAME
    check_replaceable(report, _place_of(report) == place, overwrite, CohortError)
    ignores = read_ignores(plan.ignore_csv) if plan.ignore_csv else IgnoreList()
    aliases = read_aliases(*plan.mappings) if plan.mappings else None
    read_exclusions(plan.exclusions)  # a fault in it costs no search
    _check_kept(out_dir / FILE, plan.series_csv)
    found = find_series(data_dir, plan.layout, plan.series_csv or decisions_of(out_dir), drop_stale=True)
    excluded = set(left_out(data_dir, plan.exclusions, found.patients))
    if str(plan.exclusions) != DEFAULT_EXCLUSIONS and (strangers := sorted(excluded - found.patients)):
        logger.warning(f"{names(strangers)}: in the exclusion list or review.csv, but not in the data")
    ignores.warn_of_strangers(found.patients)
    labels = _labels(plan.labels_csv, found.labels_file)
    labels = labels and labels.under_names_of(found.patients)
    aliases = with_own_table(aliases, plan.labels_csv or found.labels_file)
    series = [item for item in found.series if item.patient_id not in excluded]
    patients = found.patients - excluded
    known = (
        None if labels is None or not labels.labels else {p: n for p, n in labels.labels.items() if p not in excluded}
    )
    columns = read_columns(plan.columns_csv, sorted(patients)) if plan.columns_csv else {}
    site = plan.site_alone(known, columns) if plan.site_alone and known else None  # a mistyped name costs no scan
    cohort = Cohort(
        name=data_dir.resolve().name,
        place=place,
        layout=found.layout,
        labels=known,
        unlabelled=() if labels is None else set(labels.unlabelled),
        patients=patients,
        findings=[finding for finding in found.findings if finding.patient_id not in excluded],
        aliases={p: list(aliases.names(p)) if aliases else [] for p in found.patients},  # also of those left out
        tagged=[item for item in found.people if item.patient_id not in excluded],
        files=found.files.to_json(data_dir) if found.files else None,
        passed_over=partial(found.files.of_patient, data_dir=data_dir) if found.files else lambda patient_id: "",
        columns=columns,
        site=site,
        site_alone=partial(plan.site_alone, known) if plan.site_alone and known and site is None else None,
        ignores=ignores,
    )
    shown = [one for one in found.contenders if one.series.patient_id not in excluded]
    try:
        with closing(ScanCache(data_dir)) as cache:
            exams = scan(series, data_dir, pixels=plan.pixels, cache=cache, workers=plan.workers)
            diagnosis = write_report(out_dir, exams, cohort, choice=_pictures(shown, data_dir, plan))
        if found.contenders:  # also of patients that are excluded this time: their decisions are kept
            rows = (row_of(one, data_dir) for one in found.contenders)
            write_series(out_dir / FILE, sorted(rows, key=lambda row: row.key))
        elif decisions_of(out_dir):  # of a visit before
            (out_dir / FILE).unlink()
        return diagnosis
    except OSError as error:
        reason = why(error)
        raise CohortError(f"{out_dir}: cannot write the report ({reason}). Name another folder with --out.") from error


def write_series(path: Path, rows: Iterable[SeriesRow]) -> None:
    """Write ``series.csv``, whole or not at all; an older one is replaced.

    Raises:
        OSError: The place cannot be written to.
    """
    text = csv_text(COLUMNS, ([getattr(row, column) for column in COLUMNS] for row in rows))
    write_text(path, text)


def _pictures(contenders: Sequence[Contender], data_dir: Path, plan: Visit) -> Iterator[tuple[SeriesRow, str]]:
    """Each series in dispute with its picture, those of a patient side by side."""
    disputed = sorted((one for one in contenders if one.disputed), key=lambda one: row_of(one, data_dir).key)
    shown = [one.shown for one in disputed[:PICTURES]]
    exams = scan(shown, data_dir, pixels=plan.pixels, identity=False, workers=plan.workers, description="Pictures")
    for one, exam in zip(disputed, exams, strict=False):
        yield row_of(one, data_dir), exam.content.montage if exam.content else ""


def _place_of(report: Path) -> str:
    """The data directory that a report is of, as a digest; "" where it tells none."""
    try:
        return str(read_json(report)["cohort"]["place"])
    except (JsonFileError, KeyError, TypeError):
        return ""


def _labels(named: Path | None, usual: Path) -> Labels | None:
    if named is not None:
        return read_labels(named)
    return read_labels(usual) if usual.is_file() else None


def _check_kept(own: Path, named: Path | None) -> None:
    """Refuse to write over a table that is none of ours, or decisions that the named one does not hold."""
    if not own.is_file():
        return
    if not is_series_table(own):
        raise CohortError(
            f"{own}: expected the table of a visit before, found another, which would be lost. Move it away, or name "
            "another folder with --out."
        )
    if named is None:
        return
    kept = {(row.key, row.decision) for row in read_decisions(named)}
    lost = [row for row in read_decisions(own) if (row.key, row.decision) not in kept]
    if lost:
        told = names([f"{row.file} {row.decision}" for row in lost], shown=3)
        raise CohortError(
            f"{own}: expected the decisions of {named}, found others, which would be lost: {told}. Move this table "
            "away, copy its decisions into the other, or name another folder with --out."
        )


def _check_writable(out_dir: Path) -> None:
    """Refuse a place that cannot take the report, before the work; it is made when there is something to write."""
    place = out_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise CohortError(f"{out_dir}: cannot be a folder for the report ({place} is a file). Name another with --out.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise CohortError(f"{out_dir}: this folder for the report may not be written to. Name another with --out.")
