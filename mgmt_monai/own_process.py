"""Whether this process is one of our programs, or another one that uses this package."""

from __future__ import annotations

import sys
from pathlib import Path

_BUNDLE_COMMAND = "monai.bundle.__main__"

PROGRAMS = {
    "mgmt-monai",
    f"{__package__}.cli.main",
    f"{__package__}.comparison.process",
    _BUNDLE_COMMAND,
}
"""The command, by its file's name, and what is started with ``python -m``, by the module's name."""


def is_own_process() -> bool:
    """Whether it was started as the command ``mgmt-monai``, as one of its trainings or by ``python -m monai.bundle``.

    What holds for a whole process, such as how errors are shown, is set in these alone. A notebook or a server that
    imports this package stays as it was.
    """
    return _program() in PROGRAMS


def is_bundle_command() -> bool:
    """Whether it was started by ``python -m monai.bundle``, which reads the words of its command line itself."""
    return _program() == _BUNDLE_COMMAND


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return Path(sys.argv[0]).stem if spec is None else str(spec.name)
