"""A table that names each series: ``cohort.csv`` with ``patient_id,label,T1w,T1wCE,T2w,FLAIR``."""

import os
from contextlib import suppress
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError, CohortFaultsError
from mgmt_monai.cohort.layouts.found import Found, FoundSeries, Tagged
from mgmt_monai.cohort.layouts.nifti_series import people_told, read_sidecar
from mgmt_monai.cohort.series import MODALITIES, is_inside, is_nifti
from mgmt_monai.cohort.tables.table import Table, names, one_form, read_table, tell_other_form

NAME = "csv"
FILE = "cohort.csv"
EXPECTS = f"{FILE} with the columns patient_id,label and one or more of T1w,T1wCE,T2w,FLAIR"


def recognises(data_dir: Path) -> bool:
    """Whether there is such a table, by a column of a modality; one that is empty or unreadable is told about."""
    try:
        table = _read(data_dir)
    except CohortError:
        return (Path(data_dir) / FILE).is_file()
    return not table.columns or bool(set(MODALITIES) & set(table.columns))


def labels_file(data_dir: Path) -> Path:
    """The table itself: its column ``label``."""
    return data_dir / FILE


def find(data_dir: Path) -> Found:
    """The series that the table names.

    Args:
        data_dir: The folder with the table. Each cell under a modality is a folder of DICOM files or a file, relative
            to it, with ``/``; blank where the patient has none.

    Raises:
        CohortFaultsError: Paths that leave the data directory, a line each.
        CohortError: No table, a column missing, a patient twice or without a name.
    """
    data_dir = Path(data_dir)
    table = _read(data_dir)
    modalities = [modality for modality in MODALITIES if modality in table.columns]
    other_case = {column.lower() for column in table.columns} & {modality.lower() for modality in MODALITIES}
    if not modalities or not table.has(["patient_id"]) or len(other_case) > len(modalities):
        raise table.without("patient_id,label and one or more of T1w,T1wCE,T2w,FLAIR")
    rows = table.rows(["patient_id", *modalities])
    table.check_patients("patient_id", [row[0] for row in rows])
    outside = [
        f"patient {names([patient_id])}, {modality}: {table.source}: expected a path below the table's folder, found "
        f"{names([repr(cell)])}. Put the files there (a link will do) and name them relative to the table."
        for patient_id, *cells in rows
        for modality, cell in zip(modalities, cells, strict=True)
        if cell and not is_inside(cell)
    ]
    if outside:
        raise CohortFaultsError(outside)
    found, n_other_form = Found([], {row[0] for row in rows}), 0
    for patient_id, *cells in sorted(rows):
        for modality, cell in zip(modalities, cells, strict=True):
            if cell:
                path = _own_path(data_dir, cell)
                n_other_form += path != data_dir / cell
                found.series.append(_series(path, patient_id, modality))
                # Of a name that no file can have nothing can be asked; what is wrong is told where the series is read.
                there = is_nifti(path.name) and os.path.lexists(path)
                people = people_told(read_sidecar(path, patient_id, found)) if there else ()
                found.people.append(Tagged(patient_id, cell, people, cell))
    tell_other_form(table.source, n_other_form)
    return found


def _read(data_dir: Path) -> Table:
    return read_table(Path(data_dir) / FILE, f"no such table. Expected {EXPECTS}.")


def _series(path: Path, patient_id: str, modality: str) -> FoundSeries:
    reason = f"column {modality}"
    try:
        is_file = path.is_file()
    except OSError:  # no right to look, a name that no file can have: told where the series is read
        is_file = False
    if is_file or is_nifti(path.name):
        return FoundSeries(patient_id, modality, path.parent, (path.name,), reason)
    return FoundSeries(patient_id, modality, Path(os.path.normpath(path)), None, reason)


def _own_path(data_dir: Path, cell: str) -> Path:
    """The path that a cell names; the disk's own name where that differs in its Unicode form alone."""
    if cell.isascii() or os.path.lexists(data_dir / cell):
        return data_dir / cell
    path = data_dir
    for part in Path(cell).parts:
        there: list[str] = []
        with suppress(OSError):  # told where the series is read
            there = [one.name for one in path.iterdir() if one_form(one.name) == one_form(part)]
        path /= part if part in there else next(iter(there), part)
    return path
