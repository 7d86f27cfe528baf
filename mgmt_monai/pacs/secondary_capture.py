"""Pages with the maps of a prediction as Secondary Capture images."""

from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mgmt_monai.inference import NOTICE
from mgmt_monai.inference.prediction import StudyPrediction
from mgmt_monai.pacs import codes
from mgmt_monai.pacs.errors import PacsError
from mgmt_monai.pacs.result import EQUIPMENT, PAGES_SERIES_NUMBER, made_of, one_patient
from mgmt_monai.pacs.study_source import SourceSeries, UsedImage

SIDE_LIMIT = 65535
"""Rows and columns are 16-bit numbers."""

LOSSY = "01"


def secondary_captures(
    pages: Sequence[NDArray[np.uint8]], prediction: StudyPrediction, sources: Sequence[SourceSeries | None]
) -> list[SCImage]:
    """Pages ``(H, W, 3)`` uint8 RGB for the archive, one image each, in one new series of the study of the sources.

    They refer to the images used, of the series that each of ``prediction.series`` was made from (None where there is
    none). What was lossily compressed once is marked so for ever.

    Raises:
        PacsError: A page of another shape or type, no source, or sources of more than one patient or study.

    Source:
        DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image).
    """
    given = [source for source in sources if source is not None]
    owner = one_patient(given)
    used = [
        image
        for one, source in zip(prediction.series, sources, strict=True)
        if source is not None
        for image in source.used(one.slice_indices)
    ]
    series_uid = generate_uid(prefix=None)  # from a random number (PS3.5 B.2)
    return [_capture(page, number, series_uid, owner, used) for number, page in enumerate(pages, start=1)]


def _capture(
    page: NDArray[np.uint8], number: int, series_uid: str, owner: SourceSeries, used: Sequence[UsedImage]
) -> SCImage:
    if page.ndim != 3 or page.shape[2] != 3 or page.dtype != np.uint8 or page.size == 0 or max(page.shape) > SIDE_LIMIT:
        raise PacsError(
            f"page {number}: expected RGB of shape (H, W, 3) and type uint8 with sides of at most {SIDE_LIMIT}, found "
            f"{page.shape} and {page.dtype}. Make the picture again."
        )
    with made_of([owner]):
        image = SCImage.from_ref_dataset(
            ref_dataset=owner.first,
            pixel_array=page,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            series_instance_uid=series_uid,
            series_number=PAGES_SERIES_NUMBER,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            **EQUIPMENT,
        )
        image.copy_patient_and_study_information(owner.first)  # what highdicom alone does not: age, trial and more
    # highdicom wants an orientation of what has none: a page of several views. The standard lets it be empty.
    image.PatientOrientation = []
    image.BodyPartExamined = "HEAD"
    image.ConversionType = "WSD"
    image.BurnedInAnnotation = "YES"
    image.ImageComments = NOTICE
    image.DerivationDescription = "Slices with maps of what a prediction of MGMT promoter methylation rests on"
    lossy = any(str(one.header.get("LossyImageCompression", "")) == LOSSY for one in used)
    image.LossyImageCompression = LOSSY if lossy else "00"
    image.SourceImageSequence = [_reference(one) for one in used]
    return image


def _reference(used: UsedImage) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = used.header.SOPClassUID
    item.ReferencedSOPInstanceUID = used.header.SOPInstanceUID
    if used.frames is not None:
        item.ReferencedFrameNumber = list(used.frames)
    item.PurposeOfReferenceCodeSequence = [codes.PROCESSED_IMAGE]
    return item
