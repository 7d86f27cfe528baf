"""Compressed images held against their DICOM header, before a decoder allocates what they claim or trips over it.

A compressed image repeats its size. Decoders believe it: a JPEG 2000 image of 70 KB with one byte changed made one fill
16 GB, a JPEG image with another made it crash, and one with four others in its last bytes made it loop for ever.
"""

import re
import struct
from io import BytesIO

import numpy as np

from mgmt_monai.cohort.files.values import told

#: JPEG 2000: more tiles (128 x 128 pixels each in the largest slice that is read), more layers or finer precincts than
#: encoders write only serve to make a decoder allocate.
TILES_LIMIT = 4096
LAYERS_LIMIT = 256
LEAST_PRECINCT = 5  # the exponent of 2 of its side in pixels

_NAMES = {
    f"1.2.840.10008.1.2.{tail}": name
    for name, tails in {
        "JPEG": ("4.50", "4.51", "4.57", "4.70", "4.80", "4.81"),  # JPEG-LS among them: the markers are the same
        "JPEG 2000": ("4.90", "4.91"),
        "RLE": ("5",),
    }.items()
    for tail in tails
}
JPEGS = tuple(f"1.2.840.10008.1.2.4.{tail}" for tail in (50, 51, 57, 70))
"""Transfer syntaxes of JPEG, whose decoder makes up what is missing."""
BREAKS_OFF = "that breaks off: what is missing, decoders would make up"
RLE = "1.2.840.10008.1.2.5"
"""Transfer syntax of RLE Lossless."""

_BOXES_BYTES, _RLE_HEADER_BYTES = 1024, 64
_JPEG_START, _JPEG_2000_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG, DAC; SOF55 of JPEG-LS
_SCAN, _TILE, _STYLE = 0xDA, 0x90, 0x52
_TILE_START, _JPEG_2000_END = b"\xff\x90", b"\xff\xd9"
_MARKERS_LIMIT = 1000
_IMAGE_END, _JPEG_LS_FRAME, _LOSSLESS_FRAME, _LOSSY_FRAMES = 0xD9, 0xF7, 0xC3, (0xC0, 0xC1)
_HUFFMAN, _RESTARTS = 0xC4, 0xDD
_PADDING_BITS = 16  # of the last byte, and of one more to an even number
# What ends the coded data of a scan: a marker that does not restart it. Neither a byte FF in it, which 00 follows (in
# JPEG-LS, a byte below 80), nor one that fills up.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART_OR_END = re.compile(rb"(?=\xff[\xd0-\xd7\xd9])")
_FILLER = bytes(73 * number % 251 for number in range(256))  # no FF among them
_JPEG_LS_SCAN_END = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def fault(data: bytes, syntax: str, rows: int, columns: int, bits_allocated: int = 32) -> str | None:
    """What in a compressed image contradicts its DICOM header or would be dangerous to decode.

    Args:
        data: The code stream of one frame.
        syntax: Transfer syntax UID.
        rows: By the DICOM header.
        columns: The same.
        bits_allocated: The same.

    Returns:
        What was found, or None.

    Source:
        ITU-T T.81 B.2 (JPEG), T.87 C.2 (JPEG-LS), T.800 A.5 and A.6 (JPEG 2000); DICOM PS3.5 G.5 (RLE).

    Example:
        >>> fault(bytes(10), "1.2.840.10008.1.2.5", 64, 64)
        'pixels that are not RLE, as the transfer syntax has it'
    """
    name = _NAMES.get(syntax)
    if name is None:
        return f"compressed pixels of transfer syntax {told(syntax)}, which no reader here decodes"
    try:
        if name == "JPEG" and data.startswith(_JPEG_START):
            return _jpeg_fault(data, rows, columns, bits_allocated)
        # Some writers put the boxes of a .jp2 file before it.
        if name == "JPEG 2000" and (start := data.find(_JPEG_2000_START, 0, _BOXES_BYTES)) >= 0:
            return _jpeg_2000_fault(data[start:], rows, columns, bits_allocated)
    except (struct.error, IndexError):
        return "a code stream that breaks off in its head"
    if name == "RLE" and len(data) >= _RLE_HEADER_BYTES:
        return None
    return f"pixels that are not {name}, as the transfer syntax has it"


