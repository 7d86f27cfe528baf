"""NIfTI files whose names say whose they are, of which visit, and of which modality."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.found import Found, FoundSeries
from mgmt_monai.cohort.layouts.tree import walk

#: Folders below the data directory in which files are looked for: collection, kind of image, patient.
MAX_DEPTH = 3


class Scan(NamedTuple):
    """What a file's name says.

    Args:
        patient_id: The patient.
        visit: When, as the name spells it, such that the first in alphabetical order is the earliest.
        modality: One of ``MODALITIES``, or "" for a file that is none of these: a segmentation.
        said: The part of the name that says the modality.
        copy: 0, or more for a processed copy that the same release has: read only where there is no other.
    """

    patient_id: str
    visit: str
    modality: str
    said: str
    copy: int = 0


Parse = Callable[[str], Scan | None]
"""What a file's name says; None for a name of another kind."""


def named_as(data_dir: Path, parsers: Mapping[str, Parse]) -> set[str]:
    """By which of several conventions files of the first three levels are named, in one walk."""
    left = dict(parsers)
    for _, files in walk(data_dir, [], MAX_DEPTH):
        for name in files:
            if name[-3:].lower() in ("nii", ".gz"):
                left = {convention: parse for convention, parse in left.items() if not parse(name)}
        if not left:
            break
    return set(parsers) - set(left)


def find_named(data_dir: Path, parse: Parse, parse_folder: Callable[[str], str | None]) -> Found:
    """The series of each patient's first visit.

    Args:
        data_dir: The cohort's folder; the files lie in it or up to three folders deep.
        parse: What a file's name says.
        parse_folder: The patient a folder's name speaks of, so that one without files is not overlooked.
    """
    found = Found([], set())
    scans: dict[str, dict[str, dict[str, list[tuple[Path, Scan]]]]] = {}
    for directory, files in walk(data_dir, found.findings, MAX_DEPTH):
        owner = parse_folder(directory.name)
        if owner is not None:
            found.patients.add(owner)
        for name in files:
            scan = parse(name)
            if scan is None:
                continue
            found.patients.add(scan.patient_id)
            if scan.modality:
                visits = scans.setdefault(scan.patient_id, {})
                visits.setdefault(scan.visit, {}).setdefault(scan.modality, []).append((directory / name, scan))
    for patient_id in sorted(scans):
        visits = scans[patient_id]
        first = min(visits)
        if len(visits) > 1:
            others = ", ".join(sorted(set(visits) - {first}))
            told = f"the first, {first}," if first else "the first"
            text = f"expected one visit, found {len(visits)}; took {told} and left out {others}"
            found.findings.append(Finding("D034", patient_id, "", "", text))
        for modality, copies in sorted(visits[first].items()):
            least = min(scan.copy for _, scan in copies)
            paths = [(path, scan.said) for path, scan in copies if scan.copy == least]
            path, said = min(paths, key=lambda entry: (len(entry[0].parts), entry[0].as_posix()))
            if len(paths) > 1:
                others = ", ".join(
                    other.relative_to(data_dir).as_posix() for other, _ in sorted(paths) if other != path
                )
                text = f"expected one file, found {len(paths)}; took this one and left out {others}"
                found.findings.append(Finding("D034", patient_id, modality, str(path), text))
            found.series.append(FoundSeries(patient_id, modality, path.parent, (path.name,), f"file name {said}"))
    return found
