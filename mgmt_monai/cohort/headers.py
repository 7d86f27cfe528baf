"""One DICOM file's header, without its pixels: a slice, or the slices of an enhanced multi-frame image."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

#: All that is read: geometry, size, kind of image, and the instance's identity (only ever kept hashed).
_TAGS = [
    "ImageType", "SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "ComplexImageComponent",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


#: An item of encapsulated pixel data, and the delimiter that closes it (PS3.5 table A.4-1): group, element, length.
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


class HeaderError(ValueError):
    """A file whose header does not describe slices; the text says what was found."""


@dataclass(frozen=True)
class SliceHeader:
    """What the order, the size and the completeness of a slice are read from.

    Args:
        path: The file.
        frame: Index of the slice in a multi-frame file, None for a file of one slice.
        size_bytes: Size of the file.
        uid: SOPInstanceUID.
        shape: Rows, columns.
        is_phase: The image shows the phase of the signal, not its magnitude, so no anatomy.
        position: ``(3,)`` ImagePositionPatient, mm, LPS, or None where the file has none.
        orientation: ``(6,)`` ImageOrientationPatient, or None.
        pixel_spacing_mm: Distance between rows, between columns; None where the file has none.
    """

    path: Path
    frame: int | None
    size_bytes: int
    uid: str
    shape: tuple[int, int]
    is_phase: bool
    position: np.ndarray | None
    orientation: np.ndarray | None
    pixel_spacing_mm: tuple[float, float] | None


def read_headers(path: Path) -> list[SliceHeader]:
    """The headers of a file's slices: one, or one a frame of a multi-frame image.

    Args:
        path: A DICOM image file.

    Raises:
        HeaderError: Not DICOM, no image, a colour image, a value that cannot be, or a file that ends before its
            pixels do.
        OSError: The file cannot be opened.
    """
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise HeaderError("an empty file")
    try:
        # pydicom warns of every odd value in every file; what matters of it is checked here.
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
            if dataset.get("Rows") is None or dataset.get("Columns") is None:
                raise HeaderError("a DICOM file without an image (or cut off before its pixels)")
            n_frames = int(dataset.get("NumberOfFrames") or 1)
            _check_image(dataset, n_frames)
            _check_complete(dataset, n_frames, stream, size_bytes)
            frames: Sequence[int | None] = [None] if n_frames == 1 else range(n_frames)
            return [_slice_header(dataset, path, frame, size_bytes) for frame in frames]
    except InvalidDicomError as error:
        raise HeaderError("not a DICOM file") from error
    except (HeaderError, OSError):
        raise
    except Exception as error:  # pydicom has no common base for what a damaged header makes it raise
        raise HeaderError(f"a damaged DICOM header ({type(error).__name__})") from error


def _check_image(dataset: Dataset, n_frames: int) -> None:
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1)
    if rows < 1 or columns < 1 or n_frames < 1:
        raise HeaderError(f"an image of {n_frames} x {rows} x {columns} pixels")
    if samples != 1:
        raise HeaderError(f"a colour image ({samples} samples a pixel)")
    n_places = len(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if n_frames > 1 and n_places != n_frames:
        raise HeaderError(f"{n_frames} frames, with a place in the patient for {n_places} of them")


def _check_complete(dataset: Dataset, n_frames: int, stream: BinaryIO, size_bytes: int) -> None:
    """Hold the file's length against its pixels; the stream stands where the pixel data begins."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_deflated:
        return  # inflated whole by now, and that fails on a file cut short
    if syntax is not None and syntax.is_compressed:
        if not _is_closed(stream, size_bytes):
            raise HeaderError("a truncated file: its compressed pixels break off")
        return
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.get("BitsAllocated") or 16)
    element_bytes = 8 if syntax is not None and syntax.is_implicit_VR else 12
    expected = element_bytes + rows * columns * n_frames * bits // 8
    left = max(0, size_bytes - stream.tell())
    if left < expected:
        pixels = f"{n_frames} x {rows} x {columns} pixels"
        raise HeaderError(f"a truncated file: {pixels} take {expected} bytes, {left} are left")


def _is_closed(stream: BinaryIO, size_bytes: int) -> bool:
    """Whether encapsulated pixel data runs, item by item, to its delimiter."""
    stream.seek(12, 1)  # the element's own tag, VR and (undefined) length
    while len(item := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", item)
        if (group, element) == _DELIMITER:
            return True
        if (group, element) != _ITEM or stream.tell() + length > size_bytes:
            return False
        stream.seek(length, 1)
    return False


def _slice_header(dataset: Dataset, path: Path, frame: int | None, size_bytes: int) -> SliceHeader:
    places = [dataset]  # where a value may stand, the most particular place first
    for sequence, item in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame or 0)):
        groups = dataset.get(sequence) or []
        if item < len(groups):
            places[:0] = [element.value[0] for element in groups[item] if element.VR == "SQ" and element.value]
    spacing = _vector(places, "PixelSpacing", 2)
    return SliceHeader(
        path=path,
        frame=frame,
        size_bytes=size_bytes,
        uid=str(dataset.get("SOPInstanceUID") or ""),
        shape=(int(dataset.Rows), int(dataset.Columns)),
        is_phase=_is_phase(places),
        position=_vector(places, "ImagePositionPatient", 3),
        orientation=_vector(places, "ImageOrientationPatient", 6),
        pixel_spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1])),
    )


def _is_phase(places: list[Dataset]) -> bool:
    # The standard's word is ComplexImageComponent; classic MR images tell it in the vendor's values of ImageType.
    component = next((place.ComplexImageComponent for place in places if "ComplexImageComponent" in place), None)
    if component is not None and component != "MIXED":
        return bool(component == "PHASE")
    image_type = places[-1].get("ImageType") or []
    values = [image_type] if isinstance(image_type, str) else [str(value) for value in image_type]
    return any(value in ("P", "PHASE") or value.endswith("_P") or value.startswith("P_") for value in values[2:])


def _vector(places: list[Dataset], name: str, length: int) -> np.ndarray | None:
    try:
        value = next((found for place in places if (found := place.get(name)) is not None), None)
        if value is None:
            return None
        vector = np.array([float(item) for item in value])
    except (ValueError, TypeError, OverflowError) as error:
        raise HeaderError(f"{name} that is not {length} numbers") from error
    if len(vector) != length or not np.isfinite(vector).all():
        raise HeaderError(f"{name} that is not {length} numbers")
    return vector
