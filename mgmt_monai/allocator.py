"""How this process's memory is got from the operating system and given back."""

import ctypes
import os
from functools import cache
from typing import Any

from mgmt_monai.own_process import is_own_process

#: Of ``malloc.h``: from what size on a block is mapped for itself, and how much may lie free before it is given back.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@cache
def keep_freed_memory(everywhere: bool = False) -> bool:
    """From now on, keep memory that is freed, and take the next from it: much of a step's time on a CPU goes without.

    A network's activations are blocks of many MiB, freed and asked for again in every step. glibc maps each block of
    32 MiB or more for itself and gives it back when it is freed, and the kernel makes it anew, page by page and filled
    with zeros, at every use. Here glibc is told to map none for itself (``M_MMAP_MAX`` 0) and to give none back
    (``M_TRIM_THRESHOLD`` -1). Results are the same to the last bit. The process keeps the most that it ever used, and
    somewhat more, for blocks of other sizes do not always fit where one was.

    Nothing happens where it would be wrong: a process that is not ours (`is_own_process`), another C library (musl,
    macOS, Windows), another allocator in its place (such as jemalloc through ``LD_PRELOAD``), or the user's own
    settings of glibc's (``MALLOC_*``, ``GLIBC_TUNABLES`` with ``glibc.malloc``).

    Args:
        everywhere: Also in a process that is not ours.

    Returns:
        Whether it is so now; a second call does nothing more.

    Source: The GNU C Library Reference Manual, "Malloc Tunable Parameters"; the manual page mallopt(3): a
    ``M_TRIM_THRESHOLD`` of -1 ends giving back, and 32 MiB is the greatest threshold that glibc itself comes to.
    """
    if not everywhere and not is_own_process():
        return False
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        glibc = ctypes.CDLL("libc.so.6")
    except OSError:
        return False
    if not hasattr(glibc, "gnu_get_libc_version") or _address(ctypes.CDLL(None).malloc) != _address(glibc.malloc):
        return False
    return glibc.mallopt(_M_MMAP_MAX, 0) == 1 and glibc.mallopt(_M_TRIM_THRESHOLD, -1) == 1


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value
