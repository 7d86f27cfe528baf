"""Compressed pixel data as DICOM wraps it: items up to a delimiter. Found here: whether it breaks off."""

from __future__ import annotations

import os
import struct
from pathlib import Path

#: An item of encapsulated pixel data, and the delimiter that closes it (PS3.5 table A.4-1): group, element.
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

MAX_ITEMS = 1 << 16
"""A frame is an item, rarely a few: far more than any series has, and walked in about half a second."""


def is_closed(path: Path, offset: int, size_bytes: int) -> bool:
    """Whether encapsulated pixel data runs, item by item, to its delimiter.

    Nothing but the head of each item is read.

    Args:
        path: The file.
        offset: Where the first item begins.
        size_bytes: Size of the file.

    Returns:
        False for pixels that break off, name a length beyond the file, or come in more than `MAX_ITEMS` items.

    Raises:
        OSError: The file cannot be read.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        for _ in range(MAX_ITEMS):
            os.lseek(file, offset, os.SEEK_SET)
            head = os.read(file, 8)
            if len(head) < 8:
                return False
            group, element, length = struct.unpack("<HHL", head)
            if (group, element) == _DELIMITER:
                return True
            offset += 8 + length
            if (group, element) != _ITEM or offset > size_bytes:
                return False
    finally:
        os.close(file)
    return False
