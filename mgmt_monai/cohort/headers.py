"""One DICOM file's header, without its pixels: a slice, or the slices of an enhanced multi-frame image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """The headers of a file's slices: one, or one a frame of an enhanced image.

    Args:
        path: A DICOM image file.

    Raises:
        HeaderError: Not DICOM, no image, or fewer pixel bytes in the file than the header tells.
        OSError: The file cannot be opened.
    """
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise HeaderError("an empty file")
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        if dataset.get("Rows") is None or dataset.get("Columns") is None:
            raise HeaderError("a DICOM file without an image (or cut off before its pixels)")
        _check_complete(dataset, size_bytes)
        n_frames = dataset.get("NumberOfFrames")
        frames: Sequence[int | None] = [None] if n_frames is None or int(n_frames) == 1 else range(int(n_frames))
        return [_slice_header(dataset, path, frame, size_bytes) for frame in frames]
    except InvalidDicomError as error:
        raise HeaderError("not a DICOM file") from error
    except (HeaderError, OSError):
        raise
    except Exception as error:  # pydicom has no common base for what a damaged header makes it raise
        raise HeaderError(f"a damaged DICOM header ({type(error).__name__})") from error


def _check_complete(dataset: Dataset, size_bytes: int) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_compressed:
        return
    rows, columns, n_frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
    bytes_per_pixel = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("BitsAllocated") or 16) // 8
    expected = rows * columns * n_frames * bytes_per_pixel
    if size_bytes < expected:
        raise HeaderError(
            f"a truncated file: {n_frames} x {rows} x {columns} pixels need {expected} bytes, it has {size_bytes}"
        )


def _slice_header(dataset: Dataset, path: Path, frame: int | None, size_bytes: int) -> SliceHeader:
    places = [dataset]  # where a value may stand, the most particular place first
    if frame is not None:
        for sequence, item in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
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
        is_phase=_is_phase(dataset),
        position=_vector(places, "ImagePositionPatient", 3),
        orientation=_vector(places, "ImageOrientationPatient", 6),
        pixel_spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1])),
    )


def _is_phase(dataset: Dataset) -> bool:
    # The standard's word is ComplexImageComponent; classic MR images tell it in the vendor's values of ImageType.
    if dataset.get("ComplexImageComponent") == "PHASE":
        return True
    vendor_values = [str(value) for value in dataset.get("ImageType") or []][2:]
    return any(value in ("P", "PHASE") or value.endswith("_P") or value.startswith("P_") for value in vendor_values)


def _vector(places: list[Dataset], name: str, length: int) -> np.ndarray | None:
    value: Any = next((place.get(name) for place in places if place.get(name) is not None), None)
    if value is None or len(value) != length:
        return None
    vector = np.array([float(item) for item in value])
    return vector if np.isfinite(vector).all() else None
