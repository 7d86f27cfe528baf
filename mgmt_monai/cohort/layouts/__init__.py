"""Where the series of a data directory are: the layouts that are known, and which one a folder has."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mgmt_monai.cohort.errors import CohortError
from mgmt_monai.cohort.files.unfetched import stands_for, unfetched
from mgmt_monai.cohort.findings import Finding, counted
from mgmt_monai.cohort.layouts import bids, dicom_tree, folders, listed, rsna_miccai
from mgmt_monai.cohort.layouts.decided import apply_decisions, decisions_of
from mgmt_monai.cohort.layouts.found import HOW_TO_GET_DATA, Found, FoundSeries, LeftOut, check_data_dir
from mgmt_monai.cohort.layouts.nifti_names import BRATS, UCSF_PDGM, UPENN_GBM, named_as
from mgmt_monai.cohort.layouts.nifti_series import in_words, stem_of
from mgmt_monai.cohort.layouts.passed_over import ARCHIVE, DICOM, FileCount, amount, count_files
from mgmt_monai.cohort.layouts.sequence import guess
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.cohort.series import MODALITIES
from mgmt_monai.cohort.tables.aliases import normalised
from mgmt_monai.errors import printable

__all__ = [
    "LAYOUTS",
    "Found",
    "FoundSeries",
    "Layout",
    "LeftOut",
    "check_data_dir",
    "find_series",
    "recognise",
    "recognised",
]


#: More folders of images that are passed over are told in one finding: a part of the collection that nobody asks for.
UNREAD_LIMIT = 20


class Layout(Protocol):
    """What a layout's module offers."""

    NAME: str
    EXPECTS: str

    def recognises(self, data_dir: Path) -> bool:
        """Whether the folder looks so, at a glance."""

    def find(self, data_dir: Path) -> Found:
        """Every series in it."""

    def labels_file(self, data_dir: Path) -> Path:
        """The label table it comes with, whether it is there or not."""


_MODULES: tuple[Layout, ...] = (rsna_miccai, BRATS, UPENN_GBM, UCSF_PDGM, bids, listed, dicom_tree, folders)

#: Every layout by its name.
LAYOUTS: dict[str, Layout] = {module.NAME: module for module in _MODULES}

#: Those that are known by their files' names alone, which are looked at once for all.
_NAMED = {layout.NAME: layout for layout in (BRATS, UPENN_GBM, UCSF_PDGM)}


def find_series(
    data_dir: Path, layout: str | None = None, decisions: Path | None = None, drop_stale: bool = False
) -> Found:
    """The series of a data directory.

    Args:
        data_dir: The cohort's folder.
        layout: A key of `LAYOUTS`; None to recognise it.
        decisions: The user's ``series.csv``; None for the data directory's own, where there is one.
        drop_stale: Decisions on series that are not there are dropped with a warning; else they are refused.

    Returns:
        Series, patients and findings, with the layout's name. Every patient without a series has a finding (D035).

    Raises:
        CohortError: No such folder, no such layout, none or several recognised, no series, or a ``series.csv`` that
            does not fit.
    """
    data_dir = Path(data_dir)
    check_data_dir(data_dir)
    if layout is not None and layout not in LAYOUTS:
        raise CohortError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}. Name one of these with --layout.")
    name = layout or recognise(data_dir)
    module = LAYOUTS[name]
    found = module.find(data_dir)
    _refuse_two_forms(found.patients, data_dir)
    found.layout, found.labels_file = name, module.labels_file(data_dir)
    if source := decisions_of(data_dir, decisions):
        apply_decisions(found, source, data_dir, drop_stale)
    found.series.sort(key=lambda series: (series.patient_id, series.modality))
    if found.files is None:
        found.files = FileCount()
        read = ((series.directory, series.files) for series in found.series)
        told = (Path(finding.path) for finding in found.findings)
        count_files(found.files, walk(data_dir, [], None, found.files), read, told)
    n_dicom, _ = found.files.kinds.get(DICOM, (0, data_dir))
    if layout is None and name in _NAMED and n_dicom > found.files.n_read:
        raise CohortError(
            f"{data_dir}: expected one layout, found {counted(found.files.n_read, 'file')} of {name} and "
            f"{counted(n_dicom, 'DICOM file')}. Say with --layout which one to read ({dicom_tree.NAME} for those)."
        )
    _tell_what_is_not_read(found, data_dir)
    found.findings += _tell_unread_images(found, found.files, data_dir)
    for path in found.files.unfetched:
        name = re.sub(r"(sub|ses)-[^_]*_?", "", stem_of(stands_for(path.name)))  # of BIDS; in words it is a subtraction
        if _may_be_read(in_words(f"{path.parent.name} {name}")):
            found.findings.append(Finding("D049", "", "", str(path), f"expected an image, found {unfetched(path)}"))
    if not found.series:
        first = next((f" {one.line}" for kind in ("D035", "D001") for one in found.findings if one.id == kind), "")
        raise CohortError(
            f"{data_dir}: expected series as the layout {name} has them ({module.EXPECTS}), found none.{first}"
        )
    found.findings = [replace(finding, path=_below(finding.path, data_dir)) for finding in found.findings]
    found.people = [replace(item, directory=_below(item.directory, data_dir)) for item in found.people]
    return found


