"""The manifest: a cohort's patients, labels, split and ordered series, as one JSON file with a content hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.layouts import MODALITIES
from mgmt_monai.cohort.series import Series
from mgmt_monai.cohort.splits import SPLITS

#: Written into every manifest; a reader refuses another.
SCHEMA = "mgmt-monai/manifest/1"

_PATIENT_TYPES: dict[str, tuple[type, ...]] = {
    "patient_id": (str,),
    "label": (int,),
    "split": (str,),
    "series": (dict,),
}
_SERIES_TYPES: dict[str, tuple[type, ...]] = {
    "directory": (str,),
    "files": (list,),
    "frames": (list, type(None)),
    "rows": (int,),
    "columns": (int,),
    "plane": (str,),
    "pixel_spacing_mm": (list, type(None)),
    "slice_spacing_mm": (float, int, type(None)),
    "gaps": (list,),
    "phase_images": (int,),
    "fingerprint": (str,),
}


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
        gaps: Where slices are missing: [index of the slice before, how many are missing], in geometric order.
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
    gaps: list[list[int]]
    phase_images: int
    fingerprint: str

    @property
    def n_slices(self) -> int:
        """How many slices the series has: one a file, or one a frame."""
        return len(self.files) if self.frames is None else len(self.frames)


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
        left_out: Patients without images or not in the data, one line each.
    """

    layout: str
    labels_sha256: str
    split: dict[str, Any]
    patients: list[PatientRecord]
    excluded: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content; another order of keys or another layout of the file does not change it.

        Hashed is the document without ``content_hash`` as JSON with sorted keys, no spaces and only ASCII characters.
        """
        content = json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode("ascii")).hexdigest()

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
        slices=range(record.n_slices),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as JSON; either the whole file appears or none.

    Args:
        manifest: What to write.
        path: The file; an older one is replaced.

    Raises:
        CohortError: The place cannot be written to; nothing is left behind then, and an older file stays.
    """
    path = Path(path)
    document = {"schema": SCHEMA, "content_hash": manifest.content_hash, **asdict(manifest)}
    try:
        check_writable(path)
        write_text(path, json.dumps(document, indent=1))
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def check_writable(path: Path) -> None:
    """Refuse a place that cannot take a manifest, before the work of building one.

    Args:
        path: The file that is to be written.

    Raises:
        CohortError: It is a folder, its folder is absent, or that may not be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not path.parent.is_dir():
        raise _unwritable(path, f"{path.parent} is not a folder")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, f"{path.parent} may not be written to")


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and hold it against its own hash and rules.

    Args:
        path: A file that `write_manifest` or another tool wrote to the schema.

    Raises:
        CohortError: Absent, not JSON, another schema, a field that is missing, unknown or of the wrong type, a path
            that leaves the data directory, a patient named twice (so in two splits perhaps), an unknown split,
            label or modality, or a content that does not match its hash.
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
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CohortError(f"{path}: not a readable JSON file ({error}). Build the manifest again.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CohortError(
            f"{path}: not a manifest of the schema {SCHEMA} ({type(error).__name__}: {error}). Build it again."
        ) from error
    _check_rules(path, manifest)
    if document.get("content_hash") != manifest.content_hash:
        raise CohortError(
            f"{path}: expected the content hash {manifest.content_hash}, found {document.get('content_hash')}: it was "
            "changed after it was built. Build it again with 'mgmt-monai manifest build'."
        )
    return manifest


def _unwritable(path: Path, reason: str) -> CohortError:
    return CohortError(
        f"{path}: cannot write the manifest ({reason}). Name another file with --out (manifest build) or --manifest "
        "(training)."
    )


def _check_rules(path: Path, manifest: Manifest) -> None:
    for patient in manifest.patients:
        wrong = _wrong_type(patient, _PATIENT_TYPES)
        for modality, record in patient.series.items() if wrong is None else ():
            wrong = wrong or _wrong_series(modality, record)
        if wrong is not None:
            raise CohortError(f"{path}: patient {patient.patient_id}: {wrong}. Build the manifest again.")
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


def _wrong_series(modality: str, record: SeriesRecord) -> str | None:
    wrong = _wrong_type(record, _SERIES_TYPES)
    if wrong is not None:
        return f"{modality}: {wrong}"
    if modality not in MODALITIES:
        return f"expected a modality of {', '.join(MODALITIES)}, found {modality!r}"
    folder = PurePosixPath(record.directory)
    if folder.is_absolute() or ".." in folder.parts:
        return f"{modality}: expected a directory inside the data directory, found {record.directory!r}"
    for name in record.files:
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name:
            return f"{modality}: expected names of files in {record.directory}, found {name!r}"
    frames = record.frames
    if not record.files or (frames is not None and (len(record.files) != 1 or not frames)):
        return (
            f"{modality}: expected files, or one file and its frames, found {len(record.files)} files and "
            f"{'no' if frames is None else len(frames)} frames"
        )
    if frames is not None and any(type(frame) is not int or frame < 0 for frame in frames):
        return f"{modality}: expected frames as whole numbers from 0, found {frames}"
    return None


def _wrong_type(record: object, types: Mapping[str, tuple[type, ...]]) -> str | None:
    for name, expected in types.items():
        value = getattr(record, name)
        if type(value) not in expected:
            words = " or ".join("null" if kind is type(None) else kind.__name__ for kind in expected)
            return f"expected {name} to be {words}, found {value!r}"
    return None


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
