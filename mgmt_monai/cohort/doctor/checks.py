"""What is only seen across series, or against the label table; `relations` compares patients."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.tables.labels import alike
from mgmt_monai.cohort.tables.table import names

#: More labels without images are told in one finding: the table is of a larger cohort.
ABSENT_LIMIT = 20

#: Shapes and pixel spacings that differ by less than this share count as one: 3 pixels of 300.
SHAPE_TOLERANCE = 0.01

#: Image sizes told, the most frequent.
SHOWN_SIZES = 3


def missing_modalities(series: Mapping[str, Mapping[str, object]]) -> list[Finding]:
    """D030: modalities that the cohort has and a patient has not.

    Args:
        series: Anything by patient and modality; a patient without series lacks every modality and is told of
            elsewhere (D035).
    """
    known = sorted({modality for found in series.values() for modality in found})
    return [
        Finding("D030", patient_id, modality, "", f"expected {', '.join(known)}, found no {modality}")
        for patient_id, found in series.items()
        for modality in known
        if found and modality not in found
    ]


def label_findings(
    patients: Collection[str], labels: Collection[str], passed_over: Callable[[str], str] = lambda patient_id: ""
) -> list[Finding]:
    """D031 for patients without a label, D032 for labels without a patient, D051 where images of theirs are not read.

    Args:
        patients: Those that have images.
        labels: Those that the label table names.
        passed_over: What files of a patient's name are passed over, in words; "" for none.
    """
    patients = set(patients)
    findings = []
    for ids, others, finding_id, text in (
        (sorted(patients - set(labels)), sorted(set(labels) - patients), "D031", "expected a label, found none"),
        (sorted(set(labels) - patients), sorted(patients - set(labels)), "D032", "expected images, found none"),
    ):
        findings += [Finding(finding_id, own, "", "", text + hint) for own, hint in alike(ids, others).items()]
    found = [(f, passed_over(f.patient_id) if f.id == "D032" else "") for f in findings]
    findings = [replace(f, id="D051", text=f"expected images, found {text}") if text else f for f, text in found]
    absent = [finding for finding in findings if finding.id == "D032"]
    if len(absent) <= ABSENT_LIMIT:
        return findings
    shown = names([finding.patient_id for finding in absent])
    text = f"expected images of every label, found none of {len(absent)} patients ({shown})"
    return [*(finding for finding in findings if finding.id != "D032"), Finding("D032", "", "", "", text)]


def differing_patient_tags(tags: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """D033: series of one patient whose PatientIDs differ.

    Args:
        tags: What stands for the PatientID, by patient and modality; "" where it has none.
    """
    findings = []
    for patient_id, by_modality in tags.items():
        groups: dict[str, list[str]] = {}
        for modality, tag in sorted(by_modality.items()):
            if tag:
                groups.setdefault(tag, []).append(modality)
        if len(groups) > 1:
            found = " against ".join(" and ".join(group) for group in groups.values())
            text = f"expected one PatientID in all series, found {len(groups)}: {found}"
            findings.append(Finding("D033", patient_id, "", "", text))
    return findings


def identifying_tags(keywords: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Finding]:
    """D044: tags that can name a person; one finding a patient, which tells keywords and never a value.

    Args:
        keywords: Of the identifying tags that have a value, by patient and modality.
    """
    findings = []
    for patient_id, by_modality in keywords.items():
        n_series: dict[str, int] = {}
        for found in by_modality.values():
            for keyword in found:
                n_series[keyword] = n_series.get(keyword, 0) + 1
        if n_series:
            names = ", ".join(f"{keyword} ({n})" for keyword, n in n_series.items())
            text = f"expected no identifying tags in {len(by_modality)} series, found {names}"
            findings.append(Finding("D044", patient_id, "", "", text))
    return findings


def mixed_shapes(series: Mapping[str, Mapping[str, SeriesRecord | None]]) -> list[Finding]:
    """D060: modalities whose series differ in rows, columns or pixel spacing.

    Args:
        series: Records by patient and modality; None for an unusable one.
    """
    by_modality: dict[str, list[SeriesRecord]] = {}
    for found in series.values():
        for modality, record in found.items():
            if record is not None:
                by_modality.setdefault(modality, []).append(record)
    findings = []
    for modality, records in sorted(by_modality.items()):
        parts = []
        sizes = Counter(f"{record.rows} x {record.columns}" for record in records).most_common()
        if len(sizes) > 1:
            shown = ", ".join(f"{size} in {n}" for size, n in sizes[:SHOWN_SIZES])
            parts.append(f"{shown}{' and others' if len(sizes) > SHOWN_SIZES else ''} of {len(records)} series")
        pairs = [pair for record in records if (pair := known_pixel_spacing_mm(record))]
        if any(_differ(list(side)) for side in zip(*pairs, strict=True)):
            every = [mm for pair in pairs for mm in pair]
            parts.append(f"pixels of {min(every):.3g} to {max(every):.3g} mm")
        if parts:
            text = f"expected one shape and pixel spacing in all series, found {'; '.join(parts)}"
            findings.append(Finding("D060", "", modality, "", text))
    return findings


def known_pixel_spacing_mm(record: SeriesRecord) -> Sequence[float] | None:
    """Between rows, between columns; None where it is not known, or not above 0."""
    pair = record.pixel_spacing_mm
    return pair if pair and all(mm > 0 and math.isfinite(mm) for mm in pair) else None


def height_by_width(record: SeriesRecord) -> float:
    """Of a slice, in mm; in pixels where their sides are not known."""
    row_mm, column_mm = known_pixel_spacing_mm(record) or (1.0, 1.0)
    return record.rows * row_mm / (record.columns * column_mm)


def _differ(values: Sequence[float]) -> bool:
    return max(values) > min(values) * (1 + SHAPE_TOLERANCE)
