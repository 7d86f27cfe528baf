"""Files that Git LFS, git-annex, DVC or a cloud has not brought: a pointer lies in their place."""

from pathlib import Path

from mgmt_monai.machine import check_machine

_LFS = b"version https://git-lfs"
_ANNEX, _DVC = "/annex/objects/", ".dvc"

#: The longest pointer: git-annex writes at most 32 KiB, of which the first line is the pointer.
_POINTER_BYTES = 1 << 15
_FIRST_BYTES = 512


def is_placeholder(name: str) -> bool:
    """Whether a cloud's program has put a file there in place of one that is not on this machine.

    Args:
        name: Of a file: iCloud's are called ``.<name>.icloud``, Nextcloud's and ownCloud's ``<name>.nextcloud``.
    """
    return not name.lower().endswith(_DVC) and bool(stands_for(name))


def stands_for(name: str) -> str:
    """Of which file a file is the placeholder or DVC's pointer, by its name; "" where it is neither.

    Example:
        >>> stands_for(".a.dcm.icloud"), stands_for("T1w.dvc"), stands_for("a.dcm")
        ('a.dcm', 'T1w', '')
    """
    stem, dot, suffix = name.rpartition(".")
    if (dot + suffix).lower() in (".nextcloud", ".owncloud", _DVC):
        return stem
    return stem[1:] if suffix.lower() == "icloud" and stem.startswith(".") else ""


def unfetched(path: Path) -> str:
    """What would fetch the file, for people; "" where it is no pointer.

    Args:
        path: A file, or a link that leads nowhere.
    """
    try:
        if path.is_symlink() and not path.exists():
            target = f"/{path.readlink().as_posix()}"
            return "a git-annex link without its file: datalad get" if _ANNEX in target else ""
        if is_placeholder(path.name):
            return "a cloud's placeholder: let its program download the file"
        if not path.is_file() or path.stat().st_size > _POINTER_BYTES:  # opening a pipe would wait for ever
            return ""
        with path.open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    except OSError as error:
        check_machine(error, path)
        return ""
    if first.startswith(_LFS):
        return "a Git LFS pointer: git lfs pull"
    if path.suffix == _DVC and first.startswith((b"outs:", b"md5:", b"frozen:")):  # it stays when the file is fetched
        return "" if path.with_suffix("").exists() else "a DVC pointer: dvc pull"
    return "a git-annex pointer: datalad get" if _ANNEX.encode() in first.split(b"\n")[0] else ""
