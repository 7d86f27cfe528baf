"""Where each patient's segmentation of the tumour is: beside the series, or as a table says."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.records import PatientRecord
from mgmt_monai.cohort.series import is_nifti
from mgmt_monai.cohort.tables.table import names, read_table, under_own_names

#: Finds them beside the series, as BraTS names them.
BESIDE = "auto"

_COLUMNS = ("patient_id", "segmentation")

#: How the name of such a file ends, before ``.nii`` or ``.nii.gz``.
_NAME = re.compile(r"(?:^|[-_. ])seg(?:mentation)?$", re.IGNORECASE)


def find_segmentations(where: str | Path, patients: Sequence[PatientRecord], data_dir: Path) -> dict[str, Path]:
    """The file of every patient.

    Args:
        where: ``"auto"``: the one NIfTI file ``..._seg.nii.gz`` in the folder of a patient's series, or in the one
            above; else a CSV ``patient_id,segmentation`` with paths below ``data_dir``, or absolute ones.
        patients: Whose are wanted.
        data_dir: The cohort's folder.

    Raises:
        CohortError: A patient without one, or with several; or a table that cannot be read.
    """
    if str(where) == BESIDE:
        shared = Counter(
            folder for patient in patients for folder in {record.directory for record in patient.series.values()}
        )
        found = {patient.patient_id: _beside(patient, data_dir, shared) for patient in patients}
    else:
        table = read_table(Path(where), f"no such table. Expected a CSV with the columns {','.join(_COLUMNS)}.")
        rows = table.rows(_COLUMNS)
        table.check_patients(_COLUMNS[0], [patient_id for patient_id, _ in rows], _COLUMNS)
        told = under_own_names(
            {row[0]: row[1] for row in rows}, [patient.patient_id for patient in patients], table.source
        )
        of = {patient.patient_id: told.get(patient.patient_id) for patient in patients}
        found = {patient_id: [data_dir / path] if path else [] for patient_id, path in of.items()}
    for what, wrong in (
        ("none", [name for name, files in found.items() if not files]),
        ("several", [name for name, files in found.items() if len(files) > 1]),
        ("no such file", [name for name, files in found.items() if len(files) == 1 and not files[0].is_file()]),
    ):
        if wrong:
            raise CohortError(
                f"segmentations: expected one NIfTI file for every patient, found {what} for {names(wrong)}. Name them "
                f"in a CSV {','.join(_COLUMNS)} (--segmentations FILE), or leave these patients out (--exclusions)."
            )
    return {patient_id: files[0] for patient_id, files in found.items()}


def _beside(patient: PatientRecord, data_dir: Path, shared: Counter[str]) -> list[Path]:
    """In a folder that holds several patients, a file's name begins with the patient's."""
    found = set()
    for record in patient.series.values():
        folder = data_dir / record.directory
        for place in (folder, folder.parent) if folder.parent not in (data_dir, *data_dir.parents) else (folder,):
            for path in place.iterdir() if place.is_dir() else ():
                own = (shared[record.directory] == 1 and place == folder) or place.name == patient.patient_id
                own = own or re.match(rf"{re.escape(patient.patient_id)}(?![^\W_])", path.name) is not None
                if own and is_segmentation(path.name):
                    found.add(path)
    return sorted(found)


def is_segmentation(name: str) -> bool:
    """Whether a file is a segmentation by its name, as ``BraTS_001_seg.nii.gz``."""
    return is_nifti(name) and _NAME.search(re.sub(r"\.nii(\.gz)?$", "", name.lower())) is not None
