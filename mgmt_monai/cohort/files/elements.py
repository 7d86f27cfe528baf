"""The elements of a DICOM data set, walked over as bytes: wanted values are taken, everything else is stepped over."""

import struct

_TABLE = """
00080005 CS SpecificCharacterSet
00080008 CS ImageType
00080016 UI SOPClassUID
00080018 UI SOPInstanceUID
00080020 DA StudyDate
00080021 DA SeriesDate
00080022 DA AcquisitionDate
00080023 DA ContentDate
0008002A DT AcquisitionDateTime
00080030 TM StudyTime
00080032 TM AcquisitionTime
00080060 CS Modality
00080070 LO Manufacturer
00080080 LO InstitutionName
00080081 ST InstitutionAddress
00080090 PN ReferringPhysicianName
00080201 SH TimezoneOffsetFromUTC
00081010 SH StationName
0008103E LO SeriesDescription
00081040 LO InstitutionalDepartmentName
00081048 PN PhysiciansOfRecord
00081050 PN PerformingPhysicianName
00081070 PN OperatorsName
00081090 LO ManufacturerModelName
00089007 CS FrameType
00089208 CS ComplexImageComponent
00089209 CS AcquisitionContrast
00100010 PN PatientName
00100020 LO PatientID
00100030 DA PatientBirthDate
00100040 CS PatientSex
00101000 LO OtherPatientIDs
00101001 PN OtherPatientNames
00101040 LO PatientAddress
00101060 PN PatientMotherBirthName
00102154 SH PatientTelephoneNumbers
00180010 LO ContrastBolusAgent
00180015 CS BodyPartExamined
00180020 CS ScanningSequence
00180021 CS SequenceVariant
00180022 CS ScanOptions
00180023 CS MRAcquisitionType
00180024 SH SequenceName
00180050 DS SliceThickness
00180080 DS RepetitionTime
00180081 DS EchoTime
00180082 DS InversionTime
00180086 IS EchoNumbers
00180087 DS MagneticFieldStrength
00180088 DS SpacingBetweenSlices
00181000 LO DeviceSerialNumber
00181030 LO ProtocolName
00181040 LO ContrastBolusRoute
00181041 DS ContrastBolusVolume
00181042 TM ContrastBolusStartTime
00181044 DS ContrastBolusTotalDose
00181048 CS ContrastBolusIngredient
00181314 DS FlipAngle
00189008 CS EchoPulseSequence
00189009 CS InversionRecovery
00189016 CS Spoiling
00189018 CS EchoPlanarPulseSequence
00189074 DT FrameAcquisitionDateTime
00189079 FD InversionTimes
00189082 FD EffectiveEchoTime
00189087 FD DiffusionBValue
00189342 CS ContrastBolusAgentAdministered
0020000D UI StudyInstanceUID
0020000E UI SeriesInstanceUID
00200011 IS SeriesNumber
00200012 IS AcquisitionNumber
00200013 IS InstanceNumber
00200032 DS ImagePositionPatient
00200037 DS ImageOrientationPatient
00200052 UI FrameOfReferenceUID
00200100 IS TemporalPositionIdentifier
00209128 UL TemporalPositionIndex
00209156 US FrameAcquisitionNumber
00280002 US SamplesPerPixel
00280004 CS PhotometricInterpretation
00280008 IS NumberOfFrames
00280010 US Rows
00280011 US Columns
00280030 DS PixelSpacing
00280100 US BitsAllocated
00280101 US BitsStored
00280102 US HighBit
00280103 US PixelRepresentation
00281052 DS RescaleIntercept
00281053 DS RescaleSlope
00282110 CS LossyImageCompression
00321032 PN RequestingPhysician
"""

EITHER = "US or SS"
"""A number of two bytes, signed as the pixels are (PixelRepresentation); kept here as if it were unsigned."""

