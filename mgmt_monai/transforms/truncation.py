"""Compressed DICOM files that break off inside their pixel data, found before a decoder meets them."""

from __future__ import annotations

from pathlib import Path

from mgmt_monai.cohort.files import elements
from mgmt_monai.cohort.files.encapsulated import items
from mgmt_monai.cohort.files.tags import ENCAPSULATED, FIRST_BYTES, HeaderError, read_tags


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
        tags = read_tags(path)
        if not tags.is_encapsulated:
            return False
        items(path, tags)
        return False
    except HeaderError:
        # Whatever the header stumbles over, a file that is said to be compressed is not whole.
        return _is_encapsulated(path)
    except OSError:
        return False


def _is_encapsulated(path: Path) -> bool:
    """Whether a file's meta information, all that need be readable of it, says that its pixels are compressed."""
    try:
        with path.open("rb") as stream:
            syntax, _ = elements.meta(stream.read(FIRST_BYTES))
    except (OSError, elements.OddError):
        return False
    return syntax in ENCAPSULATED
