"""BIDS: ``sub-01/[ses-01/]anat/sub-01_[ses-01_][ce-gadolinium_]{T1w,T2w,FLAIR}.nii.gz``."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts.contrast import DENIED, GIVEN, said_of_contrast
from mgmt_monai.cohort.layouts.found import Found, LeftOut, Tagged
from mgmt_monai.cohort.layouts.nifti_series import (
    NiftiFile,
    first_examination,
    people_told,
    read_sidecar,
    stem_of,
    take,
)
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.cohort.tables.table import read_table
from mgmt_monai.machine import check_machine

NAME = "bids"
EXPECTS = "sub-*/[ses-*/]anat/sub-*_{T1w,T2w,FLAIR}.nii[.gz]"

_SUFFIXES = ("T1w", "T2w", "FLAIR")
#: What others call them, in small letters, and what BIDS does.
_RENAMED = {
    "t1": "T1w", "t1w": "T1w", "t1n": "T1w", "t2": "T2w", "t2w": "T2w", "flair": "FLAIR", "t2f": "FLAIR",
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1wce", "t1km", "t1post", "t1cew"), "ce-gd_T1w"),
}  # fmt: skip
_FILE = re.compile(
    r"(?P<patient>sub-[A-Za-z0-9+]+)(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*)_(?P<suffix>[A-Za-z0-9]+)\.nii(?:\.gz)?"
)


def recognises(data_dir: Path) -> bool:
    """Whether a subject has such a file, or is one."""
    return any(_FILE.fullmatch(path.name) for patient in _patients(Path(data_dir)) for path in _images(patient, []))


def labels_file(data_dir: Path) -> Path:
    """``participants.tsv``."""
    return data_dir / "participants.tsv"


def find(data_dir: Path) -> Found:
    """The four modalities of each subject's first session.

    The suffix says the sequence, ``ce-`` or the side-car's ContrastBolusIngredient that contrast agent was given; among
    several the rule of all series decides. ``derivatives``, ``sourcedata`` and what ``.bidsignore`` names are left
    alone.

    Args:
        data_dir: The data set's folder, or one subject's.
    """
    data_dir = Path(data_dir)
    found = Found([], set())
    # Of one subject too, the data set's: predicted alone, it is the subject that was trained on.
    root = next(path for path in (data_dir, *data_dir.parents) if not path.name.startswith(("sub-", "ses-")))
    ignored = _ignored(root)
    sidecars: dict[Path, list[str]] = {}
    for patient in _patients(data_dir):
        found.patients.add(patient.name)
        sessions: dict[str, list[NiftiFile]] = {}
        for path in _images(patient, found.findings):
            relative = path.relative_to(root).as_posix()
            last = next((pattern for pattern in reversed(ignored) if _fits(relative, pattern.removeprefix("!"))), "!")
            if not last.startswith("!"):  # the last that fits decides, as in .gitignore
                found.left_out.append(LeftOut(patient.name, path, path.name, 1, "named in .bidsignore"))
                continue
            session, file = _file(path, patient, found, sidecars)
            if file is not None:
                sessions.setdefault(session, []).append(file)
        if sessions:
            _take_first(patient, sessions, found)
    return found


def _patients(data_dir: Path) -> list[Path]:
    if data_dir.name.startswith("sub-"):
        return [data_dir]
    if data_dir.name.startswith("ses-") and data_dir.parent.name.startswith("sub-"):
        return [data_dir]
    return sorted(path for path in data_dir.glob("sub-*") if path.is_dir())


def _images(patient: Path, findings: list[Finding]) -> Iterator[Path]:
    for directory, files in walk(patient, findings, max_depth=2):
        if directory.name == "anat":
            yield from (directory / name for name in files if name.lower().endswith((".nii", ".nii.gz")))


def _file(path: Path, patient: Path, found: Found, sidecars: dict[Path, list[str]]) -> tuple[str, NiftiFile | None]:
    match = _FILE.fullmatch(path.name)
    if match is None:
        reason = "not named as BIDS names: expected sub-<label>[_<key>-<value>]_<suffix>.nii.gz"
        found.left_out.append(LeftOut(patient.name, path, path.name, 1, reason))
        return "", None
    entities = dict(pair.split("-", 1) for pair in match["entities"].split("_") if pair)
    session = f"ses-{entities['ses']}" if "ses" in entities else ""
    folder = path.parent.parent  # of the session, or of the subject
    of_session = folder.name if folder.name.startswith("ses-") else ""
    of_subject = folder.parent.name if of_session else folder.name
    if (match["patient"], session) != (of_subject, of_session):
        said, held = (
            "_".join(filter(None, names)) for names in ((match["patient"], session), (of_subject, of_session))
        )
        reason = (
            f"named {said}, but in the folder of {held}. Find out whose it is; move or rename it, with its side-car"
        )
        found.left_out.append(LeftOut(patient.name, path, path.name, 1, reason))
        if match["patient"] != of_subject:
            text = f"expected files named {of_subject}, found {path.name}: it is not read"
            found.findings.append(Finding("D047", patient.name, "", str(path), text, (match["patient"],)))
        return "", None
    part, suffix = entities.get("part", "mag"), match["suffix"]
    if suffix not in _SUFFIXES or part != "mag":
        reason = f"a {part} image" if suffix in _SUFFIXES else f"of suffix {suffix}, none of {', '.join(_SUFFIXES)}"
        if part == "mag" and suffix.lower() in _RENAMED:
            reason += f"; rename it to {path.name.replace(f'_{suffix}.', f'_{_RENAMED[suffix.lower()]}.')}"
        found.left_out.append(LeftOut(patient.name, path, path.name, 1, reason))
        return "", None
    # As BIDS inherits: from the data set's folder down to the file's, in each from the general to the special.
    parts = set(stem_of(path.name).split("_"))
    sidecar: dict[str, Any] = {}
    for level in reversed(path.parents[: 4 if of_session else 3]):
        if level not in sidecars:
            sidecars[level] = sorted((one.stem for one in level.glob("*.json")), key=lambda stem: stem.count("_"))
        for stem in sidecars[level]:
            if suffix == stem.rpartition("_")[2] and parts.issuperset(stem.split("_")):
                sidecar |= read_sidecar(level / f"{stem}.json", patient.name, found)
    found.people.append(Tagged(patient.name, str(path.parent), people_told(sidecar)))
    words = " ".join([suffix, *(entities[key] for key in ("acq", "rec", "desc") if key in entities)])
    described = said_of_contrast(str(sidecar.get("SeriesDescription") or sidecar.get("ProtocolName") or ""))
    if described.what in (GIVEN, DENIED) and said_of_contrast(words).what not in (GIVEN, DENIED):
        words += f" {described.words}"
    agent = entities.get("ce", "")
    if agent and (agent.lower() in ("none", "no", "without") or said_of_contrast(agent).what == DENIED):
        agent = "none"
    return session, NiftiFile(path, sidecar, words, agent)


def _take_first(patient: Path, sessions: dict[str, list[NiftiFile]], found: Found) -> None:
    files = first_examination(patient.name, sessions, found, _session_times(patient))
    # Where ce- tells some T1w from others, its absence says something too, unless the name does.
    if any(file.agent not in ("", "none") for file in files):
        files = [
            replace(file, agent="none")
            if not file.agent and file.words.startswith("T1w") and not _says_agent(file)
            else file
            for file in files
        ]
    take(patient.name, files, found)


def _says_agent(file: NiftiFile) -> bool:
    return "ContrastBolusAgent" in file.values or said_of_contrast(file.words).what == GIVEN


def _session_times(patient: Path) -> dict[str, str]:
    """``acq_time`` by session, where ``sub-*_sessions.tsv`` has it."""
    try:
        rows = read_table(patient / f"{patient.name}_sessions.tsv", "no such table.").rows(("session_id", "acq_time"))
    except CohortError:
        return {}
    return {session: time for session, time in rows if re.match(r"\d{4}-\d\d-\d\d", time)}


def _ignored(data_dir: Path) -> list[str]:
    try:
        lines = (data_dir / ".bidsignore").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        check_machine(error, data_dir / ".bidsignore")
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _fits(path: str, pattern: str) -> bool:
    """As .gitignore has it: a pattern without a slash inside fits at any depth, and all below what it fits."""
    folders = path.split("/")
    heads = ["/".join(folders[: n + 1]) for n in range(len(folders))]
    plain = pattern.strip("/").removeprefix("**/")
    parts = folders if "/" not in plain else heads
    return any(fnmatchcase(part, plain) for part in parts)
