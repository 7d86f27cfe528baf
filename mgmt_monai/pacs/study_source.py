"""The images that a result comes from, and whose patient and study it belongs to."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VM
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, validate_value

from mgmt_monai.cohort.series import Series
from mgmt_monai.machine import check_machine
from mgmt_monai.pacs.errors import PacsError

NATIVE = "native"
"""The plane of a model that reads slices as they were acquired."""

REFERENCED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""Without these a file cannot be referred to."""

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What every object of a patient and study has, be it empty (PS3.3 C.7.1.1, C.7.2.1, type 2)."""

_YES_NO = ("YES", "NO")

_ALLOWED: dict[str, tuple[str, ...]] = {
    "PatientSex": ("M", "F", "O"),
    "PregnancyStatus": ("1", "2", "3", "4"),
    "SmokingStatus": (*_YES_NO, "UNKNOWN"),
    "PatientSexNeutered": ("ALTERED", "UNALTERED"),
    "QualityControlSubject": _YES_NO,
    "PatientIdentityRemoved": _YES_NO,
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
}
"""Enumerated values of patient and study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""

#: Identification, patient, clinical trial, acquisition device, study and procedure, and where each frame lies: what
#: results take over lies here.
_GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0040, 0x5200)

_PATIENT = 0x0010

#: Ages, codes, dates and times; identifiers in items; numbers of the patient; texts of one line and of several.
_OF_FIXED_FORM = ("AS", "CS", "DA", "DT", "TM")
_NUMBERS = ("DS", "IS")
_LINES = ("LO", "PN", "SH")
_TEXTS = (*_LINES, "LT", "ST", "UT")

#: Parts of a name between ``^`` (PS3.5 6.2, PN).
_NAME_PARTS = 5

_CONTROL = re.compile(r"[\0-\x1f\x7f]")

_TALKATIVE = ("pydicom", "highdicom", "dicomweb_client", "retrying")

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_CHARACTERS = 64


@dataclass(frozen=True)
class UsedImage:
    """One image that a result refers to.

    ``frames``: of a multi-frame image, those meant, numbered from 1; None for all of it.
    """

    header: Dataset
    frames: tuple[int, ...] | None


@dataclass(frozen=True)
class SourceSeries:
    """The headers of a series.

    Args:
        series: Which slices of which files.
        headers: One a file, in geometric order, without pixels; text in Unicode, so that a result may be written in
            UTF-8 whatever the source was written in. What the standard wants every object to have is there, be it
            empty; what cannot be read, or has a form that the standard forbids, is left out.
        plane: That the model reads: `NATIVE`, or one that the series is reformatted to.
    """

    series: Series
    headers: tuple[Dataset, ...]
    plane: str

    @property
    def first(self) -> Dataset:
        """The header that says whose patient and study it is."""
        return self.headers[0]

    def used(self, slice_indices: Iterable[int]) -> list[UsedImage]:
        """The images that slices come from.

        Args:
            slice_indices: From 0 along the series, as `SeriesPrediction.slice_indices`. A slice of a reformatted stack
                cuts through all of the images, so there they do not matter.

        Raises:
            PacsError: A slice that the series does not have.
        """
        indices = sorted(set(slice_indices))
        if self.plane != NATIVE and indices:
            indices = list(range(self.series.n_slices))
        if indices and not 0 <= indices[0] <= indices[-1] < self.series.n_slices:
            raise PacsError(
                f"{self.series.modality}: expected slices below {self.series.n_slices}, found {indices[0]} to "
                f"{indices[-1]}. Predict the study again."
            )
        stored = [self.series.slices[index] for index in indices]
        if self.series.frames is None:
            return [UsedImage(self.headers[place], None) for place in stored]
        frames = tuple(sorted(self.series.frames[place] + 1 for place in stored))
        return [UsedImage(self.first, frames)] if frames else []


