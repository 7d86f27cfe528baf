"""Entries of manifests, made by hand: no image is behind them."""

from __future__ import annotations

import base64
from typing import Any

from mgmt_monai.cohort.manifest import Manifest
from mgmt_monai.cohort.records import PatientRecord, SeriesRecord


def made_series(slices: str = "", alike: str = "", study: str = "", **others: Any) -> SeriesRecord:
    """A series of T1w-like slices.

    Args:
        slices: One hexadecimal digit a slice, its digest twelve times that: "0" is a slice of one value.
        alike: Series with a letter in common look nearly the same, others not at all.
        study: One hexadecimal digit.
        others: Any field of the record.
    """
    n_slices = max(len(slices), 1)
    values: dict[str, Any] = {
        "directory": "train/00001/T1w",
        "files": [f"{index}.dcm" for index in range(n_slices)],
        "frames": None,
        "n_slices": n_slices,
        "rows": 8,
        "columns": 12,
        "plane": "axial",
        "orientation": "LPS",
        "pixel_spacing_mm": [0.5, 0.75],
        "slice_spacing_mm": 2.0,
        "gaps": [],
        "phase_images": 0,
        "reason": "folder T1w",
        "whole_folder": True,
        "study": study * 12,
        "fingerprint": "f" * 64,
        "digests": "".join(digit * 12 for digit in slices),
        "signature": made_signature(alike),
    }
    return SeriesRecord(**{**values, **others})


def made_signature(letters: str) -> str:
    """A slice a letter, each a wave of its own: `signature.py` has 162 numbers of 8 bits a slice."""
    rows = b"".join(bytes(127 if wave == ord(letter) else 0 for wave in range(162)) for letter in letters)
    return f"1:{base64.b64encode(rows).decode()}" if letters else ""


def made_patient(patient_id: str, split: str = "train", label: int = 1, **others: Any) -> PatientRecord:
    """A patient with no series, unless ``T1w=`` or another modality gives one."""
    series = {name: others.pop(name) for name in ("FLAIR", "T1w", "T1wCE", "T2w") if name in others}
    return PatientRecord(patient_id, label, split, series, **others)


def made_manifest(*patients: PatientRecord, **others: Any) -> Manifest:
    """A manifest of these patients."""
    values: dict[str, Any] = {"layout": "rsna-miccai-2021", "labels_sha256": "f" * 64, "split": {"method": "own"}}
    return Manifest(**{**values, "patients": list(patients), **others})
