"""From a data directory and a label table to a manifest."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.examination.exam import SeriesExam, with_sites
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.examination.scan_cache import ScanCache
from mgmt_monai.cohort.findings import Finding, Severity
from mgmt_monai.cohort.layouts import Found, find_series
from mgmt_monai.cohort.layouts.found import FoundSeries, Tagged
from mgmt_monai.cohort.layouts.passed_over import files_line
from mgmt_monai.cohort.manifest import MADE_MODEL, Manifest, phantom_truth
from mgmt_monai.cohort.people import People
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.relations import contradictions, copied_series, crossing, related_patients
from mgmt_monai.cohort.splits.groups import groups_of
from mgmt_monai.cohort.splits.plans import External
from mgmt_monai.cohort.tables.aliases import Aliases, in_brats_2021, untraceable, with_own_table
from mgmt_monai.cohort.tables.columns import read_columns
from mgmt_monai.cohort.tables.exclusions import DEFAULT_EXCLUSIONS, read_exclusions
from mgmt_monai.cohort.tables.ignores import IgnoreList
from mgmt_monai.cohort.tables.labels import Labels, alike, read_labels
from mgmt_monai.cohort.tables.review import in_words, left_out, prepared_as

logger = logging.getLogger(__name__)


class SplitPlan(Protocol):
    """How a cohort is split: one of the plans in `mgmt_monai.cohort.splits.plans`."""

    def apply(self, manifest: Manifest, related: Sequence[Finding] | None = None) -> Manifest:
        """The manifest, split so; its patients' relations where they are known."""


@dataclass(frozen=True)
class Sources:
    """What a cohort is made of beside its images.

    Args:
        labels_csv: The label table; None for the one that the layout names.
        exclusions: ``"default"``, ``"none"`` or a CSV ``patient_id,reason``.
        layout: A name of `mgmt_monai.cohort.layouts`; None to find it.
        ignores: Findings that are accepted: their series is left out, or their warning not told.
        aliases: Names of the same person; None without a table.
        columns_csv: What is known of each patient, such as the site; None without a table.
        series_csv: Which series are read, as the user decided; None for the data directory's own, where there is one.
        against: Patients who must not be in this cohort, whatever their name: of a training data's manifest.
    """

    labels_csv: Path | None = None
    exclusions: str | Path = DEFAULT_EXCLUSIONS
    layout: str | None = None
    ignores: IgnoreList = IgnoreList()  # noqa: RUF009 (it does not change)
    aliases: Aliases | None = None
    columns_csv: Path | None = None
    series_csv: Path | None = None
    against: Manifest | None = None


@dataclass(frozen=True)
class BuiltCohort:
    """A manifest, and what a reader of it should know.

    Args:
        manifest: To be written.
        findings: Warnings and notes that nobody has accepted yet, errors that were accepted.
        related: Pairs of patients who may be one and are not accepted, each in one split.
        files: How many files were found, read and passed over, in a line.
    """

    manifest: Manifest
    findings: list[Finding]
    related: list[Finding]
    files: str = ""


def build_manifest(data_dir: Path, sources: Sources, plan: SplitPlan, workers: int | None = None) -> BuiltCohort:
    """Find every series, order its slices, look at its pixels, split the patients.

    Args:
        data_dir: The cohort's folder.
        sources: Labels, exclusions and the rest.
        plan: How the patients are split.
        workers: Processes that read; None for one a core.

    Returns:
        The manifest, with patients excluded and left out listed in it, and what else was found.

    Raises:
        CohortFaultsError: Series that cannot be used, patients without a label, related patients with different
            labels or, where the plan keeps to a table, in different splits; each a line of ``faults``.
        CohortError: No data, a table that cannot be read, a split without a class, or an external cohort of patients
            in BraTS 2021 without the manifest of the training data.
    """
    data_dir = Path(data_dir)
    found = find_series(data_dir, sources.layout, sources.series_csv)
    labels_csv = sources.labels_csv or found.labels_file
    labels = read_labels(labels_csv).under_names_of(found.patients)
    sources = replace(sources, aliases=with_own_table(sources.aliases, labels_csv))
    if sources.against is not None:
        _warn_of_untraceable(sources.against, sources.aliases)
    elif isinstance(plan, External):
        _refuse_overlap(found, sources.aliases, data_dir)
    sources.ignores.warn_of_strangers(found.patients)
    listed = left_out(data_dir, sources.exclusions, found.patients)
    present = {series.patient_id for series in found.series}
    excluded = {patient: reason for patient, reason in listed.items() if patient in present}
    series = [s for s in found.series if s.patient_id not in excluded and s.patient_id not in labels.unlabelled]
    told = _columns(series, sources)
    with closing(ScanCache(data_dir)) as cache:
        exams = list(scan(series, data_dir, pixels=True, cache=cache, workers=workers))
    columns = with_sites(told, ((exam.patient_id, exam.place) for exam in exams))

    # A patient without any series is told among those left out; series that nobody asks for, by the doctor alone.
    findings = [f for f in found.findings if f.patient_id not in excluded and f.id not in ("D035", "D037")]
    findings += [f for exam in exams for f in exam.findings]
    findings += _unlabelled(exams, labels, labels_csv, data_dir)
    people = _people(found, exams, sources.aliases)
    findings += [finding for finding in people.findings() if finding.patient_id not in excluded]
    findings, accepted = _accept(findings, sources.ignores)
    _refuse(findings, data_dir)
    patients = _patients(exams, labels.labels, _dropped(accepted), columns, sources.aliases, people)
    patients, known, accepted_known = _without_known(patients, sources)
    if not patients:
        raise CohortError(f"{data_dir}: expected patients to put into the manifest, found none that can be used.")
    findings += _accept(copied_series(patients), sources.ignores)[0]
    relations, accepted_relations = _accept(related_patients(patients), sources.ignores)
    _refuse(contradictions(labels.labels, relations), data_dir)
    manifest = plan.apply(
        Manifest(
            layout=found.layout,
            labels_sha256=hashlib.sha256(labels_csv.read_bytes()).hexdigest(),
            split={},
            patients=patients,
            excluded=excluded,
            left_out=[*_left_out(found, labels, listed, sources, data_dir), *known],
            ignored=[vars(decision).copy() for decision in sources.ignores.decisions],
            chosen=[
                {"patient_id": row.patient_id, "file": row.file, "frame": row.frame, "decision": row.decision}
                for row in sorted(found.decisions, key=lambda row: row.key)
            ],
            passed_over={kind: n for kind, (n, _) in sorted(found.files.kinds.items())} if found.files else {},
            made=phantom_truth(data_dir),
            heads=heads_of(patients, exams, data_dir),
        ),
        relations,
    )
    _refuse(crossing(manifest.patients, relations), data_dir)  # of a split that is the user's own
    line = files_line(found.files.to_json(data_dir)) if found.files else ""
    return BuiltCohort(manifest, [*findings, *accepted, *accepted_relations, *accepted_known], relations, line)


