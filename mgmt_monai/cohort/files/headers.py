"""One DICOM file's header, without its pixels: a slice, or the slices of an enhanced multi-frame image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from mgmt_monai.cohort.files.encapsulated import items
from mgmt_monai.cohort.files.tags import DEFLATED, FileTags, HeaderError, read_tags
from mgmt_monai.cohort.files.values import finite_numbers, told

__all__ = ["HeaderError", "SliceHeader", "image_fault", "is_phase", "number_of_frames", "read_headers"]

MAX_IMAGE_BYTES = 1 << 31
"""2 GiB of pixels in one file, 1000 frames of 1024 x 1024 x 16 bit: a header that claims more is damaged or hostile."""

SIDE_LIMIT = 8192
"""The longest side of a slice that is read. Clinical MRI ends at 2048; the limit is held against the header's claim
before anything is allocated, and keeps a slice of 16 bits within 128 MiB."""

FRAMES_LIMIT = 65_536
"""More slices than this in one file are no series of a head; held against the header's claim."""

_Values = Mapping[str, str | int]

_PHASE_TYPES = frozenset(
    {"P", "PHASE", "PHASE MAP", "VELOCITY", "VELOCITY MAP", "R", "REAL", "I", "IMAGINARY", "R_IMAGE", "I_IMAGE"}
)


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
        tags: All that is kept of the file's header; for a frame, with the frame's own values in ``tags.values``.
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
    tags: FileTags


def read_headers(path: Path) -> list[SliceHeader]:
    """The headers of a file's slices: one, or one a frame of a multi-frame image.

    Raises:
        HeaderError: Not DICOM, no image, a colour image, a value that cannot be, or a file that ends before its
            pixels do. Its ``finding`` tells the kind.
        OSError: The file cannot be opened.
    """
    tags = read_tags(path)
    n_frames = _check_image(tags)
    _check_complete(path, tags, n_frames)
    if n_frames == 1:
        return [_slice_header(path, _of_frame(tags, 0) if tags.frames else tags, None)]
    return [_slice_header(path, _of_frame(tags, frame), frame) for frame in range(n_frames)]


def is_phase(values: _Values) -> bool:
    """Whether an image shows the phase, the real or the imaginary part of the signal rather than its magnitude.

    The standard's word is ComplexImageComponent; classic MR images tell it from the third value of ImageType on, in
    the vendor's words: ``P``, ``R``, ``I`` (Siemens, GE), ``P_FFE``, ``R_SE``, ``SW_P``, ``PHASE MAP``, ``VELOCITY
    MAP`` (Philips).

    Args:
        values: Keyword -> value as `mgmt_monai.cohort.files.tags.FileTags` gives them, of one slice.
    """
    return _is_phase(str(values.get("ComplexImageComponent", "MIXED")), str(values.get("ImageType", "")))


@lru_cache(maxsize=256)  # the slices of a series repeat them
def _is_phase(component: str, image_type: str) -> bool:
    if component.upper() != "MIXED":
        return component.upper() in ("PHASE", "REAL", "IMAGINARY")
    kinds = image_type.upper().split("\\")[2:]
    return any(kind in _PHASE_TYPES or kind.startswith(("P_", "R_", "I_")) or kind.endswith("_P") for kind in kinds)


def _of_frame(tags: FileTags, frame: int) -> FileTags:
    return replace(tags, values={**tags.values, **tags.frames[frame]}, frames=())


def _check_image(tags: FileTags) -> int:
    """Whether the file holds grey-scale slices of a possible size, and how many."""
    values = tags.values
    if "Rows" not in values or "Columns" not in values:
        raise HeaderError("a DICOM file without an image (or cut off before its pixels)", "D004")
    rows, columns, n_frames = int(values["Rows"]), int(values["Columns"]), number_of_frames(values)
    samples = values.get("SamplesPerPixel", 1)
    if samples != 1:
        raise HeaderError(f"a colour image ({samples} samples a pixel)", "D004")
    photometric = str(values.get("PhotometricInterpretation", "MONOCHROME2"))
    if not photometric.startswith("MONOCHROME"):
        raise HeaderError(f"a colour image ({told(photometric)})", "D004")
    if n_frames > 1 and len(tags.frames) != n_frames:
        raise HeaderError(f"{n_frames} frames, with a place in the patient for {len(tags.frames)} of them", "D010")
    allocated = int(values.get("BitsAllocated", 16))
    fault = image_fault(rows, columns, n_frames, allocated, int(values.get("BitsStored", allocated)))
    if fault is not None:
        raise HeaderError(fault)
    if _image_bytes(values, n_frames) > MAX_IMAGE_BYTES:
        raise HeaderError(f"an image of {n_frames} x {rows} x {columns} pixels, more than any series has")
    return n_frames


