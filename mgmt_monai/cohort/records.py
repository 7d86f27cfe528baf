"""What the manifest holds of one series and of one patient, and the rules these entries keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mgmt_monai.cohort.series import MODALITIES, is_inside, is_nifti

#: What a patient is for.
SPLITS = ("train", "validation", "test")

#: How many hexadecimal digits of ``digests`` stand for one slice.
DIGEST_DIGITS = 12

#: Stands for a slice that holds one value only.
CONSTANT_DIGEST = "0" * DIGEST_DIGITS


@dataclass(frozen=True)
class SeriesRecord:
    """One series of a patient.

    Args:
        directory: Its folder, relative to the data directory, with ``/``.
        files: Paths below it, with ``/``: one a slice in geometric order along the slice normal, or the one
            multi-frame DICOM or NIfTI file.
        frames: Frames of the multi-frame DICOM file in geometric order, else None.
        n_slices: How many slices it has.
        rows: Of every slice.
        columns: Of every slice.
        plane: ``axial``, ``coronal``, ``sagittal``, ``oblique`` or ``unknown``.
        orientation: Where rows, columns and slices run: three letters of ``LRPASI``, or "" without geometry.
        pixel_spacing_mm: Between rows, between columns, or None.
        slice_spacing_mm: Median distance of neighbouring slices, or None.
        gaps: Where slices are missing: [index of the slice before, how many are missing], in geometric order.
        phase_images: How many phase images beside the magnitude images are passed over.
        reason: Why it was taken for this modality.
        whole_folder: The series is all that lies in its folder, so that a file more is a change.
        study: Twelve hexadecimal digits for the DICOM study it is of (hashed), or "".
        fingerprint: SHA-256 over names, sizes and instance identifiers, in order.
        digests: Twelve hexadecimal digits a slice, over its pixels, in order; zeros for a slice of one value.
        signature: What nearly identical series are found by, base64.
    """

    directory: str
    files: list[str]
    frames: list[int] | None
    n_slices: int
    rows: int
    columns: int
    plane: str
    orientation: str
    pixel_spacing_mm: list[float] | None
    slice_spacing_mm: float | None
    gaps: list[list[int]]
    phase_images: int
    reason: str
    whole_folder: bool
    study: str
    fingerprint: str
    digests: str = ""
    signature: str = ""


@dataclass(frozen=True)
class PatientRecord:
    """One patient.

    Args:
        patient_id: The name in this cohort.
        label: 1 = MGMT promoter methylated, 0 = not.
        split: ``train``, ``validation`` or ``test`` of the hold-out split.
        series: By modality.
        folds: The outer fold of each repeat of a k-fold split; empty without one.
        inner_folds: For each repeat, for each outer fold, the patient's inner fold, None where it is in the outer one.
        aliases: Other names of the same person, in other cohorts.
        columns: What tables tell of the patient, such as the site.
    """

    patient_id: str
    label: int
    split: str
    series: dict[str, SeriesRecord]
    folds: list[int] = field(default_factory=list)
    inner_folds: list[list[int | None]] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


def slice_digests(digests: str) -> list[str]:
    """One digest a slice.

    Args:
        digests: Of a series, one after the other.
    """
    return [digests[i : i + DIGEST_DIGITS] for i in range(0, len(digests), DIGEST_DIGITS)]


_PATIENT_TYPES: dict[str, tuple[type, ...]] = {
    "patient_id": (str,),
    "label": (int,),
    "split": (str,),
    "series": (dict,),
    "folds": (list,),
    "inner_folds": (list,),
    "aliases": (list,),
    "columns": (dict,),
}
_SERIES_TYPES: dict[str, tuple[type, ...]] = {
    "directory": (str,),
    "files": (list,),
    "frames": (list, type(None)),
    "n_slices": (int,),
    "rows": (int,),
    "columns": (int,),
    "plane": (str,),
    "orientation": (str,),
    "pixel_spacing_mm": (list, type(None)),
    "slice_spacing_mm": (float, int, type(None)),
    "gaps": (list,),
    "phase_images": (int,),
    "reason": (str,),
    "whole_folder": (bool,),
    "study": (str,),
    "fingerprint": (str,),
    "digests": (str,),
    "signature": (str,),
}


def patient_from_json(entry: Mapping[str, Any]) -> PatientRecord:
    """The record that a manifest's entry holds, its values not yet checked.

    Args:
        entry: As ``dataclasses.asdict`` writes it.

    Raises:
        KeyError: ``series`` is missing.
        TypeError: A field is missing or unknown.
    """
    series = {modality: SeriesRecord(**record) for modality, record in entry["series"].items()}
    return PatientRecord(**{**entry, "series": series})


def wrong_patient(patient: PatientRecord) -> str | None:
    """What is wrong with a patient's entry, in words, or None.

    Args:
        patient: As read.
    """
    wrong = _wrong_type(patient, _PATIENT_TYPES)
    if wrong is not None:
        return wrong
    for modality, record in patient.series.items():
        wrong = _wrong_series(modality, record)
        if wrong is not None:
            return wrong
    if patient.split not in SPLITS or patient.label not in (0, 1):
        return (
            f"expected a split of {', '.join(SPLITS)} and a label 0 or 1, found {patient.split!r} and {patient.label!r}"
        )
    if any(type(fold) is not int or fold < 0 for fold in patient.folds):
        return f"expected folds as whole numbers from 0, found {patient.folds}"
    if not all(isinstance(name, str) for name in patient.aliases):
        return f"expected aliases as text, found {patient.aliases}"
    if not all(isinstance(value, str) for value in patient.columns.values()):
        return f"expected columns as text, found {patient.columns}"
    return None


def _wrong_series(modality: str, record: SeriesRecord) -> str | None:
    wrong = _wrong_type(record, _SERIES_TYPES)
    if wrong is not None:
        return f"{modality}: {wrong}"
    if modality not in MODALITIES:
        return f"expected a modality of {', '.join(MODALITIES)}, found {modality!r}"
    if not is_inside(record.directory):
        return f"{modality}: expected a directory inside the data directory, found {record.directory!r}"
    for name in record.files:
        if not isinstance(name, str) or name in ("", ".") or not is_inside(name):
            return f"{modality}: expected names of files in {record.directory}, found {name!r}"
    return _wrong_slices(modality, record)


def _wrong_slices(modality: str, record: SeriesRecord) -> str | None:
    frames, n_files = record.frames, len(record.files)
    one_file = frames is not None or (n_files == 1 and is_nifti(record.files[0]))
    if not n_files or (one_file and n_files != 1) or (frames is not None and not frames):
        return (
            f"{modality}: expected files, or one file and its frames, found {n_files} files and "
            f"{'no' if frames is None else len(frames)} frames"
        )
    if frames is not None and any(type(frame) is not int or frame < 0 for frame in frames):
        return f"{modality}: expected frames as whole numbers from 0, found {frames}"
    n_slices = len(frames) if frames is not None else record.n_slices if one_file else n_files
    if record.n_slices != n_slices or n_slices < 1:
        return f"{modality}: expected n_slices to be {n_slices}, found {record.n_slices}"
    if any(not isinstance(gap, list) or [type(n) for n in gap] != [int, int] for gap in record.gaps):
        return f"{modality}: expected gaps as pairs of whole numbers, found {record.gaps}"
    if record.digests and not re.fullmatch(rf"[0-9a-f]{{{DIGEST_DIGITS * n_slices}}}", record.digests):
        return f"{modality}: expected {DIGEST_DIGITS} hexadecimal digits a slice in digests, found other text"
    return None


def _wrong_type(record: PatientRecord | SeriesRecord, types: Mapping[str, tuple[type, ...]]) -> str | None:
    for name in (item.name for item in fields(record)):
        value, expected = getattr(record, name), types[name]
        if type(value) not in expected:
            words = " or ".join("null" if kind is type(None) else kind.__name__ for kind in expected)
            return f"expected {name} to be {words}, found {value!r}"
    return None