WANTED = {keyword: (int(tag, 16), vr) for tag, vr, keyword in (line.split() for line in _TABLE.split("\n") if line)}
WANTED |= {"PixelPaddingValue": (0x00280120, EITHER), "PixelPaddingRangeLimit": (0x00280121, EITHER)}
"""What is kept of a header: keyword -> tag, value representation.

Source: DICOM PS3.6 chapter 6.
"""

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""FloatPixelData, DoubleFloatPixelData (neither is read), PixelData: what follows is no header any more."""

GROUP_TAGS = (0x52009229, 0x52009230)
"""SharedFunctionalGroupsSequence, PerFrameFunctionalGroupsSequence: each frame's own header (PS3.3 C.7.6.16)."""

AGENT_TAG = 0x00180012
"""ContrastBolusAgentSequence: the agents by their codes, in enhanced images in place of ContrastBolusAgent."""

OTHER_IDS_TAG = 0x00101002
"""OtherPatientIDsSequence: each with a PatientID, in place of the retired OtherPatientIDs."""

LUT_TAG = 0x00283000
"""ModalityLUTSequence: values by a table in place of slope and intercept (PS3.3 C.11.1), which no MR image needs."""

LOOKED_INTO = (*GROUP_TAGS, AGENT_TAG, OTHER_IDS_TAG, LUT_TAG)
"""Sequences whose items count."""

UNDEFINED = 0xFFFFFFFF
"""The length of a sequence, or of encapsulated pixels, that runs to its delimiter (PS3.5 section 7.5)."""

MAX_DEPTH = 32
"""Sequences within sequences; the deepest that the standard's MR objects nest is 6."""

MAX_TEXT_BYTES = 1 << 14
"""Of a wanted value: the longest that the standard knows among them, an address, is 1024 characters."""

_SHORT_VRS = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG_VRS = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"


