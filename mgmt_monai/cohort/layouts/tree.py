"""Every folder below a data directory, whatever people, exports and links have made of it."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mgmt_monai.cohort.errors import CohortFaultsError
from mgmt_monai.cohort.files.unfetched import unfetched
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.passed_over import FileCount, count_hidden, is_passed_over
from mgmt_monai.cohort.tables.table import names
from mgmt_monai.machine import MachineError, check_machine, machine_fault

logger = logging.getLogger(__name__)

#: What is looked for after a fault, in seconds: a server that is gone may take minutes for each file.
_LOOKED_S = 60.0


@contextmanager
def every_unreadable(data_dir: Path) -> Iterator[None]:
    """Tell of all files and folders that the machine does not give, where the block ends with the first of them.

    Raises:
        CohortFaultsError: A line for each reason, how many paths and the first, and one where time ran out.
        MachineError: There is no other than that of the block.
    """
    try:
        yield
    except (MachineError, OSError) as error:
        first = machine_fault(error)
        if first is None or not str(first.path):
            raise
        faults, until, more = [first], time.monotonic() + _LOOKED_S, []
        for directory, files in walk(data_dir, [], faults=faults):
            for path in (directory / name for name in files):
                try:
                    with path.open("rb") as stream:
                        stream.read(1)
                except OSError as met:
                    faults += filter(None, [machine_fault(met, path)])
            if time.monotonic() > until:
                more = [f"there may be more: no further than {directory} was looked at in {_LOOKED_S:.0f} s"]
                break
        found: dict[str, set[str]] = {}
        for fault in faults:
            found.setdefault(fault.reason, set()).add(str(fault.path))
        if found == {first.reason: {str(first.path)}} and not more:
            raise first from error
        told = [f"{len(own)} x {reason}: {names(sorted(own))}" for reason, own in found.items()] + more
        raise CohortFaultsError(told, "doctor DATA_DIR") from error


def walk(
    root: Path,
    findings: list[Finding],
    max_depth: int | None = None,
    count: FileCount | None = None,
    faults: list[MachineError] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Folders and the names of the files in them, each folder once.

    Hidden entries and what systems leave are passed over. A link to a folder is followed unless it leads back to a
    folder that holds it; a folder that several links lead to comes once, by its own path if that is below ``root``.

    Args:
        root: Where to begin.
        findings: Gets what cannot be read: folders gone meanwhile (D001), links that lead nowhere and entries that are
            neither file nor folder (D019).
        max_depth: How many levels of folders below ``root`` are entered; None for all.
        count: Gets the files that are passed over here.
        faults: Gets what the machine does not give; the first is raised without it.

    Yields:
        Folder, file names in it, sorted. Names that are not valid text keep their bytes as lone surrogates, as
        `os.fsdecode` makes them.

    Raises:
        MachineError: The machine does not give a folder, for want of a right to it or otherwise.
    """
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[Path, int]] = [(Path(root), 0)]
    links: list[tuple[Path, int]] = []
    while folders or links:
        directory, depth = folders.pop() if folders else links.pop(0)
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as entries:
                named = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if faults is not None and (fault := machine_fault(error, directory)):
                faults.append(fault)
                continue
            check_machine(error, directory)
            text = f"expected a folder that can be read, found one that cannot ({error.strerror})"
            findings.append(Finding("D001", "", "", str(directory), text))
            continue
        files: list[str] = []
        below: list[tuple[Path, int]] = []
        for entry in named:
            if is_passed_over(entry.name):
                if count is not None:
                    count_hidden(entry, count)
                continue
            try:
                kind = _kind(entry, directory)
            except MachineError as met:
                if faults is None:
                    raise
                faults.append(met)
                continue
            if kind == "file":
                files.append(entry.name)
            elif kind == "loop":
                logger.info("%s leads back to a folder that holds it and is not followed", directory / entry.name)
            elif kind in ("folder", "linked folder"):
                if max_depth is None or depth < max_depth:
                    (below if kind == "folder" else links).append((directory / entry.name, depth + 1))
            else:
                text = f"expected a file or a folder, found {kind}"
                findings.append(Finding("D019", "", "", str(directory / entry.name), text))
        folders.extend(reversed(below))
        yield directory, files


def _kind(entry: os.DirEntry[str], directory: Path) -> str:
    try:
        if entry.is_file():
            return "file"
        if not entry.is_dir():
            if entry.is_symlink() and unfetched(Path(entry.path)):
                return "file"  # told where it is read
            return "a link to nowhere" if entry.is_symlink() else "neither of them"
        if not entry.is_symlink():
            return "folder"
        target, here = os.path.realpath(entry.path), os.path.realpath(directory)
    except OSError as error:  # a link to itself
        check_machine(error, entry.path)
        return f"a link that cannot be followed ({error.strerror})"
    leads_back = here == target or here.startswith(target.rstrip(os.sep) + os.sep)
    return "loop" if leads_back else "linked folder"
