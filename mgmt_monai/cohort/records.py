"""What the manifest holds of one series and of one patient, and the rules these entries keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mgmt_monai.cohort.series import is_nifti

#: What a patient is for.
SPLITS = ("train", "validation", "test")

#: How many hexadecimal digits of ``digests`` stand for one slice.
DIGEST_DIGITS = 12

#: Before an alias: the patient of the cohort may be the same person; nothing proves it.
PERHAPS = "perhaps "

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
        aliases: Other names of the same person, in other cohorts or in this one.
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
    """One digest a slice."""
    return [digests[i : i + DIGEST_DIGITS] for i in range(0, len(digests), DIGEST_DIGITS)]


def patient_from_json(entry: Mapping[str, Any]) -> PatientRecord:
    """The record that a manifest's entry holds.

    Args:
        entry: As ``dataclasses.asdict`` writes it and the manifest's schema says.
    """
    series = {modality: SeriesRecord(**record) for modality, record in entry["series"].items()}
    return PatientRecord(**{**entry, "series": series})


def wrong_series(record: SeriesRecord) -> str | None:
    """What does not fit together in a series' entry, in words, or None.

    Args:
        record: As read, each field by itself as the manifest's schema says.
    """
    frames, n_files = record.frames, len(record.files)
    one_file = frames is not None or (n_files == 1 and is_nifti(record.files[0]))
    if one_file and n_files != 1:
        return f"expected one file and its frames, found {n_files} files"
    n_slices = len(frames) if frames is not None else record.n_slices if one_file else n_files
    if record.n_slices != n_slices:
        return f"expected n_slices to be {n_slices}, found {record.n_slices}"
    if record.digests and len(record.digests) != DIGEST_DIGITS * n_slices:
        return f"expected {DIGEST_DIGITS} hexadecimal digits a slice in digests, found other text"
    return None
