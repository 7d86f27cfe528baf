"""What one DICOM file's header says: the few dozen attributes that the cohort is judged by, and where its pixels are.

Nearly every file of a cohort is an ordinary one, and a cohort has hundreds of thousands: those are walked over as
bytes (`elements`). A file that is odd in any way is read by pydicom instead, within limits, to the same result.
"""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgmt_monai.cohort.files import elements
from mgmt_monai.cohort.files.elements import GROUP_TAGS, LOOKED_INTO, PIXEL_TAGS, UNDEFINED, WANTED, OddError

if TYPE_CHECKING:
    from pydicom import Dataset

FIRST_BYTES = 1 << 14
"""Read at once: five times an ordinary MR header, and one request to a disk or a file server."""

MAX_HEADER_BYTES = 1 << 23
"""8 MiB: a classic header takes 2 to 200 KiB; an enhanced image's with 400 frames may take 20 KiB for each."""

MAX_ITEMS = 1 << 17
"""Sequence items that pydicom is let near, at about 1 KiB of memory each; 8000 frames of 16 functional groups."""

MAX_ELEMENTS = 1 << 16
"""Elements that pydicom is let read one after the other; a real header has 40 to 400."""

MAX_INFLATED_BYTES = 1 << 28
"""A deflated file is inflated no further, lest a few MiB of zeros become as many GiB."""

IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
"""Transfer syntaxes with native pixels, little endian (PS3.5 annex A)."""

