"""A prepared patient on disk: a folder that appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813 (its own documentation's name)

from mgmt_monai.atomic import atomic_folder, check_replaceable
from mgmt_monai.cohort.tables.review import RECORD
from mgmt_monai.json_file import JsonFileError, read_json
from mgmt_monai.preparation.brain_mask import brain_cm3
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import nifti_bytes
from mgmt_monai.preparation.pictures import pictures
from mgmt_monai.preparation.prepare import Prepared, PreparedSeries, Settings
from mgmt_monai.preparation.template import Alignment

PAGE, OVERVIEW = "report.html", "overview.jpg"
"""What its files are called, beside the volumes and the folder ``transforms``."""

#: How BraTS calls each modality.
TOKENS = {"T1w": "t1", "T1wCE": "t1ce", "T2w": "t2", "FLAIR": "flair"}
VERSION = 1


def record_of(
    prepared: Prepared, settings: Settings, inputs: str, software: Mapping[str, str], drawn_on: str = ""
) -> dict[str, Any]:
    """What ``prepare.json`` says: no name, identifier, date or path.

    Args:
        prepared: The head.
        settings: It was prepared with.
        inputs: Digest of the pixels and places it was made from.
        software: Versions by package.
        drawn_on: The modality that its segmentation was drawn on; "" without one.
    """
    return {
        "version": VERSION,
        "inputs_sha256": inputs,
        "settings": settings.told,
        "software": dict(software),
        "reference": prepared.reference,
        "brain_cm3": round(brain_cm3(prepared.mask), 1),
        "own_mask": prepared.own_mask,
        **({"segmentation": drawn_on} if drawn_on else {}),
        **({} if prepared.alignment is None else {"template": _alignment_record(prepared.alignment)}),
        "series": {modality: _series_record(one) for modality, one in prepared.series.items()},
    }


def is_prepared(
    folder: Path, settings: Settings, inputs: str | None = None, overwrite: bool = False
) -> dict[str, Any] | None:
    """The record of a folder that holds what would be made; None where it may be written.

    Args:
        folder: Of the patient.
        settings: Asked for.
        inputs: As `record_of` takes it; None where the images are not read yet.
        overwrite: Whether another preparation may be replaced; never what somebody else put there.

    Raises:
        PreparationError: There is another preparation, or something that is none.
    """
    if not folder.exists():
        return None
    record = read_record(folder)
    if record is None:
        raise PreparationError(
            f"{folder}: expected nothing there, or a prepared patient, found something without a {RECORD} that can be "
            "read. Name another place with --out, or move it away."
        )
    volumes = [TOKENS[modality] for modality, one in record["series"].items() if one["accepted"]]
    more = ("brain_mask", "seg") if record.get("segmentation") else ("brain_mask",)
    files = {folder / f"{folder.name}_{token}.nii.gz" for token in (*volumes, *more)}
    complete = all(path.is_file() for path in files)
    same_settings = record["settings"] == settings.told
    if same_settings and complete and inputs in (None, record["inputs_sha256"]):
        return record
    holds = "other settings" if not same_settings else "other images or another mask" if complete else "files missing"
    check_replaceable(folder, False, overwrite, PreparationError, holds)
    files |= {folder / name for name in (RECORD, PAGE, OVERVIEW)}
    files |= {folder / "transforms" / f"{token}.tfm" for token in volumes}
    if strange := sorted(str(path.relative_to(folder)) for path in {*folder.rglob("*")} - files if path.is_file()):
        raise PreparationError(
            f"{folder}: expected only what prepare wrote, found {strange[0]}, which would be lost. Move it away."
        )
    return None


def settings_of(how: Mapping[str, Any], name: str) -> Settings:
    """The settings that training data were prepared with.

    Args:
        how: Version and settings, as a bundle says them.
        name: Of the bundle.

    Raises:
        PreparationError: They were prepared by another version's rules, which this one cannot apply.
    """
    try:
        if how.get("version") != VERSION:
            raise TypeError
        return Settings(**{key: value for key, value in how.items() if key != "version"})
    except TypeError:
        raise PreparationError(
            f"{name}: expected training data prepared as this version does ({VERSION}), found {dict(how)}. Prepare the "
            "study with the version that the model was trained with."
        ) from None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a prepared patient; None where there is none, or none that can be read."""
    try:
        record = read_json(folder / RECORD, "mgmt_monai.preparation", "prepare.schema.json")
    except JsonFileError:
        return None
    return dict(record)


def write_patient(
    prepared: Prepared, patient_id: str, folder: Path, record: Mapping[str, Any], segmentation: sitk.Image | None = None
) -> None:
    """Write a patient's volumes, mask, transforms, pictures and record; an older folder is replaced when all is there.

    Through Python's own files: SimpleITK does not say when the disk is full.

    Args:
        prepared: The head.
        patient_id: What the files are called.
        folder: Of the patient.
        record: As `record_of` gives it.
        segmentation: In the common space; None without one.

    Raises:
        OSError: It cannot be written.
    """
    from mgmt_monai.preparation.page import write_patient_page  # here alone: pages need more than a training has

    with atomic_folder(folder) as partial:
        (partial / "transforms").mkdir()
        for modality, image in prepared.images.items():
            token = TOKENS[modality]
            (partial / f"{patient_id}_{token}.nii.gz").write_bytes(nifti_bytes(image))
            (partial / "transforms" / f"{token}.tfm").write_text(_as_text(prepared.transforms[modality]))
        (partial / f"{patient_id}_brain_mask.nii.gz").write_bytes(nifti_bytes(prepared.mask))
        if segmentation is not None:
            (partial / f"{patient_id}_seg.nii.gz").write_bytes(nifti_bytes(segmentation))
        overview, sheets = pictures(prepared)
        (partial / OVERVIEW).write_bytes(overview)
        write_patient_page(partial / PAGE, patient_id, record, sheets)
        (partial / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _as_text(transform: sitk.Transform) -> str:
    """As ITK's readers of ``.tfm`` files take it; of several transforms, the last is applied first."""
    parts = [transform]
    if isinstance(transform, sitk.CompositeTransform):
        parts += [transform.GetNthTransform(n) for n in range(transform.GetNumberOfTransforms())]
    text = "#Insight Transform File V1.0\n"
    for number, part in enumerate(parts):
        text += f"#Transform {number}\nTransform: {type(part).__name__}_double_3_3\n"
        if not isinstance(part, sitk.CompositeTransform):
            text += f"Parameters: {' '.join(map(repr, part.GetParameters()))}\n"
            text += f"FixedParameters: {' '.join(map(repr, part.GetFixedParameters()))}\n"
    return text


def _alignment_record(found: Alignment) -> dict[str, float]:
    return {
        "disagreement_mm": round(found.disagreement_mm, 3),
        "overlap": round(found.overlap, 4),
        "stretch": round(found.stretch, 4),
    }


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