def heads_of(
    patients: Sequence[PatientRecord], exams: Sequence[SeriesExam], data_dir: Path
) -> dict[str, dict[str, Any]]:
    """What a cohort's series show of the heads, so that a model knows what it was trained on.

    Returns:
        By modality, how many ``series``, how many of them ``skull_stripped`` and ``with_skull`` (of the others it
        cannot be told) and ``prepared`` by ``mgmt-monai prepare``; where one is, ``how``: version and settings; where
        some are a phantom's, by their headers, how many are ``made``.

    Raises:
        CohortError: Series that were prepared in different ways.
    """
    heads: dict[str, dict[str, Any]] = {}
    first: tuple[str, dict[str, Any]] | None = None
    known = {patient.patient_id: patient.series for patient in patients}
    for exam in (one for one in exams if one.modality in known.get(one.patient_id, {})):
        of = heads.setdefault(exam.modality, {"series": 0, "skull_stripped": 0, "with_skull": 0, "prepared": 0})
        how = prepared_as(data_dir / exam.directory)
        of["series"] += 1
        of["skull_stripped"] += exam.skull_stripped is True
        of["with_skull"] += exam.skull_stripped is False
        if exam.facts.get("ManufacturerModelName", "").startswith(MADE_MODEL):
            of["made"] = of.get("made", 0) + 1
        if how is not None:
            of["prepared"] += 1
            of["how"] = how
            first = first or (exam.patient_id, how)
            if how != first[1]:
                raise CohortError(
                    f"{data_dir}: expected patients who were prepared in one way, found {in_words(first[1])} of "
                    f"{first[0]}, {in_words(how)} of {exam.patient_id}. Prepare them again in one way: mgmt-monai "
                    "prepare --overwrite."
                )
    return dict(sorted(heads.items()))


def _refuse_overlap(found: Found, aliases: Aliases | None, data_dir: Path) -> None:
    """Nobody of BraTS 2021 counts as external unless it is known who was trained on."""
    overlap = in_brats_2021(found.patients, aliases)
    if overlap:
        raise CohortError(
            f"{data_dir}: expected an external cohort, found {len(overlap)} of {len(found.patients)} patients in BraTS "
            "2021, and so in RSNA-MICCAI 2021, under other names. Give the manifest of the training data with "
            "--against: whoever is in it is left out."
        )


def _warn_of_untraceable(against: Manifest, aliases: Aliases | None) -> None:
    if aliases is None:
        logger.warning("names are compared as they are: no table of aliases was given (--mapping)")
        return
    lost = untraceable([patient.patient_id for patient in against.patients], aliases)
    if lost:
        logger.warning(
            f"{len(lost)} of {len(against.patients)} patients of the training data have no name outside it in these "
            "tables: whether they are in this cohort can only be told by their images (--mapping may be given again)"
        )


def _columns(series: Sequence[FoundSeries], sources: Sources) -> dict[str, dict[str, str]]:
    """What the table tells of the patients: read before the images, so that a mistyped name costs no scan."""
    return read_columns(sources.columns_csv, sorted({s.patient_id for s in series})) if sources.columns_csv else {}