ENCAPSULATED = frozenset(
    f"1.2.840.10008.1.2.{tail}"
    for tail in [
        *(f"4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93)),
        *(f"4.{n}" for n in (100, 101, 102, 103, 104, 105, 106, 107, 108, 110, 111, 112, 201, 202, 203)),
        "5",
    ]
)
"""Transfer syntaxes with compressed pixels behind an explicit, little-endian header: JPEG to HTJ2K, MPEG, RLE."""

FRAME_KEYWORDS = (
    "FrameType",
    "ComplexImageComponent",
    "AcquisitionContrast",
    "FrameAcquisitionDateTime",
    "FrameAcquisitionNumber",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "InversionRecovery",
    "SliceThickness",
    "RepetitionTime",
    "EchoTime",
    "EffectiveEchoTime",
    "InversionTime",
    "InversionTimes",
    "FlipAngle",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
)
"""What a frame of an enhanced image may say for itself in its functional groups."""

#: ContrastBolusUsageSequence of a frame (PS3.3 C.7.6.16.2.12): whether an agent is in the patient there.
_USAGE_TAG, _ADMINISTERED = 0x00189341, "ContrastBolusAgentAdministered"

_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_CHARSET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_NUMBER_FORMATS = {elements.EITHER: "H", "US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
_MAX_ALPHABETS = 16  # more than SpecificCharacterSet has terms for one text; each costs a look at every part of it
_CHUNK = 1 << 20


class HeaderError(ValueError):
    """A file whose header does not describe slices; the text says what was found.

    Args:
        found: What was found instead of a slice: "a truncated file: ...".
        finding: Kind of the finding: ``D001`` unreadable, ``D002`` truncated, ``D004`` no grey-scale slice.
    """

    def __init__(self, found: str, finding: str = "D001") -> None:
        super().__init__(found)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class FileTags:
    r"""What one DICOM file's header says.

    Args:
        values: Keyword (a key of `elements.WANTED`) -> text as stored without padding, several values joined by
            ``\``; US as int, and so `elements.EITHER`. A value that is empty or not there has no key.
        frames: Enhanced multi-frame image: for each frame its own values (of `FRAME_KEYWORDS`), shared ones merged
            in. Empty for every other file.
        private: Whether a private element with a value is there.
        syntax: TransferSyntaxUID, "" without file meta information.
        pixel_offset: Where in the file the native pixel values, or the first item of compressed ones, begin; None
            without pixel data, and in a deflated file.
        pixel_bytes: Length of the pixel data as claimed; None where it is compressed or not there.
        size_bytes: Size of the file.
    """

    values: Mapping[str, str | int]
    frames: tuple[Mapping[str, str | int], ...]
    private: bool
    syntax: str
    pixel_offset: int | None
    pixel_bytes: int | None
    size_bytes: int

    @property
    def is_encapsulated(self) -> bool:
        """Whether the pixels are compressed, item by item; in a syntax unknown here, whether their length is open."""
        return self.syntax in ENCAPSULATED or (self.pixel_offset is not None and self.pixel_bytes is None)


def read_tags(path: Path) -> FileTags:
    """The wanted tags of one DICOM file, whatever it may be.

    At most `MAX_HEADER_BYTES` of it are read (a deflated file is inflated to its end, to find out whether it is
    whole), and nothing is allocated because a length in the file says so.

    Raises:
        HeaderError: It is no regular file, empty, not DICOM, damaged, breaks off before its pixels, or is beyond the
            limits.
        OSError: It cannot be opened or read.
    """
    # Not to wait for a writer, should a named pipe lie among the slices.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(file)
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise HeaderError("no regular file")
        if size == 0:
            raise HeaderError("an empty file")
        data = os.read(file, FIRST_BYTES)
        try:
            syntax, position = elements.meta(data)
            if syntax == EXPLICIT or syntax in ENCAPSULATED:
                walk = elements.Walk(position, explicit=True)
            elif syntax == IMPLICIT and not _names_a_vr(data, position):
                walk = elements.Walk(position, explicit=False)
            elif syntax == DEFLATED:
                return _read_deflated(file, data, position, size)
            else:
                raise OddError("another transfer syntax")
            while needed := walk.go_on(data):
                if needed > size or needed > MAX_HEADER_BYTES:
                    raise OddError("no pixel data in sight")
                longer = _more(file, data, max(needed, 4 * len(data)))
                if len(longer) == len(data):
                    raise OddError("the file has become shorter")
                data = longer
        except OddError:
            return _read_patiently(_more(file, data, MAX_HEADER_BYTES), size)
    finally:
        os.close(file)
    if walk.undecoded:
        _decode(walk.values, walk.undecoded)
    return FileTags(walk.values, (), walk.private, syntax, walk.pixel_offset, walk.pixel_bytes, size)


def _names_a_vr(data: bytes, position: int) -> bool:
    """Whether a data set said to be of implicit value representation names one all the same."""
    return all(0x41 <= byte <= 0x5A for byte in data[position + 4 : position + 6])


def _more(file: int, data: bytes, wanted: int) -> bytes:
    """The file's first ``wanted`` bytes, or as many as it has; read on from where ``data`` ends."""
    parts, have = [data], len(data)
    while have < min(wanted, MAX_HEADER_BYTES) and (part := os.read(file, min(wanted, MAX_HEADER_BYTES) - have)):
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _decode(values: dict[str, str | int], undecoded: Mapping[str, bytes]) -> None:
    """Add the texts that are not plain ASCII, read as SpecificCharacterSet says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in undecoded.items():
            if text := _text(value, WANTED[keyword][1], str(values.get("SpecificCharacterSet", ""))):
                values[keyword] = text


def _text(value: bytes, vr: str, charset: str) -> str:
    """A text value in the alphabet it was written in (PS3.5 section 6.1)."""
    plain = elements.plain_text(value)
    if plain is not None:
        return plain
    from pydicom.charset import convert_encodings, decode_bytes

    if vr not in _CHARSET_VRS:
        return elements.unpadded(value.decode("latin-1"))
    delimiters = {*b"\r\n\t\f", *(b"^=" if vr == "PN" else b"")}  # where an escape's reach ends
    try:
        encodings = convert_encodings(charset.split("\\")[:_MAX_ALPHABETS])
        parts = [decode_bytes(part, encodings, delimiters) for part in value.split(b"\\")]
    except Exception:  # a charset that Python does not know, or knows otherwise: the name of a place matters little
        return elements.unpadded(value.decode("latin-1"))
    return elements.unpadded("\\".join(parts))


def read_inflated(path: Path) -> bytes:
    """A file whose data set is deflated as a whole, as it would be plain: explicit, little endian (PS3.5 A.5).

    Raises:
        HeaderError: ``D001`` damaged, or more than `MAX_INFLATED_BYTES`; ``D002`` it breaks off.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        data = os.read(stream.fileno(), FIRST_BYTES)
        try:
            _, position = elements.meta(data)
        except OddError as error:
            raise HeaderError("a damaged DICOM header") from error
        return _inflate(stream.fileno(), data[position:], MAX_INFLATED_BYTES)[0]


def _read_deflated(file: int, data: bytes, position: int, size: int) -> FileTags:
    plain, n_plain = _inflate(file, data[position:], MAX_HEADER_BYTES)
    tags = _read_patiently(plain, n_plain)
    end = (tags.pixel_offset or 0) + (tags.pixel_bytes or 0)
    if end > n_plain:
        raise HeaderError("a truncated file: its pixels break off", "D002")
    return FileTags(tags.values, tags.frames, tags.private, DEFLATED, None, tags.pixel_bytes, size)


def _inflate(file: int, piece: bytes, n_kept: int) -> tuple[bytes, int]:
    """The first bytes of a deflated file as it would be plain, and how long the whole is."""
    syntax = EXPLICIT.encode() + b"\0"
    head = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    kept = bytearray(bytes(128) + b"DICM" + head)
    total = len(kept)
    while True:
        try:
            part = inflater.decompress(piece, _CHUNK)
        except zlib.error as error:
            raise HeaderError(f"a damaged DICOM header ({error})") from error
        total += len(part)
        kept += part[: n_kept - len(kept)]
        if inflater.eof:
            return bytes(kept), total
        if total > MAX_INFLATED_BYTES:
            raise HeaderError(f"a deflated file of more than {MAX_INFLATED_BYTES >> 20} MiB")
        piece = inflater.unconsumed_tail or os.read(file, _CHUNK)
        if not piece and len(part) < _CHUNK:
            raise HeaderError("a truncated file: its deflated data breaks off", "D002")


def _read_patiently(data: bytes, size: int) -> FileTags:
    """The same tags, read by pydicom.

    Args:
        data: The file's first bytes, as many as there are or as may be read.
        size: Size of the file.
    """
    from pydicom.errors import InvalidDicomError

    if data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00") > MAX_ITEMS:
        raise HeaderError(f"a DICOM header of more than {MAX_ITEMS} sequence items")
    if DEFLATED.encode() in data[:FIRST_BYTES]:
        raise HeaderError("a damaged DICOM header (deflated, without proper file meta information)")
    try:
        # pydicom warns of every odd value in every file; what matters of it is checked by who asks.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _pydicom_tags(data, size)
    except InvalidDicomError as error:
        raise HeaderError("not a DICOM file") from error
    except (HeaderError, MemoryError):
        raise
    except Exception as error:  # pydicom has no common base for what a damaged header makes it raise
        raise HeaderError(f"a damaged DICOM header ({type(error).__name__})") from error


def _pydicom_tags(data: bytes, size: int) -> FileTags:
    from pydicom.filereader import read_partial

    stream = BytesIO(data)
    private, pixels, end, n_elements = False, None, None, 0

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        nonlocal private, pixels, end, n_elements
        n_elements += 1
        if n_elements > MAX_ELEMENTS:
            raise HeaderError(f"a DICOM header of more than {MAX_ELEMENTS} elements")
        if tag == 0x00080005 and length > elements.MAX_TEXT_BYTES:  # pydicom looks at each of its values at once
            raise HeaderError(f"SpecificCharacterSet of {length} bytes")
        if tag in PIXEL_TAGS:
            pixels = (stream.tell(), None if length == UNDEFINED else length) if tag == PIXEL_TAGS[-1] else (None, 0)
            return True
        private = private or bool(tag >> 16 & 1 and length and tag & 0xFFFF >= 0x100)
        end = None if length == UNDEFINED else stream.tell() + length
        return False

    tags = [tag for tag, _ in WANTED.values()]
    bare = not elements.is_marked(data) and elements.begins_with_data_set(data)
    dataset = read_partial(stream, stop_when=at_pixels, specific_tags=[*tags, *LOOKED_INTO], force=bare)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if "TransferSyntaxUID" in dataset.file_meta and not syntax:
        raise HeaderError("an empty TransferSyntaxUID: nothing says how its pixels are encoded")
    if bare and not syntax:
        syntax = elements.meta(data)[0]
    if pixels is None and len(data) < size:
        raise HeaderError(f"a DICOM header of more than {MAX_HEADER_BYTES >> 20} MiB")
    if pixels is None and end is not None and end != len(data):
        raise HeaderError("a truncated file: its header breaks off (or a length in it is wrong)", "D002")
    values = dict(_wanted(dataset, WANTED, ""))
    agents, others, table = ((dataset[tag].value if tag in dataset else None) or [] for tag in LOOKED_INTO[2:])
    if agents:
        names = (str(item.get("CodeMeaning") or item.get("CodeValue") or "agent") for item in agents)
        values.setdefault("ContrastBolusAgent", elements.unpadded(", ".join(names)[: elements.MAX_TEXT_BYTES]))
    if table:
        raise HeaderError("values by a table (ModalityLUTSequence), not by a rescale slope: such are not read")
    ids = filter(None, (str(values.get("OtherPatientIDs", "")), *(str(item.get("PatientID") or "") for item in others)))
    if others and (told := elements.unpadded("\\".join(ids)[: elements.MAX_TEXT_BYTES])):
        values["OtherPatientIDs"] = told
    shared, frames = (_groups(dataset, tag, str(values.get("SpecificCharacterSet", ""))) for tag in GROUP_TAGS)
    common = shared[0] if shared else {}
    if not frames:
        values |= common
    offset, n_bytes = pixels or (None, None)
    return FileTags(
        values=values,
        frames=tuple({**common, **frame} for frame in frames),
        private=private,
        syntax=syntax,
        pixel_offset=offset,
        pixel_bytes=n_bytes,
        size_bytes=size,
    )


def _groups(dataset: Dataset, tag: int, charset: str) -> list[dict[str, str | int]]:
    """What each item of a functional groups sequence says."""
    items = dataset[tag].value or [] if tag in dataset else []
    found = []
    for item in items:
        values: dict[str, str | int] = {}
        for element in item:
            # Private groups repeat the names of public ones, with another scanner's idea of them.
            if element.VR == "SQ" and element.value and not element.tag.is_private:
                if element.tag == _USAGE_TAG:
                    given = {str(one.get("ContrastBolusAgentAdministered", "")).upper() for one in element.value}
                    values[_ADMINISTERED] = "YES" if "YES" in given else "NO" if "NO" in given else ""
                for keyword, value in _wanted(element.value[0], FRAME_KEYWORDS, charset):
                    values.setdefault(keyword, value)
        if "FrameType" in values:
            values["ImageType"] = values.pop("FrameType")
        found.append({keyword: value for keyword, value in values.items() if value != ""})
    return found


def _wanted(dataset: Dataset, keywords: Iterable[str], charset: str) -> Iterable[tuple[str, str | int]]:
    """Each keyword that has a value, and the value as the walk would give it."""
    for keyword in keywords:
        tag, vr = WANTED[keyword]
        element: Any = dataset.get_item(tag)
        if element is None:
            continue
        value = element.value
        if isinstance(value, bytes) and element.VR is not None and element.VR != "UN":
            vr = element.VR
        if isinstance(value, bytes) and len(value) > elements.MAX_TEXT_BYTES:
            raise HeaderError(f"{keyword} of {len(value)} bytes")
        if isinstance(value, bytes):
            found = _value(value, vr, charset, "<" if element.is_little_endian else ">")
        else:  # pydicom has converted it while reading
            found = "" if value is None else elements.unpadded("\\".join(map(str, _listed(value))))
        if keyword == "SpecificCharacterSet":
            charset = str(found)
        if WANTED[keyword][1] == elements.EITHER:
            found = found & 0xFFFF if isinstance(found, int) else ""
        elif WANTED[keyword][1] != "US":
            found = str(found)
        elif found != "" and not isinstance(found, int):
            found = _number(keyword, found)
        if found != "":
            yield keyword, found


def _value(value: bytes, vr: str, charset: str, endian: str) -> str | int:
    if vr in _TEXT_VRS:
        return _text(value, vr, charset)
    if vr not in _NUMBER_FORMATS:
        return ""
    numbers = [number for (number,) in struct.iter_unpack(endian + _NUMBER_FORMATS[vr], value)]
    if len(numbers) == 1 and isinstance(numbers[0], int):
        return int(numbers[0])
    return "\\".join(map(repr, numbers))


def _number(keyword: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise HeaderError(f"{keyword} that is not one number") from error


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
