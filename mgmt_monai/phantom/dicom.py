"""A series as MR Image Storage files, the way Kaggle's competition laid its folders out."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from mgmt_monai.phantom.acquisition import SeriesPlan
from mgmt_monai.phantom.appearance import MODALITIES

SCANNERS = (
    ("SIEMENS", "Phantom Aera", 1.5),
    ("SIEMENS", "Phantom Skyra", 3.0),
    ("GE MEDICAL SYSTEMS", "Phantom Signa", 1.5),
    ("Philips Medical Systems", "Phantom Achieva", 3.0),
)

# Slice positions are rounded to this many decimals (mm): a decimal string holds 16 characters, and readers
# call slices uneven when their gaps differ by more than 1e-4 of the spacing.
POSITION_DECIMALS = 6

PER_SLICE = (0x00080018, 0x00200013, 0x00200032)  # SOP instance UID, instance number, image position


def series_headers(plan: SeriesPlan, patient_id: str, scanner: tuple[str, str, float], seed: int) -> list[Dataset]:
    """The headers of one series, without pixels; they depend on nothing but these arguments.

    The scanner is manufacturer, model and field strength in tesla; the cohort's seed, id, modality and number decide
    every UID.

    Returns:
        One data set a slice, in geometric order along the normal, file meta information included.

    Source:
        DICOM PS3.3 A.4 (MR Image IOD). Type 2 attributes that identify a person are present and empty,
        as the standard asks: there is no person.
    """
    shared = _shared_header(plan, patient_id, scanner, seed)
    headers = []
    for index, number in enumerate(plan.numbers):
        header = Dataset()
        header.update(shared)
        uid = _uid(seed, patient_id, plan.modality, str(number))
        header.SOPInstanceUID = uid
        header.InstanceNumber = number
        header.ImagePositionPatient = [
            round(float(value), POSITION_DECIMALS) + 0.0 for value in plan.position_mm(index)
        ]
        header.file_meta = FileMetaDataset()
        header.file_meta.MediaStorageSOPClassUID = MRImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = uid
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        headers.append(header)
    return headers


def write_series(folder: Path, headers: list[Dataset], pixels: NDArray[np.uint16]) -> None:
    """Write pixels ``(n_slices, rows, columns)`` and headers as ``Image-<n>.dcm``, n being the instance number.

    Raises:
        OSError: The folder, made if absent, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Nine tenths of a header are the same in every slice and encoding them is most of the work: they are
    # encoded once, in the runs that lie between the few elements that differ.
    edges = [0, *PER_SLICE, 0xFFFFFFFF]
    runs = [_encode(headers[0][first + 1 : last]) for first, last in pairwise(edges)]
    for header, image in zip(headers, pixels, strict=True):
        own = [_encode(Dataset({header[tag].tag: header[tag]})) for tag in PER_SLICE]
        stored = Dataset()
        stored.add_new("PixelData", "OW", image.astype("<u2").tobytes())
        own.append(_encode(stored))
        with (folder / f"Image-{header.InstanceNumber}.dcm").open("wb") as file:
            file.write(b"\0" * 128 + b"DICM")
            write_file_meta_info(file, header.file_meta)
            file.write(b"".join(part for pair in zip(runs, own, strict=True) for part in pair))


def _encode(elements: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, elements)
    return buffer.getvalue()


def _shared_header(plan: SeriesPlan, patient_id: str, scanner: tuple[str, str, float], seed: int) -> Dataset:
    manufacturer, model, field_tesla = scanner
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    header.SOPClassUID = MRImageStorage
    header.Modality = "MR"
    header.Manufacturer = manufacturer
    header.ManufacturerModelName = model
    header.SeriesDescription = plan.modality
    header.DerivationDescription = "Made by mgmt-monai phantom, not a patient"
    header.PatientID = patient_id
    for keyword in (
        "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
        "ReferringPhysicianName", "PositionReferenceIndicator", "ScanOptions", "EchoTrainLength",
    ):  # fmt: skip
        setattr(header, keyword, None)
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "Made, never identified"
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = _uid(seed, patient_id, "study")
    header.SeriesInstanceUID = _uid(seed, patient_id, plan.modality)
    header.FrameOfReferenceUID = _uid(seed, patient_id, "frame")
    header.SeriesNumber = MODALITIES.index(plan.modality) + 1

    header.ScanningSequence = "IR" if plan.inversion_time_ms else "SE"
    header.SequenceVariant = "NONE"
    header.MRAcquisitionType = "2D"
    header.MagneticFieldStrength = field_tesla
    header.RepetitionTime = plan.repetition_time_ms
    header.EchoTime = plan.echo_time_ms
    if plan.inversion_time_ms:
        header.InversionTime = plan.inversion_time_ms
    header.SliceThickness = plan.slice_thickness_mm
    header.SpacingBetweenSlices = plan.slice_spacing_mm
    header.PixelSpacing = [plan.pixel_spacing_mm, plan.pixel_spacing_mm]
    header.ImageOrientationPatient = [*plan.row_direction, *plan.column_direction]

    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows = plan.rows
    header.Columns = plan.columns
    header.BitsAllocated = 16
    header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 0
    return header


def _uid(seed: int, *parts: str) -> str:
    return generate_uid(entropy_srcs=["mgmt-monai phantom", str(seed), *parts])