def rle_fault(data: bytes, rows: int, columns: int, bits_allocated: int) -> str | None:
    """What in an RLE image contradicts its header: decoders fill up what is missing and drop what is too much.

    Args:
        data: Of one frame.
        rows: By the DICOM header.
        columns: The same.
        bits_allocated: The same.

    Source:
        DICOM PS3.5 G.3 to G.5: a segment a byte of the pixel, each PackBits.
    """
    n_segments, *starts = struct.unpack_from("<16L", data)
    if n_segments != bits_allocated // 8:
        return f"RLE pixels in {n_segments} segments, where the header has {bits_allocated} bits"
    ends = [*starts[1:n_segments], len(data)]
    for start, end in zip(starts, ends, strict=False):
        position, size, end = start, 0, min(end, len(data))
        while position < end - 1:
            head = data[position]
            if head < 128:
                size += min(head + 1, end - position - 1)
                position += head + 2
            else:
                size += 257 - head if head > 128 else 0
                position += 2 if head > 128 else 1
        if not 0 <= size - rows * columns <= 1:  # one byte may fill up to an even length
            return f"RLE pixels of {size} bytes a segment, where the header has {rows} x {columns}"
    return None


def jpeg_loss(data: bytes, values: np.ndarray) -> str | None:
    """Whether a JPEG image lacks some of its coded data: decoders then make up the rest, in silence.

    Of a lossless image it is counted how many bits its pixels take; a lossy one of 8 bits is decoded with other bytes
    behind its data, which show only where some are missing. Not seen: a lossy image of 12 bits.

    Args:
        data: The code stream, without a `fault`.
        values: ``(rows, columns)`` what was decoded.

    Source:
        ITU-T T.81 H.1.2 (lossless coding: predictors, differences), F.1.2.1 (their codes).
    """
    try:
        segments, scan = _jpeg_segments(data)
        is_whole, end = True, _SCAN_END.search(data, scan)
        if _LOSSLESS_FRAME in segments and _RESTARTS not in segments and end is not None:
            coded = data[scan : end.start()].replace(b"\xff\0", b"\xff")
            is_whole = 0 <= 8 * len(coded) - _lossless_bits(segments, values) < _PADDING_BITS
        elif any(marker in segments and segments[marker][0] == 8 for marker in _LOSSY_FRAMES):
            is_whole = _shown(data) == _shown(data[:scan] + _RESTART_OR_END.sub(_FILLER, data[scan:]))
    except (struct.error, LookupError, ValueError, OSError, SyntaxError):  # the last is Pillow's
        return "a JPEG image whose head contradicts itself"
    return None if is_whole else f"a JPEG image {BREAKS_OFF}"


def _jpeg_segments(data: bytes) -> tuple[dict[int, bytes], int]:
    """The segments up to the first scan's head by their marker, those of one joined; and where that head ends."""
    found: dict[int, bytes] = {}
    position, marker = 2, 0
    while marker != _SCAN:
        while data[position + 1] == 0xFF:  # fill bytes
            position += 1
        first, marker, length = struct.unpack_from(">BBH", data, position)
        if first != 0xFF:
            raise IndexError
        found[marker] = found.get(marker, b"") + data[position + 4 : position + 2 + length]
        position += 2 + max(2, length)
    return found, position


def _lossless_bits(segments: dict[int, bytes], values: np.ndarray) -> int:
    """How many bits a lossless image of one component takes."""
    precision = segments[_LOSSLESS_FRAME][0]
    _, _, table, predictor, _, shift = segments[_SCAN]
    codes, lengths = segments[_HUFFMAN], np.zeros(256, np.int64)
    while codes:  # each table: its number, how many codes there are of each length, what they stand for
        n_of_length = list(codes[1:17])
        if codes[0] == table >> 4:
            lengths[:] = 0
            lengths[list(codes[17 : 17 + sum(n_of_length)])] = np.repeat(np.arange(1, 17), n_of_length)
        codes = codes[17 + sum(n_of_length) :]
    coded = (values.astype(np.int32) & (2**precision - 1)) >> (shift & 15)
    left, above = np.zeros_like(coded), np.zeros_like(coded)
    left[:, 1:], above[1:] = coded[:, :-1], coded[:-1]
    corner = np.zeros_like(coded)
    corner[1:, 1:] = coded[:-1, :-1]
    predicted = {
        1: left, 2: above, 3: corner, 4: left + above - corner, 5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1), 7: (left + above) >> 1,
    }[predictor]  # fmt: skip
    predicted[0], predicted[1:, 0] = left[0], above[1:, 0]
    predicted[0, 0] = 1 << (precision - (shift & 15) - 1)
    difference = (coded - predicted) & 0xFFFF
    size = np.frexp(np.minimum(difference, 2**16 - difference).astype(np.float32))[1]  # 0 to 16 bits
    n_of_size = np.bincount(size.ravel(), minlength=17)
    return int(n_of_size @ (lengths[:17] + np.arange(17) % 16))


