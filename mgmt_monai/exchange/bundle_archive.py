"""A bundle's zip file, unpacked where it can harm nothing: it may come from anyone."""

import stat
import zlib
from pathlib import Path, PureWindowsPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from mgmt_monai.cohort.series import is_inside
from mgmt_monai.errors import printable
from mgmt_monai.exchange.errors import ExchangeError
from mgmt_monai.machine import check_machine, check_readable

SIZE_LIMIT = 4 * 2**30
"""Of all members, unpacked, in bytes. A bundle with a ResNet-50 as PyTorch, TorchScript and ONNX has 0.3 GiB."""

MEMBERS_LIMIT = 10_000
"""A bundle with all of its code has a few hundred."""

_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: written where there are no kinds of files


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip file that holds one bundle into an empty folder; nothing is written outside.

    Returns:
        The bundle's root: ``folder`` or a folder in it.

    Raises:
        ExchangeError: No zip file, a damaged or encrypted one, none or several bundles in it, or a member that is a
            link, leaves the folder, is named twice or would unpack to more than `SIZE_LIMIT` with the others.
    """
    try:
        with ZipFile(path) as archive:
            members = archive.infolist()
            _check(path, members)
            # Python reads no more of a member than its directory says, so the sum of these is a promise.
            archive.extractall(folder)
    except (BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError, zlib.error) as error:
        if isinstance(error, ExchangeError):
            raise
        check_machine(error, path)
        check_readable(path)  # zipfile calls a file that the system does not give no zip file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ExchangeError(
            f"{path}: expected a bundle's zip file, found one that cannot be unpacked ({reason}). Copy it again."
        ) from error
    roots = [found.parents[1] for found in folder.glob("**/configs/metadata.json")]
    if len(roots) != 1:
        raise ExchangeError(
            f"{path}: expected one bundle (a folder with configs/metadata.json) in it, found {len(roots)}. Unpack it "
            "and name the folder."
        )
    return roots[0]


def _check(path: Path, members: list[ZipInfo]) -> None:
    if len(members) > MEMBERS_LIMIT:
        raise _error(path, f"at most {MEMBERS_LIMIT} members", f"{len(members)}")
    size = sum(member.file_size for member in members)
    if size > SIZE_LIMIT:
        raise _error(path, f"at most {SIZE_LIMIT / 2**30:g} GiB unpacked", f"{size / 2**30:.1f} GiB")
    names = set()
    for member in members:
        name = member.filename
        windows = PureWindowsPath(name)
        if not is_inside(name) or windows.drive or windows.root or ".." in windows.parts:
            raise _error(path, "members that stay in their folder", repr(printable(name)))
        if stat.S_IFMT(member.external_attr >> 16) not in _KINDS:
            raise _error(path, "files and folders alone", f"a link or device {printable(name)!r}")
        if name in names:
            raise _error(path, "each member once", f"{printable(name)!r} twice")
        names.add(name)


def _error(path: Path, expected: str, found: str) -> ExchangeError:
    return ExchangeError(f"{path}: expected {expected}, found {found}. Do not use this file: ask where it comes from.")