def _unlabelled(exams: Sequence[SeriesExam], labels: Labels, labels_csv: Path, data_dir: Path) -> list[Finding]:
    folders = {exam.patient_id: str(Path(exam.directory).parent) for exam in exams}
    lacking = sorted(set(folders) - set(labels.labels))
    return [
        Finding("D031", own, "", folders[own], f"expected a row in {labels_csv}, found none{hint}")
        for own, hint in alike(lacking, set(labels.labels) - set(folders)).items()
    ]


def _accept(findings: Sequence[Finding], ignores: IgnoreList) -> tuple[list[Finding], list[Finding]]:
    """Those that nobody decided on, and the errors among those that were accepted."""
    open_ = [finding for finding in findings if ignores.decision(finding) is None]
    accepted = [f for f in findings if ignores.decision(f) is not None and f.kind.severity is Severity.ERROR]
    return open_, accepted


def _refuse(findings: Sequence[Finding], data_dir: Path) -> None:
    ordered = sorted(findings, key=lambda finding: (finding.patient_id, finding.modality, finding.id))
    errors = [finding.under(data_dir).line for finding in ordered if finding.kind.severity is Severity.ERROR]
    if errors:
        raise CohortFaultsError(errors)


def _dropped(accepted: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(finding.patient_id, finding.modality) for finding in accepted}


def _patients(
    exams: Sequence[SeriesExam],
    labels: Mapping[str, int],
    dropped: set[tuple[str, str]],
    columns: Mapping[str, dict[str, str]],
    aliases: Aliases | None,
    people: People,
) -> list[PatientRecord]:
    by_patient: dict[str, list[SeriesExam]] = {}
    for exam in exams:
        if exam.record is not None and (exam.patient_id, exam.modality) not in dropped and exam.patient_id in labels:
            by_patient.setdefault(exam.patient_id, []).append(exam)
    return [
        PatientRecord(
            patient_id=patient_id,
            label=labels[patient_id],
            split="test",
            series={exam.modality: exam.record for exam in by_patient[patient_id] if exam.record is not None},
            aliases=sorted({*_aliases(patient_id, aliases), *people.others(patient_id)}),
            columns=columns.get(patient_id, {}),
        )
        for patient_id in sorted(by_patient)
    ]


def _people(found: Found, exams: Sequence[SeriesExam], aliases: Aliases | None) -> People:
    """All of the data directory's, also those left out: whose a file is does not hang on who is trained on."""
    tagged = [*found.people, *(Tagged(exam.patient_id, exam.directory, exam.people) for exam in exams)]
    return People(tagged, {patient_id: _aliases(patient_id, aliases) for patient_id in found.patients})


def _aliases(patient_id: str, aliases: Aliases | None) -> list[str]:
    return [] if aliases is None else [name for name in aliases.names(patient_id) if name != patient_id]


def _without_known(
    patients: list[PatientRecord], sources: Sources
) -> tuple[list[PatientRecord], list[str], list[Finding]]:
    """The patients who are not in the other manifest under any name, a line for each who is, what was accepted."""
    if sources.against is None:
        return patients, [], []
    others = [
        replace(p, aliases=sorted({*p.aliases, *_aliases(p.patient_id, sources.aliases)}))
        for p in sources.against.patients
    ]
    relations, accepted = _accept(related_patients(patients, others), sources.ignores)
    known: dict[str, str] = {}
    for relation in relations:
        known.setdefault(relation.patient_id, f"is {relation.others[0]} of the training data ({relation.id})")
    # Who is one with a patient who is known there is known there too, though nothing of it shows that itself.
    among = _accept(related_patients(patients), sources.ignores)[0]
    groups = groups_of([p.patient_id for p in patients], [(f.patient_id, f.others[0]) for f in among])
    direct = {groups[patient_id]: (patient_id, known[patient_id]) for patient_id in sorted(known, reverse=True)}
    for patient_id, group in groups.items():
        if patient_id not in known and group in direct:
            same, reason = direct[group]
            known[patient_id] = f"is one with patient {same}, who {reason}"
    lines = [f"patient {patient_id}: {reason}" for patient_id, reason in sorted(known.items())]
    return [p for p in patients if p.patient_id not in known], lines, accepted


def _left_out(found: Found, labels: Labels, listed: Iterable[str], sources: Sources, data_dir: Path) -> list[str]:
    present = {series.patient_id for series in found.series}
    lines = {p: f"has no label: {labels.unlabelled[p]}" for p in present & set(labels.unlabelled)}
    lines |= dict.fromkeys(found.patients - present, "its folder has no series of a known modality")
    for patient_id in set(labels.labels) - found.patients:
        unread = found.files.of_patient(patient_id, data_dir) if found.files else ""
        lines[patient_id] = f"in the label file, but without images{f' that are read: {unread}' if unread else ''}"
    packaged = read_exclusions(DEFAULT_EXCLUSIONS) if str(sources.exclusions) == DEFAULT_EXCLUSIONS else {}
    absent = set(listed) - found.patients - set(lines) - set(packaged)
    lines |= dict.fromkeys(absent, "in the exclusion list or review.csv, but not in the data")
    return [f"patient {patient_id}: {lines[patient_id]}" for patient_id in sorted(lines)]