def _shown(data: bytes) -> bytes:
    """The pixels of a lossy image by another decoder, which warns of nothing on the console."""
    from PIL import Image

    with Image.open(BytesIO(data), formats=["JPEG"]) as image:
        return image.tobytes()


def _jpeg_fault(data: bytes, rows: int, columns: int, bits_allocated: int) -> str | None:
    segments, scan = _jpeg_segments(data)
    frame = next((marker for marker in segments if marker in _FRAMES), None)
    if frame is None:
        return "a JPEG image without a size"
    bits, high, wide, components = struct.unpack_from(">BHHB", segments[frame])
    if (high, wide, components) != (rows, columns, 1):
        return _other(high, wide, components, rows, columns)
    if not 2 <= bits <= min(16, bits_allocated):
        return f"a JPEG image of {bits} bits"
    return _scan_fault(data, scan, _JPEG_LS_SCAN_END if frame == _JPEG_LS_FRAME else _SCAN_END)


def _scan_fault(data: bytes, position: int, scan_end: re.Pattern[bytes]) -> str | None:
    """Whether a segment from the first scan's head on is longer than the rest: GDCM would wait for more for ever."""
    for _ in range(_MARKERS_LIMIT):
        if position > len(data):
            return "a JPEG image that breaks off in a segment"
        found = scan_end.search(data, position)
        if found is None:
            return f"a JPEG image {BREAKS_OFF}"
        if data[found.start() + 1] == _IMAGE_END:
            return None
        position = found.start() + 2 + max(2, struct.unpack_from(">H", data, found.start() + 2)[0])
    return f"a JPEG image of more than {_MARKERS_LIMIT} segments"


def _jpeg_2000_fault(data: bytes, rows: int, columns: int, bits_allocated: int) -> str | None:
    fields = struct.unpack_from(">IIIIIIIIH", data, 8)
    wide, high, left, top, tile_wide, tile_high, tile_left, tile_top, components = fields
    if (high, wide, components) != (rows, columns, 1) or left or top:
        return _other(high - top, wide - left, components, rows, columns)
    bits, step_across, step_down = (data[42] & 0x7F) + 1, data[43], data[44]
    if bits > bits_allocated or (step_across, step_down) != (1, 1):
        return f"a JPEG 2000 image of {bits} bits at every {step_across} x {step_down} pixels"
    if tile_left or tile_top or not tile_wide or not tile_high:
        return "a JPEG 2000 image whose tiles have no size or another origin"
    if -(-wide // tile_wide) * -(-high // tile_high) > TILES_LIMIT:
        return f"a JPEG 2000 image of more than {TILES_LIMIT} tiles"
    position, found = 4 + struct.unpack_from(">H", data, 4)[0], "a JPEG 2000 image without a coding style"
    for _ in range(_MARKERS_LIMIT):
        first, marker, length = struct.unpack_from(">BBH", data, position)
        if first != 0xFF or marker == _TILE:
            break
        if marker == _STYLE:
            found = _style_fault(data[position : position + 2 + length]) or ""
        position += 2 + length
    return found or _tiles_fault(data, position)


def _tiles_fault(data: bytes, position: int) -> str | None:
    """Whether each part of a tile ends where it says: SOT, FF90, its length, tile, length of the part (0: the rest)."""
    while data.startswith(_TILE_START, position):
        (length,) = struct.unpack_from(">I", data, position + 6)
        if not length:
            return None
        position += max(length, len(_TILE_START))
    if data.startswith(_JPEG_2000_END, position):
        return None
    # Without the end, the last part may have all of its bytes; the end stands nowhere in coded data.
    has_end = data.rstrip(b"\0").endswith(_JPEG_2000_END)
    is_whole = position <= len(data) and not has_end and not data[position:].strip(b"\0")
    return None if is_whole else f"a JPEG 2000 image {BREAKS_OFF}"


def _style_fault(segment: bytes) -> str | None:
    """The same for JPEG 2000's coding style, COD: FF52, length, style, order, layers, transform, levels, blocks."""
    style, _, layers, _, levels = struct.unpack_from(">BBHBB", segment, 4)
    precincts = struct.unpack_from(f"{levels + 1}B", segment, 14) if style & 1 and levels <= 32 else ()
    if not 1 <= layers <= LAYERS_LIMIT or levels > 32:
        return f"a JPEG 2000 image of {layers} layers and {levels} levels"
    if any(min(size & 15, size >> 4) < LEAST_PRECINCT for size in precincts):
        return f"a JPEG 2000 image of precincts below {2**LEAST_PRECINCT} pixels"
    return None


def _other(high: int, wide: int, components: int, rows: int, columns: int) -> str:
    return f"a code stream of {high} x {wide} pixels in {components} colours, where the header has {rows} x {columns}"
