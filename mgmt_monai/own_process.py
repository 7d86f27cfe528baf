"""Whether this process is one of our programs, or another one that uses this package; and what ours is given."""

import os
import sys
from io import TextIOWrapper
from math import ceil
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


def prepare() -> None:
    """Give one of our programs what a container or a caller left out; to be called before MONAI is imported.

    A user gets a name and a home (`name_user`); pictures are
    written to files, whatever a notebook has set for its own; streams that were closed lead nowhere; threads are no
    more than `processors`. Another program that imports this package stays as it is.
    """
    if not is_own_process():
        return
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would get what is meant for the stream
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 (as long as the process)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr tells a letter that its encoding has not
    os.environ["MPLBACKEND"] = "Agg"
    name_user()
    if processors() < _allowed():
        os.environ.setdefault("OMP_NUM_THREADS", str(processors()))


def name_user() -> None:
    """Give a user without an entry in the system's list a name and a home, which MONAI, torch and MLflow ask for."""
    if not _is_listed():
        if not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
            os.environ["LOGNAME"] = os.environ["USER"] = "user"
        if not os.environ.get("HOME"):
            os.environ["HOME"] = "/"


def processors(root: Path = Path("/")) -> int:
    """How many processors this process may keep busy: by affinity, the container's share and Slurm's allotment.

    Args:
        root: Of the file system.

    Source: Linux' cgroup v2, ``cpu.max``; Slurm's sbatch(1), ``SLURM_CPUS_PER_TASK``.
    """
    limits = [_allowed()]
    for name in ("SLURM_CPUS_PER_TASK", "LOKY_MAX_CPU_COUNT"):
        if (said := os.environ.get(name, "")).isdecimal() and int(said):
            limits.append(int(said))
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return min(limits)
    own = next((Path(line[3:]) for line in lines if line.startswith("0::/")), Path("/"))
    for group in (own, *own.parents):
        try:
            quota, period = (root / "sys/fs/cgroup" / str(group)[1:] / "cpu.max").read_text(encoding="ascii").split()
            limits.append(max(1, ceil(int(quota) / int(period))))
        except (OSError, ValueError, ZeroDivisionError):  # no limit there: "max 100000"
            continue
    return min(limits)


def _allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_listed() -> bool:
    try:
        import pwd

        pwd.getpwuid(os.getuid())
    except (ImportError, KeyError):
        return False
    return True


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    words = getattr(sys, "argv", None) or [""]  # a program that Python is embedded in may have none
    return Path(words[0]).stem if spec is None else str(spec.name)
