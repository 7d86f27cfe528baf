"""The studies of a cohort in any layout, as a training finds them, or of a folder with one folder a study."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts import Found, FoundSeries, dicom_tree, find_series, recognise, recognised
from mgmt_monai.cohort.layouts.decided import decisions_of
from mgmt_monai.cohort.layouts.folders import is_mask
from mgmt_monai.cohort.layouts.passed_over import NIFTI, is_passed_over, kind_by_name
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.errors import printable
from mgmt_monai.inference.errors import InferenceError
from mgmt_monai.inference.study import FoundStudy
from mgmt_monai.machine import check_machine

logger = logging.getLogger(__name__)

RESERVED = "predictions.csv"
"""The table of a batch's results, which lies beside the studies' folders."""

#: Findings on what is not read: they name folders and files, which no result may.
_NOT_READ = ("D035", "D037")

#: What a DICOM file's name ends in, where files lie beside the studies' folders.
_DICOM_SUFFIXES = frozenset({"", ".dcm", ".ima"})

#: Bytes of a file by which one study is told from another.
_TELLING_BYTES = 2**20


@dataclass(frozen=True)
class AskedStudy:
    """One study of a batch: its name in the results (the patient in the cohort, else the folder's) and its folder.

    ``found`` are its series, where the cohort's layout found them; ``fault`` is why it cannot be asked about, or "".
    """

    name: str
    path: Path
    found: FoundStudy | None = None
    fault: str = ""

    @property
    def folder(self) -> str:
        """What its results' folder is called."""
        return self.name if self.found is not None or self.fault else self.path.name

    def series(self) -> Path | FoundStudy:
        """What `predict_study` takes.

        Raises:
            InferenceError: It cannot be asked about.
        """
        if self.fault:
            raise InferenceError(self.fault)
        return self.found or self.path

    def images(self) -> str:
        """12 hexadecimal digits that another study of the same name would not have.

        Of the names and sizes of its files, and in each folder of what the middle one begins with: its identifiers.

        Raises:
            MachineError: The machine does not give them.
        """
        digest = hashlib.sha256()
        try:
            for files in self._files():
                for path in files:
                    digest.update(f"{path.name}/{path.stat().st_size}/".encode(errors="replace"))
                with files[len(files) // 2].open("rb") as stream:
                    digest.update(stream.read(_TELLING_BYTES))
        except OSError as error:
            check_machine(error, self.path)
        return digest.hexdigest()[:12]

    def _files(self) -> list[list[Path]]:
        """Its files, those of each folder together, sorted by name."""
        folders: dict[Path, set[Path]] = {}
        if self.found is None and not self.fault:
            folders = {folder: {folder / name for name in names} for folder, names in walk(self.path, [])}
        for one in () if self.found is None else self.found.series:
            names = one.files or one.directory.iterdir()
            folders.setdefault(one.directory, set()).update(one.directory / name for name in names)
        files = [sorted(path for path in of if not is_passed_over(path.name)) for _, of in sorted(folders.items())]
        return [of for of in files if of]


def studies_in(root: Path, out_dir: Path, layout: str | None = None) -> list[AskedStudy]:
    """The studies of a batch: who a training on this folder would have, each with the series it would read.

    A tree of DICOM files with one folder a study is taken folder by folder, under their names; by patients, under
    their PatientID as in a manifest, where ``layout`` says ``dicom`` or the files lie otherwise.

    Args:
        root: A cohort in any layout, or a folder of studies.
        out_dir: Where results go; it is no study.
        layout: A name of `mgmt_monai.cohort.layouts`; None to recognise it.

    Returns:
        Sorted by name. Patients without a series have a fault.

    Raises:
        CohortError: Several layouts fit, the one that is named does not, or a table that cannot be read.
        InferenceError: No such folder, no study in it, or one called like a file of the results.
    """
    root, out_dir = Path(root).absolute(), Path(out_dir)
    if not root.is_dir():
        raise InferenceError(f"{root}: no such folder of studies. Name the folder that holds one folder a study.")
    own = [path for path in _folders(root) if path.resolve() != out_dir.resolve()]
    name = layout or (recognise(root) if recognised(root) else None)
    by_folder = layout is None and decisions_of(root) is None  # decisions are on a cohort's patients
    read: set[Path] = set()
    if name is None or (name == dicom_tree.NAME and by_folder and _is_one_each(root, own)):
        studies = [AskedStudy(printable(path.name), path) for path in own]
    else:
        found = find_series(root, name)
        if out_dir.resolve().parent == root.resolve():
            found.patients.discard(printable(out_dir.name))
        studies = _of_cohort(root, found)
        for finding in found.findings:
            if finding.id == "D051" and finding.patient_id in found.patients:  # it may be of several patients
                logger.warning(finding.under(root).line)
        read = {folder for series in found.series for folder in (series.directory, *series.directory.parents)}
        read |= {series.directory / file for series in found.series for file in series.files or ()}
        others = [path for path in own if path not in read]
        if others:
            logger.warning("%d folders beside the studies hold no series that the layout %s reads", len(others), name)
    loose = [p for p in root.iterdir() if p not in read and kind_by_name(p.name) == NIFTI and not is_mask(p.name)]
    if loose:
        logger.warning("%d NIfTI files beside the studies are not read: put each patient's into a folder", len(loose))
    if not studies:
        raise InferenceError(f"{root}: expected one folder a study in it, found none. Leave out --batch for one study.")
    if any(study.folder == RESERVED for study in studies):
        raise InferenceError(f"{root / RESERVED}: a study cannot be called like the table of the results. Rename it.")
    return sorted(studies, key=lambda study: study.name)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_passed_over(path.name))


def _is_one_each(root: Path, own: Sequence[Path]) -> bool:
    """Whether DICOM files lie in a folder a study, and not beside each other or all in one folder."""
    if not own:
        return False
    if len(own) > 1 and not any(path.suffix.lower() in _DICOM_SUFFIXES and path.is_file() for path in root.iterdir()):
        return True
    owners: dict[str, set[str]] = {}  # by the folder below root; "" for root itself
    for series in dicom_tree.find(root).series:
        for name in series.files or ("",):
            parts = (series.directory / name).relative_to(root).parts
            owners.setdefault(parts[0] if len(parts) > 1 else "", set()).add(series.patient_id)
    return "" not in owners and all(len(patients) == 1 for patients in owners.values())


def _of_cohort(root: Path, found: Found) -> list[AskedStudy]:
    series: dict[str, list[FoundSeries]] = {patient: [] for patient in found.patients}
    for one in found.series:
        series.setdefault(one.patient_id, []).append(one)
    notes: dict[str, list[Finding]] = {}
    for finding in found.findings:
        if finding.id not in _NOT_READ:
            notes.setdefault(finding.patient_id, []).append(finding.under(root))
    studies = []
    for patient, own in series.items():
        if "/" in patient or patient in (".", ".."):
            fault = "expected an identifier that a folder can be called by, found one with '/' or '.' alone"
            studies.append(AskedStudy(patient.replace("/", "_").strip(".") or "_", root, fault=fault))
        elif own:
            ordered = tuple(sorted(own, key=lambda one: MODALITIES.index(one.modality)))
            studies.append(AskedStudy(patient, root, FoundStudy(root, ordered, tuple(notes.get(patient, ())), patient)))
        else:
            fault = f"expected series of {', '.join(MODALITIES)}, found none: mgmt-monai doctor says what is there"
            studies.append(AskedStudy(patient, root, fault=fault))
    return studies
