"""The one reader of pixels: a series' slices one at a time, for the doctor, the manifest, training and prediction.

Which way each image takes, `way` decides: SimpleITK's decoders for compressed ones, the bytes of the file for the rest,
which are equal to what SimpleITK gives. What SimpleITK would get wrong is kept away from it: it is shown one image at a
time, its pieces joined, and each frame's own rescale is applied here.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mgmt_monai.cohort.files import encapsulated, geometry
from mgmt_monai.cohort.files.codestream import JPEGS, RLE, fault, jpeg_loss, rle_fault
from mgmt_monai.cohort.files.elements import UNDEFINED
from mgmt_monai.cohort.files.headers import FRAMES_LIMIT, SIDE_LIMIT, image_fault, number_of_frames
from mgmt_monai.cohort.files.nifti import NiftiHeader, read_nifti, stored_slices
from mgmt_monai.cohort.files.tags import DEFLATED, FileTags, HeaderError, read_inflated, read_tags
from mgmt_monai.cohort.files.values import finite, finite_numbers, told
from mgmt_monai.cohort.records import CONSTANT_DIGEST
from mgmt_monai.cohort.series import is_nifti
from mgmt_monai.machine import check_machine, check_readable, scratch

_BIG_ENDIAN = "1.2.840.10008.1.2.2"


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
        mirror: MONOCHROME1, where the lowest value is shown white: a stored value v is shown as ``mirror - v``.
        orientation: ``(6,)`` direction cosines of a row and of a column, LPS, or None where it is not known.
        pixel_spacing_mm: Between rows, between columns, or None.
        padding: ``(rows, columns)`` bool, where nothing was imaged (PixelPaddingValue, PS3.3 C.7.5.1.1.2); None where
            no pixel is so.
        n_cut: Pixels whose bits above Bits Stored, such as an old overlay, were cut off.
    """

    path: Path
    values: np.ndarray
    slope: float
    intercept: float
    mirror: int | None
    orientation: np.ndarray | None
    pixel_spacing_mm: tuple[float, float] | None
    padding: np.ndarray | None = None
    n_cut: int = 0

    @property
    def inverted(self) -> bool:
        """Whether the lowest value is shown white."""
        return self.mirror is not None

    def shown(self) -> np.ndarray:
        """The values as displayed, ``(rows, columns)`` float32.

        MONOCHROME1 (PS3.3 C.7.6.3.1.2) is mirrored within the range of Bits Stored, ``2**bits - 1 - v`` unsigned,
        ``-1 - v`` signed; then the slice's own rescale is applied, v * slope + intercept (PS3.3 C.11.1.1.2).
        """
        values = self.values if self.mirror is None else self.mirror - self.values.astype(np.int64)
        if self.slope == 1 and self.intercept == 0:
            return values.astype(np.float32)
        return (values.astype(np.float64) * self.slope + self.intercept).astype(np.float32)