def image_fault(rows: int, columns: int, n_frames: int, bits_allocated: int, bits_stored: int) -> str | None:
    """What makes an image none that is read, by its header's claims; None for a sound one.

    Args:
        rows: Of each frame.
        columns: The same.
        n_frames: Frames in the file.
        bits_allocated: Bits that a stored value takes.
        bits_stored: How many of them hold it.
    """
    sides = 1 <= rows <= SIDE_LIMIT and 1 <= columns <= SIDE_LIMIT
    if not (sides and 1 <= n_frames <= FRAMES_LIMIT):
        limits = f"expected 1 to {SIDE_LIMIT} a side and 1 to {FRAMES_LIMIT} frames"
        return f"an image of {n_frames} x {rows} x {columns} pixels, {limits}"
    if bits_allocated not in (8, 16, 32) or not 1 <= bits_stored <= bits_allocated:
        return f"{bits_stored} bits stored in {bits_allocated}, expected 1 to 8, 16 or 32 in 8, 16 or 32"
    return None


def number_of_frames(values: _Values) -> int:
    """How many frames a header claims; 1 where it says nothing.

    Args:
        values: Keyword -> value as `mgmt_monai.cohort.files.tags.FileTags` gives them.

    Raises:
        HeaderError: No whole number.
    """
    text = str(values.get("NumberOfFrames", 1))
    try:
        number = float(text)
        if number != int(number):
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise HeaderError("NumberOfFrames that is not one number") from error
    return int(number)


def _image_bytes(values: _Values, n_frames: int) -> int:
    bits = int(values.get("BitsAllocated", 16))
    return int(values["Rows"]) * int(values["Columns"]) * n_frames * bits // 8


def _check_complete(path: Path, tags: FileTags, n_frames: int) -> None:
    """Hold the file's length against its pixels."""
    if tags.is_encapsulated:
        items(path, tags)  # walks to their end
        return
    expected = _image_bytes(tags.values, n_frames)
    if tags.syntax == DEFLATED:
        left = tags.pixel_bytes or 0  # that the file does not break off is known by now
    elif tags.pixel_offset is None:
        left = 0
    else:
        left = tags.size_bytes - tags.pixel_offset
        if tags.pixel_bytes is not None:
            left = min(left, tags.pixel_bytes)
    pixels = f"{n_frames} x {tags.values['Rows']} x {tags.values['Columns']} pixels"
    if tags.pixel_bytes is not None and tags.pixel_bytes > expected + 1:  # one byte may fill up to an even length
        claim = f"{pixels} of {tags.values.get('BitsAllocated', 16)} bits take {expected} bytes"
        raise HeaderError(f"a header that claims less than there is: {claim}, {tags.pixel_bytes} are there")
    if left < expected:
        raise HeaderError(
            f"a truncated file: {pixels} take {expected} bytes, {max(0, left)} are left in PixelData", "D002"
        )


def _slice_header(path: Path, tags: FileTags, frame: int | None) -> SliceHeader:
    values = tags.values
    position = _numbers(values, "ImagePositionPatient", 3)
    orientation = _numbers(values, "ImageOrientationPatient", 6)
    spacing = _numbers(values, "PixelSpacing", 2)
    if spacing is not None and min(spacing) <= 0:
        raise HeaderError("PixelSpacing that is not 2 numbers above 0")
    return SliceHeader(
        path=path,
        frame=frame,
        size_bytes=tags.size_bytes,
        uid=str(values.get("SOPInstanceUID", "")),
        shape=(int(values["Rows"]), int(values["Columns"])),
        is_phase=is_phase(values),
        position=None if position is None else np.array(position),
        orientation=None if orientation is None else np.array(orientation),
        pixel_spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        tags=tags,
    )


def _numbers(values: _Values, keyword: str, length: int) -> tuple[float, ...] | None:
    if keyword not in values:
        return None
    numbers = finite_numbers(str(values[keyword]), length)
    if numbers is None:
        raise HeaderError(f"{keyword} that is not {length} numbers")
    return numbers