def recognise(data_dir: Path) -> str:
    """The name of the layout a folder has.

    Returns:
        A key of `LAYOUTS`.

    Raises:
        CohortError: None fits, or several do.
    """
    names = recognised(data_dir)
    if len(names) > 1:
        raise CohortError(
            f"{data_dir}: expected one layout, found {' and '.join(names)}. Say with --layout which one to read."
        )
    if not names:
        known = "; ".join(f"{name}: {module.EXPECTS}" for name, module in LAYOUTS.items())
        raise CohortError(
            f"{data_dir}: expected one of the known layouts, found none ({known}). "
            f"Name a folder that has one, or say with --layout which one is meant. {HOW_TO_GET_DATA}"
        )
    return names[0]


def recognised(data_dir: Path) -> list[str]:
    """The names of all layouts that a folder may have: none, one, or several that only the user can choose from."""
    # Others hold DICOM files or folders too, so these two are what is left when no other fits.
    last = (dicom_tree.NAME, folders.NAME)
    named = named_as(data_dir, _NAMED.values())
    names = [
        name
        for name, module in LAYOUTS.items()
        if name not in last and (name in named if name in _NAMED else module.recognises(data_dir))
    ]
    return names or [name for name in last if LAYOUTS[name].recognises(data_dir)][:1]


def _refuse_two_forms(patients: Iterable[str], data_dir: Path) -> None:
    """No two patients whose names look the same: a copy from a Mac has an umlaut as two characters."""
    forms = Counter(unicodedata.normalize("NFC", patient) for patient in patients)
    name, n = max(forms.items(), key=lambda item: item[1], default=("", 1))
    if n > 1:
        raise CohortError(
            f"{data_dir}: patient {printable(name)}: expected one name a patient, found {n} that differ in their "
            "Unicode form alone (NFC, NFD) and look the same. Remove the copy, or rename one."
        )


def _tell_what_is_not_read(found: Found, data_dir: Path) -> None:
    with_series = {series.patient_id for series in found.series}
    for item in found.left_out:
        if item.patient_id in with_series:
            path = _below(str(item.directory), data_dir)
            text = f"expected one of {', '.join(MODALITIES)}, found {item.what} is {item.reason}"
            found.findings.append(
                Finding("D037", item.patient_id, "", path, f"{text} ({counted(item.n_files, 'file')})")
            )
    told = {finding.patient_id for finding in found.findings if finding.id == "D035"}
    for patient_id in sorted(found.patients - with_series - told):
        reasons = [f"{item.what} is {item.reason}" for item in found.left_out if item.patient_id == patient_id]
        text = f"expected one of {', '.join(MODALITIES)}, found {'; '.join(reasons) or 'none'}"
        found.findings.append(Finding("D035", patient_id, "", "", text))