def digest(values: np.ndarray) -> str:
    """Twelve hexadecimal digits for an image: equal for equal values, however they are stored.

    Args:
        values: ``(rows, columns)``, integer or floating point; NaN counts as 0, as air is written elsewhere.

    Example:
        >>> pixels = np.array([[0, 200], [3, 4]])
        >>> digest(pixels.astype("u1")) == digest(pixels.astype(">i2")) == digest(pixels.astype("f4"))
        True
        >>> digest(np.zeros((2, 2)))
        '000000000000'
    """
    low, high = values.min(), values.max()
    if np.isnan(high):
        values = np.where(np.isnan(values), values.dtype.type(0), values)
        low, high = values.min(), values.max()
    if low == high:
        return CONSTANT_DIGEST
    if values.dtype.kind == "f" and max(-low, high) < 2**31:
        whole = values.astype(np.int64)
        values = whole if np.array_equal(whole, values) else values
    kind = "<f8" if values.dtype.kind == "f" else "<u2" if low >= 0 and high < 2**16 else "<i8"
    head = f"{values.shape[0]},{values.shape[1]},{kind};".encode()
    state = hashlib.blake2b(head, digest_size=len(CONSTANT_DIGEST) // 2)
    state.update(np.ascontiguousarray(values, dtype=kind).data)
    return state.hexdigest()


class Way(Enum):
    """How the pixels of an image are got at."""

    BYTES = "as they lie in the file"
    INFLATED = "as they lie in the inflated file"
    DECODED = "decoded by SimpleITK"


def way(tags: FileTags) -> Way:
    """Which way the pixels of a DICOM file are read.

    Raises:
        HeaderError: ``D026``: there are none.
    """
    if tags.syntax == DEFLATED:
        return Way.INFLATED
    if tags.pixel_offset is None:
        raise HeaderError("no pixel data", "D026")
    return Way.DECODED if tags.pixel_bytes is None else Way.BYTES


def read_slices(
    files: Sequence[Path],
    frames: Sequence[int] | None,
    header: Sequence[FileTags] | NiftiHeader | None = None,
) -> Iterator[StoredSlice]:
    """The slices of a series in the order given, one in memory at a time.

    Args:
        files: DICOM files in geometric order, one slice each; or one multi-frame file; or one NIfTI file, whose
            slices come as they were acquired, turned as a radiologist sees them (`nifti.reading_codes`).
        frames: Frames of the multi-frame file in geometric order, else None.
        header: What was read before: the tags of each slice, or the NIfTI file's header.

    Yields:
        Stored values, equal for one image however it is encoded: overlays above Bits Stored are cut off, nothing else
        is done to them (MONOCHROME1 is not turned).

    Raises:
        ContentError: A file that is gone, cut short or no grey-scale image, whose size or encoding is beyond the limits
            of this module, whose values need more bits than Bits Stored, or that cannot be decoded.
    """
    if is_nifti(files[0].name):
        with content_errors(files[0]):
            yield from _nifti(files[0], header if isinstance(header, NiftiHeader) else read_nifti(files[0]))
        return
    places = [(path, None) for path in files] if frames is None else [(files[0], frame) for frame in frames]
    known = header if header is not None and not isinstance(header, NiftiHeader) else None
    tags: FileTags | None = None
    for index, (path, frame) in enumerate(places):
        with content_errors(path):
            if known is not None:
                tags = known[index]
            elif tags is None or frame is None:
                tags = read_tags(path)
            yield _dicom_slice(path, tags, frame)


@contextmanager
def content_errors(path: Path) -> Iterator[None]:
    """What is wrong with a file, as `ContentError`.

    Raises:
        ContentError: The file is at fault.
        MachineError: The machine is.
    """
    try:
        yield
    except HeaderError as error:
        raise ContentError(path, str(error), error.finding) from error
    except OSError as error:
        check_machine(error, path)
        raise ContentError(path, f"a file that cannot be read ({error.strerror or error})", "D001") from error


def _nifti(path: Path, header: NiftiHeader) -> Iterator[StoredSlice]:
    if max(header.rows, header.columns) > SIDE_LIMIT:
        raise ContentError(path, f"{header.rows} x {header.columns} voxels, expected at most {SIDE_LIMIT} a side")
    if header.n_slices > FRAMES_LIMIT:
        raise ContentError(path, f"{header.n_slices} slices, expected at most {FRAMES_LIMIT}")
    as_seen = geometry.cosines(header.orientation) if header.placed else None
    for values in stored_slices(header):
        yield StoredSlice(path, values, header.slope, header.intercept, None, as_seen, header.pixel_spacing_mm)


@dataclass(frozen=True)
class _Format:
    """What the bytes of a slice mean (PS3.3 C.7.6.3.1)."""

    rows: int
    columns: int
    n_frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    low_bit: int = 0

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
            raise ContentError(path, f"{keyword} {told(tags.values[keyword])!r}, not a number") from error

    allocated = number("BitsAllocated", 16)
    found = _Format(
        rows=number("Rows", 0),
        columns=number("Columns", 0),
        n_frames=number_of_frames(tags.values),
        bits_allocated=allocated,
        bits_stored=number("BitsStored", allocated),
        signed=number("PixelRepresentation", 0) == 1,
    )
    low = number("HighBit", 0) + 1 - found.bits_stored  # of a HighBit below BitsStored nothing is believed
    found = replace(found, low_bit=low) if 0 < low <= allocated - found.bits_stored else found
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
    read = {Way.BYTES: _native, Way.INFLATED: _inflated, Way.DECODED: _decoded}[way(tags)]
    values = read(path, form, tags, index)
    if form.low_bit:
        values = values.astype(values.dtype.newbyteorder("="), copy=False) >> form.low_bit
    own = {**tags.values, **tags.frames[index]} if index < len(tags.frames) else tags.values
    slope, intercept = _number(own.get("RescaleSlope"), 1.0), _number(own.get("RescaleIntercept"), 0.0)
    spacing = finite_numbers(str(own.get("PixelSpacing", "")), 2)
    orientation = finite_numbers(str(own.get("ImageOrientationPatient", "")), 6)
    cut = _cut(values, form)
    padding = _padding(values, cut, form, tags)
    mirror = -1 if form.signed else 2**form.bits_stored - 1
    return StoredSlice(
        path=path,
        values=cut,
        slope=slope or 1.0,
        intercept=intercept,
        mirror=mirror if tags.values.get("PhotometricInterpretation") == "MONOCHROME1" else None,
        orientation=None if orientation is None else np.array(orientation),
        pixel_spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        padding=padding,
        n_cut=0 if cut is values else _n_cut(path, values, cut, padding, form),
    )


def _number(text: str | int | None, default: float) -> float:
    """A rescale value; the default where it is missing or none, as readers have it (the header's check tells it)."""
    value = finite("" if text is None else text)
    return default if value is None else value


def _cut(values: np.ndarray, form: _Format) -> np.ndarray:
    """The values without the bits above Bits Stored, where old overlays may lie; the same array where none is set."""
    spare, top = form.bits_allocated - form.bits_stored, 2 ** (form.bits_stored - form.signed)
    if not spare or -top <= int(values.min()) <= int(values.max()) < top:
        return values
    plain = values.astype(values.dtype.newbyteorder("="), copy=False)
    return (plain << spare) >> spare  # of a signed type, the second shift repeats the sign


def _n_cut(path: Path, values: np.ndarray, cut: np.ndarray, padding: np.ndarray | None, form: _Format) -> int:
    """How many pixels lost bits above Bits Stored, but for padding and for signs that the writer did not repeat there.

    Raises:
        ContentError: The bits belong to the values: without them, neighbours are no more alike.
    """
    whole = values.astype(np.int64)
    if form.signed and whole.min() >= 0:  # two's complement of Bits Stored alone
        whole = np.where(whole < 2**form.bits_stored, cut, whole)
    lost = whole != cut
    if padding is not None:
        lost &= ~padding
    if lost.any() and np.abs(np.diff(cut.astype(np.int64))).sum() >= np.abs(np.diff(whole)).sum():
        ends = f"values from {whole[lost].min()} to {whole[lost].max()} in {form.bits_stored} bits"
        raise ContentError(path, f"a header that claims less than there is: {ends} (BitsStored)")
    return int(lost.sum())


def _padding(values: np.ndarray, cut: np.ndarray, form: _Format, tags: FileTags) -> np.ndarray | None:
    """Where the image is padding; a writer may have put it beyond Bits Stored, so both readings count."""
    ends = [tags.values.get("PixelPaddingValue"), tags.values.get("PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    numbers = [int(end) for end in ends if end is not None]
    if form.signed:
        numbers = [number - 2**16 if number >= 2**15 else number for number in numbers]
    low, high = min(numbers), max(numbers)
    found = (cut >= low) & (cut <= high)
    if cut is not values:
        found |= (values >= low) & (values <= high)
    return found if found.any() else None


def _native(path: Path, form: _Format, tags: FileTags, index: int) -> np.ndarray:
    offset = (tags.pixel_offset or 0) + index * form.frame_bytes
    if (tags.pixel_bytes or 0) < (index + 1) * form.frame_bytes or offset + form.frame_bytes > tags.size_bytes:
        size = f"{form.n_frames} x {form.rows} x {form.columns} pixels of {form.bits_allocated} bits"
        raise ContentError(path, f"pixel data shorter than {size}", "D002")
    order = ">" if tags.syntax == _BIG_ENDIAN else "<"
    count = form.rows * form.columns
    values = np.fromfile(path, form.dtype(order), count=count, offset=offset)
    if values.size != count:
        check_readable(path)
        raise ContentError(path, "a file that became shorter while it was read", "D002")
    return values.reshape(form.rows, form.columns)


def _decoded(path: Path, form: _Format, tags: FileTags, index: int) -> np.ndarray:
    """A compressed slice through GDCM, which is shown a file of the image alone.

    So it applies no rescale, reads no frame but this one, and meets nothing of the header that could hurt it.
    """
    import SimpleITK as sitk  # noqa: N813 (its own documentation's name); takes half a second to import

    data = encapsulated.frame(path, tags, index, form.n_frames)
    if (found := fault(data, tags.syntax, form.rows, form.columns, form.bits_allocated)) is not None:
        raise ContentError(path, found)
    if tags.syntax == RLE and (found := rle_fault(data, form.rows, form.columns, form.bits_allocated)) is not None:
        raise ContentError(path, found)
    lone = _lone_header(form, tags.syntax) + _encapsulated(data)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with scratch(TemporaryDirectory) as folder:
            copy = Path(folder) / "slice.dcm"
            reader = sitk.ImageFileReader()
            reader.SetImageIO("GDCMImageIO")
            reader.SetFileName(str(copy))
            try:
                copy.write_bytes(lone)
                image = reader.Execute()
            except OSError as error:
                check_machine(error, copy)
                raise
            except RuntimeError:
                check_readable(copy)
                raise
    except RuntimeError as error:
        if "alloc" in str(error):  # ITK's words for memory that it does not get
            raise MemoryError from error
        raise ContentError(
            path, f"compressed pixels that cannot be decoded (transfer syntax {told(tags.syntax)})"
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    values = np.squeeze(sitk.GetArrayFromImage(image))
    if image.GetNumberOfComponentsPerPixel() != 1 or values.size != form.rows * form.columns:
        raise ContentError(path, f"compressed pixels that are not {form.rows} x {form.columns} grey values")
    values = values.reshape(form.rows, form.columns)
    if tags.syntax in JPEGS and (found := jpeg_loss(data, values)) is not None:
        raise ContentError(path, found)
    return values.astype(form.dtype())  # ITK's type may be wider or narrower than the stored one; the values are not


def _encapsulated(data: bytes) -> bytes:
    """The pixel data element of one compressed image."""
    from pydicom.encaps import encapsulate

    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED) + encapsulate([data], has_bot=False)
    return pixels + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


@lru_cache
def _lone_header(form: _Format, syntax: str) -> bytes:
    """What stands before that in a DICOM file of it alone; all bits are stored, for GDCM would cut off the others."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, MRImageStorage

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(syntax)
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, "1.2.3"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns, image.PixelRepresentation = form.rows, form.columns, int(form.signed)
    image.BitsAllocated = image.BitsStored = form.bits_allocated
    image.HighBit = form.bits_allocated - 1
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _inflated(path: Path, form: _Format, _: FileTags, index: int) -> np.ndarray:
    """A slice of a file that is deflated behind its file meta information (PS3.5 A.5)."""
    import pydicom

    data = read_inflated(path)
    try:
        pixels = pydicom.dcmread(BytesIO(data), specific_tags=["PixelData"]).PixelData
    except MemoryError:
        raise
    except Exception as error:  # pydicom has no common base for what damage makes it raise
        raise ContentError(path, "deflated data that cannot be read") from error
    values = np.frombuffer(pixels, form.dtype(), count=-1 if len(pixels) % (form.bits_allocated // 8) == 0 else 0)
    count = form.rows * form.columns
    if values.size < (index + 1) * count:
        raise ContentError(path, "pixel data shorter than the image", "D002")
    return values[index * count : (index + 1) * count].reshape(form.rows, form.columns)
