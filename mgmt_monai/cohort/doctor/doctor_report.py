"""The doctor's report: report.json and the page, written while the exams pass by."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TextIO

from mgmt_monai import __version__
from mgmt_monai.atomic import atomic_file
from mgmt_monai.cohort.doctor.checks import label_findings
from mgmt_monai.cohort.doctor.confounders import ALPHA, Confounder, confounder_findings, find_confounders
from mgmt_monai.cohort.doctor.doctor_page import doctor_page
from mgmt_monai.cohort.doctor.survey import Survey
from mgmt_monai.cohort.examination.exam import SeriesExam, with_sites
from mgmt_monai.cohort.findings import Finding, Severity
from mgmt_monai.cohort.layouts.found import Tagged
from mgmt_monai.cohort.tables.ignores import Ignored, IgnoreList
from mgmt_monai.cohort.tables.series_table import SeriesRow
from mgmt_monai.html_page import write_page
from mgmt_monai.machine import scratch

SCHEMA = "mgmt-monai/doctor/1"
"""Name and version of report.json; `mgmt_monai/cohort/data/doctor.schema.json` says what is in it."""

REPORT_NAME, PAGE_NAME = "report.json", "report.html"

_SEVERITIES = list(Severity)


@dataclass(frozen=True)
class Cohort:
    """What is known of a cohort beside its series.

    Args:
        name: How the report calls it, such as the folder's name; never a path.
        layout: How its series were found.
        labels: 1 (methylated) or 0 by patient; None without a label table, and then nothing is held against labels.
        unlabelled: Patients of whom the label table says that the status is not known: no fault.
        patients: All of them; those without a series are counted too.
        findings: What was found before any series was read, by the layout; paths relative to the data directory.
        aliases: Other names of each patient's person.
        tagged: Who files are of that the layout has read, also those of series that are left out.
        files: How many files were found, read and passed over, as `FileCount.to_json` has it; None where not counted.
        passed_over: What files of a patient's name are passed over, in words.
        columns: What tables tell of the patients, such as the site: ``{patient_id: {column: value}}``.
        ignores: Findings that somebody has accepted.
        place: Digest of the data directory's path; "" where there is none.
        site: What the site alone tells of the label: ``column``, ``n_sites``, ``n`` patients and ``auc``; None where no
            site is known before the series are read.
        site_alone: From the columns, with the site that headers tell, the same; None where it is known.
    """

    name: str
    layout: str
    labels: Mapping[str, int] | None = None
    unlabelled: Collection[str] = ()
    patients: Collection[str] = ()
    findings: Sequence[Finding] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tagged: Sequence[Tagged] = ()
    files: Mapping[str, Any] | None = None
    passed_over: Callable[[str], str] = lambda patient_id: ""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ignores: IgnoreList = IgnoreList()  # noqa: RUF009 (it does not change)
    site: Mapping[str, Any] | None = None
    site_alone: Callable[[Mapping[str, Mapping[str, str]]], Mapping[str, Any] | None] | None = None
    place: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found, and where it is written.

    Args:
        findings: Those that count, errors first.
        ignored: Those that somebody accepted, each with the decision.
        confounders: Every fact tested against the label.
        report_path: ``report.json``.
        page_path: The page.
        files: How many files were found, read and passed over; None where not counted.
    """

    findings: list[Finding]
    ignored: list[tuple[Finding, Ignored]]
    confounders: list[Confounder]
    report_path: Path
    page_path: Path
    files: Mapping[str, Any] | None = None

    def count(self, severity: Severity) -> int:
        """How many findings of this severity count."""
        return sum(finding.kind.severity == severity for finding in self.findings)


