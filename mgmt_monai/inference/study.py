"""The series of one study: found by name, by folder or by their tags, and examined before any model sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.examination.exam import SeriesExam
from mgmt_monai.cohort.examination.scan import scan
from mgmt_monai.cohort.findings import Finding, Severity
from mgmt_monai.cohort.layouts import bids, dicom_tree, folders
from mgmt_monai.cohort.layouts.decided import apply_decisions, decisions_of
from mgmt_monai.cohort.layouts.found import Found, FoundSeries
from mgmt_monai.cohort.layouts.nifti_names import BRATS, UCSF_PDGM, UPENN_GBM
from mgmt_monai.cohort.layouts.series_choice import READ_AS_ONE
from mgmt_monai.cohort.manifest import series_reference
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.series import MODALITIES, Series, is_nifti
from mgmt_monai.errors import printable
from mgmt_monai.inference.errors import InferenceError


@dataclass(frozen=True)
class StudySeries:
    """One series of a study, as it was found to be; ``series`` is None where a finding is an error.

    ``exam`` has also the findings of the search for it. The patient in it is the study's name, never that of the tags.
    """

    modality: str
    exam: SeriesExam
    series: Series | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it."""
        return self.exam.findings

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those findings that forbid its use."""
        return tuple(finding for finding in self.findings if finding.kind.severity is Severity.ERROR)


@dataclass(frozen=True)
class FoundStudy:
    """A study's series before any of them is read: at most one a modality, in the order of `MODALITIES`.

    ``path`` is absolute; ``notes`` are what the search found: several series that fit, files that could not be read.
    ``patient_id`` is whose it is in a cohort, whose folder ``path`` is then; "" for a folder of its own.
    """

    path: Path
    series: tuple[FoundSeries, ...]
    notes: tuple[Finding, ...] = ()
    patient_id: str = ""

    @property
    def name(self) -> str:
        """Of its folder, or of the patient."""
        return self.patient_id or printable(self.path.name)

    def of(self, modalities: Sequence[str]) -> FoundStudy:
        """The same with only the series of these modalities."""
        return replace(self, series=tuple(one for one in self.series if one.modality in modalities))

    def studied(self, exam: SeriesExam) -> StudySeries:
        """A series of the study with what its examination, ``exam``, found."""
        found = next(one for one in self.series if one.modality == exam.modality)
        own = tuple(replace(note, patient_id=self.name) for note in self.notes if _concerns(note, found))
        exam = replace(exam, findings=(*own, *exam.findings))
        series = None
        if exam.record is not None and not any(f.kind.severity is Severity.ERROR for f in exam.findings):
            patient = PatientRecord(exam.patient_id, 0, "test", {exam.modality: exam.record})
            series = series_reference(patient, exam.modality, self.path)
        return StudySeries(exam.modality, exam, series)


def study_path(study_dir: Path) -> Path:
    """A study's folder as an absolute path, whose last part is the study's name: that of a link, not of its target."""
    path = Path(study_dir).absolute()
    return path if path.name and path.name != ".." else path.resolve()


def find_study(study_dir: Path, named: Mapping[str, Path] | None = None) -> FoundStudy:
    """Where a study's series are.

    Args:
        study_dir: The study: folders named ``T1w``, ``T1wCE``, ``T2w``, ``FLAIR``; a patient of BraTS, UPENN-GBM,
            UCSF-PDGM or BIDS; NIfTI files whose names or side-cars say what they are; or DICOM files in folders of any
            kind, told apart by their tags.
        named: Folder or file by modality, for series that are not found so; only these are read then.

    Raises:
        InferenceError: No such folder, no series of a known modality, or more than one patient or examination.
        CohortError: The cohort's ``series.csv`` names a series of the study that is not there.
    """
    path = study_path(study_dir)
    if not path.is_dir() and not named:
        raise InferenceError(f"{study_dir}: no such study. Name the folder that holds its series.")
    found = Found([_named_series(path.name, *one) for one in named.items()], set()) if named else _find(path)
    for data_dir in () if named else (path, *path.parents[:3]):  # what was decided on in its cohort counts here too
        if source := decisions_of(data_dir):
            apply_decisions(found, source, data_dir, study=path)
            break
    if len({series.patient_id for series in found.series}) > 1 or any(note.id == "D051" for note in found.findings):
        raise InferenceError(
            f"{study_dir}: expected one study, found more than one patient. Name the folder of one of them, or predict "
            "them all with --batch."
        )
    if any(n.id == "D034" and not n.modality and not n.text.endswith(READ_AS_ONE) for n in found.findings):
        raise InferenceError(
            f"{study_dir}: expected one study, found more than one examination of the patient. Name the folder of one "
            "of them, or its series with --series."
        )
    if not found.series:
        reason = next((f" ({note.text})" for note in found.findings if note.id == "D035"), "")
        raise InferenceError(
            f"{study_dir}: expected series of {', '.join(MODALITIES)}, found none{reason}. Name one with --series "
            f"{MODALITIES[1]}=PATH."
        )
    ordered = sorted(found.series, key=lambda one: MODALITIES.index(one.modality))
    name = printable(path.name)
    return FoundStudy(path, tuple(replace(one, patient_id=name) for one in ordered), tuple(found.findings))


def read_study(
    study_dir: Path, named: Mapping[str, Path] | None = None, modalities: Sequence[str] = MODALITIES
) -> list[StudySeries]:
    """The series of one study, found as `find_study` does and examined, pixels included.

    Returns:
        At most one a modality wanted, in the order of `MODALITIES`.

    Raises:
        InferenceError: As `find_study`, or no series of these modalities.
    """
    study = find_study(study_dir, named)
    wanted = study.of(modalities)
    if not wanted.series:
        raise InferenceError(
            f"{study_dir}: expected a series of {' or '.join(modalities)}, found "
            f"{', '.join(one.modality for one in study.series)}. Name it with --series {modalities[0]}=PATH."
        )
    exams = scan(wanted.series, study.path, pixels=True, identity=False, description="Reading the study")
    return [wanted.studied(exam) for exam in exams]


def series_items(study_dir: str | Path, modality: str) -> list[dict[str, Any]]:
    """The study's series of one modality as data for a MONAI dataset.

    Returns:
        One item ``{"image": Series, "label": nan, "patient_id": str, "modality": str}``.

    Raises:
        InferenceError: As `read_study`, or a finding forbids the use of the series.
        TrainingError: The config that calls this has a setting that is not as it was typed, out of range, or not that
            of the bundle's model; or the weights are not whole.
    """
    from mgmt_monai.training.config import check_model_here, check_values_here  # a study is found without a config too

    check_values_here()
    check_model_here()
    found = read_study(Path(study_dir), modalities=[modality])[0]
    if found.series is None:
        raise InferenceError("\n".join(finding.under(Path(study_dir)).line for finding in found.errors))
    patient_id = found.series.patient_id
    return [{"image": found.series, "label": float("nan"), "patient_id": patient_id, "modality": modality}]


def _named_series(patient_id: str, modality: str, path: Path) -> FoundSeries:
    if modality not in MODALITIES:
        raise InferenceError(f"series {modality!r}: expected one of {', '.join(MODALITIES)}. Name one of these.")
    path = Path(path).absolute()
    if not path.exists():
        raise InferenceError(f"{path}: no such {modality} series. Name a folder of DICOM files or a NIfTI file.")
    if path.is_file() or is_nifti(path.name):
        return FoundSeries(patient_id, modality, path.parent, (path.name,), "named")
    return FoundSeries(patient_id, modality, path, None, "named")


def _find(study_dir: Path) -> Found:
    named = [modality for modality in MODALITIES if (study_dir / modality).is_dir()]
    if named:
        series = [FoundSeries("", modality, study_dir / modality, None, f"folder {modality}") for modality in named]
        return Found(series, set())
    for layout in (BRATS, UPENN_GBM, UCSF_PDGM, bids):
        if layout.recognises(study_dir):
            return layout.find(study_dir)
    if folders.has_nifti(study_dir):
        found = Found([], set())
        folders.find_patient(study_dir, found)
        return found
    return dicom_tree.find(study_dir)


def _concerns(note: Finding, series: FoundSeries) -> bool:
    """Whether a note of the search is about the series, or about a file that lies among its own."""
    if note.modality:
        return note.modality == series.modality
    if note.id == "D034":  # of the examination that was chosen
        return True
    folders = {(series.directory / name).parent for name in series.files or ()}
    return bool(note.path) and Path(note.path).parent in folders
