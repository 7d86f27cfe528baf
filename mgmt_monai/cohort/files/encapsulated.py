"""Compressed pixel data as DICOM wraps it: items up to a delimiter (PS3.5 A.4)."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mgmt_monai.cohort.files.tags import FileTags, HeaderError

#: An item of encapsulated pixel data, and the delimiter that closes it (PS3.5 table A.4-1): group, element.
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

MAX_ITEMS = 1 << 16
"""A frame is an item, rarely a few: far more than any series has, and walked in about half a second."""

_BREAKS_OFF = "a truncated file: its compressed pixels break off"


def items(path: Path, tags: FileTags) -> list[tuple[int, int]]:
    """Where the items of encapsulated pixel data lie in a file; the first is the table of offsets.

    Nothing but the head of each item is read.

    Returns:
        Offset of the content and its length, in bytes, of each item.

    Raises:
        HeaderError: ``D002``: pixels that break off, name a length beyond the file, or come in more than `MAX_ITEMS`
            items.
        OSError: The file cannot be read.
    """
    offset = tags.pixel_offset or 0
    found: list[tuple[int, int]] = []
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        while offset and len(found) < MAX_ITEMS:
            os.lseek(file, offset, os.SEEK_SET)
            head = os.read(file, 8)
            if len(head) < 8:
                break
            group, element, length = struct.unpack("<HHL", head)
            if (group, element) == _DELIMITER:
                return found
            if (group, element) != _ITEM or offset + 8 + length > tags.size_bytes:
                break
            found.append((offset + 8, length))
            offset += 8 + length
    finally:
        os.close(file)
    raise HeaderError(_BREAKS_OFF, "D002")


def frame(path: Path, tags: FileTags, index: int, n_frames: int) -> bytes:
    """The code stream of one frame, its pieces joined.

    Args:
        path: The file.
        tags: What its header says.
        index: Of the frame, from 0.
        n_frames: How many the file has.

    Raises:
        HeaderError: ``D002`` as in `items`; ``D026`` no pixels, or pieces that no table assigns to frames.
        OSError: The file cannot be read.
    """
    (table_at, table_bytes), *pieces = items(path, tags) or [(0, 0)]
    if not pieces:
        raise HeaderError("compressed pixel data without pixels", "D026")
    if table_bytes // 4 > n_frames:
        raise HeaderError(f"a table of {table_bytes // 4} frames, where the header has {n_frames}", "D026")
    with path.open("rb") as stream:
        if n_frames == 1 and len(pieces) > 1:
            _check_one_image(stream, pieces)
        if n_frames > 1 and len(pieces) == n_frames:
            pieces = [pieces[index]]
        elif n_frames > 1:
            stream.seek(table_at)
            starts = np.frombuffer(stream.read(min(table_bytes, 4 * n_frames)), "<u4").astype(np.int64)
            if len(starts) != n_frames:
                text = f"{len(pieces)} compressed pieces for {n_frames} frames, and no table that orders them"
                raise HeaderError(text, "D026")
            owners = np.searchsorted(starts, [at - pieces[0][0] for at, _ in pieces], side="right") - 1
            pieces = [piece for piece, owner in zip(pieces, owners, strict=True) if owner == index]
        parts = []
        for at, length in pieces:
            stream.seek(at)
            parts.append(stream.read(length))
    return b"".join(parts)


def _check_one_image(stream: BinaryIO, pieces: list[tuple[int, int]]) -> None:
    """Whether the pieces are those of one image: a second that begins as the first does is another image."""
    heads = []
    for at, _ in pieces:
        stream.seek(at)
        heads.append(stream.read(3))
    if heads[0].startswith((b"\xff\xd8", b"\xff\x4f")) and heads.count(heads[0]) > 1:
        raise HeaderError(f"{heads.count(heads[0])} compressed images, where the header has one frame", "D026")
