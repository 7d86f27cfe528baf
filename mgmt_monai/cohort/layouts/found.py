"""One series as a layout finds it, before any of its files is read, and all that a layout finds."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.files.person import Person
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.passed_over import FileCount
from mgmt_monai.cohort.records import SeriesRecord
from mgmt_monai.cohort.tables.series_table import SeriesRow
from mgmt_monai.errors import one_line

HOW_TO_GET_DATA = (
    "Make the phantom with 'mgmt-monai phantom data/phantom', or name the folder of your own data (of a "
    "training: --dataset_dir DIR or MGMT_DATA_DIR); the documentation lists the layouts that are known."
)


def check_data_dir(data_dir: Path) -> None:
    """Refuse a cohort's folder that is not there.

    Raises:
        CohortError: There is none, it is no folder, or its name is none; the message says how to get data.
    """
    try:
        is_file = data_dir.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise CohortError(f"{one_line(error)}. {HOW_TO_GET_DATA}") from error
    if is_file:
        raise CohortError(
            f"{data_dir}: expected a cohort's folder, found a file. Name the folder; a label table beside it is named "
            "with --labels (of a training: --labels_csv)."
        )
    if not data_dir.is_dir():
        raise CohortError(f"{data_dir}: no such data directory. {HOW_TO_GET_DATA}")


@dataclass(frozen=True)
class FoundSeries:
    """Where a series is and what it is taken for.

    Args:
        patient_id: The patient's name in this cohort.
        modality: One of `mgmt_monai.cohort.series.MODALITIES`.
        directory: The folder that holds its files.
        files: Their paths below ``directory``, with ``/``, in no order; None for every visible entry of the folder.
        reason: Why it is taken for this modality, for people: ``folder T1w``, ``file name _t1ce``.
        frames: Those of its one multi-frame DICOM file that are its own, in no order; None for all.
    """

    patient_id: str
    modality: str
    directory: Path
    files: tuple[str, ...] | None
    reason: str
    frames: tuple[int, ...] | None = None


def series_of_record(record: SeriesRecord, patient_id: str, modality: str, data_dir: Path) -> FoundSeries:
    """A manifest's series as the scan that built the manifest knew it: that is what the cache has it under."""
    files = None if record.whole_folder else tuple(sorted(record.files))
    frames = None if record.frames is None else tuple(sorted(record.frames))
    return FoundSeries(patient_id, modality, data_dir / record.directory, files, record.reason, frames)


def n_files_of(series: Iterable[FoundSeries]) -> int:
    """How many files series have that name their files; a multi-frame file of several counts once."""
    whole, parts = 0, set()
    for one in series:
        if one.frames is None:
            whole += len(one.files or ())
        else:
            parts.add((one.directory, one.files))
    return whole + len(parts)


@dataclass(frozen=True)
class LeftOut:
    """A series that is there and is not read.

    Args:
        patient_id: Whose.
        directory: The folder that holds its files.
        what: The series, for people: ``series 3``.
        n_files: How many files it has.
        reason: Why it is not read, for people: ``diffusion (by its name)``.
    """

    patient_id: str
    directory: Path
    what: str
    n_files: int
    reason: str


@dataclass
class Contender:
    """One of several series among which one was chosen, or one that nothing speaks for.

    Args:
        series: Where it is, with the modality that it may be ("" for none).
        name: For people.
        n_slices: How many slices it has.
        read_as: Its modality; "" where it is not read.
        reason: Why.
        disputed: Several may be this modality, or tags and names disagree: pictures of all of them are shown.
        shown: Its middle slice, or its volume: what its picture is made of.
        left_out: It, where it is not read.
        decision: The user's, as `mgmt_monai.cohort.tables.series_table.SeriesRow` has it.
    """

    series: FoundSeries
    name: str
    n_slices: int
    read_as: str
    reason: str
    disputed: bool
    shown: FoundSeries
    left_out: LeftOut | None = None
    decision: str = ""


@dataclass(frozen=True)
class Tagged:
    """Who the files of one series say that they are of; ``named``: the file below a folder that is the patient."""

    patient_id: str
    directory: str
    people: tuple[Person, ...]
    named: str = ""


@dataclass
class Found:
    """What a layout finds in a data directory.

    Args:
        series: At most one a patient and modality, sorted by both.
        patients: Every patient seen, also those without a series.
        findings: What is wrong, or was chosen, before any series is read.
        left_out: Series that no model of these four modalities reads.
        people: Who the files say that they are of, where the layout reads them; also of series that are left out.
        contenders: The series that a user may decide on.
        decisions: What the user has decided; set by `find_series`.
        files: Every file accounted for; set by `find_series` where the layout has not.
        layout: The layout's name; set by `find_series`.
        labels_file: The label table the layout comes with, whether it is there or not; set by `find_series`.
    """

    series: list[FoundSeries]
    patients: set[str]
    findings: list[Finding] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    people: list[Tagged] = field(default_factory=list)
    contenders: list[Contender] = field(default_factory=list)
    decisions: list[SeriesRow] = field(default_factory=list)
    files: FileCount | None = None
    layout: str = ""
    labels_file: Path = Path()
