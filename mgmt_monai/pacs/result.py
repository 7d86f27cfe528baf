"""What every result object has in common: who made it, new identifiers, and how it is written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from mgmt_monai import __version__
from mgmt_monai.atomic import atomic_file
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.study_source import SourceSeries, quietly

MAKER = "mgmt-monai"

UTF_8 = "ISO_IR 192"
"""Results are in UTF-8: it has every name, and the texts of a source are decoded (`SourceSeries`)."""

REPORT_SERIES_NUMBER = 9901
"""Behind those of the scanner, which count from 1, and of its own derived series, commonly some hundreds."""

PAGES_SERIES_NUMBER = 9902

MAPS_SERIES_NUMBER = 9903

SERIES_DESCRIPTION = "MGMT prediction, research use only"


EQUIPMENT: dict[str, Any] = {
    "manufacturer": MAKER,
    "manufacturer_model_name": MAKER,
    "software_versions": __version__,
    "series_description": SERIES_DESCRIPTION,
    "specific_character_set": UTF_8,
}
"""Who made the object and what its series is called, as highdicom's constructors take it."""


def one_patient(sources: Sequence[SourceSeries]) -> SourceSeries:
    """The series whose patient and study the result belongs to: the first.

    Raises:
        PacsError: None, or of more than one patient or study.
    """
    if not sources:
        raise PacsError("expected a series to refer to, found none. Predict a study in DICOM that has one.")
    for keyword in ("PatientID", "StudyInstanceUID"):
        if len({str(source.first[keyword].value) for source in sources}) > 1:
            named = ", ".join(f"{source.series.modality} in {source.series.files[0].parent}" for source in sources)
            raise PacsError(
                f"expected series of one patient and study, found more than one {keyword} ({named}). Predict each "
                "study alone: a result in DICOM belongs to one."
            )
    return sources[0]


@contextmanager
def made_of(sources: Sequence[SourceSeries]) -> Iterator[None]:
    """Make an object of these sources quietly in the block.

    Raises:
        PacsError: Images of a private kind: highdicom does not know where their patient and study are written.
    """
    kinds = {str(header.SOPClassUID) for source in sources for header in source.headers}
    try:
        with quietly():
            yield
    except KeyError as error:
        if error.args and str(error.args[0]) in kinds:
            raise PacsError(
                f"{sources[0].series.files[0].parent}: expected images of a kind that the standard knows, found "
                f"{error.args[0]}. Leave out --dicom-sr, --dicom-sc and --dicom-seg."
            ) from error
        raise


def write_object(instance: Dataset, path: Path, overwrite: bool = False) -> Path:
    """Write an object with its file meta information, whole or not at all, and return the path.

    Raises:
        PacsError: The file is there, and no ``overwrite``.
    """
    if path.exists() and not overwrite:
        raise PacsError(f"{path} is there already. Say --overwrite to replace it, or choose another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, quietly():
        instance.save_as(temporary, enforce_file_format=True)
    return path
