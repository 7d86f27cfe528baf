"""Compressed DICOM files that break off inside their pixel data, found before a decoder meets them."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.uid import UID

SEQUENCE_DELIMITER = bytes.fromhex("feffdde000000000")
"""Closes encapsulated pixel data (PS3.5 table A.4-1); as a rule the last 8 bytes of the file."""

TRANSFER_SYNTAX = re.compile(rb"\x02\x00\x10\x00UI..([0-9.]+)", re.DOTALL)
"""Element (0002,0010) of the file meta information, always explicit VR little endian (PS3.10 section 7.1)."""

HEAD_BYTES = 1024
"""Enough for the preamble (128) and the file meta information (about 200)."""


def ends_early(path: Path) -> bool:
    """Whether a file with compressed pixel data ends before that data does.

    ITK's parser takes the bytes behind a break for lengths: on a 6 KB file cut in the middle it fills 1.2 GB before
    it gives up. Uncompressed files need no such care: it refuses them at once.

    Args:
        path: A file that may be anything.

    Returns:
        True when the closing delimiter is missing. False for any other file: uncompressed, without file meta
        information, not DICOM, not there.
    """
    try:
        with path.open("rb") as stream:
            syntax = TRANSFER_SYNTAX.search(stream.read(HEAD_BYTES))
            stream.seek(0, 2)
            stream.seek(max(stream.tell() - len(SEQUENCE_DELIMITER), 0))
            tail = stream.read()
    except OSError:
        return False
    if syntax is None or tail == SEQUENCE_DELIMITER or not _is_encapsulated(syntax[1].decode("ascii")):
        return False
    # Padding or further elements may follow the delimiter: pydicom looks for it, at a higher price.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return not pydicom.dcmread(path).get("PixelData")
    # Whatever pydicom's parser stumbles over here, the file is not whole.
    except Exception:
        return True


@lru_cache
def _is_encapsulated(transfer_syntax: str) -> bool:
    uid = UID(transfer_syntax)
    return uid.is_transfer_syntax and not uid.is_private and uid.is_encapsulated
