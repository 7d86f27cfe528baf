"""Words for results that name nobody: what a study's files say of the person, and what they are called, taken out."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.multival import MultiValue

from mgmt_monai.cohort.layouts.found import FoundSeries
from mgmt_monai.cohort.layouts.passed_over import is_passed_over
from mgmt_monai.cohort.series import is_nifti
from mgmt_monai.machine import check_machine

REMOVED = "(removed)"
"""Stands where something was taken out."""

PERSONAL = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "AccessionNumber", "StudyID",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord", "RequestingPhysician", "OperatorsName",
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID",
)  # fmt: skip
"""Attributes whose values are taken out, whole, and each word of a person's name (of PS3.15 annex E, what can stand
in a text)."""

#: Those whose parts are personal too.
_SPLIT = frozenset(name for name in PERSONAL if name.startswith("Patient") and "Name" in name) | {"OtherPatientNames"}

#: A day of 1900 to 2099 as people and DICOM write it: 20240131, 2024-01-31, 31.01.2024, 1/31/2024.
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-./]?)(?:0?[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|\d{1,2}([-./])\d{1,2}\2(?:19|20)\d\d)(?!\d)"
)

#: Shorter ones could be part of any sentence: the 20 of "20 slices".
_LEAST_WORD, _LEAST_NUMBER = 3, 5


class Redaction:
    """Takes out of a text what could tell who was examined and when, by the folder and the series' first files."""

    def __init__(self, series: Sequence[FoundSeries], study_dir: Path) -> None:
        files = {one.directory: sorted(_files(one)) for one in series}
        folders = sorted({str(folder) for folder in [study_dir, *files]}, key=len, reverse=True)
        self._folders = re.compile("|".join(f"{re.escape(folder)}(?:/|(?!\\w))" for folder in folders))
        self._names = {
            name: f"file {number}"
            for names in files.values()
            for number, path in enumerate(names, start=1)
            for name in (path, Path(path).name)
            if _is_telling(name)
        }
        self._file = _any_of(self._names, ignore_case=False)
        self._word = _any_of(word for one in series for word in _personal_words(one, files[one.directory]))

    def __call__(self, text: str) -> str:
        """The text without folders, with files by their number, dates and personal words as `REMOVED`."""
        text = self._folders.sub("", text)
        if self._file is not None:
            text = self._file.sub(lambda found: self._names[found[0]], text)
        if self._word is not None:
            text = self._word.sub(REMOVED, text)
        return _DATE.sub(REMOVED, text)


def _files(series: FoundSeries) -> Iterable[str]:
    if series.files is not None:
        return series.files
    try:
        return [path.name for path in series.directory.iterdir() if not is_passed_over(path.name)]
    except OSError as error:
        check_machine(error, series.directory)
        return []


def _personal_words(series: FoundSeries, files: Sequence[str]) -> Iterator[str]:
    """The values of `PERSONAL` attributes in the series' first file, each whole and word by word."""
    if not files or is_nifti(files[0]):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = dcmread(
                series.directory / files[0], stop_before_pixels=True, force=True, specific_tags=list(PERSONAL)
            )
            values = [(name, str(value)) for name in PERSONAL for value in _each(header.get(name))]
        except Exception as error:  # a damaged file can fail anywhere in pydicom's parser; what it holds is not quoted
            check_machine(error, series.directory / files[0])
            return
    for name, value in values:
        parts = re.split(r"[\s^=,;]+", value) if name in _SPLIT else []
        yield from (word for word in {value.strip(), *parts} if _is_telling(word))


def _each(value: object) -> Iterable[object]:
    if value is None:
        return ()
    return value if isinstance(value, MultiValue | list) else (value,)


def _is_telling(word: str) -> bool:
    return len(word) >= (_LEAST_NUMBER if word.isdigit() else _LEAST_WORD)


def _any_of(words: Iterable[str], ignore_case: bool = True) -> re.Pattern[str] | None:
    """Any of the words where it stands alone, longest first; None without words."""
    longest_first = sorted(set(words), key=lambda word: (-len(word), word))
    if not longest_first:
        return None
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE * ignore_case)
