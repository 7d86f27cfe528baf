"""The stored values of a series' slices, one at a time: native ones straight from the file, others through GDCM."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mgmt_monai.cohort.files.codestream import fault
from mgmt_monai.cohort.files.headers import FRAMES_LIMIT, SIDE_LIMIT, image_fault, number_of_frames
from mgmt_monai.cohort.files.nifti import NiftiHeader, read_nifti, stored_slices
from mgmt_monai.cohort.files.tags import FileTags, HeaderError, read_tags
from mgmt_monai.cohort.files.values import finite
from mgmt_monai.cohort.series import is_nifti

#: More pieces than this of one file's compressed pixels are not walked.
FRAGMENTS_LIMIT = 1_000_000

#: A file written as Deflated Explicit VR is inflated whole, up to this many bytes.
INFLATED_LIMIT_BYTES = 2**28

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


class ContentError(ValueError):
    """Pixels that cannot be read; the text says what was found.

    Args:
        path: The file.
        text: What was found in it.
        finding: Identifier of the kind of finding.
    """

    def __init__(self, path: Path, text: str, finding: str = "D026") -> None:
        super().__init__(text)
        self.path, self.finding = path, finding


@dataclass(frozen=True)
class StoredSlice:
    """One slice as it is stored.

    Args:
        path: Its file.
        values: ``(rows, columns)`` stored values, before any rescale; integers of at most 32 bits, or floating point.
        slope: From stored to real values.
        intercept: The same.
        inverted: MONOCHROME1: the lowest value is shown white.
        orientation: ``(6,)`` direction cosines of a row and of a column, LPS, or None where it is not known.
        pixel_spacing_mm: Between rows, between columns, or None.
    """

    path: Path
    values: np.ndarray
    slope: float
    intercept: float
    inverted: bool
    orientation: np.ndarray | None
    pixel_spacing_mm: tuple[float, float] | None


def n_slices(files: Sequence[Path], frames: Sequence[int] | None) -> int:
    """How many slices `read_slices` will give.

    Args:
        files: As `read_slices` takes them.
        frames: The same.

    Raises:
        ContentError: A NIfTI file that is none or not whole.
    """
    if frames is not None:
        return len(frames)
    return _nifti_header(files[0]).n_slices if is_nifti(files[0].name) else len(files)


def read_slices(
    files: Sequence[Path], frames: Sequence[int] | None, tags: Sequence[FileTags] | None = None
) -> Iterator[StoredSlice]:
    """The slices of a series in the order given, one in memory at a time.

    Args:
        files: DICOM files in geometric order, one slice each; or one multi-frame file; or one NIfTI file, whose axial
            slices come from inferior to superior, turned as a radiologist sees them.
        frames: Frames of the multi-frame file in geometric order, else None.
        tags: Of the files, where they were read before.

    Yields:
        Stored values, equal for one image however it is encoded: the bits above Bits Stored are cut off, nothing else
        is done to them (MONOCHROME1 is not turned).

    Raises:
        ContentError: A file that is gone, cut short or no grey-scale image, whose size or encoding is beyond the limits
            of this module, or that cannot be decoded.
    """
    if is_nifti(files[0].name):
        yield from _nifti(files[0])
        return
    for index, path in enumerate(files):
        try:
            found = read_tags(path) if tags is None else tags[index]
            for frame in [None] if frames is None else frames:
                yield _dicom_slice(path, found, frame)
        except HeaderError as error:
            raise ContentError(path, str(error), error.finding) from error
        except OSError as error:
            raise ContentError(path, f"a file that cannot be read ({error.strerror or error})", "D001") from error


def _nifti_header(path: Path) -> NiftiHeader:
    try:
        header = read_nifti(path)
    except HeaderError as error:
        raise ContentError(path, str(error), error.finding) from error
    except OSError as error:
        raise ContentError(path, f"a file that cannot be read ({error.strerror or error})", "D001") from error
    if max(header.rows, header.columns) > SIDE_LIMIT:
        raise ContentError(path, f"{header.rows} x {header.columns} voxels, expected at most {SIDE_LIMIT} a side")
    if header.n_slices > FRAMES_LIMIT:
        raise ContentError(path, f"{header.n_slices} slices, expected at most {FRAMES_LIMIT}")
    return header


def _nifti(path: Path) -> Iterator[StoredSlice]:
    header = _nifti_header(path)
    as_seen = np.array([1.0, 0, 0, 0, 1, 0]) if header.placed else None
    try:
        for values in stored_slices(header):
            yield StoredSlice(path, values, header.slope, header.intercept, False, as_seen, header.pixel_spacing_mm)
    except HeaderError as error:
        raise ContentError(path, str(error), error.finding) from error
    except OSError as error:
        raise ContentError(path, f"a file that cannot be read ({error.strerror or error})", "D001") from error


@dataclass(frozen=True)
class _Format:
    """What the bytes of a slice mean (PS3.3 C.7.6.3.1)."""

    rows: int
    columns: int
    n_frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.bits_allocated // 8

    def dtype(self, order: str = "<") -> np.dtype:
        return np.dtype(f"{order}{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def _format(path: Path, tags: FileTags) -> _Format:
    def number(keyword: str, default: int) -> int:
        try:
            return int(tags.values.get(keyword, default))
        except ValueError as error:
            raise ContentError(path, f"{keyword} {tags.values[keyword]!r}, not a number") from error

    allocated = number("BitsAllocated", 16)
    found = _Format(
        rows=number("Rows", 0),
        columns=number("Columns", 0),
        n_frames=number_of_frames(tags.values),
        bits_allocated=allocated,
        bits_stored=number("BitsStored", allocated),
        signed=number("PixelRepresentation", 0) == 1,
    )
    if number("SamplesPerPixel", 1) != 1:
        raise ContentError(path, "a colour image", "D004")
    text = image_fault(found.rows, found.columns, found.n_frames, allocated, found.bits_stored)
    if text is not None:
        raise ContentError(path, text)
    return found


def _dicom_slice(path: Path, tags: FileTags, frame: int | None) -> StoredSlice:
    form = _format(path, tags)
    index = frame or 0
    if index >= form.n_frames:
        raise ContentError(path, f"{form.n_frames} frames, expected one of number {index}")
    if tags.syntax == _DEFLATED:
        values = _inflated(path, form, index)
    elif tags.pixel_offset is None:
        raise ContentError(path, "no pixel data")
    elif tags.pixel_bytes is not None:
        values = _native(path, form, tags, index)
    else:
        values = _decoded(path, form, tags, index)
    own = tags.frames[index] if index < len(tags.frames) else tags.values
    slope, intercept = _number(own.get("RescaleSlope"), 1.0), _number(own.get("RescaleIntercept"), 0.0)
    spacing = _numbers(own.get("PixelSpacing"), 2)
    return StoredSlice(
        path=path,
        values=_cut(values, form),
        slope=slope or 1.0,
        intercept=intercept,
        inverted=tags.values.get("PhotometricInterpretation") == "MONOCHROME1",
        orientation=_numbers(own.get("ImageOrientationPatient"), 6),
        pixel_spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1])),
    )


def _number(text: str | int | None, default: float) -> float:
    """A rescale value; the default where it is missing or none, as readers have it (the header's check tells it)."""
    value = finite("" if text is None else text)
    return default if value is None else value


def _numbers(text: str | int | None, count: int) -> np.ndarray | None:
    try:
        values = np.array([float(part) for part in str(text or "").split("\\")])
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _cut(values: np.ndarray, form: _Format) -> np.ndarray:
    """The values without the bits above Bits Stored, where old overlays may lie."""
    spare = form.bits_allocated - form.bits_stored
    if not spare:
        return values
    plain = values.astype(values.dtype.newbyteorder("="), copy=False)
    return (plain << spare) >> spare  # of a signed type, the second shift repeats the sign


def _native(path: Path, form: _Format, tags: FileTags, index: int) -> np.ndarray:
    offset = (tags.pixel_offset or 0) + index * form.frame_bytes
    if (tags.pixel_bytes or 0) < (index + 1) * form.frame_bytes or offset + form.frame_bytes > tags.size_bytes:
        size = f"{form.n_frames} x {form.rows} x {form.columns} pixels of {form.bits_allocated} bits"
        raise ContentError(path, f"pixel data shorter than {size}", "D002")
    order = ">" if tags.syntax == _BIG_ENDIAN else "<"
    count = form.rows * form.columns
    values = np.fromfile(path, form.dtype(order), count=count, offset=offset)
    if values.size != count:
        raise ContentError(path, "a file that became shorter while it was read", "D002")
    return values.reshape(form.rows, form.columns)


def _decoded(path: Path, form: _Format, tags: FileTags, index: int) -> np.ndarray:
    """A compressed slice through GDCM, which is shown a file of the image alone.

    So it applies no rescale, reads no frame but this one, and meets nothing of the header that could hurt it.
    """
    import SimpleITK as sitk  # noqa: N813 (its own documentation's name); takes half a second to import

    with path.open("rb") as stream:
        fragments = _fragments(path, stream, tags, form.n_frames)[index]
        data = b"".join(_piece(stream, at, length) for at, length in fragments)
    if (found := fault(data, tags.syntax, form.rows, form.columns)) is not None:
        raise ContentError(path, found)
    lone = _lone_image(data, form, tags)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with tempfile.TemporaryDirectory(prefix="mgmt-monai-") as folder:
            copy = Path(folder) / "slice.dcm"
            copy.write_bytes(lone)
            reader = sitk.ImageFileReader()
            reader.SetImageIO("GDCMImageIO")
            reader.SetFileName(str(copy))
            image = reader.Execute()
    except RuntimeError as error:
        raise ContentError(path, f"compressed pixels that cannot be decoded (transfer syntax {tags.syntax})") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    values = np.squeeze(sitk.GetArrayFromImage(image))
    if image.GetNumberOfComponentsPerPixel() != 1 or values.size != form.rows * form.columns:
        raise ContentError(path, f"compressed pixels that are not {form.rows} x {form.columns} grey values")
    # ITK's type follows Bits Stored and may be wider or narrower than the stored one; the values are the same
    return values.reshape(form.rows, form.columns).astype(form.dtype())


def _fragments(path: Path, stream: BinaryIO, tags: FileTags, n_frames: int) -> list[list[tuple[int, int]]]:
    """For each frame, (offset, length) of its pieces in the file (PS3.5 A.4)."""
    offset = tags.pixel_offset or 0
    pieces: list[tuple[int, int]] = []
    while True:
        stream.seek(offset)
        head = stream.read(8)
        if len(head) < 8:
            raise ContentError(path, "a truncated file: its compressed pixels break off", "D002")
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) == _DELIMITER:
            break
        if (group, element) != _ITEM or len(pieces) > FRAGMENTS_LIMIT:
            raise ContentError(path, f"damaged compressed pixels at byte {offset}")
        if offset + 8 + length > tags.size_bytes:
            raise ContentError(path, "a truncated file: its compressed pixels break off", "D002")
        pieces.append((offset + 8, length))
        offset += 8 + length
    if len(pieces) < 2:
        raise ContentError(path, "compressed pixel data without pixels")
    (table_at, table_bytes), pieces = pieces[0], pieces[1:]
    if n_frames == 1:
        return [pieces]
    if len(pieces) == n_frames:
        return [[piece] for piece in pieces]
    stream.seek(table_at)
    starts = np.frombuffer(stream.read(min(table_bytes, 4 * n_frames)), "<u4").astype(np.int64)
    first = pieces[0][0] - 8
    if len(starts) != n_frames:
        raise ContentError(
            path, f"{len(pieces)} compressed pieces for {n_frames} frames, and no table that orders them"
        )
    owner = np.searchsorted(starts, [at - 8 - first for at, _ in pieces], side="right") - 1
    return [[piece for piece, frame in zip(pieces, owner, strict=True) if frame == index] for index in range(n_frames)]


