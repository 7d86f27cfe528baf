"""One folder a patient, with NIfTI or DICOM files of any name: the words of names, side-cars and tags say which."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgmt_monai.cohort.findings import Finding
from mgmt_monai.cohort.layouts import dicom_tree
from mgmt_monai.cohort.layouts.found import Found, LeftOut, Tagged
from mgmt_monai.cohort.layouts.nifti_series import (
    NiftiFile,
    first_examination,
    in_words,
    is_after_surgery,
    people_told,
    read_sidecar,
    stem_of,
    take,
)
from mgmt_monai.cohort.layouts.passed_over import is_passed_over
from mgmt_monai.cohort.layouts.sequence import guess
from mgmt_monai.cohort.layouts.tree import walk
from mgmt_monai.cohort.series import MODALITIES, is_nifti
from mgmt_monai.errors import printable

NAME = "folders"
EXPECTS = "one folder a patient with NIfTI or DICOM files whose names, side-cars or tags say t1, t2, flair, contrast"

_NO_IMAGE = re.compile(
    r"(?<![a-z0-9])(?:seg\w*?|segmentation|masks?|brainmask|labels?|labelmap|roi|gtv|lesions?|parcellation|aparc|aseg|"
    r"tumou?rseg|xfm|warp|jacobian|pve|bias ?field|prob\w*)(?![a-z0-9])"
)

_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:[0-2]\d|3[01])(?=\D|\d{6}(?!\d)|\Z)")
#: In a name, what tells visits of one patient apart.
_VISIT = re.compile(
    r"(?:19|20)\d\d|(?<![a-z])(?:pre|post|base|bl|initial|diag|follow|fu|recur|ses|visit|scan|exam|stud|mo|month|week|day|"
    r"year|time|tp|before|after|progr|rep|run|raw|orig|reg|anat|nifti|dicom|mr|vor|nach)(?![a-z]{0,3}\d{3})|^[vtsre]?\d{1,2}$"
)
#: In a file's name, a word with a number that is none of a sequence.
_CODE = re.compile(r"(?!t[12]|[23]d|\d+mm)[a-z]*\d+[a-z]*")


def recognises(data_dir: Path) -> bool:
    """Whether a folder in it has a NIfTI file that a name or a side-car takes for one of the four modalities."""
    return any(
        guess(file.values).modality is not None
        for patient in _patients(Path(data_dir))
        for file, _ in _files(patient, Found([], set()))
    )


def labels_file(data_dir: Path) -> Path:
    """``labels.csv`` in the data directory."""
    return data_dir / "labels.csv"


def find(data_dir: Path) -> Found:
    """One series of each modality and patient; the patient is who the folder is called."""
    found = Found([], set())
    for patient in _patients(Path(data_dir)):
        find_patient(patient, found)
    return found


def find_patient(patient: Path, found: Found) -> None:
    """One patient's series."""
    name = printable(patient.name)
    found.patients.add(name)
    named = _files(patient, found)
    for file, _ in named:
        below = printable(stem_of(file.path.relative_to(patient).as_posix()))
        found.people.append(Tagged(name, str(file.path.parent), people_told(file.sidecar), below))
    examinations = _examinations(named)
    _tell_several(patient, examinations, found)
    files = first_examination(name, examinations, found) if named else []
    if dicom_tree.recognises(patient):
        of_tags = dicom_tree.find(patient, owner=name)
        ids = {person.patient_id for item in of_tags.people for person in item.people} - {""}
        if len(ids) > 1:
            found.findings.append(_several(patient, f"{len(ids)} PatientIDs in the tags"))
        found.series += of_tags.series
        found.findings += of_tags.findings
        found.left_out += of_tags.left_out
        found.people += of_tags.people
        found.contenders += of_tags.contenders
        # DICOM says more of itself than a name: a NIfTI beside it is most likely its copy.
        have = {series.modality for series in of_tags.series}
        own = Found([], set())
        take(name, files, own)
        for series in own.series:
            if series.modality in have:
                path = series.directory / (series.files or ("",))[0]
                reason = f"{series.modality} too ({series.reason}), which the DICOM files have"
                found.left_out.append(LeftOut(name, path, printable(path.name), 1, reason))
            else:
                found.series.append(series)
        found.contenders += [one for one in own.contenders if one.read_as not in have]
        found.findings += own.findings
        found.left_out += own.left_out
    elif files:
        take(name, files, found)
    _tell_near_misses(name, found)


def has_nifti(patient: Path) -> bool:
    """Whether there is a NIfTI file in a patient's folder, however deep."""
    return any(is_nifti(name) for _, names in walk(patient, []) for name in names)


def is_mask(name: str) -> str:
    """The word of a name that says a mask or labels; "" without one."""
    found = _NO_IMAGE.search(name.lower().replace("_", " ").replace("-", " "))
    return found[0] if found else ""