def _swapped(tag: int) -> int:
    """A tag as its four bytes read as one little-endian number: one unpacking less an element."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode(), "little")


_SHORT = frozenset(map(_code, _SHORT_VRS.split()))
_LONG = frozenset(map(_code, _LONG_VRS.split()))
_SQ, _US, _SS, _UL, _EITHER = map(_code, ("SQ", "US", "SS", "UL", EITHER))
_STOP, _ODD, _ODD_IF_FILLED = -1, -2, -3
_ITEM, _ITEM_END, _SEQUENCE_END = _swapped(0xFFFEE000), _swapped(0xFFFEE00D), _swapped(0xFFFEE0DD)
_SYNTAX, _PIXEL_DATA = _swapped(0x00020010), _swapped(0x7FE00010)
_NUMBERS = ("US", "SS", "FD", "UL", EITHER)
_PLAN: dict[int, tuple[str, int, bool]] = {  # keyword, value representation or what to do, whether it is a number
    **{_swapped(tag): (keyword, _code(vr), vr in _NUMBERS) for keyword, (tag, vr) in WANTED.items()},
    **{_swapped(tag): ("", _STOP, False) for tag in PIXEL_TAGS},
    **{_swapped(tag): ("", _ODD_IF_FILLED, False) for tag in LOOKED_INTO},
    **{_swapped(tag): ("", _ODD, False) for tag in (*GROUP_TAGS, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD)},
}
#: What the first element of a data set can be: a tag up to (0008,0070) with a short value.
_SHORTEST_ELEMENT, _FIRST_ELEMENTS, _FIRST_LENGTH = 8, 0x70, 256

_ESCAPE = "\x1b"  # starts another alphabet (PS3.5 section 6.1.2.5)
# Elements (gggg,0010-00FF) of an odd group only reserve room for private ones (PS3.5 section 7.8.1).
_FIRST_PRIVATE = 0x100 << 16

_explicit = struct.Struct("<LHH").unpack_from
_implicit = struct.Struct("<LL").unpack_from
_long = struct.Struct("<L").unpack_from
_doubles = struct.Struct("<d").iter_unpack


class OddError(Exception):
    """A header that the walk leaves to a patient reader: not wrong, but rare."""


def is_marked(data: bytes) -> bool:
    """Whether a file's first bytes have DICOM's mark behind a preamble (PS3.10 section 7.1).

    Args:
        data: 132 of them or more.
    """
    return data[128:132] == b"DICM"


def begins_with_data_set(data: bytes) -> bool:
    r"""Whether a file's first bytes are those of a DICOM data set without preamble.

    The first element is then of group 0002 or 0008, low in it, and its value short: no text or picture begins so. In
    big-endian order it names its value representation.

    Args:
        data: Eight of them or more.

    Example:
        >>> begins_with_data_set(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")
        True
        >>> begins_with_data_set(b"any other text")
        False
    """
    if len(data) < _SHORTEST_ELEMENT:
        return False
    order = ">" if data[0] == 0 else "<"
    group, element, vr, short = struct.unpack_from(f"{order}HH2sH", data)
    if group not in (2, 8) or element > _FIRST_ELEMENTS:
        return False
    (length,) = struct.unpack_from("<I", data, 4)
    named = _code(vr.decode("latin-1")) in _SHORT and short <= _FIRST_LENGTH
    return named or (order == "<" and length <= _FIRST_LENGTH)


def meta(data: bytes) -> tuple[str, int]:
    """Transfer syntax and where the data set begins.

    Args:
        data: The file's first bytes, file meta information included.

    Raises:
        OddError: No DICOM data set at the start, no transfer syntax, or meta information that does not follow PS3.10
            section 7.1.
    """
    if not is_marked(data) and begins_with_data_set(data):
        if data[0] == 0:
            return "1.2.840.10008.1.2.2", 0
        if data[0] == 8:  # no file meta information either, as the first writers of files left it out
            explicit = all(0x41 <= byte <= 0x5A for byte in data[4:6])
            return "1.2.840.10008.1.2.1" if explicit else "1.2.840.10008.1.2", 0
        position = 0
    elif is_marked(data):
        position = 132
    else:
        raise OddError("no DICOM preamble")
    syntax, last = b"", len(data) - 12
    while position <= last:
        tag, vr, length = _explicit(data, position)
        if tag & 0xFFFF != 2:
            if not syntax.isascii() or not syntax:
                break
            return syntax.decode("ascii").strip(" \0"), position
        value = position + 8
        if vr in _LONG:
            (length,) = _long(data, value)
            value += 4
        elif vr not in _SHORT:
            break
        if tag == _SYNTAX:
            syntax = data[value : value + length]
        position = value + length
    raise OddError("no usable file meta information")


class Walk:
    r"""One walk over a data set in little-endian order, up to its pixels.

    The walk goes on where it stopped once more of the file is there, so a long header is not walked twice.

    Args:
        position: Where the data set begins.
        explicit: Whether elements name their value representation.

    Attributes:
        position: Where the next element begins.
        values: Keyword -> text in ASCII without padding, several values joined by ``\``; US -> int. Empty: absent.
        undecoded: Keyword -> bytes of a text that is not plain ASCII.
        private: Whether a private element with a value was met.
        pixel_offset: Where the value of PixelData begins, once it was met.
        pixel_bytes: Its length as claimed; None where it is undefined.
    """

    __slots__ = ("explicit", "pixel_bytes", "pixel_offset", "position", "private", "undecoded", "values")

    def __init__(self, position: int, explicit: bool) -> None:
        self.position = position
        self.explicit = explicit
        self.values: dict[str, str | int] = {}
        self.undecoded: dict[str, bytes] = {}
        self.private = False
        self.pixel_offset: int | None = None
        self.pixel_bytes: int | None = None

    def go_on(self, data: bytes) -> int:
        """Walk to the pixel data, or as far as there are bytes.

        Args:
            data: The file from its first byte; at each call at least as long as before.

        Returns:
            0 when the pixel data was met, else how many bytes of the file are needed to go on.

        Raises:
            OddError: The header is one for a patient reader.
        """
        # This loop is the scan's time: one table look-up an element, nothing made for those that are not wanted.
        position, explicit, values, plan_get = self.position, self.explicit, self.values, _PLAN.get
        characters = data.decode("latin-1")  # one a byte, so that a text is a slice
        size = len(data)
        last = size - 12
        while position <= last:
            if explicit:
                tag, vr, length = _explicit(data, position)
                value = position + 8
                if vr in _SHORT:
                    pass
                elif vr in _LONG:
                    (length,) = _long(data, value)
                    value += 4
                else:
                    raise OddError("an unknown value representation")
            else:
                tag, length = _implicit(data, position)
                vr = 0
                value = position + 8
            end = value + length
            wanted = plan_get(tag)
            if wanted is None:
                if tag & 1 and length and tag >= _FIRST_PRIVATE:
                    self.private = True
                if length == UNDEFINED:
                    if explicit and vr != _SQ:
                        raise OddError("undefined length of what is no sequence")
                    end = _sequence_end(data, value, explicit)
                    if end < 0:
                        self.position = position
                        return size + 1
                position = end
                continue
            keyword, kind, is_number = wanted
            if kind < 0:
                if kind == _ODD_IF_FILLED and not length:
                    position = end
                    continue
                if kind != _STOP:
                    raise OddError("a sequence that is looked into, or a delimiter without one")
                self.position = position
                if tag == _PIXEL_DATA:
                    self.pixel_offset = value
                    self.pixel_bytes = None if length == UNDEFINED else length
                return 0
            if is_number and kind == _EITHER:
                kind = vr if vr == _SS else _US
            if (vr != kind and explicit) or length > MAX_TEXT_BYTES:
                raise OddError(f"{keyword} in another form")
            if end > size:
                self.position = position
                return end + 12
            if not is_number:
                text = characters[value:end].strip(" \0")
                if not text:
                    values.pop(keyword, None)
                elif not text.isascii() or _ESCAPE in text:
                    self.undecoded[keyword] = data[value:end]
                else:
                    values[keyword] = unpadded(text) if "\\" in text else text
            elif kind in (_US, _SS):
                if length != 2:
                    raise OddError(f"{keyword} of {length} bytes")
                values[keyword] = data[value] | data[value + 1] << 8
            elif length % 8 or kind == _UL:
                raise OddError(f"{keyword} of {length} bytes")
            elif length:
                values[keyword] = "\\".join(repr(number) for (number,) in _doubles(data[value:end]))
            position = end
        self.position = position
        return position + 12


def plain_text(value: bytes) -> str | None:
    r"""A text value without its padding, or None if it is not plain ASCII (an escape starts another alphabet).

    Example:
        >>> plain_text(b"ORIGINAL \\PRIMARY\0")
        'ORIGINAL\\PRIMARY'
    """
    text = value.decode("latin-1")
    return unpadded(text) if text.isascii() and _ESCAPE not in text else None


def unpadded(text: str) -> str:
    """A text, and each of several values in it, without the spaces and NULs that fill it up."""
    text = text.strip(" \0")
    if "\\" in text and (" " in text or "\0" in text):
        return "\\".join(part.strip(" \0") for part in text.split("\\"))
    return text


def _sequence_end(data: bytes, position: int, explicit: bool) -> int:
    """Where a sequence of undefined length ends, -1 if that is beyond ``data``; its content is stepped over."""
    open_items = [False]  # for each level: whether an item of it, itself of undefined length, is open
    last = len(data) - 12
    while position <= last:
        tag, length = _implicit(data, position)
        if not open_items[-1]:
            if tag == _SEQUENCE_END:
                open_items.pop()
                if not open_items:
                    return position + 8
                position += 8
            elif tag == _ITEM:
                open_items[-1] = length == UNDEFINED
                position += 8 if length == UNDEFINED else 8 + length
            else:
                raise OddError("a sequence of something else than items")
            continue
        if tag == _ITEM_END:
            open_items[-1] = False
            position += 8
            continue
        vr, value = _SQ, position + 8
        if explicit:
            tag, vr, length = _explicit(data, position)
            if vr in _LONG:
                (length,) = _long(data, value)
                value += 4
            elif vr not in _SHORT:
                raise OddError("an unknown value representation in a sequence")
        if length != UNDEFINED:
            position = value + length
            continue
        if vr != _SQ or len(open_items) >= MAX_DEPTH:
            raise OddError("an unusual sequence")
        open_items.append(False)
        position = value
    return -1
