"""Studies found as everywhere, brought into one space and written: one, or a cohort over the machine's cores."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from tqdm import tqdm

from mgmt_monai.atomic import write_text
from mgmt_monai.cohort.examination.readers import Readers
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.files.nifti import read_nifti
from mgmt_monai.cohort.series import Series
from mgmt_monai.cohort.tables.review import COLUMNS, FILE, read_review
from mgmt_monai.csv_file import csv_text
from mgmt_monai.errors import one_line, printable
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.identity import Redaction
from mgmt_monai.inference.predict_study import software
from mgmt_monai.inference.studies import AskedStudy
from mgmt_monai.inference.study import FoundStudy, find_study
from mgmt_monai.locked_folder import LockedFolder
from mgmt_monai.machine import machine_fault
from mgmt_monai.own_process import processors
from mgmt_monai.preparation.errors import PreparationError
from mgmt_monai.preparation.images import as_image
from mgmt_monai.preparation.page import Shown, write_cohort_page
from mgmt_monai.preparation.patient_folder import (
    OVERVIEW,
    PAGE,
    is_prepared,
    read_record,
    record_of,
    write_patient,
)
from mgmt_monai.preparation.prepare import Settings, prepare
from mgmt_monai.transforms.load import LoadSeries

logger = logging.getLogger(__name__)

#: For one patient, in seconds: it takes one or two minutes.
_PATIENT_S = 3600.0


@dataclass(frozen=True)
class PreparingOutcome:
    """What became of the patients.

    Args:
        prepared: How many have at least one series in their space.
        kept: How many of them had been prepared before.
        refused: Reasons by patient of whom nothing could be prepared.
        n_series_refused: Of the prepared patients.
        page: Where all are shown.
    """

    prepared: int
    kept: int
    refused: dict[str, str]
    n_series_refused: int
    page: Path


@dataclass(frozen=True)
class PreparedStudy:
    """What became of one study.

    Args:
        kept: Whether it had been prepared before.
        refused: Reasons by modality of the series that were refused.
    """

    kept: bool
    refused: dict[str, str]


def prepare_study(
    study: Path | FoundStudy, folder: Path, settings: Settings, mask: Path | None = None
) -> PreparedStudy:
    """Prepare one study and write it; nothing where the same is there.

    Args:
        study: As `find_study` takes it, or found.
        folder: Of the patient; its name is that of the files.
        settings: What can be chosen.
        mask: A NIfTI file with the user's own brain, in the reference's space.

    Raises:
        InferenceError: No study.
        PreparationError: No series with a whole brain, or a mask that is none.
    """
    found = study if isinstance(study, FoundStudy) else find_study(study)
    redact = Redaction(found.series, found.path)
    images: dict[str, sitk.Image] = {}
    refused: dict[str, str] = {}
    digest = hashlib.sha256()
    for exam in scan(found.series, found.path, pixels=True, identity=False, description="Reading", progress_bar=False):
        one = found.studied(exam)
        try:
            if one.series is None:
                raise PreparationError("; ".join(f"{finding.id}: {finding.text}" for finding in one.errors))
            images[one.modality] = image = as_image(LoadSeries()(one.series))
            place = (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
            digest.update(f"{one.modality} {place}".encode() + sitk.GetArrayViewFromImage(image).tobytes())
        except ValueError as error:
            refused[one.modality] = redact(one_line(error) or "cannot be read")
            digest.update(f"{one.modality} refused".encode())
    own = None
    if mask is not None:
        own = read_mask(mask)
        digest.update(sitk.GetArrayViewFromImage(own).tobytes())
    there = is_prepared(folder, settings, digest.hexdigest())
    kept = there is not None
    if there is None:
        prepared = prepare(images, settings, own, refused)
        there = record_of(prepared, settings, digest.hexdigest(), software())
        write_patient(prepared, folder.name, folder, there)
    refused = {modality: one["reason"] for modality, one in there["series"].items() if not one["accepted"]}
    return PreparedStudy(kept, refused)


def read_mask(path: Path) -> sitk.Image:
    """A user's brain mask.

    Raises:
        PreparationError: No such file, no NIfTI of three axes, or empty.
    """
    try:
        n_slices = read_nifti(path).n_slices
        image = as_image(LoadSeries()(Series("mask", "mask", (path,), range(n_slices))))
    except (ValueError, OSError) as error:
        fault = machine_fault(error)
        if fault is not None:
            raise fault from error
        found = "a file that cannot be read so" if path.is_file() else "no such file"
        raise PreparationError(
            f"mask {path}: expected a NIfTI file of three axes, found {found}. Name another."
        ) from error
    mask = sitk.Cast(image != 0, sitk.sitkUInt8)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise PreparationError(f"mask {path}: expected a brain, found none. Name another.")
    return mask


def prepare_studies(
    studies: Sequence[AskedStudy],
    out_dir: Path,
    settings: Settings,
    masks: Mapping[str, Path] | None = None,
    workers: int | None = None,
) -> PreparingOutcome:
    """Prepare every study, each written as soon as it is done; those that are there are kept.

    Whatever goes wrong with one patient is that patient's alone; a fault of the machine ends the command.

    Args:
        studies: Of a cohort, or one.
        out_dir: Gets a folder for each, the page of all, and the table of decisions, which is never replaced.
        settings: What can be chosen.
        masks: Files of the user's own brain masks by patient; those in the table of decisions count too.
        workers: Processes; one a core where None.

    Raises:
        InferenceError: ``out_dir`` cannot be written to, or another process writes it.
        CohortError: The table of decisions cannot be read.
        MachineError: The machine fails.
    """
    out_dir = Path(out_dir)
    with closing(LockedFolder(out_dir, "preparation", PAGE, InferenceError)) as held:
        held.take("--out")
        review = read_review(out_dir)
        own = {p: out_dir / detail for p, (decision, detail) in review.items() if decision == "mask"} | dict(
            masks or {}
        )
        results: dict[str, PreparedStudy] = {}
        faults: dict[str, str] = {}
        readers = Readers(min(len(studies), workers or processors()))
        try:
            futures = {
                readers.submit(
                    _prepare_one, study, out_dir / study.folder, settings, own.get(study.name), timeout_s=_PATIENT_S
                ): study
                for study in studies
            }
            for future in tqdm(as_completed(futures), total=len(futures), desc="Preparing", unit="patient"):
                study = futures[future]
                try:
                    results[study.name] = future.result()
                except Exception as error:  # the other patients are not to blame
                    fault = machine_fault(error)
                    if fault is not None:
                        raise fault from error
                    logger.debug("a patient could not be prepared", exc_info=True)
                    faults[study.name] = printable(one_line(error) or f"unforeseen ({type(error).__name__})")
        finally:
            readers.close()
        _write_review(out_dir, [study.name for study in studies], review)
        _write_page(out_dir, studies, faults)
        kept = sum(one.kept for one in results.values())
        n_refused = sum(len(one.refused) for one in results.values())
        return PreparingOutcome(len(results), kept, faults, n_refused, out_dir / PAGE)


def _prepare_one(study: AskedStudy, folder: Path, settings: Settings, mask: Path | None) -> PreparedStudy:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the patients share the cores
    return prepare_study(study.series(), folder, settings, mask)


def _write_review(out_dir: Path, patients: Sequence[str], review: Mapping[str, tuple[str, str]]) -> None:
    rows = [(patient, *review.get(patient, ("", ""))) for patient in sorted({*patients, *review})]
    write_text(out_dir / FILE, csv_text(COLUMNS, rows))


def _write_page(out_dir: Path, studies: Sequence[AskedStudy], faults: Mapping[str, str]) -> None:
    shown = []
    for study in studies:
        folder = out_dir / study.folder
        record = None if study.name in faults else read_record(folder)
        picture = folder / OVERVIEW
        overview = picture.read_bytes() if record is not None and picture.is_file() else None
        shown.append(Shown(study.name, record, faults.get(study.name, ""), overview))
    write_cohort_page(out_dir / PAGE, shown)