def _patients(data_dir: Path) -> list[Path]:
    return sorted(path for path in data_dir.iterdir() if path.is_dir() and not is_passed_over(path.name))


def _files(patient: Path, found: Found) -> list[tuple[NiftiFile, str]]:
    """Those that may be a series, each with the folder in the patient's; masks are left out by their names."""
    owner = printable(patient.name)
    files: list[tuple[NiftiFile, str]] = []
    for directory, names in walk(patient, found.findings):
        folders = directory.relative_to(patient).parts
        for name in names:
            if not is_nifti(name):
                continue
            path = directory / name
            stem = stem_of(name)
            if mask := is_mask(stem):
                found.left_out.append(
                    LeftOut(owner, path, printable(name), 1, f"a mask or labels ({mask!r} in its name)")
                )
                continue
            own = stem.removeprefix(patient.name) or stem
            sidecar = read_sidecar(path, owner, found)
            described = str(sidecar.get("SeriesDescription") or "")
            words = f"{in_words(own)} {described}".strip()
            file = NiftiFile(path, sidecar, printable(words))
            told = guess(file.values)
            if told.modality is None and not told.certain and folders:  # names of folders, where the file's is silent
                file = NiftiFile(path, sidecar, printable(f"{in_words(' '.join(folders))} {words}"))
            files.append((file, folders[0] if folders else ""))
    return files


def _examinations(files: list[tuple[NiftiFile, str]]) -> dict[str, list[NiftiFile]]:
    """Files by examination: the folder in the patient's, where two share a modality; else the date or word of names."""
    modalities: dict[str, set[str]] = {}
    for file, folder in files:
        modalities.setdefault(folder, set()).add(guess(file.values).modality or "")
    seen = [modality for own in modalities.values() for modality in own if modality]
    if len(seen) == len(set(seen)) or not any(len(own - {""}) > 1 for own in modalities.values()):
        ours = [file for file, _ in files if guess(file.values).modality]
        dates = {(_DATE.search(stem_of(file.path.name)) or [""])[0] for file in ours}
        later = {is_after_surgery(file.words) for file in ours}

        def said(file: NiftiFile) -> str:
            if len(dates) > 1 and "" not in dates:
                return (_DATE.search(stem_of(file.path.name)) or [min(dates)])[0]
            return ("post-op" if is_after_surgery(file.words) else "not post-op") if len(later) > 1 else ""

        files = [(file, said(file)) for file, _ in files]
    examinations: dict[str, list[NiftiFile]] = {}
    for file, folder in files:
        examinations.setdefault(printable(folder), []).append(file)
    return examinations


def _tell_several(patient: Path, examinations: Mapping[str, Sequence[NiftiFile]], found: Found) -> None:
    """D051 for a folder that seems to be of several patients, by its folders or by the numbers in the files' names."""
    own = [name for name in examinations if not _VISIT.search(name.lower())] if len(examinations) > 1 else []
    what = "folders"
    if len(own) < 2:
        modalities: dict[str, set[str]] = {}
        for file in (one for files in examinations.values() for one in files):
            words = re.split(r"[\W_]+", stem_of(file.path.name).lower())
            code = "_".join(word for word in words if _CODE.fullmatch(word) and not _VISIT.search(word))
            if code and (modality := guess(file.values).modality):
                modalities.setdefault(code, set()).add(modality)
        alone = guess({"Modality": "MR", "SeriesDescription": patient.name}).modality is not None
        own = [code for code, ours in modalities.items() if alone or len(ours) > 1]
        what = "files of names"
    if len(own) > 1:
        shown = " and ".join(map(printable, sorted(own)[:2]))
        found.findings.append(_several(patient, f"{len(own)} {what} such as {shown}"))


def _several(patient: Path, what: str) -> Finding:
    text = f"expected the files of one patient, found {what}, of which one is read"
    return Finding("D051", printable(patient.name), "", str(patient), text)


def _tell_near_misses(patient_id: str, found: Found) -> None:
    """Of a patient with files that say nothing: what was read, and which word is missing."""
    silent = [item for item in found.left_out if item.patient_id == patient_id and item.reason.startswith("unknown")]
    if not silent:
        return
    read = {one.modality: one for one in found.series if one.patient_id == patient_id}
    missing = [modality for modality in MODALITIES if modality not in read]
    if missing:
        told = [f"{', '.join(one.files or ())}: read as {modality}" for modality, one in sorted(read.items())]
        text = "; ".join([*told, f"no file of {patient_id} says {' or '.join(missing)}"])
        shown = ", ".join(item.what for item in silent[:3])
        text += f". Add t1, t2, flair or a word of contrast agent to the name of {shown}, or name it in a CSV layout"
        found.findings.append(Finding("D037" if read else "D035", patient_id, "", "", text))
