"""Studies found as everywhere, brought into one space and written: one, or a cohort over the machine's cores."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import SimpleITK as sitk  # noqa: N813 (its own documentation's name)
from tqdm import tqdm

from mgmt_monai.cohort.examination.readers import ReaderDiedError, Readers
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.tables.review import FILE as REVIEW
from mgmt_monai.cohort.tables.review import add_to_review, read_review
from mgmt_monai.cohort.tables.table import under_own_names
from mgmt_monai.errors import full_disk, one_line
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
from mgmt_monai.preparation.segmentation import carried, drawn_on, find_segmentation
from mgmt_monai.preparation.template import content, read_template, read_volume
from mgmt_monai.ray_cluster import RayCluster
from mgmt_monai.transforms.load import LoadSeries

logger = logging.getLogger(__name__)

#: For one patient, in seconds: it takes one or two minutes.
_PATIENT_S = 3600.0


@dataclass(frozen=True)
class PreparingOutcome:
    """What became of the patients.

    Args:
        prepared: Those with at least one series in their space.
        refused: Reasons by patient of whom nothing could be prepared.
        page: Where all are shown.
    """

    prepared: dict[str, PreparedStudy]
    refused: dict[str, str]
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
    study: Path | FoundStudy,
    folder: Path,
    settings: Settings,
    mask: Path | None = None,
    overwrite: bool = False,
    template: Path | None = None,
) -> PreparedStudy:
    """Prepare one study and write it, with the segmentation in its folder; nothing where the same is there.

    Args:
        study: As `find_study` takes it, or found.
        folder: Of the patient; its name is that of the files.
        settings: What can be chosen.
        mask: A NIfTI file with the user's own brain, in the reference's space.
        overwrite: Whether another preparation that is there may be replaced.
        template: A NIfTI file whose space is the common one.

    Raises:
        InferenceError: No study.
        PreparationError: No series with a whole brain, a mask, template or segmentation that is none, or something
            else is in the folder's place.
        OSError: It cannot be written.
    """
    found = study if isinstance(study, FoundStudy) else find_study(study)
    if folder.resolve() == found.path.resolve():
        raise PreparationError(f"{folder}: expected a place beside the study, found the study. Name another --out.")
    is_prepared(folder, settings, overwrite=overwrite)  # before the work
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
            digest.update(content(one.modality, image))
        except ValueError as error:
            refused[one.modality] = redact(one_line(error) or "cannot be read")
            digest.update(f"{one.modality} refused".encode())
    own = None
    if mask is not None:
        own = read_mask(mask)
        digest.update(content("mask", own))
    labels, drawn = find_segmentation(found.path), ""
    if labels is not None:
        drawn = drawn_on(labels, images)
        digest.update(content("segmentation", labels))
    there = is_prepared(folder, settings, digest.hexdigest(), overwrite)
    kept = there is not None
    if there is None:
        try:
            prepared = prepare(images, settings, own, refused, read_template(template) if template else None)
            moved = None if labels is None else carried(labels, drawn, prepared)
        except PreparationError as error:
            if not folder.exists():
                raise
            # It may be replaced, and is not of these images and settings.
            shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.{uuid4().hex}")), ignore_errors=True)
            raise PreparationError(f"{error}. What an earlier run had written is removed") from error
        there = record_of(prepared, settings, digest.hexdigest(), software(), drawn)
        write_patient(prepared, folder.name, folder, there, moved)
    refused = {modality: one["reason"] for modality, one in there["series"].items() if not one["accepted"]}
    return PreparedStudy(kept, refused)


def read_mask(path: Path) -> sitk.Image:
    """A user's brain mask.

    Raises:
        PreparationError: No such file, no NIfTI of three axes, one that a brain has no room in, or empty.
    """
    mask = sitk.Cast(read_volume(path, "mask") != 0, sitk.sitkUInt8)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise PreparationError(f"mask {path}: expected a brain, found none. Name another.")
    return mask


def prepare_studies(
    studies: Sequence[AskedStudy],
    out_dir: Path,
    settings: Settings,
    masks: Mapping[str, Path] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    template: Path | None = None,
    ray_address: str | None = None,
) -> PreparingOutcome:
    """Prepare every study, each written as soon as it is done; those that are there are kept.

    Whatever goes wrong with one patient is that patient's alone; a full disk ends the command.

    Args:
        studies: Of a cohort, or one.
        out_dir: Gets a folder for each, the page of all patients in it, and the table of decisions, which gets a row
            for each patient it has none of.
        settings: What can be chosen.
        masks: Files of the user's own brain masks by patient; those in the table of decisions count too.
        workers: Processes; one a core where None.
        overwrite: Whether other preparations that are there may be replaced.
        template: As `prepare_study` takes it.
        ray_address: Of a Ray cluster that does it, as `RayCluster` takes it; None for this machine's processes.

    Raises:
        InferenceError: ``out_dir`` cannot be written to, or another process writes it.
        CohortError: The table of decisions cannot be read.
        RayClusterError: The cluster cannot be reached.
        OSError: The disk is full.
    """
    out_dir = Path(out_dir)
    with closing(LockedFolder(out_dir, "preparation", PAGE, InferenceError)) as held:
        held.take("--out")
        names = [study.name for study in studies]
        reviewed = {p: out_dir / file for p, (decision, file) in read_review(out_dir).items() if decision == "mask"}
        own = under_own_names(reviewed, names, str(out_dir / REVIEW)) | dict(masks or {})
        outcome = PreparingOutcome({}, {}, out_dir / PAGE)
        told: dict[str, str] = {}  # on the page, without paths
        pool: Readers | RayCluster
        if ray_address:
            submit = (pool := RayCluster(ray_address)).submit
        else:
            pool = Readers(min(len(studies), workers or processors()))
            submit = partial(pool.submit, timeout_s=_PATIENT_S)
        try:
            futures = {
                submit(
                    _prepare_one, study, out_dir / study.folder, settings, own.get(study.name), overwrite, template
                ): study
                for study in studies
            }
            for future in tqdm(as_completed(futures), total=len(futures), desc="Preparing", unit="patient"):
                study = futures[future]
                try:
                    outcome.prepared[study.name] = future.result()
                except Exception as error:  # the other patients are not to blame
                    if (disk := full_disk(error)) is not None:
                        disk.filename = disk.filename or str(out_dir)  # lost on the way from another process
                        raise
                    logger.debug("a patient could not be prepared", exc_info=True)
                    reason = _reason(error)
                    if read_record(out_dir / study.folder) is not None:
                        reason = f"{reason.rstrip('.')}. What an earlier run wrote stays in the patient's folder"
                    outcome.refused[study.name] = reason
                    for path in (own.get(study.name), study.path, out_dir):
                        reason = reason.replace(f"{path}/", "").replace(f"{path}: ", "")
                    told[study.folder] = reason
        finally:  # also when it is interrupted
            pool.close()
            add_to_review(out_dir, names)
            _write_page(out_dir, told)
        return outcome


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"expected to be done within {_PATIENT_S / 60:g} minutes, was not. Prepare this patient alone"
    if isinstance(error, ReaderDiedError):
        return (
            f"its process ended before it was done (code {error.exitcode}), as for want of memory. Ask for fewer "
            "--workers, and run again"
        )
    fault = machine_fault(error)
    return one_line(fault or error) or f"unforeseen ({type(error).__name__}): prepare this patient alone to see it"


def _prepare_one(
    study: AskedStudy, folder: Path, settings: Settings, mask: Path | None, overwrite: bool, template: Path | None
) -> PreparedStudy:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # the patients share the cores
    return prepare_study(study.series(), folder, settings, mask, overwrite, template)


def _write_page(out_dir: Path, refused: Mapping[str, str]) -> None:
    """Of everyone who is prepared there, at whatever time, and of those just refused."""
    shown = [Shown(patient, None, reason) for patient, reason in refused.items()]
    for folder in out_dir.iterdir():
        record = None if folder.name in refused else read_record(folder)
        if record is not None:
            picture = folder / OVERVIEW
            shown.append(Shown(folder.name, record, "", picture.read_bytes() if picture.is_file() else None))
    write_cohort_page(out_dir / PAGE, shown)