def _piece(stream: BinaryIO, at: int, length: int) -> bytes:
    stream.seek(at)
    return stream.read(length)


def _lone_image(data: bytes, form: _Format, tags: FileTags) -> bytes:
    """A DICOM file of one compressed grey-scale image and nothing more."""

    def text(group: int, element: int, vr: bytes, value: str) -> bytes:
        padded = value.encode("ascii", "replace")
        padded += (b"\0" if vr == b"UI" else b" ") * (len(padded) % 2)
        return struct.pack("<HH2sH", group, element, vr, len(padded)) + padded

    def short(element: int, value: int) -> bytes:
        return struct.pack("<HH2sHH", 0x0028, element, b"US", 2, value)

    meta = text(2, 2, b"UI", _MR_IMAGE) + text(2, 3, b"UI", "1.2.3") + text(2, 0x10, b"UI", tags.syntax)
    out = BytesIO()
    out.write(b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta)
    out.write(text(8, 0x16, b"UI", _MR_IMAGE) + text(8, 0x18, b"UI", "1.2.3"))
    out.write(short(0x02, 1) + text(0x28, 0x04, b"CS", "MONOCHROME2"))
    for element, value in (
        (0x10, form.rows),
        (0x11, form.columns),
        (0x100, form.bits_allocated),
        (0x101, form.bits_stored),
        (0x102, form.bits_stored - 1),
        (0x103, int(form.signed)),
    ):
        out.write(short(element, value))
    out.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + struct.pack("<HHL", *_ITEM, 0))
    out.write(struct.pack("<HHL", *_ITEM, len(data)) + data)
    out.write(struct.pack("<HHL", *_DELIMITER, 0))
    return out.getvalue()


def _inflated(path: Path, form: _Format, index: int) -> np.ndarray:
    """A slice of a file that is deflated behind its file meta information (PS3.5 A.5)."""
    import pydicom

    raw = path.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")  # File Meta Information Group Length, the first element
    try:
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        data = decompressor.decompress(raw[start:], INFLATED_LIMIT_BYTES)
        if decompressor.unconsumed_tail:
            raise ContentError(path, f"deflated data that take more than {INFLATED_LIMIT_BYTES} bytes")
        meta = struct.pack("<HH2sH", 2, 0x10, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
        head = b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta
        pixels = pydicom.dcmread(BytesIO(head + data), specific_tags=["PixelData"]).PixelData
    except ContentError:
        raise
    except Exception as error:  # pydicom has no common base for what damage makes it raise
        raise ContentError(path, "deflated data that cannot be read") from error
    values = np.frombuffer(pixels, form.dtype(), count=-1 if len(pixels) % (form.bits_allocated // 8) == 0 else 0)
    count = form.rows * form.columns
    if values.size < (index + 1) * count:
        raise ContentError(path, "pixel data shorter than the image", "D002")
    return values[index * count : (index + 1) * count].reshape(form.rows, form.columns)
