"""A prepared patient on disk: a folder that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.json_file import JsonFileError, read_json
from mgmt_monai.preparation.pictures import overview, sheet
from mgmt_monai.preparation.prepare import Prepared, PreparedSeries, Settings, brain_cm3

RECORD, PAGE, OVERVIEW = "prepare.json", "report.html", "overview.jpg"
"""What its files are called, beside the volumes and the folder ``transforms``."""

#: How BraTS calls each modality.
TOKENS = {"T1w": "t1", "T1wCE": "t1ce", "T2w": "t2", "FLAIR": "flair"}
VERSION = 1


def record_of(prepared: Prepared, settings: Settings, inputs: str, software: Mapping[str, str]) -> dict[str, Any]:
    """What ``prepare.json`` says: no name, identifier, date or path.

    Args:
        prepared: The head.
        settings: It was prepared with.
        inputs: Digest of the pixels and places it was made from.
        software: Versions by package.
    """
    return {
        "version": VERSION,
        "inputs_sha256": inputs,
        "settings": asdict(settings),
        "software": dict(software),
        "reference": prepared.reference,
        "brain_cm3": round(brain_cm3(prepared.mask), 1),
        "series": {modality: _series_record(one) for modality, one in prepared.series.items()},
    }


def is_prepared(folder: Path, settings: Settings, inputs: str) -> dict[str, Any] | None:
    """The record of a folder that holds what would be made; None where it does not.

    Args:
        folder: Of the patient.
        settings: Asked for.
        inputs: As `record_of` takes it.
    """
    record = read_record(folder)
    same = record is not None and (record.get("settings"), record.get("inputs_sha256")) == (asdict(settings), inputs)
    return record if same else None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a prepared patient; None where there is none, or none that can be read."""
    try:
        record = read_json(folder / RECORD, "mgmt_monai.preparation", "prepare.schema.json")
    except JsonFileError:
        return None
    return dict(record)


def write_patient(prepared: Prepared, patient_id: str, folder: Path, record: Mapping[str, Any]) -> None:
    """Write a patient's volumes, mask, transforms, pictures and record; an older folder is replaced when all is there.

    Args:
        prepared: The head.
        patient_id: What the files are called.
        folder: Of the patient.
        record: As `record_of` gives it.

    Raises:
        OSError: It cannot be written.
    """
    from mgmt_monai.preparation.page import write_patient_page  # here alone: pages need more than a training has

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        (partial / "transforms").mkdir(parents=True)
        for modality, image in prepared.images.items():
            sitk.WriteImage(image, str(partial / f"{patient_id}_{TOKENS[modality]}.nii.gz"), useCompression=True)
            transform = prepared.transforms[modality]
            sitk.WriteTransform(transform, str(partial / "transforms" / f"{TOKENS[modality]}.tfm"))
        sitk.WriteImage(prepared.mask, str(partial / f"{patient_id}_brain_mask.nii.gz"), useCompression=True)
        (partial / OVERVIEW).write_bytes(overview(prepared))
        write_patient_page(partial / PAGE, patient_id, record, {m: sheet(prepared, m) for m in prepared.images})
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _series_record(one: PreparedSeries) -> dict[str, Any]:
    found = one.registration
    figures = {
        "brain_cm3": (one.brain_cm3, 1),
        "translation_mm": (found.translation_mm if found else None, 2),
        "rotation_deg": (found.rotation_deg if found else None, 2),
        "disagreement_mm": (found.disagreement_mm if found else None, 3),
        "overlap": (found.overlap if found else None, 4),
        "agreement": (one.agreement, 4),
    }
    rounded = {name: None if value is None else round(value, digits) for name, (value, digits) in figures.items()}
    return {"accepted": one.accepted, "reason": one.reason, **rounded}