def _tell_unread_images(found: Found, files: FileCount, data_dir: Path) -> list[Finding]:
    """D051 for folders with images of which no series is read, and for a patient's own that may be one it lacks."""
    if not files.images:
        return []
    owners = _owners(found, data_dir)
    read = {normalised(series.patient_id): series.patient_id for series in found.series}
    unread: dict[Path, list[tuple[str, Path]]] = {}
    beside: dict[str, list[tuple[str, Path]]] = {}  # by the patient whose they are
    for folder, entries in files.images.items():
        if not folder.is_relative_to(data_dir):
            continue
        parts = [normalised(part) for part in Path(_below(str(folder), data_dir)).parts]
        top = folder
        while top not in owners and data_dir not in (top, top.parent) and top.parent not in owners:
            top = top.parent
        near = owners.get(top, owners.get(top.parent, set()) if top.parent != data_dir else set())
        own = {read[part] for part in parts if part in read} or near
        for kind, name in entries:
            is_loose = top == data_dir or (top in owners and len(own) > 1)  # among several patients: by its own name
            whose = "".join(own) if len(own) == 1 else ""
            if is_loose:
                whose = _named_after(name, read)
            if whose:
                beside.setdefault(whose, []).append((kind, folder / name))
            elif is_loose and kind != ARCHIVE and not folders.is_mask(name):
                unread.setdefault(folder, []).append((kind, folder / name))
            elif not own or (top not in owners and not read.keys() & set(parts)):
                unread.setdefault(top, []).append((kind, folder / name))
    findings = list(_tell_lacking(beside, found, data_dir))
    if len(findings) > UNREAD_LIMIT:
        shown = ", ".join(finding.patient_id for finding in findings[:5])
        text = f"expected every modality, found {len(findings)} that may be passed over, of patients {shown}, ..."
        found.findings.append(Finding("D051", "", "", "", text))
    else:
        found.findings += findings
    findings = []
    for top, named in sorted(unread.items()):
        kinds = Counter(kind for kind, _ in named)
        what = ", ".join(amount(n, kind) for kind, n in kinds.most_common())
        example = _below(str(named[0][1]), data_dir)
        text = f"expected files as the layout {found.layout} has them, found {what} such as {example}, all passed over"
        name = "" if top == data_dir or top in owners else printable(top.name)
        findings.append(Finding("D051", name, "", str(top), text))
    if len(findings) <= UNREAD_LIMIT:
        return findings
    first = ", ".join(finding.patient_id for finding in findings[:5])
    text = (
        f"expected files as the layout {found.layout} has them, found {len(findings)} folders of others ({first}, ...)"
    )
    return [Finding("D051", "", "", "", text)]


def _owners(found: Found, data_dir: Path) -> dict[Path, set[str]]:
    """Of each folder with series below it whose they are, two patients at most."""
    owners: dict[Path, set[str]] = {}
    for series in found.series:
        for folder in (series.directory, *series.directory.parents):
            own = owners.setdefault(folder, set())
            if len(own) < 2:
                own.add(series.patient_id)
            if folder == data_dir:
                break
    return owners


def _named_after(name: str, patients: Mapping[str, str]) -> str:
    """The patient whose name is the longest beginning of a file's name; "" for none."""
    ends = (match.start() for match in re.finditer(r"[\W_]", name))
    return next((patients[key] for end in reversed(list(ends)) if (key := normalised(name[:end])) in patients), "")


def _may_be_read(words: str) -> bool:
    """Whether an image that is called so is no mask, and none of a kind that no model reads."""
    told = guess({"Modality": "MR", "SeriesDescription": words})
    return bool(told.modality or not told.certain) and not folders.is_mask(words)


def _tell_lacking(beside: dict[str, list[tuple[str, Path]]], found: Found, data_dir: Path) -> Iterator[Finding]:
    """What is passed over in a patient's own folders and may be a modality that is not read of the patient."""
    told_already = {item.directory for item in found.left_out}
    for patient_id, named in sorted(beside.items()):
        lacking = set(MODALITIES) - {series.modality for series in found.series if series.patient_id == patient_id}
        of: dict[str, list[tuple[str, Path]]] = {}
        for kind, path in named:
            words = in_words(f"{path.parent.name} {stem_of(path.name).removeprefix(patient_id)}")
            if path not in told_already and _may_be_read(words):
                modality = guess({"Modality": "MR", "SeriesDescription": words}).modality
                of.setdefault(modality or "", []).append((kind, path))
        for modality in sorted(of.keys() & lacking) or sorted(of.keys() & {""} if lacking else ()):
            (kind, first), n = of[modality][0], len(of[modality])
            missing = modality or " or ".join(one for one in MODALITIES if one in lacking)
            text = (
                f"expected {missing} as the layout {found.layout} has it, found none, but passed over "
                f"{amount(n, kind)} such as {printable(first.name)}{', which may be it' if modality else ''}"
            )
            yield Finding("D051", patient_id, modality, _below(str(first), data_dir), text)


def _below(path: str, data_dir: Path) -> str:
    return Path(path).relative_to(data_dir).as_posix() if path and Path(path).is_relative_to(data_dir) else path