def read_source(series: Series, plane: str = NATIVE) -> SourceSeries:
    """Read the headers of a series.

    Raises:
        PacsError: NIfTI, which has no patient and study in an archive; a file that cannot be read or referred to; or
            files of more than one patient, study or series.
        MachineError: The machine does not give a file.
    """
    if series.is_nifti:
        raise PacsError(
            f"{series.files[0]}: expected DICOM, found NIfTI, which belongs to no study in an archive. Predict the "
            "DICOM series, or leave out --dicom-sr, --dicom-sc and --dicom-seg."
        )
    headers = tuple(_header(path) for path in series.files)
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        if len(values := {str(header[keyword].value) for header in headers}) > 1:
            raise PacsError(
                f"{series.files[0].parent}: expected one {keyword} in the {series.modality} series, found "
                f"{len(values)}. Put each series into its own folder."
            )
    return SourceSeries(series, headers, plane)


def is_uid(text: object) -> bool:
    """Whether a value is a unique identifier: digits and single points, so that it may name a file.

    Source:
        DICOM PS3.5 section 9.1; leading zeros, which it forbids, are met in practice and do no harm.

    Example:
        >>> is_uid("1.2.840.10008"), is_uid("../../etc"), is_uid("1..2")
        (True, False, False)
    """
    return isinstance(text, str) and len(text) <= _UID_CHARACTERS and _UID.fullmatch(text) is not None


@contextmanager
def quietly() -> Iterator[None]:
    """DICOM libraries neither warn nor log while the block runs: they tell the name, dates and identifiers."""
    levels = {name: logging.getLogger(name).level for name in _TALKATIVE}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _header(path: Path) -> Dataset:
    try:
        with quietly():
            whole = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            header = _taken_over(whole)
    except Exception as error:  # a damaged file may fail anywhere in pydicom
        check_machine(error, path)
        raise PacsError(
            f"{path}: expected a DICOM header, found one that cannot be read ({type(error).__name__}). Fetch the file "
            "again."
        ) from error
    if "PatientID" in whole and "PatientID" not in header:
        raise PacsError(
            f"{path}: expected a PatientID as the standard has it (one value, at most 64 characters), "
            "found another. A result without it would belong to nobody: correct it in the archive, or leave "
            "out --dicom-sr, --dicom-sc and --dicom-seg."
        )
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, None if keyword.endswith(("Date", "Time")) else "")
    for keyword in REFERENCED:
        if not is_uid(str(header.get(keyword, ""))):
            raise PacsError(
                f"{path}: expected a {keyword}, found {'another value' if keyword in header else 'none'}. A result in "
                "DICOM refers to its images by it: take the files from the archive, or leave out --dicom-sr, "
                "--dicom-sc and --dicom-seg."
            )
    return header


def _taken_over(whole: Dataset) -> Dataset:
    """What results may take over from a header, decoded."""
    header = Dataset()
    for tag in whole.keys():  # noqa: SIM118 (iterating over a data set reads its values)
        if tag.group in _GROUPS and (element := _element(whole, tag)) is not None:
            header.add(element)
    return header


def _check_form(element: Any, kinds: Sequence[str]) -> None:
    """Raise ValueError where an element, of one of these kinds, has a value that the standard forbids."""
    if element.VR not in kinds and element.keyword not in _ALLOWED:
        return
    values = [str(value or "") for value in (element.value if element.VM > 1 else [element.value])]
    if len(values) > 1 and dictionary_VM(element.tag) == "1":
        raise ValueError("several values")
    for value in values:
        if element.VR in kinds:
            validate_value(element.VR, value, RAISE)
        if element.VR in _LINES and _CONTROL.search(value):
            raise ValueError("a control character")
        if element.VR == "PN" and any(group.count("^") >= _NAME_PARTS for group in value.split("=")):
            raise ValueError("too many parts of a name")
        if element.VR == "DA":
            DA(value or None)  # that the day exists
        if element.keyword in _ALLOWED and value not in ("", *_ALLOWED[element.keyword]):
            raise ValueError("no enumerated value")


def _element(whole: Dataset, tag: Any) -> Any:
    """An element with its text decoded; None where it cannot be read or has a form that the standard forbids."""
    kinds = (*_OF_FIXED_FORM, *_TEXTS, *(_NUMBERS if tag.group == _PATIENT else ()))
    try:
        element = whole[tag]
        if element.VR == "SQ":
            for item in element.value:
                item.decode()
                if not item:
                    raise ValueError("an item without content")
                for part in item.iterall():
                    _check_form(part, (*kinds, "UI"))
        _check_form(element, kinds)
    except Exception:  # the same as in `_header`
        return None
    return element
