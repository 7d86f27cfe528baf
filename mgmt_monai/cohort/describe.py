"""A manifest in words."""

from collections import Counter
from collections.abc import Iterator

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.series import MODALITIES


def describe(manifest: Manifest) -> Iterator[str]:
    """What is in a manifest, a line each: splits, folds, planes, who was left out and why, what was accepted.

    Yields:
        Lines.
    """
    yield f"hash: {manifest.content_hash}"
    yield f"layout: {manifest.layout}"
    yield f"split: {_settings(manifest.split)}"
    for name, (unmethylated, methylated) in manifest.counts().items():
        yield f"  {name}: {unmethylated + methylated} patients, {methylated} methylated"
    if manifest.folds:
        yield f"folds: {_settings(manifest.folds)}"
        for repeat in range(manifest.folds["n_repeats"]):
            for fold in range(manifest.folds["n_folds"]):
                members = [patient for patient in manifest.patients if patient.folds[repeat] == fold]
                methylated = sum(patient.label for patient in members)
                yield f"  repeat {repeat}, fold {fold}: {len(members)} patients, {methylated} methylated"
    yield "planes:"
    for modality in MODALITIES:
        planes = Counter(p.series[modality].plane for p in manifest.patients if modality in p.series)
        if planes:
            yield f"  {modality}: " + ", ".join(f"{count} {plane}" for plane, count in planes.most_common())
    names = sorted({name for patient in manifest.patients for name in patient.columns})
    if names:
        yield f"columns: {', '.join(names)}"
    for patient_id, reason in manifest.excluded.items():
        yield f"excluded: patient {patient_id}: {reason}"
    yield from (f"left out: {line}" for line in manifest.left_out)
    for entry in manifest.chosen:
        frame = f" from frame {entry['frame']}" if entry["frame"] else ""
        yield f"decided: patient {entry['patient_id']}: {entry['file']}{frame}: {entry['decision']}"
    for entry in manifest.ignored:
        yield f"accepted: {entry['finding']} of patient {entry['patient_id']}: {entry['reason']}"


def describe_patient(manifest: Manifest, patient_id: str) -> Iterator[str]:
    """What a manifest holds of one patient, a line each.

    Yields:
        Lines.

    Raises:
        CohortError: The patient is not in it.
    """
    patient = next((p for p in manifest.patients if p.patient_id == patient_id), None)
    if patient is None:
        raise CohortError(
            f"patient {patient_id}: not in the manifest. 'mgmt-monai manifest show' tells who was left out."
        )
    yield f"patient {patient.patient_id}: label {patient.label}, {patient.split}"
    if patient.folds:
        yield f"folds, one a repeat: {', '.join(str(fold) for fold in patient.folds)}"
    if patient.aliases:
        yield f"also known as: {', '.join(patient.aliases)}"
    yield from (f"{name}: {value}" for name, value in sorted(patient.columns.items()))
    for modality, record in patient.series.items():
        spacing = "no spacing" if record.slice_spacing_mm is None else f"{record.slice_spacing_mm:.2f} mm apart"
        yield (
            f"{modality}: {record.directory}: {record.n_slices} {record.plane} slices of {record.rows} x "
            f"{record.columns}, {spacing}, oriented {record.orientation or 'unknown'} ({record.reason})"
        )


def _settings(settings: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
