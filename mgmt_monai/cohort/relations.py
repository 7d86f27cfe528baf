"""Pairs of patients who may be one: the same images, the same study, the same person under two names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from mgmt_monai.cohort.duplicates import Duplicate, find_duplicates
from mgmt_monai.cohort.findings import Finding, counted
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.records import CONSTANT_DIGEST, PERHAPS, PatientRecord, slice_digests
from mgmt_monai.cohort.tables.aliases import normalised
from mgmt_monai.cohort.tables.ignores import ignore_list

#: A name or study that more patients share than this is a placeholder: each is then paired with the first alone, which
#: keeps them all together, where every pair of a thousand would be half a million.
_SHARERS_LIMIT = 64


def related_patients(patients: Sequence[PatientRecord], others: Sequence[PatientRecord] | None = None) -> list[Finding]:
    """One finding for each pair of patients and way in which they may be one.

    Args:
        patients: Of a cohort, each named once.
        others: Of another cohort: then only pairs of one from each are told, ``others`` second.

    Returns:
        D040 the same images, D041 nearly the same, D042 one study, D045 one person by their names, D061 perhaps one;
        the second patient of the pair is in ``others`` of the finding. Sorted.
    """
    tables = [patients] if others is None else [patients, others]
    names: dict[str, tuple[int, str]] = {}
    items = []
    for number, table in enumerate(tables):
        for patient in table:
            # Ids may be the same in two cohorts, and then mean different people or the same: a mark tells them apart.
            name = patient.patient_id + " (other cohort)" * number
            names[name] = (number, patient.patient_id)
            items += [(name, modality, record.digests, record.signature) for modality, record in patient.series.items()]
    found = find_duplicates(items)
    pairs: dict[tuple[str, tuple[int, str], tuple[int, str]], str] = {}
    for duplicate in found:
        a, b = sorted((names[duplicate.patient_a], names[duplicate.patient_b]))
        finding_id = "D040" if duplicate.kind == "exact" else "D041"
        if a != b:
            pairs.setdefault((finding_id, a, b), _words(duplicate))
    for finding_id, keys, text in (
        ("D042", _studies, "expected a study of one patient, found the same StudyInstanceUID"),
        (
            "D045",
            _names,
            "expected two people, found one person by their names, the tables of aliases or the tags of their files",
        ),
        ("D061", _perhaps, "expected two people, found almost the same identifier, or name and birth date in the tags"),
    ):
        owners: dict[str, list[tuple[int, str]]] = {}
        for number, table in enumerate(tables):
            for patient in table:
                for key in keys(patient):
                    owners.setdefault(key, []).append((number, patient.patient_id))
        for sharing in owners.values():
            for a, b in _pairs(sorted(set(sharing))):
                pairs.setdefault((finding_id, a, b), text)
    exact = {(a, b) for finding_id, a, b in pairs if finding_id == "D040"}
    return [
        Finding(finding_id, a[1], "", "", f"{text}, as patient {b[1]}", others=(b[1],))
        for (finding_id, a, b), text in sorted(pairs.items())
        if (others is None or a[0] != b[0]) and not (finding_id == "D041" and (a, b) in exact)
    ]


def open_relations(manifest: Manifest) -> list[Finding]:
    """The relations of a manifest's patients, without those that its ignore list accepts: they are two people."""
    ignores = ignore_list(manifest)
    return [finding for finding in related_patients(manifest.patients) if ignores.decision(finding) is None]


def copied_series(patients: Iterable[PatientRecord]) -> list[Finding]:
    """The series of a patient that share slices with another of the same patient.

    Returns:
        D036 for the second of each pair.
    """
    found = []
    for patient in patients:
        seen = [
            (modality, set(slice_digests(record.digests)) - {CONSTANT_DIGEST})
            for modality, record in patient.series.items()
        ]
        for (first, ours), (second, theirs) in combinations(seen, 2):
            if shared := ours & theirs:
                text = f"expected other images than in {first}, found {counted(len(shared), 'identical slice')}"
                found.append(Finding("D036", patient.patient_id, second, "", text))
    return found


def crossing(patients: Sequence[PatientRecord], relations: Iterable[Finding]) -> list[Finding]:
    """The relations whose two patients are in different splits, or in different folds of some repeat.

    Args:
        patients: With their splits and folds.
        relations: As `related_patients` tells them for these patients.

    Returns:
        The same findings, their text saying which splits.
    """
    by_id = {patient.patient_id: patient for patient in patients}
    found = []
    for relation in relations:
        a, b = by_id[relation.patient_id], by_id[relation.others[0]]
        if a.split != b.split:
            where = f"one in {a.split}, one in {b.split}"
        elif a.folds != b.folds:
            where = "in different folds"
        elif a.inner_folds != b.inner_folds:
            where = "in different inner folds"
        else:
            continue
        found.append(replace(relation, text=f"{relation.text} ({where})"))
    return found


def contradictions(labels: Mapping[str, int], relations: Iterable[Finding]) -> list[Finding]:
    """The relations whose two patients have different labels: one of them is wrong.

    Args:
        labels: ``{patient_id: label}``.
        relations: As `related_patients` tells them.
    """
    return [
        replace(
            relation,
            text=f"{relation.text}, with the labels {labels[relation.patient_id]} and {labels[relation.others[0]]}",
        )
        for relation in relations
        if labels[relation.patient_id] != labels[relation.others[0]]
    ]


def _words(duplicate: Duplicate) -> str:
    series = " and ".join(dict.fromkeys((duplicate.modality_a, duplicate.modality_b)))
    if duplicate.kind == "exact":
        return f"expected images of one patient, found {counted(duplicate.n_shared, 'identical slice')} in {series}"
    return f"expected images of one patient, found nearly the same {series} (similarity {duplicate.similarity:.3f})"


def _studies(patient: PatientRecord) -> set[str]:
    return {record.study for record in patient.series.values()} - {""}


def _names(patient: PatientRecord) -> set[str]:
    return {normalised(name) for name in (patient.patient_id, *patient.aliases) if not name.startswith(PERHAPS)}


def _perhaps(patient: PatientRecord) -> set[str]:
    """The pairs that the patient is in: of its own name and each that it perhaps has."""
    others = (name.removeprefix(PERHAPS) for name in patient.aliases if name.startswith(PERHAPS))
    return {"\0".join(sorted((patient.patient_id, other))) for other in others}


def _pairs(sharing: Sequence[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    if len(sharing) <= _SHARERS_LIMIT:
        yield from combinations(sharing, 2)
        return
    for first in {number: (number, patient_id) for number, patient_id in reversed(sharing)}.values():
        yield from ((min(first, other), max(first, other)) for other in sharing if other != first)
