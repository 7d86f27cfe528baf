"""The manifest: a cohort's patients, labels, split and ordered series, as one JSON file with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.series import Series
from mgmt_monai.cohort.splits import SPLITS

#: Written into every manifest; a reader refuses another.
SCHEMA = "mgmt-monai/manifest/1"


@dataclass(frozen=True)
class SeriesRecord:
    """One series of a patient.

    Args:
        directory: Its folder, relative to the data directory, with ``/``.
        files: File names in geometric order along the slice normal, or the one multi-frame file.
        frames: Frames of the multi-frame file in geometric order; None where every file is one slice.
        rows: Of every slice.
        columns: Of every slice.
        plane: ``axial``, ``coronal``, ``sagittal``, ``oblique`` or ``unknown``.
        pixel_spacing_mm: Between rows, between columns, or None.
        slice_spacing_mm: Median distance of neighbouring slices, or None.
        missing_slices: How many slices the gaps leave out.
        phase_images: How many phase images beside the magnitude images are passed over.
        fingerprint: SHA-256 over names, sizes and instance identifiers, in order.
    """

    directory: str
    files: list[str]
    frames: list[int] | None
    rows: int
    columns: int
    plane: str
    pixel_spacing_mm: list[float] | None
    slice_spacing_mm: float | None
    missing_slices: int
    phase_images: int
    fingerprint: str


@dataclass(frozen=True)
class PatientRecord:
    """One patient: label (1 = methylated), split, series by modality."""

    patient_id: str
    label: int
    split: str
    series: dict[str, SeriesRecord]


@dataclass(frozen=True)
class Manifest:
    """A cohort that can be trained on.

    Args:
        layout: How the data directory is laid out (``rsna-miccai-2021``).
        labels_sha256: Of the label file the labels were read from.
        split: How the split was made: method, seed, fractions.
        patients: Sorted by identifier.
        excluded: ``{patient_id: reason}`` of those left out on purpose.
        left_out: Series or labels that could not be used, one line each, with the reason.
    """

    layout: str
    labels_sha256: str
    split: dict[str, Any]
    patients: list[PatientRecord]
    excluded: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content; another order of keys or another layout of the file does not change it."""
        content = json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def members(self, split: str, modality: str) -> list[PatientRecord]:
        """The patients of a split that have the modality, in the manifest's order."""
        return [p for p in self.patients if p.split == split and modality in p.series]

    def counts(self) -> dict[str, tuple[int, int]]:
        """``{split: (unmethylated, methylated)}``, in patients."""
        tally = Counter((p.split, p.label) for p in self.patients)
        return {split: (tally[split, 0], tally[split, 1]) for split in SPLITS}


def series_reference(patient: PatientRecord, modality: str, data_dir: Path) -> Series:
    """The reference a loader reads, for one series of a patient under ``data_dir``."""
    record = patient.series[modality]
    directory = Path(data_dir) / record.directory
    return Series(
        patient_id=patient.patient_id,
        modality=modality,
        files=tuple(directory / name for name in record.files),
        frames=None if record.frames is None else tuple(record.frames),
        slices=range(len(record.frames or record.files)),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as JSON; either the whole file appears or none.

    Args:
        manifest: What to write.
        path: The file; an older one is replaced.

    Raises:
        CohortError: The folder cannot be written to.
    """
    path = Path(path)
    document = {"schema": SCHEMA, "content_hash": manifest.content_hash, **asdict(manifest)}
    try:
        write_text(path, json.dumps(document, indent=1))
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise CohortError(
            f"{path}: cannot write the manifest ({error.strerror}). Name another file with --out (manifest build) "
            "or --manifest (training)."
        ) from error


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and hold it against its own hash and rules.

    Args:
        path: A file that `write_manifest` or another tool wrote to the schema.

    Raises:
        CohortError: Absent, not JSON, another schema, a changed content, a patient named twice (so in two splits
            perhaps), or an unknown split or label.
    """
    path = Path(path)
    if not path.is_file():
        raise CohortError(f"{path}: no manifest. Build one with 'mgmt-monai manifest build DATA_DIR'.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        schema = document.get("schema")
        if schema != SCHEMA:
            raise CohortError(f"{path}: expected the schema {SCHEMA}, found {schema}. Build the manifest again.")
        manifest = _parse(document)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise CohortError(f"{path}: not a readable manifest ({error}). Build it again.") from error
    splits = _splits_by_patient(manifest)
    for patient_id, names in splits.items():
        if len(set(names)) > 1:
            raise CohortError(
                f"{path}: patient {patient_id} is in two splits ({', '.join(names)}). Keep every patient in one."
            )
        if len(names) > 1:
            raise CohortError(f"{path}: patient {patient_id} is named {len(names)} times. Keep one entry.")
    for patient in manifest.patients:
        if patient.split not in SPLITS or patient.label not in (0, 1):
            raise CohortError(
                f"{path}: patient {patient.patient_id}: expected a split of {', '.join(SPLITS)} and a label 0 or 1, "
                f"found {patient.split!r} and {patient.label!r}."
            )
    if document.get("content_hash") != manifest.content_hash:
        raise CohortError(
            f"{path}: the content does not match its hash: it was changed after it was built. Build it again with "
            "'mgmt-monai manifest build'."
        )
    return manifest


def _parse(document: Mapping[str, Any]) -> Manifest:
    patients = [
        PatientRecord(
            patient_id=entry["patient_id"],
            label=entry["label"],
            split=entry["split"],
            series={modality: SeriesRecord(**record) for modality, record in entry["series"].items()},
        )
        for entry in document["patients"]
    ]
    return Manifest(
        layout=document["layout"],
        labels_sha256=document["labels_sha256"],
        split=dict(document["split"]),
        patients=patients,
        excluded=dict(document["excluded"]),
        left_out=list(document["left_out"]),
    )


def _splits_by_patient(manifest: Manifest) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for patient in manifest.patients:
        splits.setdefault(patient.patient_id, []).append(patient.split)
    return splits
