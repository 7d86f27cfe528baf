"""Any tree of DICOM files, from TCIA or an archive's export: what they are is read from their tags."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mgmt_monai.cohort.files.elements import begins_with_data_set, is_marked
from mgmt_monai.cohort.files.headers import is_phase
from mgmt_monai.cohort.files.person import PERSON_TAGS, people_of
from mgmt_monai.cohort.files.tags import FileTags, HeaderError, read_tags
from mgmt_monai.cohort.files.unfetched import stands_for, unfetched
from mgmt_monai.cohort.findings import Finding, counted
from mgmt_monai.cohort.layouts.acquisitions import IN_TIME, SHARED, Slice, Values, acquisitions, in_place, joined, taken
from mgmt_monai.cohort.layouts.found import Found, FoundSeries, Tagged, n_files_of
from mgmt_monai.cohort.layouts.passed_over import TEXT, UNKNOWN, FileCount, is_own, kind_by_name
from mgmt_monai.cohort.layouts.series_choice import Candidate, take_chosen
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.errors import printable
from mgmt_monai.machine import check_machine

NAME = "dicom"
EXPECTS = "DICOM files with PatientID, StudyInstanceUID and SeriesInstanceUID, in folders of any kind"

#: So many files without DICOM's mark are looked at before a folder counts as none of DICOM files.
_LOOKED_AT = 200

_FIRST_BYTES = 132
_LONGEST_SUFFIX = 5  # "v1.research": what follows is part of the name
_DICOM_SUFFIXES = frozenset({"", ".", ".dcm", ".ima", ".dicom", ".dic", ".img"})
_INDEX = "DICOMDIR"  # marked as DICOM files are, and holds no image
_OTHER_NAMES = frozenset({"dicomdir", "license", "readme", "lockfile", "version"})
_TEXT_SAMPLE_BYTES = 512

#: Without any of these a header is what is left of one.
_IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID")

#: Kept of a series beside its files: what its modality, its acquisitions and the choice among several are made by.
_KEPT = (
    *SHARED, "BodyPartExamined", "SamplesPerPixel", "SeriesNumber", "SpacingBetweenSlices", "StudyInstanceUID",
    "StudyDate", "StudyTime", "FrameOfReferenceUID", "ImageOrientationPatient", "EffectiveEchoTime", "InversionTimes",
    "InversionRecovery", "EchoPulseSequence", "EchoPlanarPulseSequence", "Spoiling", "AcquisitionContrast",
    "AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "ContrastBolusStartTime", "SeriesDate", "ContentDate",
)  # fmt: skip


@dataclass
class _Group:
    """The files of one series, as they gather."""

    patient_id: str
    study: str
    uid: str
    slices: list[Slice] = field(default_factory=list)
    people: set[tuple[str, ...]] = field(default_factory=set)
    kept: dict[tuple[str | int | None, ...], Values] = field(default_factory=dict)
    by: str = ""
    of_all: Values = field(default_factory=dict)

    def add(self, path: Path, tags: FileTags) -> None:
        values = tags.values
        self.people.add(tuple(str(values.get(tag, "")) for tag in PERSON_TAGS))
        for frame, own in enumerate(tags.frames or [{}]):
            self._add(path, frame if len(tags.frames) > 1 else None, {**values, **own} if own else values)

    def _add(self, path: Path, frame: int | None, values: Values) -> None:
        # Slices with the same values share them: a cohort has hundreds of thousands.
        key = tuple(map(values.get, _KEPT))
        kept = self.kept.get(key)
        if kept is None:
            kept = self.kept[key] = {keyword: values[keyword] for keyword in _KEPT if keyword in values}
        self.slices.append(Slice(path, frame, kept, str(values.get("ImagePositionPatient", "")), taken(values)))

    @property
    def values(self) -> Values:
        """Of the first magnitude image: phase images lie beside it, and the series is what it is."""
        own = next((one.values for one in self.slices if not is_phase(one.values)), self.slices[0].values)
        return {**own, **self.of_all} if self.of_all else own

    @property
    def paths(self) -> list[Path]:
        return list(dict.fromkeys(one.path for one in self.slices))

    @property
    def frames(self) -> tuple[int, ...] | None:
        """Those of a multi-frame file that are its own, where others are not."""
        frames = tuple(one.frame for one in self.slices if one.frame is not None)
        return frames if self.by and len(self.paths) == 1 and frames else None


def recognises(data_dir: Path) -> bool:
    """Whether one of the first files is DICOM."""
    looked_at = {True: 0, False: 0}  # by whether the name says another kind of file
    for directory, files in walk(Path(data_dir), []):
        for name in files:
            path = directory / name
            kind = _other_by_name(stands_for(name) or name)
            other = kind not in ("", UNKNOWN)
            looked_at[other] += 1
            if looked_at[False] > _LOOKED_AT:
                return False
            if looked_at[other] > _LOOKED_AT or kind == _INDEX or is_own(name):
                continue
            if _looks_like_dicom(path) or (not kind and unfetched(path)):
                return True
    return False


def labels_file(data_dir: Path) -> Path:
    """``labels.csv`` in the data directory."""
    return data_dir / "labels.csv"


def find(data_dir: Path, owner: str = "") -> Found:
    """One series of each modality and patient, by the tags of every file.

    Files are grouped by PatientID, StudyInstanceUID and SeriesInstanceUID, wherever they lie. What cannot be one of the
    four modalities is left out with its reason; of several series that fit one modality, one is chosen (`choose`).

    Args:
        data_dir: The cohort's folder.
        owner: Whose all files are, whatever their tags say; "" for whom PatientID names.
    """
    data_dir = Path(data_dir)
    found = Found([], set())
    groups: dict[tuple[str, str, str], _Group] = {}
    damaged: list[tuple[str, Path, str]] = []
    count = found.files = FileCount()
    n_files = 0
    for directory, files in walk(data_dir, found.findings, None, count):
        nameless = 0
        for path, tags in _read(directory, files, damaged, count):
            values = tags.values
            patient_id = owner or printable(str(values.get("PatientID", "")).strip())
            if not patient_id:
                nameless += 1
                continue
            study = str(values.get("StudyInstanceUID", ""))
            # Without an identifier, what lies together belongs together.
            uid = str(values.get("SeriesInstanceUID", "")) or f"in {directory}"
            group = groups.setdefault((patient_id, study, uid), _Group(patient_id, study, uid))
            group.add(path, tags)
            n_files += 1
        if nameless:
            count.n_left_out += nameless
            text = f"expected a PatientID in the tags, found none in {counted(nameless, 'file')}"
            found.findings.append(Finding("D035", "", "", str(directory), text))
    found.patients = {group.patient_id for group in groups.values()}
    by_patient: dict[str, list[_Group]] = {}
    for key in sorted(groups):
        by_patient.setdefault(groups[key].patient_id, []).append(groups[key])
    for own in by_patient.values():
        _take(list(_acquired(own)), found)
    count.n_read = n_files_of(found.series)
    count.n_left_out += n_files - count.n_read + len(damaged)
    found.findings += _tell_damaged(damaged, groups.values(), found.series)
    return found


def _take(groups: Sequence[_Group], found: Found) -> None:
    places = []
    for group in groups:
        paths = group.paths
        directory = Path(os.path.commonpath([path.parent for path in paths]))
        told = [dict(zip(PERSON_TAGS, values, strict=True)) for values in group.people]
        found.people.append(Tagged(group.patient_id, str(directory), people_of(told)))
        files = tuple(path.relative_to(directory).as_posix() for path in paths)
        places.append(FoundSeries(group.patient_id, "", directory, files, "", group.frames))
    take_chosen([_candidate(group) for group in groups], places, found, lambda i, series: _shown(series, groups[i]))


def _shown(series: FoundSeries, group: _Group) -> FoundSeries:
    """The middle slice of a series."""
    ordered = in_place(group.slices)
    middle = ordered[len(ordered) // 2]
    files = (middle.path.relative_to(series.directory).as_posix(),)
    return replace(series, files=files, frames=None if middle.frame is None else (middle.frame,))


def _acquired(groups: Sequence[_Group]) -> Iterator[_Group]:
    """One group an acquisition: slices with a UID each become one series, and mixed ones several."""
    by_uid = {(group.study, group.uid): group for group in groups}
    for keys in joined({key: group.slices for key, group in by_uid.items()}):
        own = [by_uid[key] for key in keys]
        whole = own[0]
        for other in own[1:]:
            whole.slices += other.slices
            whole.people |= other.people
        parts = acquisitions(whole.slices)
        if len(parts) == 1:
            yield whole
            continue
        # What one part shows to be diffusion or dynamic, the others are too.
        of_all: dict[str, str | int] = {"NumberOfTemporalPositions": sum(part.by in IN_TIME for part in parts)}
        if any(part.by == "DiffusionBValue" for part in parts):
            of_all["DiffusionBValue"] = max(str(one.values.get("DiffusionBValue", "")) for one in whole.slices)
        for number, part in enumerate(parts, 1):
            by = f"acquisition {number} of {len(parts)} by {part.by}"
            uid = f"{whole.uid}.{number:04d}"
            yield _Group(whole.patient_id, whole.study, uid, part.slices, whole.people, by=by, of_all=of_all)


def _candidate(group: _Group) -> Candidate:
    return Candidate(group.study, group.uid, group.values, len(group.slices), group.slices[0].taken, part=group.by)


def _read(
    directory: Path, names: Iterable[str], damaged: list[tuple[str, Path, str]], count: FileCount
) -> Iterator[tuple[Path, FileTags]]:
    for name in names:
        path = directory / name
        kind = _other_by_name(stands_for(name) or name)
        if is_own(name):
            continue
        if kind and (kind == _INDEX or not _looks_like_dicom(path)):  # IM0001.MR and IM0001.json may be
            count.pass_over(kind, path)
            continue
        try:
            tags = read_tags(path)
            if tags.values.keys() & set(_IDENTITY):
                yield path, tags
            else:
                text = f"expected a DICOM file, found a header without {', '.join(_IDENTITY)}"
                damaged.append(("D001", path, text))
        except (HeaderError, OSError) as error:
            check_machine(error, path)
            if pointer := unfetched(path):
                damaged.append(("D049", path, f"expected a DICOM file, found {pointer}"))
            elif isinstance(error, OSError):
                text = f"expected a file that can be read, found one that cannot ({error.strerror})"
                damaged.append(("D001", path, text))
            elif _may_be_dicom(path):
                damaged.append(("D001", path, f"expected a DICOM file, found {error}"))
            else:
                count.pass_over(TEXT, path)


def _tell_damaged(
    damaged: Sequence[tuple[str, Path, str]], groups: Iterable[_Group], series: Sequence[FoundSeries]
) -> list[Finding]:
    """Findings on damaged files, with the patient and modality where all other files of the folder agree on them."""
    if not damaged:
        return []
    owners: dict[Path, set[str]] = {}
    for group in groups:
        for path in group.paths:
            owners.setdefault(path.parent, set()).add(group.patient_id)
    modalities: dict[Path, set[str]] = {}
    for one in series:
        for name in one.files or ():
            modalities.setdefault((one.directory / name).parent, set()).add(one.modality)

    def only(values: set[str]) -> str:
        return "".join(values) if len(values) == 1 else ""

    findings = []
    for finding_id, path, text in damaged:
        owner = only(owners.get(path.parent, set()))
        modality = only(modalities.get(path.parent, set())) if owner else ""
        findings.append(Finding(finding_id, owner, modality, str(path), text))
    return findings


def _other_by_name(name: str) -> str:
    """What a file is that is none of DICOM by its name; `UNKNOWN` where its content decides, "" where it may be one."""
    stem, dot, suffix = name.lower().rpartition(".")  # as text: a path for each file would take a tenth of the search
    stem, suffix = (stem, dot + suffix) if dot else (suffix, "")
    if stem in _OTHER_NAMES:
        return _INDEX if stem == "dicomdir" else TEXT
    # Identifiers as names end in digits: 1.2.840.113619.2.5 is not a file of kind '5'.
    if suffix in _DICOM_SUFFIXES or suffix[1:].isdigit():
        return ""
    kind = kind_by_name(name)
    return "" if kind == UNKNOWN and len(suffix) > _LONGEST_SUFFIX else kind


def _may_be_dicom(path: Path) -> bool:
    """Whether a file that cannot be read as DICOM is one that is damaged, and not one of another kind."""
    try:
        return path.suffix.lower() in (".dcm", ".ima", ".dicom") or _looks_like_dicom(path) or not _is_text(path)
    except OSError as error:
        check_machine(error, path)
        return True


def _looks_like_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, or begins as a data set without it; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    except OSError as error:
        check_machine(error, path)
        return False
    return is_marked(first) or begins_with_data_set(first)


def _is_text(path: Path) -> bool:
    with path.open("rb") as stream:
        sample = stream.read(_TEXT_SAMPLE_BYTES)
    return bool(sample) and all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in sample)