def write_report(
    out_dir: Path,
    exams: Iterable[SeriesExam],
    cohort: Cohort,
    choice: Iterable[tuple[SeriesRow, str]] = (),
) -> Diagnosis:
    """Check the cohort and write ``report.json`` and ``report.html``, each whole or not at all.

    The exams are taken one by one and their pictures are not kept, so that memory stays flat.

    Args:
        out_dir: Made if it is not there; files of these names in it are replaced.
        exams: Each series once; paths relative to the data directory.
        cohort: What is known beside the series.
        choice: Series in dispute, those of a patient one after the other, each with a picture, JPEG in base64, or "".

    Raises:
        OSError: The folder cannot be made or written.
    """
    survey = Survey(cohort.aliases, cohort.tagged)
    with _spool() as rows, _spool() as montages:
        for exam in exams:
            survey.add(exam)
            rows.write(json.dumps(series_entry(exam, cohort.labels)) + "\n")
            montages.write((exam.content.montage if exam.content else "") + "\n")
        columns = with_sites(cohort.columns, survey.places)
        confounders = find_confounders(survey.facts(columns), cohort.labels) if cohort.labels else []
        if cohort.site_alone is not None:
            cohort = replace(cohort, site=cohort.site_alone(columns))
        findings, ignored = _decide(_all_findings(survey, cohort, confounders), cohort.ignores)
        head = {
            "schema": SCHEMA,
            "version": __version__,
            "cohort": _summary(survey, cohort, findings, ignored),
            "findings": [
                *(finding_entry(finding, None) for finding in findings),
                *(finding_entry(finding, decision) for finding, decision in ignored),
            ],
            "confounders": {"alpha": ALPHA, "tests": [confounder_entry(row) for row in confounders]},
        }
        out_dir = Path(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        report_path, page_path = out_dir / REPORT_NAME, out_dir / PAGE_NAME
        with atomic_file(report_path) as report:
            with report.open("w", encoding="utf-8") as stream:
                _write_json(stream, head, _lines(rows))
            write_page(page_path, doctor_page(head, _lines(rows), _lines(montages), choice))
    return Diagnosis(findings, ignored, confounders, report_path, page_path, cohort.files)


def series_entry(exam: SeriesExam, labels: Mapping[str, int] | None) -> dict[str, Any]:
    """One series as report.json has it: its findings are in the report's own list.

    Args:
        exam: The series.
        labels: By patient, or None.
    """
    record, content = exam.record, exam.content
    pixels = None
    if content is not None:
        pixels = {
            "low": _finite(content.low),
            "high": _finite(content.high),
            "clipped": content.clipped,
            "blank_slices": content.n_blank,
            "constant": content.constant,
            "histogram": {
                "low": _finite(content.robust_low),
                "high": _finite(content.robust_high),
                "counts": list(content.histogram),
            },
        }
    return {
        "patient_id": exam.patient_id,
        "label": None if labels is None else labels.get(exam.patient_id),
        "modality": exam.modality,
        "reason": exam.reason,
        "directory": exam.directory,
        "usable": record is not None,
        "plane": record.plane if record else None,
        "orientation": record.orientation if record else None,
        "rows": record.rows if record else None,
        "columns": record.columns if record else None,
        "slices": record.n_slices if record else None,
        "missing_slices": sum(count for _, count in record.gaps) if record else None,
        "pixel_spacing_mm": [_finite(mm) for mm in record.pixel_spacing_mm]
        if record and record.pixel_spacing_mm
        else None,
        "slice_spacing_mm": _finite(record.slice_spacing_mm) if record else None,
        "tags": dict(exam.facts),
        "identifying": list(exam.identifying),
        "pixels": pixels,
    }


def finding_entry(finding: Finding, decision: Ignored | None) -> dict[str, Any]:
    """One finding as report.json has it.

    Args:
        finding: Its path relative to the data directory.
        decision: Why it is accepted, or None.
    """
    return {
        "id": finding.id,
        "severity": str(finding.kind.severity),
        "title": finding.kind.title,
        "patient_id": finding.patient_id,
        "modality": finding.modality,
        "path": finding.path,
        "text": finding.text,
        "remedy": finding.kind.remedy,
        "others": list(finding.others),
        "ignored": None if decision is None else decision.reason,
    }


def confounder_entry(row: Confounder) -> dict[str, Any]:
    """One fact against the label as report.json has it."""
    spreads = row.spreads
    return {
        "fact": row.fact,
        "modality": row.modality,
        "test": row.test,
        "statistic": row.statistic,
        "effect": row.effect,
        "p": row.p,
        "p_corrected": row.p_corrected,
        "suspicious": row.suspicious,
        "counts": [asdict(count) for count in row.counts],
        "spreads": None if spreads is None else {"unmethylated": asdict(spreads[0]), "methylated": asdict(spreads[1])},
    }


def _all_findings(survey: Survey, cohort: Cohort, confounders: Sequence[Confounder]) -> list[Finding]:
    findings = [*cohort.findings, *survey.findings, *survey.cohort_findings()]
    if cohort.labels is not None:
        named = {*cohort.labels, *cohort.unlabelled}
        told = {finding.patient_id for finding in findings if finding.id == "D051"}
        # A patient whose label is not known may well have no images here.
        findings += [
            finding
            for finding in label_findings({*survey.patients, *cohort.patients}, named, cohort.passed_over)
            if finding.patient_id not in cohort.unlabelled and not (finding.id == "D051" and finding.patient_id in told)
        ]
    findings += confounder_findings(confounders)
    return sorted(findings, key=lambda f: (_SEVERITIES.index(f.kind.severity), f.id, f.patient_id, f.modality, f.path))


def _decide(findings: Iterable[Finding], ignores: IgnoreList) -> tuple[list[Finding], list[tuple[Finding, Ignored]]]:
    counting, ignored = [], []
    for finding in findings:
        decision = ignores.decision(finding)
        if decision is None:
            counting.append(finding)
        else:
            ignored.append((finding, decision))
    return counting, ignored


def _summary(
    survey: Survey, cohort: Cohort, findings: Sequence[Finding], ignored: Sequence[tuple[Finding, Ignored]]
) -> dict[str, Any]:
    patients = {*survey.patients, *cohort.patients}
    labels = None
    if cohort.labels is not None:
        values = Counter(cohort.labels.get(patient_id) for patient_id in patients)
        labels = {"methylated": values[1], "unmethylated": values[0], "unlabelled": values[None]}
    severities = Counter(finding.kind.severity for finding in findings)
    return {
        "name": cohort.name,
        "place": cohort.place,
        "layout": cohort.layout,
        "patients": len(patients),
        "complete_patients": survey.n_complete,
        "series": survey.n_series,
        "usable_series": survey.n_usable,
        "slices": survey.n_slices,
        "labels": labels,
        "files": cohort.files,
        "planes": {modality: dict(sorted(planes.items())) for modality, planes in sorted(survey.planes.items())},
        "severities": {str(severity): severities[severity] for severity in Severity},
        "site": cohort.site,
        "ignored": len(ignored),
        "ids": dict(sorted(Counter(finding.id for finding in findings).items())),
    }


def _finite(value: float | None) -> float | None:
    """A number that JSON has; a damaged file may give one that it has not."""
    return value if value is not None and math.isfinite(value) else None


def _spool() -> IO[str]:
    return scratch(TemporaryFile, mode="w+", encoding="utf-8", newline="\n")


def _lines(spool: IO[str]) -> Iterator[str]:
    spool.seek(0)
    return (line.rstrip("\n") for line in spool)


def _write_json(stream: TextIO, head: Mapping[str, Any], rows: Iterable[str]) -> None:
    stream.write(json.dumps(head, indent=2)[: -len("\n}")])
    stream.write(',\n  "series": [')
    for number, row in enumerate(rows):
        stream.write((",\n    " if number else "\n    ") + row)
    stream.write("\n  ]\n}\n")
