"""What is only seen across the series of a patient, or against the label table; `relations` compares patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.tables.table import names

#: More labels without images are told in one finding: the table is of a larger cohort.
ABSENT_LIMIT = 20


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
        alike = {_without_zeros(other): other for other in others}
        for patient_id in ids:
            other = alike.get(_without_zeros(patient_id))
            hint = f" (there is {other}: did a spreadsheet strip leading zeros?)" if other else ""
            findings.append(Finding(finding_id, patient_id, "", "", text + hint))
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


def _without_zeros(patient_id: str) -> str:
    return patient_id.lstrip("0") or "0"
