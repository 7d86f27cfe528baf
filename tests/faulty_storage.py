"""Storage that fails for real: a library, compiled here, that is preloaded into the processes a test starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or not Path("/proc/self/fd").exists(), reason="needs gcc and Linux to make the fault"
)


@cache
def _library() -> str:
    library = Path(mkdtemp(prefix="faulty-storage-")) / "faulty_storage.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"], check=True)
    return str(library)


def faulty(call: str, errno: int, path: str, while_: Path | None = None) -> dict[str, str]:
    """The environment of a process to which a call on some files fails.

    Args:
        call: ``open``, ``read``, ``write``, ``fsync``, ``lock``, ``stat``, ``list`` (a folder) or ``chmod``.
        errno: What it fails with.
        path: What the files' paths hold.
        while_: Only while this file is there.
    """
    told = {"LD_PRELOAD": _library(), "FAULT_CALL": call, "FAULT_ERRNO": str(errno), "FAULT_PATH": path}
    return {**os.environ, **told, **({"FAULT_WHILE": str(while_)} if while_ else {})}
