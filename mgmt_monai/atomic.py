"""Files that appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from mgmt_monai.errors import MgmtMonaiError, full_disk


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends without an error.

    Who may read it is what the user's umask says, whichever library writes it.

    Args:
        path: The file to write; an older one stays until the new one is complete.

    Yields:
        The temporary path; the block writes it.

    Raises:
        OSError: As the block or the disk does; it names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            sync(stream.fileno())
        if not temporary.stat().st_mode & 0o077:  # as libraries leave it that make their own temporary files
            with suppress(PermissionError):  # a share or a stick whose rights are those of its mount
                temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    except Exception as error:
        met = full_disk(error) or error
        if isinstance(met, OSError) and met.errno and met.filename is None:  # a write into an open file names none
            met.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its place when the block ends without an error.

    Args:
        path: The folder to write; an older one stays, whole, until the new one is complete.

    Yields:
        The temporary folder, empty; the block fills it.

    Raises:
        OSError: As the block or the disk does.
    """
    temporary, older = (path.with_name(f".{path.name}.{uuid4().hex}") for _ in range(2))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for one in temporary.rglob("*"):
            if one.is_file():
                with one.open("rb") as stream:
                    sync(stream.fileno())
        if path.exists():
            path.rename(older)
        temporary.rename(path)
    finally:
        for one in (temporary, older):
            shutil.rmtree(one, ignore_errors=True)


def check_replaceable(path: Path, is_same: bool, overwrite: bool, error: type[MgmtMonaiError], holds: str = "") -> None:
    """The rule of every command: what is there is replaced by the same, or where that is asked for.

    Args:
        path: What is to be written.
        is_same: Whether what is there has the same content.
        overwrite: Whether it may be replaced.
        error: What is raised.
        holds: What would be lost, in words.

    Raises:
        MgmtMonaiError: There is another one, which may not be replaced.
    """
    if path.exists() and not is_same and not overwrite:
        raise error(
            f"{path}: expected nothing there, or the same, found another{holds and f' with {holds}'}, which would be "
            "lost. Name another place with --out, or say --overwrite."
        )


def holds_text(path: Path, text: str) -> bool:
    """Whether a file has this very text.

    Args:
        path: Of the file.
        text: As `write_text` writes it.
    """
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def sync(file: int) -> bool:
    """Wait until what was written is on the disk; whether the file system can say so.

    Raises:
        OSError: It could not be written.
    """
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return False
    return True


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders below ``folder`` that a killed process left.

    Args:
        folder: Nobody else may be writing in it.
    """
    for path in [path for path in Path(folder).rglob(".*") if is_temporary(path)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a path is called as the temporary files of `atomic_file` and folders of `atomic_folder` are."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name) is not None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def place_first(made: Path, path: Path) -> None:
    """Give a finished file its place, if no other process was quicker: whoever reads it then reads the same.

    Args:
        made: The file, beside ``path``; whoever made it deletes what is left of it.
        path: Its place; what is there stays, but where the storage has no hard links.

    Raises:
        OSError: It cannot be written.
    """
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    except OSError:  # no hard links there
        made.replace(path)


def secret(path: Path) -> str:
    """32 hexadecimal digits that nobody else may read; made where there is no such file.

    Args:
        path: Of the file; its folder is there.

    Raises:
        OSError: It can be neither read nor made.
    """
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        pass
    made = secrets.token_hex(16)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(made)
            stream.flush()
            sync(stream.fileno())
        place_first(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")


def umask() -> int:
    """What the user takes from the permissions of new files."""
    mask = os.umask(0o077)  # it can only be asked for by setting it
    os.umask(mask)
    return mask
