"""What the machine did, told apart from what the bytes of a file say."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mgmt_monai.errors import FORBIDDEN, FULL_DISK, REMEDIES, MgmtMonaiError

T = TypeVar("T")

#: What the system says of a path that is absent, or that no machine could read as a file.
_OF_THE_FILE = {
    None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ,
}  # fmt: skip


class MachineError(MgmtMonaiError):
    """The machine could not do what was asked of it: nothing is known of the file, and nothing of it may be kept.

    Args:
        reason: What happened and what to do, without a path.
        path: What was being read.
        errno: What the system said, where it did.
    """

    def __init__(self, reason: str, path: Path | str = "", errno: int | None = None) -> None:
        super().__init__(reason, path, errno)
        self.reason, self.path, self.errno = reason, path, errno

    def __str__(self) -> str:
        """The path and the reason."""
        return f"{self.path}: {self.reason}" if str(self.path) else self.reason


def machine_fault(error: BaseException, path: Path | str = "") -> MachineError | None:
    """The one function that sorts an exception: the machine's fault, to be raised; None where it is the file's.

    The file's: it is absent, or no name of a file. The machine's: every other errno, no right to read it among them,
    for that can be given without the file being touched; no memory; a time limit.

    Args:
        error: As a reader met it.
        path: What was read, where the error does not name it.
    """
    if isinstance(error, MachineError):
        return error
    if error.__cause__ is not None and (fault := machine_fault(error.__cause__, path)):  # MONAI wraps what it meets
        return fault
    if isinstance(error, OSError) and error.errno not in _OF_THE_FILE:
        cause = error.strerror or type(error).__name__
        remedy = REMEDIES.get(error.errno or 0, "have the storage looked at")
        if error.errno in FULL_DISK:
            remedy = "free some space"
        if error.errno in FORBIDDEN:
            remedy = "give this user the right to read it"
    elif isinstance(error, MemoryError):
        cause, remedy = "not enough memory", REMEDIES[errno.ENOMEM]
    else:
        return None
    where = getattr(error, "filename", None) or path
    return MachineError(
        f"{cause}; the machine is at fault, not the file: {remedy}, and run again", where, getattr(error, "errno", None)
    )


def check_machine(error: BaseException, path: Path | str = "") -> None:
    """Return where an error is the file's fault, so that it may become a finding.

    Raises:
        MachineError: As `machine_fault` sorts it.
    """
    fault = machine_fault(error, path)
    if fault is not None:
        raise fault from error


def check_readable(path: Path) -> None:
    """Return where the system gives every byte of a file, or the file is absent.

    For libraries that say that they failed, and not of what.

    Raises:
        MachineError: It does not.
    """
    try:
        with path.open("rb") as stream:
            while stream.read(2**20):
                pass
    except OSError as error:
        check_machine(error, path)


def scratch(make: Callable[..., T], **options: Any) -> T:
    """A temporary folder or file of the `tempfile` module, of which nobody may say that a file of the data is absent.

    Args:
        make: ``TemporaryDirectory`` or ``TemporaryFile``.
        options: For it.

    Raises:
        MachineError: There is no place for one.
    """
    try:
        return make(prefix="mgmt-monai-", **options)
    except OSError as error:
        raise MachineError(
            f"no temporary file can be had ({error.strerror}); the machine is at fault, "
            "not the files: name a folder that this user may write to in TMPDIR, and run again",
            errno=error.errno,
        ) from error
